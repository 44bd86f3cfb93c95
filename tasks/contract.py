"""The contract between a task pack and the recipe.

A pack states facts: how to ask for a task, whether a proposal is a task, what a solver is asked, and
whether an answer is right. It never sees a reward, a tokenizer, a tensor or a configuration tree.
Rewards are in `rewards/`, advantages in `recipe/engine/estimator.py`.
"""

from __future__ import annotations

import json
import math
import random
import re
import reprlib
import warnings
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, ClassVar, Self

Message = dict[str, str]
"""One chat message in OpenAI form: `{"role": ..., "content": ...}`."""

Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]


class Role(StrEnum):
    """Which half of self-play produced a response."""

    PROPOSE = "propose"
    SOLVE = "solve"


class Outcome(StrEnum):
    """What is true of one response. `rewards/` prices it; a pack never does."""

    MALFORMED = "malformed"  # the response does not fit the grammar that its prompt asked for
    WRONG = "wrong"  # it fits the grammar, but is no valid task (propose) or not a right answer (solve)
    CORRECT = "correct"  # a valid task (propose) or a right answer (solve)


class ContractError(TypeError):
    """A value that the contract does not allow, found where it is made: a fault of the pack's code.

    No `ValueError`: a pack that takes those for a fault of a response must not take this one for it.
    """


@dataclass(frozen=True, slots=True)
class KindSpec:
    """A kind of task in a pack."""

    # Lower case letters, digits and hyphens. It becomes part of verl's uid, and verl's replay buffer splits
    # uids at the first underscore.
    name: str
    reference_kinds: tuple[str, ...]  # kinds whose buffered records a proposer's prompt of this kind shows
    num_references: int  # records shown per proposal; 0 asks without any

    def __post_init__(self) -> None:
        named = isinstance(self.name, str) and re.fullmatch("[a-z0-9-]+", self.name)
        _require(named, "KindSpec.name", "lower case letters, digits and hyphens", self.name)
        shown, count = self.reference_kinds, self.num_references
        are_names = isinstance(shown, tuple) and all(isinstance(kind, str) for kind in shown)
        _require(are_names, "KindSpec.reference_kinds", "a tuple of strings", shown)
        counts = isinstance(count, int) and not isinstance(count, bool) and count >= 0
        _require(counts, "KindSpec.num_references", "an integer from 0", count)


@dataclass(frozen=True, slots=True)
class TaskRecord:
    """One accepted task, as it stands in the buffer, in checkpoints and in the ledger."""

    kind: str  # name of a `KindSpec` of the pack that made it
    payload: Mapping[str, Json]  # JSON values only: all that `solve_prompt` and `judge` need

    def __post_init__(self) -> None:
        payload = self.payload
        _require(isinstance(self.kind, str), "TaskRecord.kind", "a string", self.kind)
        _require(isinstance(payload, Mapping), "TaskRecord.payload", "a mapping", payload)
        try:
            # `nan` is written and read, but is no JSON, and equals nothing.
            back = json.loads(json.dumps(dict(payload), allow_nan=False))
        except (TypeError, ValueError, RecursionError) as error:
            words = f"TaskRecord.payload must be JSON; got {reprlib.repr(payload)}: {error}"
            raise ContractError(words) from error
        _require(back == payload, "TaskRecord.payload", "what JSON does not change (no tuples, say)", payload)

    def to_json(self) -> str:
        """The record as one line of a file: `{"kind": ..., "payload": {...}}`."""
        return json.dumps({"kind": self.kind, "payload": dict(self.payload)})

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The inverse of `to_json`; ValueError, KeyError or TypeError for a text that it did not write."""
        values = json.loads(text)
        return cls(kind=values["kind"], payload=values["payload"])


@dataclass(frozen=True, slots=True)
class Accepted:
    """A proposal that is a valid task. Its outcome is `Outcome.CORRECT`."""

    record: TaskRecord

    def __post_init__(self) -> None:
        _require(isinstance(self.record, TaskRecord), "Accepted.record", "a TaskRecord", self.record)


@dataclass(frozen=True, slots=True)
class Rejected:
    """A proposal that is not."""

    outcome: Outcome  # MALFORMED or WRONG
    reason: str  # a stable slug for metrics and the ledger, such as "operand-out-of-range"

    def __post_init__(self) -> None:
        refused = self.outcome is Outcome.MALFORMED or self.outcome is Outcome.WRONG
        _require(refused, "Rejected.outcome", "MALFORMED or WRONG", self.outcome)
        _require(_is_slug(self.reason), "Rejected.reason", "a slug such as no-answer", self.reason)

    @classmethod
    def malformed(cls, reason: str) -> Self:
        """The response does not fit the grammar that its prompt asked for."""
        return cls(Outcome.MALFORMED, reason)

    @classmethod
    def wrong(cls, reason: str) -> Self:
        """It fits, and is no valid task."""
        return cls(Outcome.WRONG, reason)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What `judge` found out about one attempt."""

    outcome: Outcome
    reason: str  # a stable slug, such as "no-answer" or "wrong-value"; "" for CORRECT
    # Numbers that are true of the attempt, by name: how far off it is, say. A profile may price a wrong
    # attempt by one of them; the outcome, and so the solve rate, knows nothing of them.
    measures: Mapping[str, float] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        _require(isinstance(self.outcome, Outcome), "Verdict.outcome", "an Outcome", self.outcome)
        if self.outcome is Outcome.CORRECT:
            _require(self.reason == "", "Verdict.reason", "empty for CORRECT", self.reason)
        else:
            _require(_is_slug(self.reason), "Verdict.reason", "a slug such as no-answer", self.reason)
        _require(isinstance(self.measures, Mapping), "Verdict.measures", "numbers by name", self.measures)
        for name, number in self.measures.items():
            _require(is_number(number), f"Verdict.measures[{name!r}]", "a finite number", number)

    @classmethod
    def correct(cls, measures: Mapping[str, float] | None = None) -> Self:
        """A right answer."""
        return cls(Outcome.CORRECT, "", measures or {})

    @classmethod
    def malformed(cls, reason: str, measures: Mapping[str, float] | None = None) -> Self:
        """The response does not fit the grammar that its prompt asked for."""
        return cls(Outcome.MALFORMED, reason, measures or {})

    @classmethod
    def wrong(cls, reason: str, measures: Mapping[str, float] | None = None) -> Self:
        """It fits, and is not a right answer."""
        return cls(Outcome.WRONG, reason, measures or {})


def is_number(value: object) -> bool:
    """Whether a value is a finite number, and no truth value."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_slug(value: object) -> bool:
    return isinstance(value, str) and re.fullmatch("[a-z0-9]+(-[a-z0-9]+)*", value) is not None


def _require(holds: object, what: str, wanted: str, got: object) -> None:
    if not holds:
        raise ContractError(f"{what} must be {wanted}; got {reprlib.repr(got)}")


class PackUnavailableError(RuntimeError):
    """What a pack checks with cannot run on this machine; the message says why and what to do."""


class CheckBrokenError(RuntimeError):
    """What a pack checks with broke during a call: a dead sandbox, a server that does not answer.

    It says nothing about the response, so no reward is made of it: the response is left out and counted
    (`azr.failures.max_share`). Every other exception of a pack is a fault of the pack and stops the run.
    """


RENAMED = {"settle": "resolve", "settles": "resolves", "check": "require_available"}
"""Former name -> name, of members of `TaskPack`.

A pack may define, set, call or extend by `super()` either of them: on every class and instance both are one
and the same attribute.
"""

_TWINS = RENAMED | {name: former for former, name in RENAMED.items()}


class TaskPack(ABC):
    """A domain in which a model can propose tasks and solve them.

    An instance is built once a process from `conf/pack/<name>.yaml`, pickles, and keeps no state between
    calls: the same arguments give the same result. Text from a model never makes a method raise; when the
    machinery that checks it breaks (a dead sandbox, say), the method raises `CheckBrokenError` and never
    answers WRONG. `tasks/guard.py` holds a pack to all of this during a run.
    """

    name: ClassVar[str]
    """Lower case letters, digits and underscores; of a pack in this repository, its folder under `tasks/`."""

    held_out_version: ClassVar[int]
    """Version of the held-out set that this code was written for."""

    checks_repeat: ClassVar[bool] = True
    """Whether `accept`, `resolve` and `judge` say the same when they are asked twice. False for a pack that
    runs what the model wrote: a program may do one thing now and another the next time."""

    resolves: bool = False
    """Whether attempts decide what an accepted proposal becomes, by `resolve`. The recipe then has proposals
    attempted while seeding as well."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        for former, name in RENAMED.items():
            # Every pack has both names, so whoever has one of them is this class or a mix-in.
            owner = next(base for base in cls.__mro__ if former in vars(base) or name in vars(base))
            if name not in vars(owner):
                message = f"{cls.__qualname__}.{former} is now called {name}"
                warnings.warn(message, DeprecationWarning, stacklevel=3)
                setattr(cls, name, vars(owner)[former])
            if former not in vars(owner):
                setattr(cls, former, vars(owner)[name])

    def __setattr__(self, name: str, value: object) -> None:
        super().__setattr__(name, value)
        if name in _TWINS:
            super().__setattr__(_TWINS[name], value)

    def require_available(self) -> None:
        """Raise `PackUnavailableError`, before anything is started, if this machine cannot check tasks."""
        return None

    @property
    @abstractmethod
    def kinds(self) -> tuple[KindSpec, ...]:
        """The kinds of task that this instance proposes and solves, in a fixed order."""

    @property
    def stop_strings(self) -> tuple[str, ...]:
        """Strings that end a response of either role: nothing is asked of the model behind the first of them.

        For models that go on after an answer. The response ends with it, and with what else its last token
        holds. `azr.stop_strings` may give others.
        """
        return ()

    @abstractmethod
    def seeds(self) -> Sequence[TaskRecord]:
        """Records that start the buffer: at least one of every kind that is used as a reference."""

    @abstractmethod
    def propose_prompt(
        self, kind: str, references: Sequence[TaskRecord], rng: random.Random, *, step: int = 0
    ) -> list[Message]:
        """Chat prompt that asks for one new task of `kind`, unlike `references`.

        `step` is the training step, for packs that ask for more as a run goes on; 0 outside of training.
        References may be fewer than the `KindSpec` says, or none, if the buffer has no more or a prompt with
        them would be too long.
        """

    @abstractmethod
    async def accept(
        self, kind: str, response: str, references: Sequence[TaskRecord], *, step: int = 0
    ) -> Accepted | Rejected:
        """Parse and check one proposal; `references` and `step` are those of its prompt."""

    async def resolve(self, record: TaskRecord, responses: Sequence[str]) -> Accepted | Rejected:
        """Make an accepted record whole by the attempts at it, or refuse it; only where `resolves`.

        Called once, when all attempts are in. The record it gives is then judged, priced and stored; to
        `task_key` and `solve_prompt` it is the same task. The order of `responses` decides nothing.
        """
        return Accepted(record)

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Features that this pack can measure, for a proposer's extra rewards (`rewards/bonus.py`)."""
        return ()

    def features(
        self, record: TaskRecord, references: Sequence[TaskRecord], names: Sequence[str]
    ) -> dict[str, float]:
        """Measure an accepted proposal: a number for each of `names`, the features that a run rewards.

        What cannot be measured of this proposal is left out, and counts as 0.
        """
        return {}

    def answer_key(self, record: TaskRecord) -> str | None:
        """What makes two tasks' answers the same, to reward rare ones; None where there is no such thing."""
        return None

    def structure_key(self, record: TaskRecord) -> str | None:
        """What tasks of one make share, whatever their numbers or names; None where there is no such thing.

        Coarser than `task_key`, to reward tasks unlike those that the buffer is full of.
        """
        return None

    @property
    def measure_names(self) -> tuple[str, ...]:
        """Names that `Verdict.measures` of this pack may have, for profiles that grade wrong attempts."""
        return ()

    def difficulty(self, record: TaskRecord) -> str:
        """How hard a task is, as a label of lower case letters, digits and hyphens; "" where a pack has none.

        A fact about the task, not about the model. A run can take TRR++'s baselines by it
        (`algorithm.trr.cells=role-difficulty`); "none" is taken there, for proposals that made no task.
        """
        return ""

    def num_tasks(self, kind: str) -> Mapping[str, int]:
        """How many tasks of `kind` can be proposed, by `difficulty`, equal keys once; empty where unknown.

        For a domain that may run out of new tasks: metrics say which share of them a run has had.
        """
        return {}

    def levels(self, kind: str) -> tuple[str, ...]:
        """The values of `difficulty` that `sample_at` can draw, from easy to hard; () where a pack has none.

        Each is lower case letters and digits, with single hyphens between them, and not "none".
        """
        return ()

    def sample_at(self, kind: str, level: str, rng: random.Random) -> TaskRecord:
        """Draw a task of `kind` evenly from those whose `difficulty` is `level`, as a designer would.

        Raises:
            ValueError: `level` is none of `levels(kind)`.
        """
        raise ValueError(f"pack {self.name} has no levels; got {level!r}")

    @abstractmethod
    def solve_prompt(self, record: TaskRecord) -> list[Message]:
        """Chat prompt for a solver; must not give the answer away."""

    @abstractmethod
    async def judge(self, record: TaskRecord, response: str) -> Verdict:
        """Compare one attempt with what the record demands."""

    @abstractmethod
    def gold_response(self, record: TaskRecord) -> str:
        """A solver's response that `judge` calls CORRECT."""

    def worked_response(self, record: TaskRecord) -> str:
        """A right response that shows its working, if there is any: the tiny model's warm-up shows both."""
        return self.gold_response(record)

    @abstractmethod
    def gold_proposal(self, record: TaskRecord) -> str:
        """A proposer's response that `accept` turns into `record`."""

    @abstractmethod
    def sample_record(self, kind: str, rng: random.Random) -> TaskRecord:
        """Draw a valid task of `kind`: for the tiny model's warm-up and held-out sets, not for self-play."""

    def warmup_task(self, kind: str, rng: random.Random) -> TaskRecord:
        """Draw a task that the tiny model's warm-up solves, or shows as a reference."""
        return self.sample_record(kind, rng)

    def warmup_proposal(self, kind: str, references: Sequence[TaskRecord], rng: random.Random) -> TaskRecord:
        """Draw a task that the tiny model's warm-up proposes, asked with these references.

        It may be harder than any `warmup_task`: a proposer can write what it cannot solve yet.
        """
        return self.sample_record(kind, rng)

    @abstractmethod
    def held_out(self) -> Sequence[TaskRecord]:
        """The fixed evaluation set, which self-play refuses to train on.

        Raises:
            FileNotFoundError: The set's file is missing.
            ValueError: The file is of another pack or version than `held_out_version`.
        """

    def held_out_groups(self, record: TaskRecord) -> tuple[str, ...]:
        """The parts of the held-out set that a task is in, by which results are reported beside the whole.

        At least one, each of lower case letters, digits and hyphens, and not "all".
        """
        return (record.kind,)

    def task_key(self, record: TaskRecord) -> str:
        """Identity of the task: equal keys are duplicates of each other, whatever their wording."""
        return record.kind + " " + json.dumps(record.payload, sort_keys=True, ensure_ascii=True)

    def spec(self, kind: str) -> KindSpec:
        """The `KindSpec` called `kind`; ValueError if this pack has none."""
        specs = {spec.name: spec for spec in self.kinds}
        if kind not in specs:
            raise ValueError(f"kind must be one of {', '.join(specs)}; got {kind!r} (pack {self.name})")
        return specs[kind]

    settles = resolves
    settle = resolve
    check = require_available
