"""Make the index of a ledger, and bring it up to date: the tables, and what goes into them.

Whoever calls this is alone with the database (`recipe/inspect/index.py` sees to that). What was taken in and
up to where is written in one transaction, so a command that is killed leaves the index as it was.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from dataclasses import astuple, dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

import duckdb
import pyarrow as pa

from recipe.inspect import InspectError
from recipe.inspect.fingerprint import Fingerprint
from recipe.inspect.levels import add_levels
from recipe.inspect.mending import Alarm, Damage, Mended, look_again
from recipe.inspect.reading import MAX_LINE_BYTES, SCHEMA, LedgerReader
from recipe.inspect.run import Run

FORMAT = 1
"""Version of the tables. An index of another version is made anew."""

PAGE_LINES = 50_000
"""Lines that are looked at again at a time."""

FIELDS = {
    "step": "BIGINT",
    "role": "VARCHAR",
    "kind": "VARCHAR",
    "cell": "VARCHAR",
    "index": "BIGINT",
    "attempt": "BIGINT",
    "prompt": "JSON",
    "response": "VARCHAR",
    "outcome": "VARCHAR",
    "reason": "VARCHAR",
    "solve_rate": "DOUBLE",
    "reward": "DOUBLE",
    "record": "JSON",
    "measures": "JSON",
    "features": "JSON",
}
"""Fields of a line of the ledger (`recipe/selfplay/types.py`), with their types here."""

_COLUMNS = ", ".join(f'"{name}" {kind}' for name, kind in FIELDS.items())

TABLES = f"""
CREATE TABLE state (
    format INTEGER, start BIGINT, file_end BIGINT, num_lines BIGINT, fingerprint VARCHAR,
    device BIGINT, inode BIGINT, modified_ns BIGINT, levels_line BIGINT, pack_fault VARCHAR
);
CREATE TABLE lines (line BIGINT, start BIGINT, num_bytes BIGINT, {_COLUMNS}, wave BIGINT);
CREATE TABLE tasks (line BIGINT, level VARCHAR, structure VARCHAR);
CREATE TABLE levels (kind VARCHAR, level VARCHAR, place BIGINT);
CREATE TABLE alarms (
    line BIGINT, step BIGINT, alarm VARCHAR, value DOUBLE, threshold DOUBLE, sentence VARCHAR, action VARCHAR
);
CREATE TABLE damaged (line BIGINT, start BIGINT, num_bytes BIGINT, why VARCHAR);
"""

_SPEC = ", ".join(f'"{name}": "{kind}"' for name, kind in FIELDS.items()).join("{}")

TAKE_IN = f"""
INSERT INTO lines
SELECT line, start, num_bytes, {", ".join(f'fields."{name}"' for name in FIELDS)}, 0
FROM (SELECT line, start, num_bytes, TRY(from_json(text, '{_SPEC}')) AS fields FROM incoming)
"""
"""A line that is no JSON has no field."""

IS_RESPONSE = """coalesce(
    role IN ('propose', 'solve') AND outcome IN ('malformed', 'wrong', 'correct') AND step >= 0
    AND "index" >= 0 AND kind IS NOT NULL AND cell IS NOT NULL AND response IS NOT NULL
    AND reason IS NOT NULL AND starts_with(prompt, '[') AND coalesce(isfinite(reward), true)
    AND coalesce(isfinite(solve_rate), true), false)"""

NUMBER_WAVES = """
UPDATE lines SET wave = numbered.wave
FROM (
    SELECT line, 1 + sum(CASE WHEN role = 'propose' AND "index" <= before THEN 1 ELSE 0 END)
        OVER (ORDER BY line) AS wave
    FROM (
        SELECT line, role, "index", last_value(CASE WHEN role = 'propose' THEN "index" END IGNORE NULLS)
            OVER (ORDER BY line ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS before
        FROM lines WHERE step = 0
    )
) AS numbered
WHERE lines.step = 0 AND lines.line = numbered.line
"""
"""A wave of seeding begins where the requests are numbered anew."""

Report = Callable[[str], None]
"""Is told in a few words what takes time."""


@dataclass(frozen=True, slots=True)
class State:
    """Up to where a ledger stands in the index."""

    format: int = FORMAT
    start: int = 0  # of what is not in it, in bytes
    file_end: int = 0  # how far the file was read: what lies between has no line's end
    num_lines: int = 0  # lines that were read, damaged ones among them
    fingerprint: str = ""
    device: int = 0  # of the file, like the two below
    inode: int = 0
    modified_ns: int = 0
    levels_line: int = 0  # the last line whose task has its level
    pack_fault: str = ""  # why levels are missing

    def is_of(self, found: os.stat_result) -> bool:
        """Whether the ledger is as it was, and all is known of it that can be."""
        was = self.device, self.inode, self.modified_ns, self.file_end, self.num_lines
        return was == (*_identity(found), found.st_size, self.levels_line)


def _identity(found: os.stat_result) -> tuple[int, int, int]:
    return found.st_dev, found.st_ino, found.st_mtime_ns


def read_state(connection: duckdb.DuckDBPyConnection) -> State:
    """What the index says of itself; duckdb.Error if it is none of this version."""
    row = connection.execute("SELECT * FROM state").fetchone()
    if row is None or row[0] != FORMAT:
        raise duckdb.InvalidInputException(f"the tables must be of version {FORMAT}")
    return State(*row)


def _write_state(connection: duckdb.DuckDBPyConnection, state: State) -> None:
    connection.execute("DELETE FROM state")
    connection.execute(f"INSERT INTO state VALUES ({', '.join('?' * len(astuple(state)))})", astuple(state))


def bring_up_to_date(
    database: Path, run: Run, connect: Callable[[Path], duckdb.DuckDBPyConnection], report: Report
) -> None:
    """Take in what the ledger has and the index has not; make it anew if the ledger was cut back.

    Raises:
        duckdb.Error: It cannot be written.
        OSError: The ledger cannot be read.
    """
    with run.ledger.open("rb") as ledger:
        connection = _open_beginning(database, ledger, connect) or _create(database, connect)
        with closing(connection):
            found = os.fstat(ledger.fileno())
            _take_in(connection, ledger, found, report)
            _label(connection, run, report)


def _open_beginning(
    database: Path, ledger: BinaryIO, connect: Callable[[Path], duckdb.DuckDBPyConnection]
) -> duckdb.DuckDBPyConnection | None:
    """The index, if it holds what the ledger begins with; None if there is none that does."""
    if not database.exists():
        return None
    # It may be damaged, or of another version of the tables or of DuckDB.
    with suppress(duckdb.Error):
        connection = connect(database)
        with suppress(duckdb.Error):
            if Fingerprint.from_json(read_state(connection).fingerprint).matches(ledger):
                return connection
        connection.close()
    return None


def _create(
    database: Path, connect: Callable[[Path], duckdb.DuckDBPyConnection]
) -> duckdb.DuckDBPyConnection:
    for suffix in ("", ".wal"):
        database.with_name(database.name + suffix).unlink(missing_ok=True)
    connection = connect(database)
    connection.execute(TABLES)
    _write_state(connection, State(fingerprint=Fingerprint().to_json()))
    return connection


def _take_in(
    connection: duckdb.DuckDBPyConnection, ledger: BinaryIO, found: os.stat_result, report: Report
) -> None:
    """Read the ledger on from where the index ends."""
    state = read_state(connection)
    fingerprint = Fingerprint.from_json(state.fingerprint)
    reader = LedgerReader(ledger, state.start, state.num_lines, fingerprint)
    total = max(found.st_size, 1)
    batches = reader.batches(lambda end: report(f"indexing {end / total:.0%} of {total / 1e6:,.0f} MB"))
    connection.begin()
    _insert_from(connection, TAKE_IN, pa.RecordBatchReader.from_batches(SCHEMA, batches))
    _look_again(connection, ledger, state.num_lines)
    (num_of_seeding,) = _one(
        connection, "SELECT count(*) FROM lines WHERE step = 0 AND line > ?", state.num_lines
    )
    if num_of_seeding:
        connection.execute(NUMBER_WAVES)
    taken = replace(
        state,
        start=reader.start,
        file_end=reader.end,
        num_lines=reader.num_lines,
        fingerprint=fingerprint.to_json(),
        device=found.st_dev,
        inode=found.st_ino,
        modified_ns=found.st_mtime_ns,
    )
    _write_state(connection, taken)
    connection.commit()


def _look_again(connection: duckdb.DuckDBPyConnection, ledger: BinaryIO, before: int) -> None:
    """Take out of the lines behind `before` those that are no responses, and put each where it belongs."""
    next_page = f"""
        SELECT line, start, num_bytes FROM lines WHERE line > ? AND NOT {IS_RESPONSE}
        ORDER BY line LIMIT {PAGE_LINES}
    """
    while places := connection.execute(next_page, [before]).fetchall():
        within = f"line BETWEEN {places[0][0]} AND {places[-1][0]} AND NOT {IS_RESPONSE}"
        found = [(place, _read_again(ledger, *place)) for place in places]
        connection.execute(f"DELETE FROM lines WHERE {within}")
        _insert(connection, "alarms", [astuple(one) for _, one in found if isinstance(one, Alarm)])
        _insert(connection, "damaged", [(*place, one.why) for place, one in found if isinstance(one, Damage)])
        mended = [(*place, one.text) for place, one in found if isinstance(one, Mended)]
        if mended:
            _insert_from(connection, TAKE_IN, pa.table(_columns(mended), schema=SCHEMA))
            connection.execute(
                "INSERT INTO damaged SELECT line, start, num_bytes, 'it holds a number that is not finite' "
                f"FROM lines WHERE {within}"
            )
            connection.execute(f"DELETE FROM lines WHERE {within}")
        before = places[-1][0]


def _insert(connection: duckdb.DuckDBPyConnection, name: str, rows: Sequence[tuple[object, ...]]) -> None:
    """Write rows into a table, in the order of its columns."""
    if rows:
        columns = {f"c{place}": column for place, column in enumerate(_columns(rows))}
        _insert_from(connection, f"INSERT INTO {name} SELECT * FROM incoming", pa.table(columns))


def _insert_from(connection: duckdb.DuckDBPyConnection, query: str, incoming: Any) -> None:
    """Run a query on rows that are not in the database, which it calls `incoming`."""
    connection.register("incoming", incoming)
    connection.execute(query)
    connection.unregister("incoming")


def _columns(rows: Sequence[tuple[object, ...]]) -> list[list[object]]:
    return [list(column) for column in zip(*rows, strict=True)]


def _read_again(ledger: BinaryIO, line: int, start: int, num_bytes: int) -> Alarm | Damage | Mended:
    if num_bytes > MAX_LINE_BYTES:
        return Damage(f"it is longer than {MAX_LINE_BYTES >> 20} MiB")
    ledger.seek(start)
    return look_again(line, ledger.read(num_bytes))


def _label(connection: duckdb.DuckDBPyConnection, run: Run, report: Report) -> None:
    """Have the run's pack say level and structure of the tasks that were taken in."""
    state = read_state(connection)
    if state.levels_line == state.num_lines:
        return
    connection.begin()
    try:
        fault = add_levels(connection, run, state.levels_line, state.num_lines, report)
        labelled = replace(state, levels_line=state.num_lines, pack_fault=state.pack_fault or fault)
    except InspectError as error:  # the pack is not to be had; all other views are
        labelled = replace(state, pack_fault=str(error))
    _write_state(connection, labelled)
    connection.commit()


def _one(connection: duckdb.DuckDBPyConnection, query: str, *values: object) -> tuple[int, ...]:
    row = connection.execute(query, values).fetchone()
    assert row is not None
    return row
