"""Every alarm that steps are judged by: what a step says of it, its number, and its sentence.

`recipe/selfplay/alarms.py` has what is made of them, and which of them has the word.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from recipe.selfplay import metrics
from recipe.selfplay.types import LedgerLine, Refusal
from tasks.contract import Outcome, Role

WINDOW = 3
"""Steps that are judged together."""

FEWEST = 16
"""Responses, or tasks, that these steps must have for shares of them to be judged."""

DIGEST_DIGITS = 8
"""Hexadecimal digits that stand for a text: of 100,000 about two are alike by chance."""

# verl's metrics: seconds, and GB of the host.
STEP_S, SAVE_S = "timing_s/step", "timing_s/save_checkpoint"
HOST_GB = "actor/perf/cpu_memory_used_gb"
# With bypass mode verl logs no difference of probabilities: its update begins from those of sampling, and
# this is how far they are from the trainer's, in nats a token.
DIFFERENCE, BYPASSED = "training/rollout_probs_diff_mean", "actor/ppo_kl"

Evidence = Counter[str]
"""What a step says of one alarm and group, in numbers that add up over steps."""


@dataclass(frozen=True, slots=True)
class Task:
    """An accepted task."""

    kind: str
    structure: str  # a digest
    is_repeat: bool  # whether the run had one before that differs in numbers alone
    level: str  # the pack's label of its difficulty; "" without one
    solve_rate: float | None
    is_readable: bool  # whether at least half of the attempts at it are well-formed


@dataclass(frozen=True, slots=True)
class Facts:
    """What the run knows at the end of a step."""

    lines: Sequence[LedgerLine]  # without proposals of held-out tasks
    tasks: Sequence[Task]
    num_failed: int  # responses that never came
    numbers: Mapping[str, float]  # metrics of the step, verl's and ours
    usable: Mapping[tuple[str, str], float]  # by kind and difficulty: share of its tasks that is not held out

    def of(self, role: Role) -> dict[str, list[LedgerLine]]:
        """The lines of a role, by kind."""
        found: dict[str, list[LedgerLine]] = defaultdict(list)
        for line in self.lines:
            if line.role is role:
                found[line.kind].append(line)
        return found


Look = Callable[[Facts], Iterable[tuple[str, Evidence]]]
"""What a step says, by group: a kind of task, a role and kind, other words, or "" for the whole run."""

Value = Callable[[Evidence, Evidence], float | None]
"""The alarm's number, from the evidence of the steps that are judged and of the run's start."""


@dataclass(frozen=True, slots=True)
class Alarm:
    """One alarm.

    Attributes:
        name: That of its threshold, `azr.alarms.<name>`.
        look: What a step says of it.
        value: The number that is held against the threshold.
        sentence: What it means and what to try; `{of}` are the groups, `{value}` is the number in words.
        form: How the number is written.
        fewest: Responses that the window must have.
        behind: Alarms that have the word before it, of the same group.
        is_low: Whether it begins at or below its threshold, not at or above.
        is_compared: Whether it is judged only where the run's start was at half the threshold at most: a pack
            of few structures has them over and over from its first step.
    """

    name: str
    look: Look
    value: Value
    sentence: str
    form: Callable[[float], str]
    fewest: int = FEWEST
    behind: tuple[str, ...] = ()
    is_low: bool = False
    is_compared: bool = False

    def worst(self, values: Iterable[float]) -> float:
        """The number that is nearest to the threshold, or furthest beyond."""
        return min(values) if self.is_low else max(values)


# ------------------------------ what a step says ------------------------------

# No label of a pack has a slash.
OF, ALL, SUM = "/of", "/all", "/sum"


def _share(of: float, all_of: float) -> Evidence:
    return Counter({OF: of, ALL: all_of})


def _malformed(facts: Facts) -> Iterator[tuple[str, Evidence]]:
    for role in Role:
        for kind, lines in facts.of(role).items():
            count = sum(line.outcome is Outcome.MALFORMED for line in lines)
            yield _group(role, kind), _share(count, len(lines))


def _well_formed_proposals(facts: Facts) -> Iterator[tuple[str, list[LedgerLine]]]:
    for kind, lines in facts.of(Role.PROPOSE).items():
        yield kind, [line for line in lines if line.outcome is not Outcome.MALFORMED]


def _duplicates(facts: Facts) -> Iterator[tuple[str, Evidence]]:
    for kind, lines in _well_formed_proposals(facts):
        yield kind, _share(sum(line.reason == Refusal.DUPLICATE for line in lines), len(lines))


def _accepted(facts: Facts) -> Iterator[tuple[str, Evidence]]:
    for kind, lines in _well_formed_proposals(facts):
        new = [line for line in lines if line.reason != Refusal.DUPLICATE]
        yield kind, _share(sum(line.outcome is Outcome.CORRECT for line in new), len(new))


def _solved_at(rate: float) -> Look:
    def look(facts: Facts) -> Iterator[tuple[str, Evidence]]:
        for kind, tasks in _by_kind(task for task in facts.tasks if task.is_readable):
            yield kind, _share(sum(task.solve_rate == rate for task in tasks), len(tasks))

    return look


def _structures(facts: Facts) -> Iterator[tuple[str, Evidence]]:
    for kind, tasks in _by_kind(facts.tasks):
        yield kind, Counter(task.structure for task in tasks)


def _repeats(facts: Facts) -> Iterator[tuple[str, Evidence]]:
    for kind, tasks in _by_kind(facts.tasks):
        yield kind, _share(sum(task.is_repeat for task in tasks), len(tasks))


def _levels(facts: Facts) -> Iterator[tuple[str, Evidence]]:
    for kind, tasks in _by_kind(facts.tasks):
        yield kind, Counter(task.level for task in tasks)


def _answers(facts: Facts) -> Iterator[tuple[str, Evidence]]:
    for kind, lines in facts.of(Role.SOLVE).items():
        known = [line for line in reversed(lines) if line.outcome is not Outcome.MALFORMED]
        # Attempts at one task agree for good reasons: each task has the first of them.
        first = {json.dumps(line.record): line.response for line in known}
        yield kind, Counter(map(digest, first.values()))


def _exhausted(facts: Facts) -> Iterator[tuple[str, Evidence]]:
    """How much of the levels that the accepted tasks are of is used up.

    A level that nothing is proposed of any more, an easy one as a rule, has no part in it.
    """
    shares = metrics.exhausted_of(facts.numbers)
    used = {level: shares[level] / usable for level, usable in facts.usable.items() if level in shares}
    for kind, tasks in _by_kind(facts.tasks):
        found = [used[level] for task in tasks if (level := (kind, task.level)) in used]
        yield kind, _share(sum(found), len(found))


def _length(facts: Facts) -> Iterator[tuple[str, Evidence]]:
    for role in Role:
        for kind, lines in facts.of(role).items():
            lengths = [len(line.response) for line in lines if line.outcome is not Outcome.MALFORMED]
            yield _group(role, kind), Counter({SUM: sum(lengths), ALL: len(lengths)})


def _truncated(facts: Facts) -> Iterator[tuple[str, Evidence]]:
    for (role, kind), share in metrics.truncated_of(facts.numbers).items():
        trained = sum(
            line.role == role and line.kind == kind and line.reward is not None for line in facts.lines
        )
        yield _group(role, kind), _share(share * trained, trained)


def _failures(facts: Facts) -> Iterator[tuple[str, Evidence]]:
    yield "responses of a step", _share(facts.num_failed, facts.num_failed + len(facts.lines))
    # Many of these and few failures would hide those of a step.
    yield "held-out items", _share(*metrics.failed_held_out_of(facts.numbers))


def _number(read: Callable[[Mapping[str, float]], float | None]) -> Look:
    def look(facts: Facts) -> Iterator[tuple[str, Evidence]]:
        number = read(facts.numbers)
        if number is not None and math.isfinite(number):
            yield "", Counter({SUM: float(number), ALL: 1})

    return look


def _step_s(numbers: Mapping[str, float]) -> float | None:
    return numbers[STEP_S] - numbers.get(SAVE_S, 0.0) if STEP_S in numbers else None


def _drift(numbers: Mapping[str, float]) -> float | None:
    found = numbers.get(DIFFERENCE, numbers.get(BYPASSED))
    return None if found is None else abs(found)


def _group(role: str, kind: str) -> str:
    return f"{role}/{kind}"


def _by_kind(tasks: Iterable[Task]) -> Iterator[tuple[str, list[Task]]]:
    found: dict[str, list[Task]] = defaultdict(list)
    for task in tasks:
        found[task.kind].append(task)
    yield from found.items()


# ------------------------------ what it comes to ------------------------------


def share(judged: Evidence, start: Evidence) -> float | None:
    """Share, in [0, 1]."""
    return judged[OF] / judged[ALL] if judged[ALL] else None


def likeness(judged: Evidence, start: Evidence) -> float | None:
    """Chance that two of the things that are counted are alike, in [0, 1].

    With c of each sort and n in all, sum c (c - 1) / (n (n - 1)): Simpson's index without bias, so that it
    does not depend on how many there are.
    """
    total = judged.total()
    return (
        sum(count * (count - 1) for count in judged.values()) / (total * (total - 1)) if total > 1 else None
    )


def mean(judged: Evidence, start: Evidence) -> float | None:
    """Mean of a number."""
    return judged[SUM] / judged[ALL] if judged[ALL] else None


def growth(judged: Evidence, start: Evidence) -> float | None:
    """How many times the mean at the run's start it is."""
    before = mean(start, start)
    now = mean(judged, start)
    return now / before if before and now is not None else None


def digest(text: str) -> str:
    """What stands for a text."""
    return hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest()[:DIGEST_DIGITS]


def num_counted(evidence: Evidence) -> float:
    """How many responses or tasks it is of."""
    return evidence[ALL] if ALL in evidence else evidence.total()


def _percent(value: float) -> str:
    return f"{value:.0%}"


def _times(value: float) -> str:
    return f"{value:.1f}"


# ------------------------------ the alarms ------------------------------

ALARMS = (
    Alarm(
        "length",
        _length,
        growth,
        "well-formed responses ({of}) are {value} times as long as at the run's start, in characters. Read "
        "some: if they work the task out, raise data.max_response_length, where they are cut; if they "
        "ramble, lower the learning rate, or end them by azr.stop_strings",
        _times,
    ),
    Alarm(
        "truncated",
        _truncated,
        share,
        "{value} of the responses ({of}) use all of data.max_response_length, and are cut there. Raise it, "
        "or end responses by azr.stop_strings",
        _percent,
        behind=("length",),
    ),
    Alarm(
        "malformed",
        _malformed,
        share,
        "{value} of the responses ({of}) do not fit the grammar that their prompt asks for. Ask in another "
        "form (prompts=base for a base model), or lower the learning rate; if it came at once, look at the "
        "weights that vLLM has",
        _percent,
        behind=("truncated",),
    ),
    Alarm(
        "exhausted",
        _exhausted,
        share,
        "{value} of the tasks at the levels that proposals of {of} come from are used up. Widen the pack's "
        "knobs, or reward harder tasks (azr.learnability)",
        _percent,
    ),
    Alarm(
        "duplicates",
        _duplicates,
        share,
        "{value} of the well-formed proposals of {of} are tasks that the run has already. Sample hotter "
        "(actor_rollout_ref.rollout.temperature), show more references (pack.num_references), or price "
        "duplicates lower (proposal_duplicate of a reward profile)",
        _percent,
        behind=("exhausted",),
    ),
    Alarm(
        "acceptance",
        _accepted,
        share,
        "only {value} of the new, well-formed proposals of {of} are valid tasks; azr/propose/*/reason says "
        "what the others lack. Ask for more (azr.oversample), or widen what the pack allows",
        _percent,
        is_low=True,
    ),
    Alarm(
        "unsolvable",
        _solved_at(0.0),
        share,
        "{value} of the accepted tasks of {of} are solved by no attempt: they teach the solver nothing. Read "
        "some attempts; then narrow the pack's knobs, make more attempts (azr.attempts_per_record), or keep "
        "such tasks from being references (azr.keep_tasks=non-extremes)",
        _percent,
    ),
    Alarm(
        "trivial",
        _solved_at(1.0),
        share,
        "{value} of the accepted tasks of {of} are solved by every attempt: they teach little. Widen the "
        "pack's knobs, reward harder tasks (azr.learnability), or keep such tasks from being references "
        "(azr.keep_tasks=non-one)",
        _percent,
    ),
    Alarm(
        "structures",
        _structures,
        likeness,
        "two accepted tasks of {of} are of one make, but for their numbers, with a chance of {value}, which "
        "was less than half as much at the run's start. Reward unlike ones "
        "(+azr.bonus.terms={{structure-diversity: {{}}}}), or show more references (pack.num_references)",
        _percent,
        behind=("unsolvable", "trivial"),
        is_compared=True,
    ),
    Alarm(
        "levels",
        _levels,
        likeness,
        "two accepted tasks of {of} are of one difficulty with a chance of {value}, which was less than half "
        "as much at the run's start. Narrow the pack's knobs around it if it is the right one; else look at "
        "what each level earns (azr.learnability)",
        _percent,
        behind=("unsolvable", "trivial", "structures"),
        is_compared=True,
    ),
    Alarm(
        "near_duplicates",
        _repeats,
        share,
        "{value} of the accepted tasks of {of} are tasks that the run has had, with other numbers. "
        "Reward unlike ones (+azr.bonus.terms={{structure-diversity: {{}}}}), or sample hotter "
        "(actor_rollout_ref.rollout.temperature)",
        _percent,
        behind=("unsolvable", "trivial", "structures"),
        is_compared=True,
    ),
    Alarm(
        "answers",
        _answers,
        likeness,
        "two different tasks of {of} get the same response with a chance of {value}, less than half as much "
        "at the run's start. Read some: either all tasks have one answer "
        "(+azr.bonus.terms={{answer-diversity: {{}}}}), or the solver says one thing to everything",
        _percent,
        behind=("unsolvable", "trivial"),
        is_compared=True,
    ),
    Alarm(
        "rollout_drift",
        _number(_drift),
        mean,
        "vLLM and the trainer differ by {value} a token, in its probability or, in bypass mode, in nats: "
        "responses are not from the policy that is updated. Give both one number type, or "
        "algorithm.rollout_correction.bypass_mode=false with rollout_is=token",
        "{:.2g}".format,
        fewest=WINDOW,
    ),
    Alarm(
        "failures",
        _failures,
        share,
        "{value} of the {of} never came, or could not be checked; above azr.failures.max_share in one step "
        "the run stops. The log says why: vLLM, or the sandbox",
        "{:.1%}".format,
    ),
    Alarm(
        "step_time",
        _number(_step_s),
        growth,
        "a step takes {value} times as long as at the run's start, checkpoints aside. timing_s/* says which "
        "phase; if none of them, something else runs on this machine",
        _times,
        fewest=WINDOW,
    ),
    Alarm(
        "memory",
        _number(lambda numbers: numbers.get(HOST_GB)),
        growth,
        "memory in use on the trainer's host is {value} times that of the run's start. If it goes on rising, "
        "stop the run and give the same command again: it goes on from its last checkpoint",
        _times,
        fewest=WINDOW,
    ),
)
"""Those that are judged by a window of steps, each behind the ones that it stands behind."""
