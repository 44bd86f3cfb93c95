"""The index of a run's ledger: a columnar copy, which DuckDB makes once and every view asks.

It stands in the run's directory, `inspect/ledger.duckdb`; where that cannot be written to, in the cache of
whoever looks. Nothing else reads it, and it may be removed at any time: the next look makes it again. When
the ledger has grown it goes on from there; when it was cut back by a resume it starts anew.

    with open_index(run) as index:
        index.rows("SELECT step, count(*) AS proposals FROM lines WHERE role = 'propose' GROUP BY step")

Tables:
    lines    one a response: the ledger's fields (`prompt`, `record`, `measures` and `features` as JSON text),
             `line` (its number, from 1), `start` and `num_bytes` (its place in the file), `wave` (of seeding,
             from 1; 0 in training: every wave of step 0 counts its requests anew)
    tasks    `line` of a proposal or solve request, `level` and `structure` of its task, by the run's pack
    levels   `kind`, `level`, `place`: the pack's levels from easy to hard
    alarms   one a line of the role `alarm`: `line`, `step` and the alarm's fields
    damaged  `line`, `start`, `num_bytes`, `why`: lines that are none of a ledger, and were skipped
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from recipe.inspect import InspectError
from recipe.inspect.building import Report, State, bring_up_to_date, read_state
from recipe.inspect.run import Run

FOLDER = "inspect"
DATABASE = "ledger.duckdb"
LOCK = "lock"
MEMORY_LIMIT = "1GB"
MAX_THREADS = 4
"""More of them would have too little memory each."""

MOST_SHOWN = 5
"""Damaged lines that are named for a person."""


@dataclass(frozen=True, slots=True)
class Index:
    """The index of a run, opened for reading."""

    run: Run
    state: State
    connection: duckdb.DuckDBPyConnection

    def rows(self, query: str, parameters: Mapping[str, object] | None = None) -> list[dict[str, Any]]:
        """The rows that a query gives, by the names of its columns; parameters are `$name` in it."""
        found = self.connection.execute(query, parameters or {})
        names = [column[0] for column in found.description or ()]
        return [dict(zip(names, row, strict=True)) for row in found.fetchall()]

    def row(self, query: str, parameters: Mapping[str, object] | None = None) -> dict[str, Any]:
        """The one row of a query that gives one."""
        (row,) = self.rows(query, parameters)
        return row

    @property
    def partial_bytes(self) -> int:
        """Bytes of a last line that has no end yet."""
        return self.state.file_end - self.state.start


def ledger_notes(index: Index) -> list[str]:
    """What a person should know of the ledger: what was skipped, and what is not known."""
    notes = []
    num_damaged = index.row("SELECT count(*) AS n FROM damaged")["n"]
    if num_damaged:
        shown = ", ".join(f"{row['line']} ({row['why']})" for row in damaged_lines(index, MOST_SHOWN))
        more = f" and {num_damaged - MOST_SHOWN:,} more" if num_damaged > MOST_SHOWN else ""
        notes.append(f"damaged lines of the ledger, which were skipped: {shown}{more}")
    if index.partial_bytes:
        notes.append(f"the last {index.partial_bytes:,} bytes of the ledger have no line's end yet: skipped")
    if index.state.pack_fault:
        notes.append(f"levels and structures are missing: {index.state.pack_fault}")
    return notes


def damaged_lines(index: Index, most: int) -> list[dict[str, Any]]:
    """The first damaged lines of the ledger: `line` and `why`."""
    return index.rows(f"SELECT line, why FROM damaged ORDER BY line LIMIT {most}")


@contextmanager
def open_index(run: Run, report: Report = lambda words: None) -> Iterator[Index]:
    """The index of a run, brought up to date; while it is open nobody writes to it.

    Raises:
        InspectError: There is no place for it, or it cannot be written.
    """
    folder, lock = _find_place(run, report)
    try:
        with _open_current(folder / DATABASE, lock, run, report) as connection:
            yield Index(run, read_state(connection), connection)
    finally:
        os.close(lock)


def places(run: Run) -> list[Path]:
    """Where its index may be kept, the best first."""
    whole = run.folder.resolve()
    cache = Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"))
    name = f"{whole.name}-{hashlib.sha256(os.fsencode(whole)).hexdigest()[:12]}"
    return [run.folder / FOLDER, cache / "azr" / FOLDER / name]


def _find_place(run: Run, report: Report) -> tuple[Path, int]:
    """The first folder that can be written to, and its lock, which is shared with others who read."""
    refusals = []
    for folder in places(run):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            lock = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as error:
            refusals.append(f"{folder} ({error.strerror})")
            continue
        try:
            _share(lock, report)
        except OSError as error:  # a file system without locks
            os.close(lock)
            refusals.append(f"{folder} ({error.strerror})")
            continue
        return folder, lock
    raise InspectError(
        f"an index of {run.ledger} must be kept somewhere, and cannot be in {' or '.join(refusals)}. Set "
        "XDG_CACHE_HOME to a folder that can be written to."
    )


def _share(lock: int, report: Report) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        report("waiting for another command, which indexes this run")
        fcntl.flock(lock, fcntl.LOCK_SH)


def _open_current(database: Path, lock: int, run: Run, report: Report) -> duckdb.DuckDBPyConnection:
    """The index for reading, with all that the ledger has; the lock is shared then."""
    try:
        if not _is_current(database, run):
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not _is_current(database, run):  # nor did another command see to it meanwhile
                bring_up_to_date(database, run, _connect, report)
            fcntl.flock(lock, fcntl.LOCK_SH)
        return _connect(database, read_only=True)
    except duckdb.Error as error:
        words = " ".join(str(error).splitlines()[:1])
        raise InspectError(
            f"the index in {database.parent} cannot be used: {words}. Make room, or remove that folder."
        ) from error
    except OSError as error:
        raise InspectError(f"{run.ledger} cannot be indexed: {error}") from error


def _is_current(database: Path, run: Run) -> bool:
    if not database.exists():
        return False
    try:
        with _connect(database, read_only=True) as connection:
            return read_state(connection).is_of(run.ledger.stat())
    except duckdb.Error:  # it is damaged, or of another version
        return False


def _connect(database: Path, read_only: bool = False) -> duckdb.DuckDBPyConnection:
    return duckdb.connect(
        str(database),
        read_only=read_only,
        config={
            "memory_limit": MEMORY_LIMIT,
            "threads": str(min(os.cpu_count() or 1, MAX_THREADS)),
            # Nothing is downloaded to look at a run.
            "autoinstall_known_extensions": "false",
            "autoload_known_extensions": "false",
        },
    )
