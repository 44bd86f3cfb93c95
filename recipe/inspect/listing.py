"""Proposals, attempts or alarms, one by one, the newest first."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from rich.console import RenderableType
from rich.text import Text

from recipe.inspect.entries import Entry, read_lines
from recipe.inspect.filters import Filters
from recipe.inspect.index import Index
from recipe.inspect.mending import Alarm
from recipe.inspect.printing import (
    BAD,
    GOOD,
    NAME,
    NARROW,
    POOR,
    QUIET,
    UNKNOWN,
    count,
    in_one_line,
    note,
    number,
    percent,
    visible,
)
from recipe.selfplay.alarms import Raised
from tasks.contract import Outcome, Role

WORDS = {Role.PROPOSE: "proposals", Role.SOLVE: "attempts"}
EXAMPLE_INDENT = 2


@dataclass(frozen=True, slots=True)
class Listing:
    """Responses of one role."""

    total: int  # that the filters select
    entries: list[Entry]  # the newest of them, the newest first
    what: str  # proposals or attempts

    def parts(self, width: int) -> Iterator[RenderableType]:
        """As it is printed."""
        for entry in self.entries:
            yield from entry_lines(entry, width)
        if not self.total:
            yield note(f"no {self.what} are like that")
        else:
            yield note(f"{count(len(self.entries))} of {count(self.total)} {self.what}, the newest first")


def list_responses(index: Index, role: Role, filters: Filters, limit: int) -> Listing:
    """The newest responses of a role that filters select."""
    where = replace(filters, role=role.value).where()
    total = index.row(f"SELECT count(*) AS n FROM lines WHERE {where.condition}", where.values)["n"]
    newest = f"SELECT line FROM lines WHERE {where.condition} ORDER BY line DESC LIMIT {limit}"
    lines = [row["line"] for row in index.rows(newest, where.values)]
    return Listing(total, read_lines(index, lines)[::-1], WORDS[role])


def entry_lines(entry: Entry, width: int) -> Iterator[Text]:
    """A response in two lines: what became of it, and how it begins."""
    status = {Outcome.CORRECT: GOOD, Outcome.WRONG: POOR, Outcome.MALFORMED: BAD}[Outcome(entry.outcome)]
    if entry.outcome == Outcome.CORRECT and entry.reason:
        status = POOR
    facts = [(entry.id, NAME), (entry.kind, ""), (entry.status, status)]
    if entry.solve_rate is not None:
        facts.append((f"solved {percent(entry.solve_rate)}", ""))
    facts.append((f"reward {UNKNOWN if entry.reward is None else number(entry.reward)}", ""))
    if entry.level is not None:
        facts.append((entry.level, ""))
    if entry.structure is not None and width >= NARROW:
        facts.append((entry.structure, QUIET))
    head = Text("  ").join(Text(visible(words), style) for words, style in facts)
    head.truncate(width, overflow="ellipsis")
    yield head
    shown = in_one_line(entry.response, width - EXAMPLE_INDENT)
    yield Text(f"{' ' * EXAMPLE_INDENT}{shown}", "" if shown else QUIET)


@dataclass(frozen=True, slots=True)
class Alarms:
    """The alarms of a run."""

    total: int
    alarms: list[Alarm]  # the newest first

    def parts(self, width: int) -> Iterator[RenderableType]:
        """As it is printed."""
        for one in self.alarms:
            yield from alarm_lines(one, width)
        if self.total:
            yield note(f"{count(len(self.alarms))} of {count(self.total)} alarms, the newest first")
        else:
            yield note("no alarms in this ledger")


def alarm_lines(one: Alarm | Raised, width: int) -> Iterator[Text]:
    """An alarm: when and by how much it began, and what it says."""
    facts = f"{one.alarm}  value {number(one.value, 3)}  threshold {number(one.threshold, 3)}"
    head = Text.assemble((f"step {one.step}", NAME), "  ", (visible(facts), BAD), f"  {visible(one.action)}")
    head.truncate(width, overflow="ellipsis")
    yield head
    yield Text(f"  {visible(one.sentence)}")


def list_alarms(index: Index, filters: Filters, limit: int) -> Alarms:
    """The newest alarms of the steps that filters select."""
    where = Filters(steps=filters.steps).where()
    total = index.row(f"SELECT count(*) AS n FROM alarms WHERE {where.condition}", where.values)["n"]
    found = index.rows(
        f"SELECT * FROM alarms WHERE {where.condition} ORDER BY line DESC LIMIT {limit}", where.values
    )
    return Alarms(total, [Alarm(**row) for row in found])
