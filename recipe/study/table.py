"""What a study's runs say: its tables, as pure functions of its files.

Differences are self-play less the arm, over the seeds that both have: positive where self-play is better.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from statistics import fmean

from recipe.run.evaluations import MISSING, RIGHT, Evaluation
from recipe.selfplay.intervals import Interval, over_runs, paired_over_tasks
from recipe.selfplay.metrics import ALL_KINDS, GROUP_MARK, in_order
from recipe.study import SELF_PLAY
from recipe.study.record import RunRecord, StepNumbers

Scores = Sequence[float | None]
"""A value for each held-out task, None where there is none: in [0, 1], or a difference of two such."""

SAME_ATTEMPTS = 0.02
"""Most that an arm's attempts a step may differ from self-play's, as a share, to count as equal."""


FRONTIER = "frontier"
"""Group of the tasks of those strata that the base model solves now and then (`FRONTIER_SHARES`)."""

FRONTIER_SHARES = (0.01, 0.70)
"""Least and most accuracy of the base model in such a stratum: room to learn, and something to learn from."""

METRICS: Mapping[str, Callable[[Evaluation], Scores]] = {
    "greedy": Evaluation.greedy_scores,
    "mean@k": Evaluation.sampled_scores,
}
"""What arms are compared by, by name."""


def groups_of(evaluation: Evaluation) -> list[str]:
    """The groups of the held-out set, all of it first."""
    found = {name for joined in evaluation.groups for name in joined.split(GROUP_MARK)} - {ALL_KINDS}
    return [ALL_KINDS, *in_order(found)]


def mark_frontier(records: Sequence[RunRecord]) -> list[RunRecord]:
    """The same runs, with the group `FRONTIER` where self-play has an evaluation of its base model.

    A stratum is tasks of the same groups. Its accuracy is the mean over seeds before step 1: of sampled
    attempts where there are any, else greedy. It knows nothing of what training did.
    """
    bases = [run.evaluations[0] for run in records if run.arm == SELF_PLAY and run.evaluations[0].step == 0]
    strata: dict[str, list[float]] = {}
    for base in bases:
        scores = base.sampled_scores() if base.num_samples else base.greedy_scores()
        for stratum, score in zip(base.groups, scores, strict=True):
            strata.setdefault(stratum, []).extend([] if score is None else [score])
    least, most = FRONTIER_SHARES
    chosen = {name for name, found in strata.items() if found and least <= fmean(found) <= most}
    return [
        replace(run, evaluations=tuple(_marked(one, chosen) for one in run.evaluations)) for run in records
    ]


def _marked(evaluation: Evaluation, strata: Collection[str]) -> Evaluation:
    groups = tuple(
        f"{joined}{GROUP_MARK}{FRONTIER}" if joined in strata else joined for joined in evaluation.groups
    )
    return replace(evaluation, groups=groups)


def within(evaluation: Evaluation, group: str) -> list[int]:
    """The places of a group's tasks."""
    every = group == ALL_KINDS
    return [i for i, joined in enumerate(evaluation.groups) if every or group in joined.split(GROUP_MARK)]


def mean(scores: Scores, places: Iterable[int]) -> float | None:
    """The mean over the tasks at these places that have a value."""
    found = [score for place in places if (score := scores[place]) is not None]
    return fmean(found) if found else None


def arms_of(records: Sequence[RunRecord]) -> dict[str, list[RunRecord]]:
    """Runs by arm: self-play, those that train, those that are an evaluation alone; each by seed."""
    arms: dict[str, list[RunRecord]] = {}
    for record in sorted(records, key=lambda record: record.seed):
        arms.setdefault(record.arm, []).append(record)
    return dict(sorted(arms.items(), key=lambda arm: (arm[0] != SELF_PLAY, arm[1][0].last.step == 0, arm[0])))


def results_csv(records: Sequence[RunRecord]) -> str:
    """A row for each run, evaluation and group."""
    rows = []
    for record in (record for runs in arms_of(records).values() for record in runs):
        for evaluation in record.evaluations:
            for group in groups_of(evaluation):
                places = within(evaluation, group)
                num = sum(evaluation.greedy[place] != MISSING for place in places)
                shares = [mean(scores_of(evaluation), places) for scores_of in METRICS.values()]
                well_formed = sum(evaluation.well_formed[place] == RIGHT for place in places)
                shares.append(well_formed / num if num else None)
                rows.append([record.arm, record.seed, evaluation.step, group, num, *map(_share, shares)])
    return _csv(["arm", "seed", "step", "group", "n", "greedy", "mean_at_k", "well_formed"], rows)


@dataclass(frozen=True, slots=True)
class Accuracy:
    """An arm's accuracy within a group by one metric, in [0, 1], each the mean over its runs."""

    arm: str
    metric: str
    group: str
    num_seeds: int
    before: float | None  # before step 1; None of an evaluation alone
    after: float  # after the last step
    seeds: Interval | None  # of `after`, about other runs; None of a single seed


def accuracies(records: Sequence[RunRecord]) -> list[Accuracy]:
    """Every arm's accuracy by metric and group; nothing where none of its tasks has a value."""
    found = []
    for arm, runs in arms_of(records).items():
        base = [run.evaluations[0] for run in runs if run.evaluations[0].step == 0 < run.last.step]
        for metric in METRICS:
            for group in groups_of(runs[0].last):
                before, after = (_means(of, metric, group) for of in (base, [run.last for run in runs]))
                if after:
                    interval = over_runs(after) if len(after) > 1 else None
                    share = fmean(before) if before else None
                    found.append(Accuracy(arm, metric, group, len(runs), share, fmean(after), interval))
    return found


def _means(evaluations: Sequence[Evaluation], metric: str, group: str) -> list[float]:
    """The mean over the group's tasks of each evaluation that has any."""
    found = (mean(METRICS[metric](evaluation), within(evaluation, group)) for evaluation in evaluations)
    return [value for value in found if value is not None]


def arms_csv(found: Sequence[Accuracy]) -> str:
    """A row for each arm, metric and group, in percent."""
    rows = []
    for one in found:
        shares = _percent([one.before, one.after, *(one.seeds or (None, None))])
        rows.append([one.arm, one.metric, one.group, one.num_seeds, *shares])
    return _csv(["arm", "metric", "group", "num_seeds", "base", "after", "seeds_low", "seeds_high"], rows)


EDGE_STEPS = 5
"""Steps at the start and at the end of a run whose mean says how its proposals changed."""


@dataclass(frozen=True, slots=True)
class Proposals:
    """What an arm proposed in the first and in the last `EDGE_STEPS` steps of its runs.

    Means over their tasks, or proposals: a step that accepted few counts little.
    """

    arm: str
    num_seeds: int
    level: tuple[float | None, float | None]  # of accepted tasks, 0 the easiest; None where none has one
    learnable: tuple[
        float | None, float | None
    ]  # share of accepted tasks that are solved sometimes, in [0, 1]
    reward: tuple[float | None, float | None]  # the proposer's; None where it is not trained


def proposals_of(records: Sequence[RunRecord]) -> list[Proposals]:
    """What the arms proposed that propose while they train."""
    found = []
    for arm, runs in arms_of(records).items():
        edges = [
            [step for run in runs for step in run.steps[part] if step.proposals]
            for part in (slice(EDGE_STEPS), slice(-EDGE_STEPS, None))
        ]
        if all(edges):
            level, learnable, reward = (
                (_mean_of(edges[0], name, counted), _mean_of(edges[1], name, counted))
                for name, counted in MEANS
            )
            found.append(Proposals(arm, len(runs), level, learnable, reward))
    return found


MEANS = (("level", "accepted"), ("learnable", "accepted"), ("proposer_reward", "proposals"))
"""Fields of a step that are means, and those that say over how many."""


def _mean_of(steps: Sequence[StepNumbers], name: str, counted: str) -> float | None:
    found = [(value, getattr(step, counted)) for step in steps if (value := getattr(step, name)) is not None]
    total = sum(number for _, number in found)
    return sum(value * number for value, number in found) / total if total else None


def proposals_csv(found: Sequence[Proposals]) -> str:
    """A row for each arm that proposes: `learnable` in percent, level and reward as they are."""
    header = ["arm", "num_seeds"]
    header += [f"{name}_{end}" for name in ("level", "learnable", "reward") for end in ("first", "last")]
    rows = [
        [one.arm, one.num_seeds, *_plain(one.level), *_percent(one.learnable), *_plain(one.reward)]
        for one in found
    ]
    return _csv(header, rows)


def _plain(values: Iterable[float | None]) -> list[str]:
    return ["" if value is None else f"{value:.2f}" for value in values]


def _percent(values: Iterable[float | None]) -> list[str]:
    """Percent or points, to the digit that the study's page shows."""
    return ["" if value is None else f"{100 * value:.1f}" for value in values]


def steps_csv(records: Sequence[RunRecord]) -> str:
    """A row for each run and training step."""
    steps = [
        {"arm": record.arm, "seed": record.seed, **asdict(step)}
        for runs in arms_of(records).values()
        for record in runs
        for step in record.steps
    ]
    header = list(steps[0]) if steps else ["arm", "seed", "step"]
    return _csv(header, [["" if value is None else value for value in step.values()] for step in steps])


@dataclass(frozen=True, slots=True)
class Comparison:
    """Self-play less an arm, both after their last step, in [-1, 1]."""

    arm: str
    metric: str
    group: str
    difference: float
    tasks: Interval  # about other tasks, for these runs
    seeds: Interval | None  # about other runs; None of a single seed
    num_seeds: int

    @property
    def verdict(self) -> str:
        """`beats`, `ties with` or `loses to`: a difference is one if no interval that there is has 0."""
        intervals = [self.tasks, *([self.seeds] if self.seeds else [])]
        if all(interval.low > 0 for interval in intervals):
            return "beats"
        return "loses to" if all(interval.high < 0 for interval in intervals) else "ties with"


def compare(records: Sequence[RunRecord]) -> list[Comparison]:
    """Every arm with self-play, by metric and group; nothing where they share no seed."""
    arms = arms_of(records)
    ours = {record.seed: record.last for record in arms.pop(SELF_PLAY, [])}
    found = []
    for arm, runs in arms.items():
        pairs = [(ours[record.seed], record.last) for record in runs if record.seed in ours]
        for metric in METRICS if pairs else ():
            for group in groups_of(pairs[0][0]):
                if (comparison := _compare(arm, metric, group, pairs)) is not None:
                    found.append(comparison)
    return found


def _compare(
    arm: str, metric: str, group: str, pairs: Sequence[tuple[Evaluation, Evaluation]]
) -> Comparison | None:
    """One arm with self-play over these seeds; None where no task has a value on both sides."""
    places = within(pairs[0][0], group)
    differences = [_less(*(METRICS[metric](side) for side in pair)) for pair in pairs]  # (seeds, tasks)
    of_seeds = [by_seed for scores in differences if (by_seed := mean(scores, places)) is not None]
    of_tasks = [
        by_task
        for place in places
        if (by_task := mean([scores[place] for scores in differences], range(len(pairs)))) is not None
    ]
    if not of_tasks:
        return None
    return Comparison(
        arm=arm,
        metric=metric,
        group=group,
        difference=fmean(of_tasks),
        tasks=paired_over_tasks(of_tasks),
        seeds=over_runs(of_seeds) if len(of_seeds) > 1 else None,
        num_seeds=len(of_seeds),
    )


def _less(ours: Scores, theirs: Scores) -> Scores:
    return [None if a is None or b is None else a - b for a, b in zip(ours, theirs, strict=True)]


def comparisons_csv(comparisons: Sequence[Comparison]) -> str:
    """A row for each comparison, in points."""
    rows = []
    for one in comparisons:
        numbers = _percent([one.difference, *one.tasks, *(one.seeds or (None, None))])
        rows.append([one.arm, one.metric, one.group, *numbers, one.num_seeds])
    ends = [f"{over}_{end}" for over in ("tasks", "seeds") for end in ("low", "high")]
    return _csv(["arm", "metric", "group", "self_play_less_arm", *ends, "num_seeds"], rows)


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _csv(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue()


def headline(comparisons: Sequence[Comparison]) -> str:
    """The metric that decides: mean@k where every arm has it. It does not jump with the likeliest answer."""
    by_metric = {metric: {one.arm for one in comparisons if one.metric == metric} for metric in METRICS}
    return "mean@k" if by_metric["mean@k"] == by_metric["greedy"] != set() else "greedy"


def attempts_a_step(runs: Sequence[RunRecord]) -> float | None:
    """Attempts that were trained on, the mean over steps and runs; None without steps."""
    steps = [step.attempts for record in runs for step in record.steps]
    return fmean(steps) if steps else None
