"""Level and structure of every task in the index, which the run's own pack knows."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import duckdb
import pyarrow as pa

from recipe.inspect.run import Run
from tasks.contract import CheckBrokenError, ContractError, TaskPack, TaskRecord
from tasks.guard import PackError

PAGE_LINES = 50_000
MOST_REMEMBERED = 20_000
"""Attempts at one task may be requests of their own, near each other."""

_SCHEMA = pa.schema([("line", pa.int64()), ("level", pa.string()), ("structure", pa.string())])

_RECORDS = """
SELECT line, kind, record FROM lines AS one
WHERE line BETWEEN $first AND $last AND record IS NOT NULL AND (
    role = 'propose' OR NOT EXISTS (
        FROM lines AS made
        WHERE made.step BETWEEN $first_step AND $last_step AND made.role = 'propose'
            AND made.step = one.step AND made.wave = one.wave AND made."index" = one."index"
    )
)
ORDER BY line
"""
"""The records of proposals, and of requests to solve a task that no proposal of their step made."""


def add_levels(
    connection: duckdb.DuckDBPyConnection, run: Run, done: int, last: int, progress: Callable[[str], None]
) -> str:
    """Work out level and structure of the tasks on the lines behind `done` up to `last`.

    Returns:
        What a person should know of it: tasks that the pack would not say them of; "" if all is well.

    Raises:
        InspectError: The pack cannot be built here.
    """
    pack = run.pack()
    labels = Labels(pack)
    if done == 0:
        _write_levels(connection, pack)
    for first in range(done + 1, last + 1, PAGE_LINES):
        page = {"first": first, "last": min(first + PAGE_LINES - 1, last)}
        steps = connection.execute(
            "SELECT min(step), max(step) FROM lines WHERE line BETWEEN $first AND $last", page
        ).fetchone()
        assert steps is not None
        found = connection.execute(_RECORDS, page | {"first_step": steps[0], "last_step": steps[1]})
        rows = [(line, *labels.of(kind, record)) for line, kind, record in found.fetchall()]
        columns = [pa.array(column, kind) for column, kind in zip(_columns(rows), _SCHEMA.types, strict=True)]
        connection.register("found", pa.table(columns, schema=_SCHEMA))
        connection.execute("INSERT INTO tasks SELECT * FROM found")
        connection.unregister("found")
        progress(f"levels of tasks: {page['last'] / last:.0%}")
    return labels.fault


def _columns(rows: list[tuple[int, str | None, str | None]]) -> Iterator[list[object]]:
    for place in range(len(_SCHEMA)):
        yield [row[place] for row in rows]


def _write_levels(connection: duckdb.DuckDBPyConnection, pack: TaskPack) -> None:
    connection.execute("DELETE FROM levels")
    for kind in (spec.name for spec in pack.kinds):
        for place, level in enumerate(pack.levels(kind)):
            connection.execute("INSERT INTO levels VALUES (?, ?, ?)", [kind, level, place])


class Labels:
    """What a pack says of tasks.

    Attributes:
        fault: The first that it would not speak of, and why; "" if there is none.
    """

    def __init__(self, pack: TaskPack) -> None:
        self.fault = ""
        self._pack = pack
        self._known: dict[tuple[str, str], tuple[str | None, str | None]] = {}

    def of(self, kind: str, record: str) -> tuple[str | None, str | None]:
        """Level and structure of a task, None for what the pack does not say."""
        if (kind, record) not in self._known:
            if len(self._known) >= MOST_REMEMBERED:
                self._known.clear()
            self._known[kind, record] = self._ask(kind, record)
        return self._known[kind, record]

    def _ask(self, kind: str, record: str) -> tuple[str | None, str | None]:
        try:
            task = TaskRecord(kind, json.loads(record))
            return self._pack.difficulty(task) or None, self._pack.structure_key(task)
        except (ContractError, PackError, CheckBrokenError) as error:
            self.fault = self.fault or f"the run's pack does not say how hard some tasks are: {error}"
            return None, None
