"""One response of the ledger as views show it, and the name that it has in all of them.

`12/3` is the request with index 3 of step 12: the proposal, or the request to solve a task. `12/3:0` is the
first attempt at it. While seeding, every wave numbers its requests anew: `0.2/3` is of the second one.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from recipe.inspect import InspectError
from recipe.inspect.index import Index
from tasks.contract import Message, Outcome, Role, is_number

ENTRY = """
SELECT one.*, tasks.level, tasks.structure, head.line AS proposal_line
FROM lines AS one
LEFT JOIN lines AS head ON one.role = 'solve' AND head.role = 'propose'
    AND head.step = one.step AND head.wave = one.wave AND head."index" = one."index"
LEFT JOIN tasks ON tasks.line = coalesce(head.line, one.line)
WHERE {condition}
ORDER BY one.line
"""


@dataclass(frozen=True, slots=True)
class Name:
    """What a response, or a request and all that came of it, is called."""

    step: int
    wave: int  # of seeding, from 1; 0 in training, and where it was not said
    index: int
    attempt: int | None = None

    def __str__(self) -> str:
        wave = f".{self.wave}" if self.wave else ""
        attempt = "" if self.attempt is None else f":{self.attempt}"
        return f"{self.step}{wave}/{self.index}{attempt}"


def read_name(text: str) -> Name:
    """The inverse of `str`; InspectError for what is no name."""
    match = re.fullmatch(r"(\d{1,12})(?:\.(\d{1,12}))?/(\d{1,12})(?::(\d{1,12}))?", text)
    if match is None:
        raise InspectError(
            f"a task is called STEP/INDEX, such as 12/3, as the views print it, and an attempt at it 12/3:0; "
            f"got {text!r}"
        )
    step, wave, index, attempt = (None if part is None else int(part) for part in match.groups())
    assert step is not None
    assert index is not None
    return Name(step, wave or 0, index, attempt)


@dataclass(frozen=True, slots=True)
class Entry:
    """A response and what became of it."""

    id: str  # its `Name`
    line: int  # of the ledger, from 1
    step: int
    wave: int
    role: str
    kind: str
    cell: str
    index: int
    attempt: int | None
    prompt: list[Message]
    response: str
    outcome: str
    reason: str
    solve_rate: float | None
    reward: float | None
    record: dict[str, Any] | None
    measures: dict[str, float]
    features: dict[str, float]
    level: str | None  # of its task, by the pack
    structure: str | None
    proposal_line: int | None  # of an attempt: that of the proposal which it is at, if one of its step is

    @property
    def status(self) -> str:
        """In a word what became of it: `accepted`, `right`, or why not."""
        if self.reason or self.outcome != Outcome.CORRECT:
            return self.reason or self.outcome
        return "accepted" if self.role == Role.PROPOSE else "right"


def read_entries(index: Index, condition: str, values: Mapping[str, object]) -> list[Entry]:
    """The responses that a condition on the columns of `one` selects, in the ledger's order."""
    return [_entry(row) for row in index.rows(ENTRY.format(condition=condition), values)]


def read_lines(index: Index, lines: Sequence[int]) -> list[Entry]:
    """The responses on these lines of the ledger, in their order."""
    if not lines:
        return []
    return read_entries(index, f"one.line IN ({', '.join(map(str, lines))})", {})


def _entry(row: dict[str, Any]) -> Entry:
    attempt = row["attempt"] if row["role"] == Role.SOLVE else None
    name = Name(row["step"], row["wave"], row["index"], attempt)
    parsed = {key: _parse(row[key]) for key in ("prompt", "record", "measures", "features")}
    parsed["prompt"] = [_message(message) for message in parsed["prompt"] or []]
    for key in ("measures", "features"):
        numbers = parsed[key] if isinstance(parsed[key], dict) else {}
        parsed[key] = {name: value for name, value in numbers.items() if is_number(value)}
    left_out = ("start", "num_bytes")
    kept = {key: value for key, value in row.items() if key not in left_out}
    return Entry(**{**kept, **parsed, "id": str(name), "attempt": attempt})


def _parse(text: str | None) -> Any:
    """JSON of the ledger; a number that JSON has no word for stays a text."""
    return None if text is None else json.loads(text, parse_float=_number, parse_constant=str)


def _number(text: str) -> float | str:
    return value if math.isfinite(value := float(text)) else text


def _message(message: Any) -> Message:
    is_message = isinstance(message, dict)
    return {key: str(message.get(key, "")) if is_message else "" for key in ("role", "content")}
