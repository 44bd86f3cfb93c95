"""Tasks by step and level: how many of each difficulty, and what share of the attempts at them was right."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from rich.console import RenderableType

from recipe.inspect import InspectError
from recipe.inspect.filters import Filters, Steps, Where
from recipe.inspect.index import Index
from recipe.inspect.numbers import MOST_STRETCHES, place_of_step, read_numbers, stretches
from recipe.inspect.printing import UNKNOWN, Column, count, note, percent, table
from tasks.contract import Role

NO_LEVEL = "no level"

COUNTED = {Role.PROPOSE: "new tasks", Role.SOLVE: "requests to solve such a task"}
"""What a number of tasks is, by whose they are."""

LEVELS = """
SELECT {place} AS place, level, count(*) AS n,
    avg(CASE role WHEN 'propose' THEN solve_rate ELSE (outcome = 'correct')::INT END) AS solve_rate
FROM lines JOIN tasks USING (line)
WHERE {condition} AND role = $of AND step BETWEEN $from_step AND $to_step
GROUP BY place, level
"""

ORDER = "SELECT level FROM levels GROUP BY level ORDER BY min(place), level"


@dataclass(frozen=True, slots=True)
class AtLevel:
    """The tasks of one level in one stretch of steps."""

    level: str | None  # None where the pack has none for them
    tasks: int  # that were taken, since a refused proposal leaves none; or requests to solve one
    share: float  # of all tasks of the stretch
    solve_rate: float | None  # mean; None where none was attempted


@dataclass(frozen=True, slots=True)
class Stretch:
    """A stretch of steps, both ends in it."""

    first_step: int
    last_step: int
    proposals: int
    accepted: int
    levels: list[AtLevel]  # from easy to hard


@dataclass(frozen=True, slots=True)
class ByLevel:
    """The table."""

    of: str  # propose: new tasks; solve: requests to solve a task, in a run without proposals
    levels: list[str | None]  # all that there are, from easy to hard
    stretches: list[Stretch]

    def parts(self, width: int) -> Iterator[RenderableType]:
        """As it is printed: a row a level, a column a stretch."""
        heads = ["proposed", "accepted"] if self.of == Role.PROPOSE else []
        columns = [Column("steps", [*heads, *(name or NO_LEVEL for name in self.levels)], is_text=True)]
        for place, stretch in enumerate(self.stretches):
            accepted = stretch.accepted / stretch.proposals if stretch.proposals else None
            cells = [count(stretch.proposals), percent(accepted)] if heads else []
            by_name = {one.level: one for one in stretch.levels}
            cells += [_cell(by_name.get(name)) for name in self.levels]
            title = str(Steps(stretch.first_step, stretch.last_step))
            # The newest stay where there is no room for all.
            columns.append(Column(title, cells, rank=len(self.stretches) - place))
        yield table(columns, width)
        yield note(f"of each level: {COUNTED[Role(self.of)]}, and the share of right attempts at them")


def _cell(found: AtLevel | None) -> str:
    return UNKNOWN if found is None else f"{count(found.tasks)} {percent(found.solve_rate):>4}"


def tasks_by_level(index: Index, filters: Filters, most: int = MOST_STRETCHES) -> ByLevel:
    """The tasks that filters select, over at most so many stretches of steps.

    Raises:
        InspectError: They leave no task.
    """
    where = filters.where()
    of = role_with_tasks(index, where)
    steps = stretches(index, where, most)
    levels = levels_of(index, steps, where, of)
    there_are = {one.level for found in levels for one in found}
    if filters.are_given and not there_are:
        raise InspectError(
            "level counts tasks, and these conditions leave none: a refused proposal has no task, and an "
            "attempt counts with the proposal that it is at"
        )
    return ByLevel(
        of.value,
        [level for level in ordered_levels(index, there_are) if level in there_are],
        [
            Stretch(one.first_step, one.last_step, one.proposals, one.accepted, found)
            for one, found in zip(read_numbers(index, steps, where), levels, strict=True)
        ],
    )


def role_with_tasks(index: Index, where: Where) -> Role:
    """Whose tasks a condition selects: the proposer's if there is one, or else those given to the solver."""
    query = f"""
        SELECT count(*) AS n FROM lines JOIN tasks USING (line)
        WHERE ({where.condition}) AND role = 'propose'
    """
    return Role.PROPOSE if index.row(query, where.values)["n"] else Role.SOLVE


def levels_of(index: Index, steps: Sequence[Steps], where: Where, of: Role) -> list[list[AtLevel]]:
    """The tasks of each of these stretches by level, from easy to hard, where a condition holds."""
    if not steps:
        return []
    ends = {"from_step": min(one.first for one in steps), "to_step": max(one.last for one in steps)}
    query = LEVELS.format(place=place_of_step(steps), condition=f"({where.condition})")
    rows = index.rows(query, where.values | ends | {"of": of.value})
    ordered = ordered_levels(index, {row["level"] for row in rows})
    made = []
    for place in range(len(steps)):
        here = {row["level"]: row for row in rows if row["place"] == place}
        total = sum(row["n"] for row in here.values())
        made.append(
            [
                AtLevel(level, here[level]["n"], here[level]["n"] / total, here[level]["solve_rate"])
                for level in ordered
                if level in here
            ]
        )
    return made


def ordered_levels(index: Index, levels: Collection[str | None]) -> list[str | None]:
    """The pack's levels from easy to hard, then those of `levels` that it does not list, None at the end."""
    ordered = [row["level"] for row in index.rows(ORDER)]
    return [*ordered, *sorted({level for level in levels if level is not None} - {*ordered}), None]
