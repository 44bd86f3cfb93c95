"""The values that self-play is about: what is asked, what comes back, what it is worth.

Requests and results cross processes as JSON: `to_json` and `from_json` of each are the one codec. Tokens stay
behind; verl carries them itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple

from tasks.contract import Message, Outcome, Rejected, Role, TaskRecord

if TYPE_CHECKING:
    from recipe.selfplay.ledger import LedgerLine

PROPOSAL = -1
"""Stands for the proposal itself where an attempt's number is asked."""


class Refusal(StrEnum):
    """Why a task that the pack accepts is not taken."""

    DUPLICATE = "duplicate"
    """The buffer, or another proposal of the step, holds it already."""

    HELD_OUT = "held-out"
    """It is in the evaluation set."""

    TOO_LONG = "too-long"
    """Its solver prompt does not fit the context: it can never be attempted."""

    SURPLUS = "surplus"
    """Valid and new, it came when its step had all that it wanted of the kind: no fault of the proposer."""


@dataclass(frozen=True, slots=True)
class Response:
    """One response of the model.

    Attributes:
        text: Decoded, without special tokens.
        tokens: What the caller of the engine needs to train on it (opaque here; None in unit tests).
    """

    text: str
    tokens: Any = None


@dataclass(frozen=True, slots=True)
class Request:
    """One thing that is asked of the model in a wave.

    Attributes:
        index: Its place in the step, unique within it.
        role: Whether a task is proposed or `record` is solved.
        kind: A kind of the pack.
        messages: The chat prompt.
        references: The records shown in a proposer's prompt.
        record: The task to solve; None for a proposal.
        num_attempts: Attempts at an accepted proposal; 0 for a solve request, and while seeding unless the
            pack resolves tasks by them.
        step: The training step that a proposal is asked for in; 0 while seeding, and for a solve request.
    """

    index: int
    role: Role
    kind: str
    messages: list[Message]
    references: tuple[TaskRecord, ...] = ()
    record: TaskRecord | None = None
    num_attempts: int = 0
    step: int = 0

    @staticmethod
    def solve(index: int, record: TaskRecord, messages: list[Message]) -> Request:
        """A request for one attempt at `record`."""
        return Request(index, Role.SOLVE, record.kind, messages, record=record)

    def to_json(self) -> dict[str, Any]:
        """JSON values."""
        return {
            "index": self.index,
            "role": self.role.value,
            "kind": self.kind,
            "messages": self.messages,
            "references": [_record_to_json(record) for record in self.references],
            "record": _record_to_json(self.record),
            "num_attempts": self.num_attempts,
            "step": self.step,
        }

    @staticmethod
    def from_json(values: Mapping[str, Any]) -> Request:
        """The inverse of `to_json`."""
        return Request(
            index=values["index"],
            role=Role(values["role"]),
            kind=values["kind"],
            messages=values["messages"],
            references=tuple(TaskRecord(**record) for record in values["references"]),
            record=_record_from_json(values["record"]),
            num_attempts=values["num_attempts"],
            step=values["step"],
        )


@dataclass(frozen=True, slots=True)
class Attempt:
    """One response of the solver and what is true of it.

    Attributes:
        response: The model's text.
        outcome: MALFORMED, WRONG or CORRECT.
        reason: Why it is not correct; "" when it is.
        measures: What the pack measured of it, by name.
    """

    response: Response
    outcome: Outcome
    reason: str
    measures: Mapping[str, float] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """JSON values, without tokens."""
        return {
            "type": "attempt",
            "response": self.response.text,
            "outcome": self.outcome.value,
            "reason": self.reason,
            "measures": dict(self.measures),
        }

    @staticmethod
    def from_json(values: Mapping[str, Any]) -> Attempt:
        """The inverse of `to_json`."""
        return Attempt(
            response=Response(values["response"]),
            outcome=Outcome(values["outcome"]),
            reason=values["reason"],
            measures=values["measures"],
        )


@dataclass(frozen=True, slots=True)
class Proposal:
    """One response of the proposer and what is true of it. Made by its constructors below.

    Attributes:
        response: The model's text.
        outcome: MALFORMED, WRONG or CORRECT.
        reason: Why it was rejected or refused; "" when it was accepted.
        record: The new task, when it was accepted.
        key: The pack's key of `record`; "" without one.
        messages: The solver's prompt for `record`; empty without one.
        attempts: The attempts that got a response.
        num_failed: Attempts that got none.
        features: What the pack measured of `record`, by name; empty without extra rewards.
    """

    response: Response
    outcome: Outcome
    reason: str
    record: TaskRecord | None = None
    key: str = ""
    messages: list[Message] = field(default_factory=list)
    attempts: tuple[Attempt, ...] = ()
    num_failed: int = 0
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

    @staticmethod
    def accepted(
        response: Response,
        record: TaskRecord,
        key: str,
        messages: list[Message],
        attempts: tuple[Attempt, ...] = (),
        num_failed: int = 0,
        features: Mapping[str, float] | None = None,
    ) -> Proposal:
        """A response that made the task `record`, and the attempts at it."""
        return Proposal(
            response, Outcome.CORRECT, "", record, key, messages, attempts, num_failed, features or {}
        )

    @property
    def solve_rate(self) -> float | None:
        """Share of correct attempts among those that got a response; None when there were none."""
        if not self.attempts:
            return None
        return sum(attempt.outcome is Outcome.CORRECT for attempt in self.attempts) / len(self.attempts)

    def to_json(self) -> dict[str, Any]:
        """JSON values, without tokens."""
        return {
            "type": "proposal",
            "response": self.response.text,
            "outcome": self.outcome.value,
            "reason": self.reason,
            "record": _record_to_json(self.record),
            "key": self.key,
            "messages": self.messages,
            "attempts": [attempt.to_json() for attempt in self.attempts],
            "num_failed": self.num_failed,
            "features": dict(self.features),
        }

    @staticmethod
    def from_json(values: Mapping[str, Any]) -> Proposal:
        """The inverse of `to_json`."""
        return Proposal(
            response=Response(values["response"]),
            outcome=Outcome(values["outcome"]),
            reason=values["reason"],
            record=_record_from_json(values["record"]),
            key=values["key"],
            messages=values["messages"],
            attempts=tuple(Attempt.from_json(attempt) for attempt in values["attempts"]),
            num_failed=values["num_failed"],
            features=values["features"],
        )


Results = Mapping[int, Proposal | Attempt]
"""Results by request index. A request without one has failed: it is left out and counted."""


def result_from_json(values: Mapping[str, Any]) -> Proposal | Attempt:
    """The proposal or attempt whose `to_json` these values are."""
    types: dict[str, type[Proposal] | type[Attempt]] = {"proposal": Proposal, "attempt": Attempt}
    return types[values["type"]].from_json(values)


class Place(NamedTuple):
    """Where a response stands in its step.

    Attributes:
        request: Index of its request. A proposal and the attempts at it share it.
        attempt: Number of the attempt, or `PROPOSAL`.
    """

    request: int
    attempt: int


@dataclass(frozen=True, slots=True)
class Priced:
    """What the trainer needs to train on one response.

    Attributes:
        uid: Carries role, kind and difficulty to the estimator (`recipe/selfplay/credit.py`).
        reward: Scalar.
    """

    uid: str
    reward: float


@dataclass(frozen=True, slots=True)
class Settlement:
    """A settled wave of seeding, or a settled step.

    Attributes:
        num_failed: Responses that never came.
        priced: The responses to train on; none in the seeding.
        ledger: One line a response, in the order of requests and attempts.
        baselines: By cell, the running mean that is its baseline; empty where each batch decides its own.
    """

    num_failed: int
    priced: dict[Place, Priced] = field(default_factory=dict)
    ledger: list[LedgerLine] = field(default_factory=list)
    baselines: dict[str, float] = field(default_factory=dict)


def _record_to_json(record: TaskRecord | None) -> dict[str, Any] | None:
    return None if record is None else {"kind": record.kind, "payload": dict(record.payload)}


def _record_from_json(values: Mapping[str, Any] | None) -> TaskRecord | None:
    return None if values is None else TaskRecord(**values)
