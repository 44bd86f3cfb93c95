"""The values that self-play is about: what is asked, what comes back, what it is worth.

Requests and results cross processes as JSON. Tokens stay behind; verl carries them itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from tasks.contract import Message, Outcome, Rejected, Role, TaskRecord

if TYPE_CHECKING:
    from recipe.selfplay.ledger import LedgerLine

PROPOSAL = -1
"""Stands for the proposal itself where an attempt's number is asked."""


class Refusal(StrEnum):
    """Why a task that the pack accepts is not taken."""

    DUPLICATE = "duplicate"  # the buffer, or another proposal of the step, holds it already
    HELD_OUT = "held-out"  # it is in the evaluation set
    TOO_LONG = "too-long"  # its solver prompt does not fit the context: it can never be attempted
    SURPLUS = "surplus"  # its step had all that it wanted of the kind already: no fault of the proposer


class JsonValue:
    """A dataclass that crosses processes as the JSON values of its fields, by their names."""

    __slots__ = ()

    def to_json(self) -> dict[str, Any]:
        """JSON values, without tokens."""
        return _fields_to_json(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """The inverse of `to_json`."""
        own = {name: value for name, value in values.items() if name != "type"}
        return cls(**{name: _READ[name](value) if name in _READ else value for name, value in own.items()})


class Result(JsonValue):
    """What came of a request. Its JSON values say which sort of result it is."""

    __slots__ = ()

    def to_json(self) -> dict[str, Any]:
        """JSON values, without tokens, and the `type` that `result_from_json` reads."""
        return {"type": type(self).__name__, **super().to_json()}


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
class Attempt(Result):
    """One response of the solver and what is true of it."""

    response: Response
    outcome: Outcome
    reason: str  # why it is not correct; "" when it is
    measures: Mapping[str, float] = field(default_factory=dict)  # what the pack measured of it, by name


@dataclass(frozen=True, slots=True)
class Proposal(Result):
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

    @staticmethod
    def rejected(response: Response, found: Rejected) -> Proposal:
        """A response that is no valid task to the pack."""
        return Proposal(response, found.outcome, found.reason)

    @staticmethod
    def refused(response: Response, refusal: Refusal) -> Proposal:
        """A valid task that is not taken. Where that is the proposer's fault, it counts as WRONG."""
        outcome = Outcome.CORRECT if refusal is Refusal.SURPLUS else Outcome.WRONG
        return Proposal(response, outcome, refusal.value)

    @property
    def solve_rate(self) -> float | None:
        """Share of correct attempts among those that got a response; None when there were none."""
        if not self.attempts:
            return None
        return sum(attempt.outcome is Outcome.CORRECT for attempt in self.attempts) / len(self.attempts)


Results = Mapping[int, Proposal | Attempt]
"""Results by request index. A request without one has failed: it is left out and counted."""


def result_from_json(values: Mapping[str, Any]) -> Proposal | Attempt:
    """The proposal or attempt whose `to_json` these values are."""
    return (Proposal if values["type"] == Proposal.__name__ else Attempt).from_json(values)


class Place(NamedTuple):
    """Where a response stands in its step."""

    request: int  # index of its request; a proposal and the attempts at it share it
    attempt: int  # number of the attempt, or `PROPOSAL`


@dataclass(frozen=True, slots=True)
class Priced:
    """What the trainer needs to train on one response."""

    uid: str  # carries role, kind and difficulty to the estimator (`recipe/selfplay/credit.py`)
    reward: float


@dataclass(frozen=True, slots=True)
class Settlement:
    """A settled wave of seeding, or a settled step."""

    num_failed: int  # responses that never came
    priced: dict[Place, Priced] = field(default_factory=dict)  # those to train on; none in the seeding
    ledger: list[LedgerLine] = field(default_factory=list)  # in the order of requests and attempts
    # By cell, the running mean that is its baseline; empty where each batch decides its own.
    baselines: dict[str, float] = field(default_factory=dict)


def _fields_to_json(value: Any) -> dict[str, Any]:
    return {part.name: _to_json(getattr(value, part.name)) for part in fields(value)}


def _to_json(value: Any) -> Any:
    match value:
        case Response():
            return value.text
        case JsonValue() | TaskRecord():
            return _fields_to_json(value)
        case tuple():
            return [_to_json(item) for item in value]
        case Mapping():
            return dict(value)
        case _:
            return value


def _record_from_json(values: Mapping[str, Any] | None) -> TaskRecord | None:
    return None if values is None else TaskRecord(**values)


_READ: dict[str, Callable[[Any], Any]] = {
    "role": Role,
    "outcome": Outcome,
    "response": Response,
    "record": _record_from_json,
    "references": lambda records: tuple(TaskRecord(**record) for record in records),
    "attempts": lambda attempts: tuple(Attempt.from_json(attempt) for attempt in attempts),
}
"""Fields that are no JSON values, by name: how each is read back."""
