"""The page of a study: what it found first, then a table of its arms, and what it was made with."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from statistics import fmean

from recipe.run.evaluations import Evaluation
from recipe.selfplay.intervals import Interval, over_runs
from recipe.selfplay.metrics import ALL_KINDS
from recipe.study import SELF_PLAY
from recipe.study.record import RunRecord
from recipe.study.table import (
    METRICS,
    SAME_ATTEMPTS,
    Comparison,
    arms_of,
    attempts_a_step,
    headline,
    mean,
)

NONE = "-"

READ_AS = (
    "After the last step, over all held-out tasks, the mean over seeds; behind an accuracy its 95 % t "
    "interval over seeds. Differences are self-play less the arm, in points: positive where self-play is "
    "better. The first 95 % interval is over tasks (paired bootstrap), the second over seeds (t). "
    "By group and step: `results.csv`, `comparisons.csv` and `steps.csv`."
)


def page(records: Sequence[RunRecord], comparisons: Sequence[Comparison], pictures: Mapping[str, str]) -> str:
    """The text of `README.md`; `pictures` are captions by file name."""
    arms = arms_of(records)
    metrics = [name for name in METRICS if any(_means([run.last for run in records], name))]
    header = ["arm", "seeds"]
    for name in metrics:
        header += [f"{name}: base", "after", "self-play less the arm"]
    ratios = _ratios(arms)
    rows = [[*header, "attempts a step"], ["---"] * (len(header) + 1)]
    for arm, runs in arms.items():
        row = [arm, str(len(runs))]
        for name in metrics:
            row += _cells(runs, name, [one for one in comparisons if (one.arm, one.metric) == (arm, name)])
        rows.append([*row, _attempts(attempts_a_step(runs), ratios.get(arm))])
    lines = [f"# Study of {records[0].experiment}", verdict(comparisons), READ_AS]
    if samples := records[0].last.num_samples:
        lines[-1] += f" mean@k is of k={samples} sampled answers a task."
    lines.append("\n".join(f"| {' | '.join(row)} |" for row in rows))
    lines += _unequal(ratios)
    lines += [f"![{caption}]({name})" for name, caption in pictures.items()]
    return "\n\n".join([*lines, *_made_with(records, arms)]) + "\n"


def verdict(comparisons: Sequence[Comparison]) -> str:
    """Which arms self-play beats, which tie with it and which beat it, over all tasks."""
    metric = headline(comparisons)
    decided = [one for one in comparisons if one.metric == metric and one.group == ALL_KINDS]
    if not decided:
        return "**Nothing to compare: no other arm shares a seed with self-play yet.**"
    parts = []
    for word in ("beats", "ties with", "loses to"):
        if arms := [one.arm for one in decided if one.verdict == word]:
            parts.append(f"{word} {', '.join(arms)}")
    said = (
        f"**Self-play {'; '.join(parts)}** ({metric}). It ties where a 95 % interval of the difference has 0."
    )
    if alone := [one.arm for one in decided if one.seeds is None]:
        said += f" Of {', '.join(alone)} there is one seed: nothing is said of how runs vary."
    return said


def _means(evaluations: Sequence[Evaluation], metric: str) -> list[float]:
    """The mean over all tasks of each evaluation that has any."""
    scores = (METRICS[metric](evaluation) for evaluation in evaluations)
    found = (mean(values, range(len(values))) for values in scores)
    return [value for value in found if value is not None]


def _cells(runs: Sequence[RunRecord], metric: str, comparisons: Sequence[Comparison]) -> list[str]:
    """An arm's accuracy before and after, and its difference; an evaluation alone has no before."""
    base = [run.evaluations[0] for run in runs if run.evaluations[0].step == 0 < run.last.step]
    before, after = _means(base, metric), _means([run.last for run in runs], metric)
    difference = NONE
    for one in comparisons:
        if one.group == ALL_KINDS:
            ends = (_points(interval) for interval in (one.tasks, one.seeds) if interval is not None)
            difference = " ".join([f"{100 * one.difference:+.1f}", *ends])
    return [_accuracy(before, with_interval=False), _accuracy(after, with_interval=True), difference]


def _accuracy(values: Sequence[float], *, with_interval: bool) -> str:
    if not values:
        return NONE
    said = f"{fmean(values):.1%}".replace("%", " %")
    if with_interval and len(values) > 1:
        low, high = over_runs(values)
        said += f" [{100 * low:.1f}, {100 * high:.1f}]"
    return said


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
