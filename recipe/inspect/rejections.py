"""Why responses were refused or not right: how many for each reason, with an example."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from rich.console import RenderableType
from rich.text import Text

from recipe.inspect.entries import Entry, read_lines
from recipe.inspect.filters import Filters, Steps
from recipe.inspect.index import Index
from recipe.inspect.printing import NAME, NARROW, count, in_one_line, note, percent, title, visible

REASONS = """
SELECT role, outcome, reason, count(*) AS n, min(step) AS first_step, max(step) AS last_step,
    max(line) AS example
FROM lines WHERE {condition} AND reason <> ''
GROUP BY role, outcome, reason ORDER BY role, n DESC, reason
"""


@dataclass(frozen=True, slots=True)
class Reason:
    """One reason."""

    role: str
    outcome: str  # correct where the task is valid and was not wanted: surplus, held-out
    reason: str
    count: int
    share: float  # of the responses of its role that the filters select
    first_step: int
    last_step: int
    example: Entry  # the newest


@dataclass(frozen=True, slots=True)
class Rejections:
    """All reasons, by role, the most frequent first."""

    responses: dict[str, int]  # by role, accepted and right ones among them
    refused: dict[str, int]  # by role: those with a reason
    reasons: list[Reason]

    def parts(self, width: int) -> Iterator[RenderableType]:
        """As it is printed."""
        for role, total in self.responses.items():
            yield title(f"{role}: {count(self.refused[role])} of {count(total)} responses")
            for one in (reason for reason in self.reasons if reason.role == role):
                steps = Steps(one.first_step, one.last_step).in_words
                facts = f"{percent(one.share):>4}  {count(one.count)}  {one.reason}  {steps}"
                if width >= NARROW:
                    facts += f"  ({one.outcome})"
                head = Text(visible(facts))
                head.truncate(width, overflow="ellipsis")
                yield head
                name = f"      {one.example.id}  "
                shown = in_one_line(one.example.response, max(width - len(name), 8))
                yield Text.assemble((name, NAME), shown)
        if not self.reasons:
            yield note("nothing was refused")


def count_reasons(index: Index, filters: Filters, limit: int) -> Rejections:
    """The reasons of the responses that filters select, at most so many of a role."""
    where = filters.where()
    totals = {
        row["role"]: row["n"]
        for row in index.rows(
            f"SELECT role, count(*) AS n FROM lines WHERE {where.condition} GROUP BY role ORDER BY role",
            where.values,
        )
    }
    rows = index.rows(REASONS.format(condition=f"({where.condition})"), where.values)
    kept = [row for role in totals for row in [each for each in rows if each["role"] == role][:limit]]
    examples = {entry.line: entry for entry in read_lines(index, [row["example"] for row in kept])}
    return Rejections(
        totals,
        {role: sum(row["n"] for row in rows if row["role"] == role) for role in totals},
        [
            Reason(
                row["role"],
                row["outcome"],
                row["reason"],
                row["n"],
                row["n"] / totals[row["role"]],
                row["first_step"],
                row["last_step"],
                examples[row["example"]],
            )
            for row in kept
        ],
    )
