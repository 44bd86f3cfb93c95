"""Which lines of the ledger a view is about: conditions that combine."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from recipe.inspect import InspectError
from recipe.inspect.index import Index


class Steps(NamedTuple):
    """A stretch of steps, both ends in it; 0 is the seeding."""

    first: int
    last: int

    def __str__(self) -> str:
        if self.last == 0:
            return "seeding"
        return str(self.first) if self.first == self.last else f"{self.first}-{self.last}"

    @property
    def in_words(self) -> str:
        """For a sentence: `step 3`, `steps 3-5`."""
        if self.last == 0:
            return str(self)
        return f"step {self}" if self.first == self.last else f"steps {self}"


class Rates(NamedTuple):
    """A stretch of solve rates, both ends in it."""

    low: float
    high: float


class Where(NamedTuple):
    """A condition on the columns of `lines`, and the values of its parameters."""

    condition: str
    values: dict[str, object]

    def also(self, condition: str) -> Where:
        """This and another condition, which has no parameters."""
        return Where(f"({self.condition}) AND ({condition})", self.values)


@dataclass(frozen=True, slots=True)
class Filters:
    """Conditions on a line; None is no condition."""

    role: str | None = None
    kind: str | None = None
    outcome: str | None = None
    reason: str | None = None
    steps: Steps | None = None
    rates: Rates | None = None  # of the proposal, and of the proposal that an attempt is at
    text: str | None = None  # in the response
    prompt: str | None = None  # in a message of the prompt

    @property
    def are_given(self) -> bool:
        """Whether there is any."""
        return self != Filters()

    def where(self) -> Where:
        """All of them as one condition."""
        values: dict[str, object] = {}
        conditions = []
        for name in ("role", "kind", "outcome", "reason"):
            if (value := getattr(self, name)) is not None:
                conditions.append(f"{name} = ${name}")
                values[name] = value
        if self.steps is not None:
            conditions.append("step BETWEEN $first_step AND $last_step")
            values |= {"first_step": self.steps.first, "last_step": self.steps.last}
        if self.rates is not None:
            within = "solve_rate BETWEEN $low AND $high"
            at_such = (
                f"""role = 'solve' AND (step, wave, "index") IN """
                f"""(SELECT (step, wave, "index") FROM lines WHERE role = 'propose' AND {within})"""
            )
            conditions.append(f"{within} OR {at_such}")
            values |= {"low": self.rates.low, "high": self.rates.high}
        if self.text is not None:
            conditions.append("contains(response, $text)")
            values["text"] = self.text
        if self.prompt is not None:
            conditions.append("contains(prompt, $prompt)")
            values["prompt"] = _as_in_json(self.prompt)
        return Where(" AND ".join(f"({each})" for each in conditions) or "true", values)

    def check(self, index: Index) -> None:
        """InspectError for a kind, a reason or a step that the ledger does not have."""
        for name in ("kind", "reason"):
            value = getattr(self, name)
            if value is None:
                continue
            found = index.rows(f"SELECT DISTINCT {name} AS name FROM lines WHERE {name} <> '' ORDER BY 1")
            known = [row["name"] for row in found]
            if value not in known:
                raise InspectError(
                    f"--{name} must be one that this run has: {', '.join(known) or 'none'}; got {value!r}"
                )
        if self.steps is not None:
            check_steps(index, self.steps, "--step")


def check_steps(index: Index, steps: Steps, name: str) -> None:
    """InspectError if the ledger has none of these steps."""
    found = index.row("SELECT min(step) AS first, max(step) AS last FROM lines")
    if steps.first > found["last"] or steps.last < found["first"]:
        raise InspectError(
            f"{name} must be of the ledger's steps, {found['first']} to {found['last']}; got {steps}"
        )


def read_steps(text: str) -> Steps:
    """`A` or `A:B`, of which one end may be left out.

    Raises:
        ValueError: It is neither.
    """
    match = re.fullmatch(r"(\d{1,9})?(:(\d{1,9})?)?", text)
    if match is None or not any(match.group(1, 3)):
        raise ValueError(f"must be a step, or A:B for the steps from A to B; got {text!r}")
    first, colon, last = match.groups()
    ends = Steps(int(first or 0), int(last or (1 << 31) if colon else first))
    if ends.first > ends.last:
        raise ValueError(f"must be A:B with A no later than B; got {text!r}")
    return ends


def read_rates(text: str) -> Rates:
    """`LOW:HIGH`, or one rate; ValueError if it is neither, or they are no shares."""
    parts: Sequence[str] = text.split(":")
    try:
        numbers = [float(part) for part in parts]
    except ValueError:
        numbers = []
    if len(numbers) not in (1, 2) or not all(math.isfinite(number) for number in numbers):
        raise ValueError(f"must be LOW:HIGH, two shares from 0 to 1; got {text!r}")
    low, high = numbers[0], numbers[-1]
    if not 0 <= low <= high <= 1:
        raise ValueError(f"must be LOW:HIGH with 0 <= LOW <= HIGH <= 1; got {text!r}")
    return Rates(low, high)


def _as_in_json(text: str) -> str:
    """A piece of a text as it stands in JSON that DuckDB wrote: escapes have upper case digits there."""
    inside = json.dumps(text, ensure_ascii=False)[1:-1]
    return re.sub(r"\\u([0-9a-f]{4})", lambda match: f"\\u{match[1].upper()}", inside)
