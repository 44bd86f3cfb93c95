"""What a broken rule is told as: one line that names the key, says why, and what to do."""

from __future__ import annotations

from collections.abc import Iterator

Problems = Iterator[str]
"""The broken ones among some rules, found as they are asked for."""


class PreflightError(ValueError):
    """The run cannot start; the message is one line that says what to change."""


def unless(holds: bool, problem: str) -> Problems:
    """Yield the problem if the rule does not hold."""
    if not holds:
        yield problem
