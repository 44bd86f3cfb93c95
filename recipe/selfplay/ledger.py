"""The ledger: one line for every proposal and every attempt, appended to a file when its step is settled."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from recipe.selfplay.types import Attempt, Proposal, Request
from tasks.contract import Message, Outcome, Role


@dataclass(frozen=True, slots=True)
class LedgerLine:
    """One response of the model and what became of it."""

    step: int  # of training; 0 for the seeding phase
    role: Role  # who responded
    kind: str  # of task
    index: int  # the request's place in the step; a proposal and the attempts at it share it
    attempt: int | None  # its number; None for a proposal
    prompt: list[Message]
    response: str
    outcome: Outcome
    reason: str  # why it is not correct, or why a correct proposal was not wanted; else ""
    solve_rate: float | None  # share of correct attempts, in [0, 1]; None unless a proposal was attempted
    reward: float | None  # None when the response is not trained on
    record: dict[str, Any] | None  # payload of the task that was made or attempted; None if it was refused
    measures: dict[str, float] = field(default_factory=dict)  # what the pack measured of an attempt, by name
    features: dict[str, float] = field(default_factory=dict)  # of an accepted proposal, for extra rewards

    @staticmethod
    def of(
        step: int,
        request: Request,
        result: Proposal | Attempt,
        reward: float | None,
        *,
        attempt: int | None = None,
        features: Mapping[str, float] | None = None,
    ) -> LedgerLine:
        """The line of a proposal, with the features that its reward was computed from, or of an attempt."""
        record = result.record if isinstance(result, Proposal) else request.record
        return LedgerLine(
            step=step,
            role=request.role,
            kind=request.kind,
            index=request.index,
            attempt=attempt,
            prompt=request.messages,
            response=result.response.text,
            outcome=result.outcome,
            reason=result.reason,
            solve_rate=result.solve_rate if isinstance(result, Proposal) else None,
            reward=reward,
            record=None if record is None else dict(record.payload),
            measures={} if isinstance(result, Proposal) else dict(result.measures),
            features=dict(features or {}),
        )

    def to_json(self) -> dict[str, Any]:
        """JSON values, keys in a fixed order."""
        cell = f"{self.role}/{self.kind}"  # as metrics spell it
        return {"step": self.step, "role": self.role, "kind": self.kind, "cell": cell} | asdict(self)
