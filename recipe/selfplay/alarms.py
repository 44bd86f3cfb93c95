"""Alarms: what goes wrong in self-play without an error, noticed while the run goes on.

`Alarms.look` is told once a step what the run knows of it, and says which alarms begin. An alarm is judged by
the last `WINDOW` steps that say something of it: all of them pooled, which must be of as many responses as it
needs, and most of them by themselves. So a cause shows within three steps, and one odd step does not. The
first `START` such steps are the run's own start, which is compared with and not judged. An alarm that has
begun is silent until it has been well for `WELL` steps in a row. Seeding is not judged: its tasks count as
had, no more.

A cause has one voice. What a proposal is judged by is what got that far:

    malformed      of all, but those that are held out: to an alarm these were never made
    duplicates     of the well-formed
    acceptance     of those that are no duplicates
    unsolvable     of the accepted tasks, but those whose attempts are mostly malformed
    trivial        likewise
    length         of the well-formed responses

And a step says nothing of an alarm while another that it stands behind (`Alarm.behind`) is on, or is over its
threshold by that step alone:

    length  ->  truncated  ->  malformed
    exhausted  ->  duplicates
    unsolvable, trivial  ->  structures  ->  levels, near_duplicates
    unsolvable, trivial  ->  answers

No alarm changes what is asked, priced or trained on. One can end the run, where `azr.alarms.stop` names it.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from enum import StrEnum
from statistics import fmean
from typing import Any

from recipe.selfplay import metrics
from recipe.selfplay.alarm_table import (
    ALARMS,
    DIGEST_DIGITS,
    WINDOW,
    Alarm,
    Evidence,
    Facts,
    Task,
    digest,
    num_counted,
)
from recipe.selfplay.config import AlarmConfig
from recipe.selfplay.types import ALARM_ROLE, LedgerLine, Refusal
from tasks.contract import Outcome, Role, TaskPack, TaskRecord

START = 3
"""Steps that are a run's own start."""

WELL = 5
"""Steps in a row that an alarm is well before it may begin again."""

SURE = 1.96
"""Standard errors that a fall of held-out accuracy must have, beside the threshold."""

RISE = 0.05
"""Of the mean training reward: less than this since the best evaluation is no rise."""

REWARD = "critic/rewards/mean"
"""verl's metric of the mean reward of what is trained on."""

HELD_OUT = "held_out"
HELD_OUT_SENTENCE = (
    "held-out accuracy is {value} points below that after step {best}, and the training reward has risen "
    "since: the run learns what its own tasks reward and nothing else. Export the best step "
    "(python -m recipe.export RUN --best), and lower the learning rate or look at what proposals earn"
)

NAMES = (*(alarm.name for alarm in ALARMS), HELD_OUT)
"""All alarms, in the order in which they are looked at."""


class Action(StrEnum):
    """What an alarm does when it begins."""

    WARN = "warn"
    STOP = "stop"


@dataclass(frozen=True, slots=True)
class Raised:
    """An alarm that begins."""

    step: int
    alarm: str
    value: float
    threshold: float
    sentence: str
    action: Action

    def to_json(self) -> dict[str, Any]:
        """The ledger's line."""
        return {
            "step": self.step,
            "role": ALARM_ROLE,
            "alarm": self.alarm,
            "value": self.value,
            "threshold": self.threshold,
            "sentence": self.sentence,
            "action": self.action,
        }


class AlarmError(RuntimeError):
    """An alarm of `azr.alarms.stop` began, and the run ends; the message is one line."""


def last_words(raised: Sequence[Raised], *, is_saved: bool) -> str:
    """What a run says that these alarms end; `is_saved` is whether their step has a checkpoint."""
    said = "; ".join(f"alarm {one.alarm}: {one.sentence}" for one in raised)
    step = raised[0].step
    resumed = "has a checkpoint, from which the same command goes on" if is_saved else "has no checkpoint"
    return f"step {step}, {said}. Stopped by azr.alarms.stop; step {step} {resumed}"


@dataclass(slots=True)
class Watched:
    """What is remembered of one alarm and group: JSON values, of a size that does not grow with the run."""

    start: Evidence = field(default_factory=Counter)
    num_start: int = 0  # steps in it
    window: list[Evidence] = field(default_factory=list)
    is_on: bool = False
    num_well: int = 0  # steps in a row that it has been well, while it is on

    def add(self, evidence: Evidence, fewest: int) -> None:
        """Remember a step: as a part of the start until that is enough to compare with."""
        if self.num_start < START or num_counted(self.start) < fewest:
            self.start += evidence
            self.num_start += 1
        else:
            self.window = [*self.window, evidence][-WINDOW:]

    def value(self, alarm: Alarm) -> float | None:
        """The number by the steps that are judged; None while they are too few, or of too little."""
        judged = sum(self.window, Counter[str]())
        if len(self.window) < WINDOW or num_counted(judged) < alarm.fewest:
            return None
        return alarm.value(judged, self.start)

    def is_over(self, alarm: Alarm, evidence: Evidence, threshold: float) -> bool:
        """Whether evidence is on the wrong side of the threshold, and the start was far from it if that is
        asked."""
        value = alarm.value(evidence, self.start)
        if alarm.is_compared:
            before = alarm.value(self.start, self.start)
            if self.num_start < START or before is None or before > threshold / 2:
                return False
        return value is not None and (value <= threshold if alarm.is_low else value >= threshold)

    def persists(self, alarm: Alarm, threshold: float) -> bool:
        """Whether the steps that are judged are over the threshold, and most of them each by itself."""
        num_over = sum(self.is_over(alarm, evidence, threshold) for evidence in self.window)
        return 2 * num_over > WINDOW and self.is_over(alarm, sum(self.window, Counter[str]()), threshold)

    def to_json(self) -> dict[str, Any]:
        """The fields by name, as JSON values."""
        values = {part.name: getattr(self, part.name) for part in fields(self)}
        return values | {"start": dict(self.start), "window": [dict(one) for one in self.window]}

    @staticmethod
    def from_json(values: Mapping[str, Any]) -> Watched:
        """The inverse of `to_json`."""
        counted = {"start": Counter(values["start"]), "window": [Counter(one) for one in values["window"]]}
        return Watched(**{**values, **counted})

    def judge(self, is_over: bool) -> bool:
        """Take down whether it is over its threshold now; whether it begins."""
        begins = is_over and not self.is_on
        if is_over:
            self.is_on, self.num_well = True, 0
        elif self.is_on:
            self.num_well += 1
            self.is_on = self.num_well < WELL
        return begins


@dataclass(slots=True)
class Best:
    """The best evaluation so far, the first of equals."""

    step: int
    accuracy: float
    num_items: float
    reward: float | None  # the mean training reward around it; None while there is none yet


class HeldOut:
    """The alarm of an accuracy that falls while the training reward rises. It is judged at evaluations.

    Accuracy is that of sampled attempts where there are some: a greedy one jumps with the likeliest answer.

    Args:
        state: What `state_dict` gave; empty for a new run.
    """

    def __init__(self, state: Mapping[str, Any]) -> None:
        self._best = Best(**state["best"]) if state.get("best") else None
        self._rewards: list[float] = list(state.get("rewards", ()))
        self._watched = Watched(is_on=state.get("is_on", False), num_well=state.get("num_well", 0))

    @property
    def is_on(self) -> bool:
        """Whether it has begun, and has not been well for long enough since."""
        return self._watched.is_on

    def look(self, step: int, numbers: Mapping[str, float], threshold: float) -> tuple[float | None, bool]:
        """How far accuracy is below its best, in [0, 1] and None without an evaluation; whether it begins."""
        if (reward := numbers.get(REWARD)) is not None and math.isfinite(reward):
            self._rewards = [*self._rewards, float(reward)][-WINDOW:]
        now = fmean(self._rewards) if len(self._rewards) == WINDOW else None
        if self._best is not None and self._best.reward is None:
            self._best.reward = now
        found = metrics.held_out_of(numbers)
        if found is None:
            return None, False
        accuracy = metrics.steady_accuracy(found)
        if self._best is None or accuracy > self._best.accuracy:
            self._best = Best(step, accuracy, found["n"], now)
        return self._judge(accuracy, found["n"], now, threshold)

    def _judge(
        self, accuracy: float, num_items: float, reward: float | None, threshold: float
    ) -> tuple[float, bool]:
        best = self._best
        assert best is not None
        fall = best.accuracy - accuracy
        # As if the two were of different tasks: the same tasks are compared, so this is on the safe side.
        variances = (p * (1 - p) / n for p, n in ((best.accuracy, best.num_items), (accuracy, num_items)))
        is_sure = fall >= SURE * math.sqrt(sum(variances))
        has_risen = reward is not None and best.reward is not None and reward - best.reward >= RISE
        return fall, self._watched.judge(fall >= threshold and is_sure and has_risen)

    def sentence(self, fall: float) -> str:
        """What it means that accuracy fell so far, in one line."""
        assert self._best is not None
        return HELD_OUT_SENTENCE.format(value=f"{100 * fall:.1f}", best=self._best.step)

    def state_dict(self) -> dict[str, Any]:
        """JSON values."""
        best = None if self._best is None else asdict(self._best)
        watched = self._watched
        return {
            "best": best,
            "rewards": self._rewards,
            "is_on": watched.is_on,
            "num_well": watched.num_well,
        }


@dataclass(frozen=True, slots=True)
class Looked:
    """What a look at a step came to."""

    raised: list[Raised]  # the alarms that begin
    numbers: dict[str, float]  # metrics


class Alarms:
    """All alarms of a run, and what they remember.

    Args:
        config: Their thresholds, and which of them end the run.
        pack: Says what the structure and difficulty of a task are.
    """

    def __init__(self, config: AlarmConfig, pack: TaskPack) -> None:
        self._config = config
        self._pack = pack
        self._usable = usable_shares(pack)
        # By kind, what accepted tasks of the run were like: without their numbers, and in the pack's words.
        self._forms: dict[str, set[str]] = {spec.name: set() for spec in pack.kinds}
        self._structures: dict[str, set[str]] = {spec.name: set() for spec in pack.kinds}
        self._watched: dict[str, dict[str, Watched]] = {alarm.name: {} for alarm in ALARMS}  # then by group
        self._held_out = HeldOut({})

    def remember(self, lines: Iterable[LedgerLine]) -> None:
        """Take down what the tasks of a wave of seeding are like; it is not judged."""
        self._tasks_of(list(lines))

    def evaluated_before_training(self, numbers: Mapping[str, float]) -> None:
        """Take down the evaluation before the first step, by its metrics."""
        self._held_out.look(0, numbers, math.inf)

    def look(
        self, step: int, lines: Sequence[LedgerLine], num_failed: int, numbers: Mapping[str, float]
    ) -> Looked:
        """Judge a step by its ledger, the number of responses that never came, and its metrics."""
        known = [line for line in lines if line.reason != Refusal.HELD_OUT]
        facts = Facts(known, self._tasks_of(known), num_failed, numbers, self._usable)
        raised: list[Raised] = []
        values: dict[str, float] = {}
        over: set[tuple[str, str]] = set()  # alarm and group that have the word
        for alarm in ALARMS:
            if (threshold := getattr(self._config, alarm.name)) is None:
                continue
            found, begins = self._look_at(alarm, threshold, facts, over)
            if found:
                values[alarm.name] = alarm.worst(found.values())
            if begins:
                value = alarm.worst(found[group] for group in begins)
                sentence = alarm.sentence.format(of=_in_words(begins), value=alarm.form(value))
                raised.append(self._raise(step, alarm.name, value, threshold, sentence))
        if (threshold := self._config.held_out) is not None:
            fall, has_begun = self._held_out.look(step, numbers, threshold)
            if fall is not None:
                values[HELD_OUT] = fall
                if has_begun:
                    sentence = self._held_out.sentence(fall)
                    raised.append(self._raise(step, HELD_OUT, fall, threshold, sentence))
        counts = {kind: len(found) for kind, found in self._structures.items()}
        return Looked(raised, metrics.alarm_metrics(values, self._on()) | metrics.structure_metrics(counts))

    def _look_at(
        self, alarm: Alarm, threshold: float, facts: Facts, over: set[tuple[str, str]]
    ) -> tuple[dict[str, float], list[str]]:
        """The number of every group that can be judged, and the groups that begin; add to `over`."""
        groups = self._watched[alarm.name]
        found: dict[str, float] = {}
        begins: list[str] = []
        for group, evidence in alarm.look(facts):
            if not num_counted(evidence) or any((name, group) in over for name in alarm.behind):
                continue
            watched = groups.setdefault(group, Watched())
            watched.add(evidence, alarm.fewest)
            value = watched.value(alarm)
            if value is not None:
                found[group] = value
                if watched.judge(watched.persists(alarm, threshold)):
                    begins.append(group)
            if watched.is_over(alarm, evidence, threshold):
                over.add((alarm.name, group))
        over.update((alarm.name, group) for group, watched in groups.items() if watched.is_on)
        return found, begins

    def _raise(self, step: int, name: str, value: float, threshold: float, sentence: str) -> Raised:
        action = Action.STOP if name in self._config.stop else Action.WARN
        return Raised(step, name, value, threshold, sentence, action)

    def _on(self) -> list[str]:
        """The alarms that are on."""
        named = [name for name, groups in self._watched.items() if any(w.is_on for w in groups.values())]
        return [*named, HELD_OUT] if self._held_out.is_on else named

    def _tasks_of(self, lines: Sequence[LedgerLine]) -> list[Task]:
        """The tasks that a step or a wave of seeding accepted; what they are like is remembered."""
        attempts: dict[int, list[LedgerLine]] = defaultdict(list)
        for line in lines:
            if line.role is Role.SOLVE:
                attempts[line.index].append(line)
        tasks = []
        for line in lines:
            if line.role is Role.PROPOSE and line.record is not None:
                record = TaskRecord(line.kind, line.record)
                form, forms = digest(form_of(record)), self._forms[line.kind]
                key = self._pack.structure_key(record)
                structure = form if key is None else digest(key)
                of_it = attempts[line.index]
                well_formed = sum(attempt.outcome is not Outcome.MALFORMED for attempt in of_it)
                tasks.append(
                    Task(
                        kind=line.kind,
                        structure=structure,
                        level=self._pack.difficulty(record),
                        is_repeat=form in forms,
                        solve_rate=line.solve_rate,
                        is_readable=bool(of_it) and 2 * well_formed >= len(of_it),
                    )
                )
                forms.add(form)
                self._structures[line.kind].add(structure)
        return tasks

    def state_dict(self) -> dict[str, Any]:
        """What the next steps are judged by, as JSON values."""
        return {
            "forms": {kind: "".join(sorted(found)) for kind, found in self._forms.items()},
            "structures": {kind: "".join(sorted(found)) for kind, found in self._structures.items()},
            "watched": {
                name: {group: watched.to_json() for group, watched in groups.items()}
                for name, groups in self._watched.items()
            },
            "held_out": self._held_out.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where `state_dict` left off."""
        self._forms, self._structures = (
            {
                kind: {text[i : i + DIGEST_DIGITS] for i in range(0, len(text), DIGEST_DIGITS)}
                for kind, text in state[name].items()
            }
            for name in ("forms", "structures")
        )
        self._watched = {
            name: {group: Watched.from_json(values) for group, values in groups.items()}
            for name, groups in state["watched"].items()
        }
        self._held_out = HeldOut(state["held_out"])


def usable_shares(pack: TaskPack) -> dict[tuple[str, str], float]:
    """By kind and difficulty, where the pack counts its tasks: share of them that is not held out."""
    held_out = Counter((record.kind, pack.difficulty(record)) for record in pack.held_out())
    return {
        (spec.name, level): 1 - held_out[spec.name, level] / total
        for spec in pack.kinds
        for level, total in pack.num_tasks(spec.name).items()
        if held_out[spec.name, level] < total
    }


def form_of(record: TaskRecord) -> str:
    """The task with 0 for every number: what near duplicates have in common."""
    return re.sub("[0-9]+", "0", json.dumps(dict(record.payload), sort_keys=True))


def _in_words(groups: Sequence[str]) -> str:
    """`attempts at deduction` for `solve/deduction`; a kind as it is."""
    words = {Role.PROPOSE: "proposals of", Role.SOLVE: "attempts at"}
    parts = [group.partition("/") for group in groups]
    return " and ".join(f"{words[Role(role)]} {kind}" if kind else role for role, _, kind in parts)
