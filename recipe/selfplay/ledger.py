"""The ledger: one line for every proposal and every attempt, appended to a file when its step is settled."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from recipe.selfplay.types import Attempt, Proposal, Request
from tasks.contract import Message, Outcome, Role


@dataclass(frozen=True, slots=True)
class LedgerLine:
    """One response of the model and what became of it.

    Attributes:
        step: Training step; 0 for the seeding phase.
        role: Who responded.
        kind: Kind of task.
        index: The request's place in the step. A proposal and the attempts at it share it.
        attempt: Number of the attempt; None for a proposal.
        prompt: The chat prompt.
        response: The text that came back.
        outcome: What is true of it.
        reason: Why it is not correct, or why a correct proposal was not wanted; else "".
        solve_rate: For an accepted proposal that was attempted: share of correct attempts, in [0, 1].
        reward: Scalar; None when the response is not trained on.
        record: Payload of the task that was made or attempted; None for a refused proposal.
        measures: What the pack measured of an attempt, by name; empty for a proposal.
        features: What was measured of an accepted proposal for extra rewards, by name; empty for an attempt.
    """

    step: int
    role: Role
    kind: str
    index: int
    attempt: int | None
    prompt: list[Message]
    response: str
    outcome: Outcome
    reason: str
    solve_rate: float | None
    reward: float | None
    record: dict[str, Any] | None
    measures: dict[str, float] = field(default_factory=dict)
    features: dict[str, float] = field(default_factory=dict)

    @staticmethod
    def of_proposal(
        step: int, request: Request, proposal: Proposal, reward: float | None, features: Mapping[str, float]
    ) -> LedgerLine:
        """The line of a proposal; `features` are those that its reward was computed from."""
        return LedgerLine(
            step=step,
            role=Role.PROPOSE,
            kind=request.kind,
            index=request.index,
            attempt=None,
            prompt=request.messages,
            response=proposal.response.text,
            outcome=proposal.outcome,
            reason=proposal.reason,
            solve_rate=proposal.solve_rate,
            reward=reward,
            record=None if proposal.record is None else dict(proposal.record.payload),
            features=dict(features),
        )

    @staticmethod
    def of_attempt(
        step: int, request: Request, number: int, attempt: Attempt, reward: float | None
    ) -> LedgerLine:
        """The line of the attempt `number` at the record of `request`."""
        return LedgerLine(
            step=step,
            role=Role.SOLVE,
            kind=request.kind,
            index=request.index,
            attempt=number,
            prompt=request.messages,
            response=attempt.response.text,
            outcome=attempt.outcome,
            reason=attempt.reason,
            solve_rate=None,
            reward=reward,
            record=None if request.record is None else dict(request.record.payload),
            measures=dict(attempt.measures),
        )

    @property
    def cell(self) -> str:
        """Role and kind, as metrics spell them."""
        return f"{self.role}/{self.kind}"

    def to_json(self) -> dict[str, Any]:
        """JSON values, keys in a fixed order."""
        return {
            "step": self.step,
            "role": self.role.value,
            "kind": self.kind,
            "cell": self.cell,
            "index": self.index,
            "attempt": self.attempt,
            "prompt": self.prompt,
            "response": self.response,
            "outcome": self.outcome.value,
            "reason": self.reason,
            "solve_rate": self.solve_rate,
            "reward": self.reward,
            "record": self.record,
            "measures": self.measures,
            "features": self.features,
        }
