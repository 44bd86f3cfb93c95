"""The values that self-play is about: what is asked, what comes back, what it is worth.

Requests and results cross processes as JSON. Tokens stay behind; verl carries them itself.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from enum import StrEnum
from statistics import fmean
from typing import Any, NamedTuple, Self, TypeVar

from tasks.contract import Message, Outcome, Rejected, Role, TaskRecord

Value = TypeVar("Value")

ALARM_ROLE = "alarm"
"""In the place of a role in a line of the ledger that is no response but an alarm (`alarms.py`)."""

PROPOSAL = None
"""Stands for the proposal itself where an attempt's number is asked."""


class Refusal(StrEnum):
    """Why a task that the pack accepts is not taken."""

    DUPLICATE = "duplicate"  # the buffer, or another proposal of the step, holds it already
    HELD_OUT = "held-out"  # it is in the evaluation set, of which nothing may reach training
    TOO_LONG = "too-long"  # its solver prompt does not fit the context: it can never be attempted
    SURPLUS = "surplus"  # its step had all that it wanted of the kind already

    @property
    def outcome(self) -> Outcome:
        """WRONG where the proposer is at fault. Else the task is valid; without attempts it has no price."""
        blameless = self in (Refusal.HELD_OUT, Refusal.SURPLUS)
        return Outcome.CORRECT if blameless else Outcome.WRONG


class JsonValue:
    """A dataclass that crosses processes as JSON."""

    __slots__ = ()

    def to_json(self) -> str:
        """The fields by name, without tokens."""
        return json.dumps(self, default=_to_json)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The inverse of `to_json`."""
        return _from_json(cls, json.loads(text))


@dataclass(frozen=True, slots=True)
class Response:
    """One response of the model."""

    text: str  # decoded, without special tokens
    tokens: Any = None  # what the caller of the engine needs to train on it (opaque here; None in unit tests)


@dataclass(frozen=True, slots=True)
class Request(JsonValue):
    """One thing that is asked of the model in a wave: to propose a task, or to solve `record`."""

    index: int  # its place in the step, unique within it
    role: Role
    kind: str  # of the pack
    messages: list[Message]
    references: tuple[TaskRecord, ...] = ()  # those shown in a proposer's prompt
    record: TaskRecord | None = None  # the task to solve; None for a proposal
    # At an accepted proposal; 0 for a solve request, and while seeding unless the pack resolves by attempts.
    num_attempts: int = 0
    step: int = 0  # of training, for a proposal; 0 while seeding, and for a solve request

    @staticmethod
    def solve(index: int, record: TaskRecord, messages: list[Message]) -> Request:
        """A request for one attempt at `record`."""
        return Request(index, Role.SOLVE, record.kind, messages, record=record)


@dataclass(frozen=True, slots=True)
class Attempt(JsonValue):
    """One response of the solver and what is true of it."""

    response: Response
    outcome: Outcome
    reason: str  # why it is not correct; "" when it is
    measures: Mapping[str, float] = field(default_factory=dict)  # what the pack measured of it, by name


@dataclass(frozen=True, slots=True)
class Proposal(JsonValue):
    """One response of the proposer and what is true of it."""

    response: Response
    outcome: Outcome
    reason: str  # why it was rejected or refused; "" when it was accepted
    record: TaskRecord | None = None  # the new task, when it was accepted
    key: str = ""  # the pack's key of `record`; "" without one
    messages: list[Message] = field(default_factory=list)  # the solver's prompt for `record`
    attempts: tuple[Attempt, ...] = ()  # those that got a response
    num_failed: int = 0  # attempts that got none
    # What the pack measured of `record`, by name; empty without extra rewards.
    features: Mapping[str, float] = field(default_factory=dict)
    num_dropped: int = 0  # references that its prompt had no room for (`rollout.with_fewer_references`)

    @staticmethod
    def rejected(response: Response, found: Rejected) -> Proposal:
        """A response that is no valid task to the pack."""
        return Proposal(response, found.outcome, found.reason)

    @staticmethod
    def refused(response: Response, refusal: Refusal) -> Proposal:
        """A task that the pack accepts and self-play does not take."""
        return Proposal(response, refusal.outcome, refusal.value)

    @property
    def solve_rate(self) -> float | None:
        """Share of correct attempts among those that got a response; None when there were none."""
        return share_correct(self.attempts) if self.attempts else None


def share_correct(attempts: Sequence[Attempt]) -> float:
    """Share of correct ones among some attempts, in [0, 1]."""
    return fmean(attempt.outcome is Outcome.CORRECT for attempt in attempts)


Results = Mapping[int, Proposal | Attempt]
"""Results by request index. A request without one has failed: it is left out and counted."""


class Place(NamedTuple):
    """Where a response stands in its step."""

    request: int  # index of its request; a proposal and the attempts at it share it
    attempt: int | None  # its number, or `PROPOSAL`


@dataclass(frozen=True, slots=True)
class Priced:
    """What the trainer needs to train on one response."""

    uid: str  # carries role, kind and difficulty to the estimator (`recipe/selfplay/credit.py`)
    reward: float


@dataclass(frozen=True, slots=True)
class LedgerLine:
    """One response of the model and what became of it: a line of the run's ledger."""

    step: int  # of training; 0 for the seeding phase
    role: Role  # who responded
    kind: str  # of task
    cell: str  # of `algorithm.trr.cells`: responses whose rewards are compared
    index: int  # the request's place in the step; a proposal and the attempts at it share it
    attempt: int | None  # its number, or `PROPOSAL`
    prompt: list[Message]
    response: str
    outcome: Outcome
    reason: str  # why it is not correct, or why a correct proposal was not wanted; else ""
    solve_rate: float | None  # share of correct attempts, in [0, 1]; None unless a proposal was attempted
    reward: float | None  # None where the response is not trained on
    record: dict[str, Any] | None  # payload of the task that was made or attempted; None if it was refused
    measures: dict[str, float] = field(default_factory=dict)  # what the pack measured of an attempt, by name
    features: dict[str, float] = field(default_factory=dict)  # of an accepted proposal, for extra rewards

    @staticmethod
    def of(
        step: int,
        request: Request,
        result: Proposal | Attempt,
        reward: float | None,
        number: int | None,
        cell: str,
    ) -> LedgerLine:
        """The line of the attempt of this number, or of a proposal, which has `PROPOSAL`."""
        proposal = result if isinstance(result, Proposal) else None
        record = proposal.record if proposal else request.record
        return LedgerLine(
            step=step,
            role=request.role,
            kind=request.kind,
            cell=cell,
            index=request.index,
            attempt=number,
            prompt=request.messages,
            response=result.response.text,
            outcome=result.outcome,
            reason=result.reason,
            solve_rate=proposal.solve_rate if proposal else None,
            reward=reward,
            record=None if record is None else dict(record.payload),
            measures=dict(result.measures) if isinstance(result, Attempt) else {},
            features=dict(proposal.features) if proposal else {},
        )

    def to_json(self) -> dict[str, Any]:
        """JSON values, keys in a fixed order; they are not copied: a step writes hundreds of lines."""
        return {part.name: getattr(self, part.name) for part in fields(self)}


@dataclass(frozen=True, slots=True)
class Settlement:
    """A settled wave of seeding, or a settled step."""

    num_failed: int  # responses that never came
    priced: dict[Place, Priced] = field(default_factory=dict)  # those to train on; none in the seeding
    ledger: list[LedgerLine] = field(default_factory=list)  # in the order of requests and attempts
    num_dropped: Counter[str] = field(default_factory=Counter)  # references without room in a prompt, by kind
    # By cell, the running mean that is its baseline; empty where each batch decides its own.
    baselines: dict[str, float] = field(default_factory=dict)


def _to_json(value: Any) -> Any:
    """What stands for a value that is none of JSON's."""
    match value:
        case Response():
            return value.text
        case Mapping():
            return dict(value)
        case _:
            return {part.name: getattr(value, part.name) for part in fields(value)}


def _from_json(cls: type[Value], values: Mapping[str, Any]) -> Value:
    return cls(**{name: _READ[name](value) if name in _READ else value for name, value in values.items()})


_READ: dict[str, Callable[[Any], Any]] = {
    "role": Role,
    "outcome": Outcome,
    "response": Response,
    "record": lambda record: None if record is None else TaskRecord(**record),
    "references": lambda records: tuple(TaskRecord(**record) for record in records),
    "attempts": lambda attempts: tuple(_from_json(Attempt, attempt) for attempt in attempts),
}
"""Fields that are no JSON values, by name: how each is read back."""
