"""What changed between two steps, or two stretches of steps."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from rich.console import RenderableType

from recipe.inspect.by_level import COUNTED, NO_LEVEL, levels_of, ordered_levels, role_with_tasks
from recipe.inspect.entries import Name
from recipe.inspect.filters import Filters, Steps, Where, check_steps
from recipe.inspect.index import Index
from recipe.inspect.numbers import Numbers, read_numbers
from recipe.inspect.printing import BAD, GOOD, Column, count, note, number, percent, table, title
from tasks.contract import Role


class Unit(StrEnum):
    """What a number is, which decides how it is shown and what is much of a change."""

    COUNT = "count"
    SHARE = "share"
    REWARD = "reward"
    CHARACTERS = "characters"


MUCH = {Unit.SHARE: 0.1, Unit.REWARD: 0.1}
MUCH_OF_LENGTH = 0.25
"""Share of the longer one."""


@dataclass(frozen=True, slots=True)
class Change:
    """A number before and after; None where there was nothing to measure."""

    name: str
    unit: Unit
    before: float | None
    after: float | None

    @property
    def size(self) -> float:
        """How much it changed: 1 and more is much."""
        if self.before is None or self.after is None or self.unit is Unit.COUNT:
            return 0.0
        difference = abs(self.after - self.before)
        if self.unit is Unit.CHARACTERS:
            return difference / max(self.before, self.after, 1e-9) / MUCH_OF_LENGTH
        return difference / MUCH[self.unit]

    def shown(self, value: float | None) -> str:
        """One of its values for a person."""
        match self.unit:
            case Unit.SHARE:
                return percent(value)
            case Unit.REWARD:
                return number(value)
            case _:
                return number(value, 0)


@dataclass(frozen=True, slots=True)
class ReasonChange:
    """How often a reason was given, as a share of the responses of its role."""

    role: str
    reason: str
    before: float
    after: float


@dataclass(frozen=True, slots=True)
class LevelChange:
    """The tasks of a level, as a share of all, and how often they were solved."""

    level: str | None
    before: float
    after: float
    solve_rate_before: float | None
    solve_rate_after: float | None


@dataclass(frozen=True, slots=True)
class Novelty:
    """A structure of tasks, or where the pack knows none a level, that one side has and the other has not."""

    what: str  # structure or level
    value: str
    tasks: int
    example: str  # the name of a proposal


@dataclass(frozen=True, slots=True)
class Diff:
    """Two stretches of steps beside each other."""

    before: Numbers
    after: Numbers
    of: str  # whose tasks those below are: propose, or solve in a run without proposals
    changes: list[Change]
    reasons: list[ReasonChange]  # by how much they changed
    levels: list[LevelChange]  # from easy to hard
    num_new: int
    new: list[Novelty]  # the most frequent first
    num_vanished: int
    vanished: list[Novelty]

    def parts(self, width: int) -> Iterator[RenderableType]:
        """As it is printed."""
        before, after = _names(self.before.steps, self.after.steps)
        yield changes_table(self.changes, before, after, width)
        if self.reasons:
            yield table(
                [
                    Column("reason", [f"{one.role} {one.reason}" for one in self.reasons], is_text=True),
                    Column(before, [percent(one.before) for one in self.reasons]),
                    Column(after, [percent(one.after) for one in self.reasons]),
                ],
                width,
            )
        if any(one.level is not None for one in self.levels):
            yield table(
                [
                    Column("level", [one.level or NO_LEVEL for one in self.levels], is_text=True),
                    Column(before, [_cell(one.before, one.solve_rate_before) for one in self.levels]),
                    Column(after, [_cell(one.after, one.solve_rate_after) for one in self.levels]),
                ],
                width,
            )
            what = COUNTED[Role(self.of)]
            yield note(f"of each level: its share of the {what}, and the share of right attempts at them")
        yield from _novelties_table("new", self.num_new, self.new, GOOD, width)
        yield from _novelties_table("vanished", self.num_vanished, self.vanished, BAD, width)


def _cell(share: float, solve_rate: float | None) -> str:
    return f"{percent(share)} {percent(solve_rate):>4}"


def _novelties_table(
    word: str, total: int, found: list[Novelty], style: str, width: int
) -> Iterator[RenderableType]:
    if not found:
        yield note(f"{word} structures or levels of tasks: none")
        return
    what = found[0].what
    yield title(f"{word}: {count(total)} {what}{'' if total == 1 else 's'} of tasks")
    columns = [
        Column(what, [one.value for one in found], is_text=True, style=style),
        Column("tasks", [count(one.tasks) for one in found]),
        Column("such as", [one.example for one in found], is_text=True),
    ]
    yield table(columns, width)


def _names(before: Steps, after: Steps) -> tuple[str, str]:
    first, second = str(before), str(after)
    return (first, second) if first != second else (f"{first} (1)", f"{second} (2)")


def changes_table(changes: Sequence[Change], before: str, after: str, width: int) -> RenderableType:
    """Changes as a table; `!` marks what changed much, where not all of it did."""
    marks = ["!" if one.size >= 1 else "" for one in changes]
    columns = [
        Column("", [one.name for one in changes], is_text=True),
        Column(before, [one.shown(one.before) for one in changes]),
        Column(after, [one.shown(one.after) for one in changes]),
    ]
    return table([*columns, *([] if all(marks) else [Column("", marks, rank=1)])], width)


def changes_of(before: Numbers, after: Numbers) -> list[Change]:
    """Every number that tells how a run is doing, before and after."""

    def change(name: str, unit: Unit, *values: float | None) -> Change:
        return Change(name, unit, *values)

    def of_proposals(name: str, field: str) -> Change:
        counts = ((one, getattr(one, field)) for one in (before, after))
        shares = [None if found is None else one.share(found) for one, found in counts]
        return change(name, Unit.SHARE, *shares)

    def both(name: str, unit: Unit, field: str) -> Change:
        return change(name, unit, getattr(before, field), getattr(after, field))

    structures = [
        None
        if one.distinct_structures is None or not one.accepted
        else one.distinct_structures / one.accepted
        for one in (before, after)
    ]
    found = [
        both("proposals", Unit.COUNT, "proposals"),
        of_proposals("accepted", "accepted"),
        of_proposals("surplus", "surplus"),
        of_proposals("duplicates", "duplicates"),
        of_proposals("malformed", "malformed"),
        of_proposals("distinct texts", "distinct_responses"),
        change("distinct structures", Unit.SHARE, *structures),
        both("solve rate", Unit.SHARE, "solve_rate"),
        both("learnable", Unit.SHARE, "learnable_share"),
        both("proposer reward", Unit.REWARD, "proposer_reward"),
        both("proposal length", Unit.CHARACTERS, "proposal_characters"),
        both("attempts", Unit.COUNT, "attempts"),
        both("right attempts", Unit.SHARE, "accuracy"),
        both("readable attempts", Unit.SHARE, "attempt_format_rate"),
        both("solver reward", Unit.REWARD, "solver_reward"),
        both("attempt length", Unit.CHARACTERS, "attempt_characters"),
    ]
    return [one for one in found if one.before is not None or one.after is not None]


WITHIN = "step BETWEEN $from_step AND $to_step"

REASONS = """
SELECT role, reason, count(*) AS n FROM lines WHERE {condition} GROUP BY role, reason
"""

LABELS = """
SELECT {what} AS value, count(*) AS n, max(line) AS example
FROM lines JOIN tasks USING (line)
WHERE {condition} AND {what} IS NOT NULL
GROUP BY value ORDER BY n DESC, value
"""


def compare_steps(index: Index, before: Steps, after: Steps, filters: Filters, limit: int) -> Diff:
    """What is other in the stretch `after` than in `before`, of the lines that filters select.

    Raises:
        InspectError: The ledger has none of the steps of one.
    """
    where = filters.where()
    for steps in (before, after):
        check_steps(index, steps, "diff")
    # A stretch each: a line is of one place, and the two may overlap.
    numbers = [read_numbers(index, [steps], where)[0] for steps in (before, after)]
    of = role_with_tasks(index, where)
    levels = [levels_of(index, [steps], where, of)[0] for steps in (before, after)]
    at_first, at_last = ({one.level: one for one in found} for found in levels)
    there_are = {level for level in (*at_first, *at_last) if level is not None}
    names = [level for level in ordered_levels(index, there_are) if level in there_are]
    new, vanished = _novelties(index, before, after, where.also(f"role = '{of}'"))
    return Diff(
        before=numbers[0],
        after=numbers[1],
        of=of.value,
        changes=changes_of(*numbers),
        reasons=_reasons(index, before, after, where)[:limit],
        levels=[
            LevelChange(
                level,
                at_first[level].share if level in at_first else 0.0,
                at_last[level].share if level in at_last else 0.0,
                at_first[level].solve_rate if level in at_first else None,
                at_last[level].solve_rate if level in at_last else None,
            )
            for level in names
        ],
        num_new=len(new),
        new=_named(index, new[:limit]),
        num_vanished=len(vanished),
        vanished=_named(index, vanished[:limit]),
    )


def _reasons(index: Index, before: Steps, after: Steps, where: Where) -> list[ReasonChange]:
    """Reasons with their shares on both sides, those first that changed most."""
    shares: list[dict[tuple[str, str], float]] = []
    for steps in (before, after):
        rows = _rows(index, REASONS, steps, where)
        totals: Counter[str] = Counter()
        for row in rows:
            totals[row["role"]] += row["n"]
        shares.append({(row["role"], row["reason"]): row["n"] / totals[row["role"]] for row in rows})
    first, last = shares
    found = [
        ReasonChange(role, reason, first.get((role, reason), 0.0), last.get((role, reason), 0.0))
        for role, reason in sorted({*first, *last})
        if reason
    ]
    return sorted(found, key=lambda one: -abs(one.after - one.before))


def _novelties(
    index: Index, before: Steps, after: Steps, where: Where
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Rows of the tasks that there are after and not before, and the other way round."""
    for what in ("structure", "level"):
        query = LABELS.replace("{what}", what)
        first, last = (
            {row["value"]: row for row in _rows(index, query, one, where)} for one in (before, after)
        )
        if first or last:
            new = [row for value, row in last.items() if value not in first]
            vanished = [row for value, row in first.items() if value not in last]
            return [{**row, "what": what} for row in new], [{**row, "what": what} for row in vanished]
    return [], []


def _rows(index: Index, query: str, steps: Steps, where: Where) -> list[dict[str, Any]]:
    ends = {"from_step": steps.first, "to_step": steps.last}
    return index.rows(query.format(condition=f"({where.condition}) AND {WITHIN}"), where.values | ends)


def _named(index: Index, rows: list[dict[str, Any]]) -> list[Novelty]:
    lines = ", ".join(str(row["example"]) for row in rows) or "NULL"
    places = index.rows(f'SELECT line, step, wave, "index" FROM lines WHERE line IN ({lines})')
    names = {row["line"]: str(Name(row["step"], row["wave"], row["index"])) for row in places}
    return [Novelty(row["what"], row["value"], row["n"], names[row["example"]]) for row in rows]
