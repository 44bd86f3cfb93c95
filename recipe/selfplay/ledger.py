"""The ledger: an append-only file with one line for every proposal and every attempt.

The trainer appends a step's lines when the step is settled, and stores the file's length in the checkpoint.
A resumed run cuts the file back to that length first, so that no line stands in it twice.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tasks.contract import Message, Outcome, Role

LINE_ENDS = {ord(end): f"\\u{ord(end):04x}" for end in "\x85\u2028\u2029"}
"""Characters that `str.splitlines` takes for the end of a line and JSON does not, as JSON escapes."""


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


class JsonLinesFile:
    """An append-only file of JSON lines that knows its length and can be cut back to an earlier one.

    Args:
        path: The file; its folder must exist.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = path.open("ab")

    @property
    def num_bytes(self) -> int:
        """Length of the file, all appended lines included."""
        return self._file.tell()

    def append(self, lines: Iterable[dict[str, Any]]) -> None:
        """Append one line for each dictionary and hand them to the operating system."""
        for line in lines:
            text = json.dumps(line, ensure_ascii=False).translate(LINE_ENDS)
            self._file.write(text.encode("utf-8", "backslashreplace") + b"\n")
        self._file.flush()

    def truncate(self, num_bytes: int) -> None:
        """Cut the file back to its first `num_bytes` bytes.

        Raises:
            ValueError: The file is shorter than that: lines that a checkpoint counts on are gone.
        """
        if num_bytes > self.num_bytes:
            raise ValueError(
                f"{self.path} must be at least {num_bytes} bytes long to resume from this checkpoint; "
                f"it has {self.num_bytes}. Restore the file, or start a new run in another directory."
            )
        self._file.truncate(num_bytes)
        self._file.seek(num_bytes)

    def sync(self) -> None:
        """Wait until everything appended is on disk."""
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close the file."""
        self._file.close()
