"""The page of a study: what it found first, then a table of its arms, and what it was made with."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence

from recipe.selfplay.intervals import Interval
from recipe.selfplay.metrics import ALL_KINDS
from recipe.study import SELF_PLAY
from recipe.study.record import RunRecord
from recipe.study.table import (
    EDGE_STEPS,
    FRONTIER,
    FRONTIER_SHARES,
    METRICS,
    SAME_ATTEMPTS,
    Accuracy,
    Comparison,
    Proposals,
    accuracies,
    arms_of,
    attempts_a_step,
    groups_of,
    headline,
    proposals_of,
)

NONE = "-"

NAMES = {
    ALL_KINDS: "All held-out tasks",
    FRONTIER: "Tasks that the base model solves {:.0f} to {:.0f} % of the time".format(
        *(100 * share for share in FRONTIER_SHARES)
    ),
}
"""Groups of tasks that have a verdict and a table."""

READ_AS = (
    "After the last step, the mean over seeds; behind an accuracy its 95 % t "
    "interval over seeds. Differences are self-play less the arm, in points: positive where self-play is "
    "better. The first 95 % interval is over tasks (paired bootstrap), the second over seeds (t). "
    "By group and step: `arms.csv`, `comparisons.csv`, `results.csv` and `steps.csv`."
)


def page(records: Sequence[RunRecord], comparisons: Sequence[Comparison], pictures: Mapping[str, str]) -> str:
    """The text of `README.md`; `pictures` are captions by file name."""
    arms = arms_of(records)
    has_frontier = FRONTIER in groups_of(records[0].last)
    groups = [FRONTIER, ALL_KINDS] if has_frontier else [ALL_KINDS]
    lines = [f"# Study of {records[0].experiment}"]
    lines += [verdict(comparisons, group) for group in groups]
    lines.append(READ_AS)
    if samples := records[0].last.num_samples:
        lines[-1] += f" mean@k is of k={samples} sampled answers a task."
    for group in groups:
        lines += [f"## {NAMES[group]}", _table(records, comparisons, group)]
    lines += _unequal(_ratios(arms))
    if proposed := proposals_of(records):
        lines += [f"## What was proposed: the first {EDGE_STEPS} steps, to the last", _proposals(proposed)]
    lines += [f"![{caption}]({name})" for name, caption in pictures.items()]
    return "\n\n".join([*lines, *_made_with(records, arms)]) + "\n"


def _table(records: Sequence[RunRecord], comparisons: Sequence[Comparison], group: str) -> str:
    """A row an arm: accuracy within the group before and after, by metric, and how much it trained on."""
    arms = arms_of(records)
    by_place = {(one.arm, one.metric): one for one in accuracies(records) if one.group == group}
    differences = {(one.arm, one.metric): one for one in comparisons if one.group == group}
    metrics = [name for name in METRICS if any(metric == name for _, metric in by_place)]
    header = ["arm", "seeds"]
    for name in metrics:
        header += [f"{name}: base", "after", "self-play less the arm"]
    ratios = _ratios(arms)
    rows = [[*header, "attempts a step"], ["---"] * (len(header) + 1)]
    for arm, runs in arms.items():
        row = [arm, str(len(runs))]
        for name in metrics:
            row += _cells(by_place.get((arm, name)), differences.get((arm, name)))
        rows.append([*row, _attempts(attempts_a_step(runs), ratios.get(arm))])
    return _markdown(rows)


def _proposals(found: Sequence[Proposals]) -> str:
    """A row an arm that proposes: what it proposed at first, and at last."""

    def from_to(values: tuple[float | None, float | None], form: str, factor: int = 1) -> str:
        return " to ".join(NONE if value is None else form.format(factor * value) for value in values)

    rows = [["arm", "level of accepted tasks", "solved sometimes", "proposer's reward"], ["---"] * 4]
    rows += [
        [
            one.arm,
            from_to(one.level, "{:.2f}"),
            from_to(one.learnable, "{:.1f} %", 100),
            from_to(one.reward, "{:.2f}"),
        ]
        for one in found
    ]
    return _markdown(rows)


def _markdown(rows: Sequence[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def verdict(comparisons: Sequence[Comparison], group: str = ALL_KINDS) -> str:
    """Which arms self-play beats, which tie with it and which beat it, over the tasks of a group."""
    metric = headline(comparisons)
    decided = [one for one in comparisons if one.metric == metric and one.group == group]
    if not decided:
        return "**Nothing to compare: no other arm shares a seed with self-play yet.**"
    parts = []
    for word in ("beats", "ties with", "loses to"):
        if arms := [one.arm for one in decided if one.verdict == word]:
            parts.append(f"{word} {', '.join(arms)}")
    said = f"**{NAMES[group]}: self-play {'; '.join(parts)}** ({metric})."
    said += " It ties where a 95 % interval of the difference has 0."
    if alone := [one.arm for one in decided if one.seeds is None]:
        which = "Every arm has" if len(alone) == len(decided) else f"Of {', '.join(alone)} there is"
        said += f" {which} one seed: nothing is said of how runs vary."
    return said


def _cells(accuracy: Accuracy | None, comparison: Comparison | None) -> list[str]:
    """An arm's accuracy before and after, and its difference."""
    if accuracy is None:
        return [NONE] * 3
    before = NONE if accuracy.before is None else _share(accuracy.before)
    after = _share(accuracy.after)
    if accuracy.seeds is not None:
        after += f" [{100 * accuracy.seeds.low:.1f}, {100 * accuracy.seeds.high:.1f}]"
    if comparison is None:
        return [before, after, NONE]
    ends = (_points(interval) for interval in (comparison.tasks, comparison.seeds) if interval is not None)
    return [before, after, " ".join([f"{100 * comparison.difference:+.1f}", *ends])]


def _share(value: float) -> str:
    return f"{100 * value:.1f} %"


def _points(interval: Interval) -> str:
    return f"[{100 * interval.low:+.1f}, {100 * interval.high:+.1f}]"


def _ratios(arms: Mapping[str, Sequence[RunRecord]]) -> dict[str, float]:
    """Attempts a step of each other arm that trains, over self-play's."""
    ours = attempts_a_step(arms.get(SELF_PLAY, []))
    theirs = {arm: attempts_a_step(runs) for arm, runs in arms.items() if arm != SELF_PLAY}
    return {arm: number / ours for arm, number in theirs.items() if ours and number is not None}


def _is_unequal(ratio: float) -> bool:
    return abs(ratio - 1) > SAME_ATTEMPTS


def _attempts(number: float | None, ratio: float | None) -> str:
    if number is None:
        return NONE
    mark = "" if ratio is None else f" ({ratio:.2f}{' !' if _is_unequal(ratio) else ''})"
    return f"{number:.1f}{mark}"


def _unequal(ratios: Mapping[str, float]) -> list[str]:
    """What is to be said of arms that were not trained on as many attempts."""
    arms = [f"{arm} ({ratio:.2f} times)" for arm, ratio in ratios.items() if _is_unequal(ratio)]
    if not arms:
        return []
    return [
        f"! Not the attempts a step of self-play, by more than {SAME_ATTEMPTS:.0%}: {', '.join(arms)}. Such "
        "a difference may be one of the amount of training.".replace("%", " %")
    ]


def _made_with(records: Sequence[RunRecord], arms: Mapping[str, Sequence[RunRecord]]) -> list[str]:
    """Commands, commits, machines and time."""
    seeds = sorted({record.seed for record in records})
    own = dict.fromkeys(f"{arm}:{word}" for arm, runs in arms.items() for word in runs[0].own_overrides)
    commands = {
        shlex.join(
            [
                *("python", "-m", "recipe.study", f"experiment={record.experiment}"),
                f"arms=[{','.join(arms)}]",
                f"seeds=[{','.join(map(str, seeds))}]",
                *record.overrides,
                *own,
            ]
        )
        for record in records
    }
    commits = sorted({record.commit or "not of a checkout" for record in records})
    machines = sorted({_machine(record) for record in records})
    hours = sum(record.seconds for record in records) / 3600
    return [
        "\n".join(["```", *sorted(commands), "```"]),
        f"Commit: {', '.join(commits)}. Machine: {'; '.join(machines)}. "
        f"Runs: {len(records)}, {hours:.1f} hours in all.",
    ]


def _machine(record: RunRecord) -> str:
    found = record.hardware
    gpus = f", {', '.join(found['gpus'])}" if found["gpus"] else ", no GPU"
    return f"{found['cores']} cores of {found['cpu']}, {found['memory_gib']} GiB{gpus}"
