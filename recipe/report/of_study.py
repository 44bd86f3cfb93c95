"""What the page has of a study's folder, in which each finished run is one file (`recipe/study/record.py`).

There is no ledger in it: no charts of single runs, and no tasks to browse.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from recipe.report import ReportError
from recipe.report.comparing import Compared, compare
from recipe.report.page import Contents
from recipe.report.tables import GREEDY, Row, Table, series_rows
from recipe.selfplay.metrics import ALL_KINDS
from recipe.study import StudyError
from recipe.study.record import (
    RunRecord,
    StepNumbers,
    read_records,
    require_same_settings,
    require_same_tasks,
)
from recipe.study.report import verdict
from recipe.study.table import (
    FRONTIER,
    METRICS,
    Accuracy,
    accuracies,
    arms_of,
    groups_of,
    mark_frontier,
    mean,
    within,
)
from recipe.study.table import compare as compare_arms

NOT_HERE = "A study's folder has no ledger. Give the directories of its runs to browse their tasks."


def read_study(folder: Path) -> Contents:
    """The page of a study.

    Raises:
        ReportError: A file of it is damaged, or its runs cannot be compared.
    """
    try:
        records = read_records(folder)
        require_same_settings(records)
        require_same_tasks(records)
    except StudyError as error:
        raise ReportError(str(error)) from error
    records = mark_frontier(records)
    runs = [Compared(one.name, one.arm, one.seed, tables_of(one)) for one in records]
    sections, found = compare(runs)
    arms = arms_of(records)
    comparisons = compare_arms(records)
    groups = [group for group in (FRONTIER, ALL_KINDS) if group in groups_of(records[0].last)]
    said = [verdict(comparisons, group).replace("**", "") for group in groups]
    num_runs = f"{len(records)} finished runs of {len(arms)} arms"
    return Contents(
        title=f"Study of {records[0].experiment}",
        about=f"{num_runs}. A line is the mean over an arm's seeds, its band from the least to the most.",
        sections=(),
        runs=(),
        compared=sections,
        compared_tables=found,
        summary=summary(records),
        notes=[*said, NOT_HERE],
    )


def summary(records: Sequence[RunRecord]) -> list[list[str]]:
    """A row for each arm: accuracy on all held-out tasks by metric, before and after training."""
    by_place = {(one.arm, one.metric): one for one in accuracies(records) if one.group == ALL_KINDS}
    metrics = [metric for metric in METRICS if any(name == metric for _, name in by_place)]
    header = [f"{metric}: {when}" for metric in metrics for when in ("base", "after, 95 % over seeds")]
    rows = [["arm", "runs", *header]]
    for arm, runs in arms_of(records).items():
        cells = [cell for metric in metrics for cell in _cells(by_place.get((arm, metric)))]
        rows.append([arm, str(len(runs)), *cells])
    return rows


def _cells(one: Accuracy | None) -> list[str]:
    if one is None:
        return ["", ""]
    before = "" if one.before is None else f"{one.before:.1%}"
    ends = "" if one.seeds is None else f" ({one.seeds.low:.1%} to {one.seeds.high:.1%})"
    return [before, f"{one.after:.1%}{ends}"]


def tables_of(record: RunRecord) -> dict[str, Table]:
    """The rows that a run's own charts would have of this."""
    accuracy = [row for group in groups_of(record.last) for row in _accuracy(record, group)]
    steps = record.steps
    proposed = [step for step in steps if step.proposals]
    series: dict[str, dict[str, list[tuple[int, float | None]]]] = {
        "rewards": {"propose": [(step.step, step.proposer_reward) for step in steps]},
        "proposals": {
            "accepted": [(step.step, step.accepted / step.proposals) for step in proposed],
            "duplicate": [(step.step, step.duplicates / step.proposals) for step in proposed],
        },
        "learnable": {"learnable tasks": [(step.step, step.learnable) for step in steps]},
        "frontier": {"accepted proposals": [(step.step, _level(step)) for step in steps]},
        "seconds": {"step": [(step.step, step.seconds) for step in steps]},
    }
    return {
        "accuracy": [row for row in accuracy if row["group"] == ALL_KINDS],
        "accuracy-groups": [row for row in accuracy if row["group"] != ALL_KINDS],
        **{name: series_rows(_known(found)) for name, found in series.items()},
    }


def _level(step: StepNumbers) -> float | None:
    return step.level if step.proposals else None


def _known(found: dict[str, list[tuple[int, float | None]]]) -> dict[str, list[tuple[int, float]]]:
    """Series without the steps that have no value, and without those that have none at all."""
    known = {
        name: [(step, value) for step, value in points if value is not None] for name, points in found.items()
    }
    return {name: points for name, points in known.items() if points}


def _accuracy(record: RunRecord, group: str) -> list[Row]:
    rows: list[Row] = []
    place = groups_of(record.last).index(group)
    name = {FRONTIER: "tasks at the frontier"}.get(group, group)
    for evaluation in record.evaluations:
        for number, (metric, scores_of) in enumerate(METRICS.items()):
            value = mean(scores_of(evaluation), within(evaluation, group))
            if value is not None:
                series = GREEDY if metric == GREEDY else metric.replace("@k", f"@{evaluation.num_samples}")
                shared: Row = {"step": evaluation.step, "group": name, "group_place": place}
                rows.append({**shared, "series": series, "place": number, "value": value})
    return rows
