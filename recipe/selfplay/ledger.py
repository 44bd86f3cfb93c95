"""The ledger: an append-only file with one line for every proposal and every attempt.

The trainer appends a step's lines when the step is settled, and stores the file's length in the checkpoint.
A resumed run cuts the file back to that length first, so that no line stands in it twice.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

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
