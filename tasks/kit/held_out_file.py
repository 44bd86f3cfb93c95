"""Held-out sets as files: one JSON header line, then one record a line.

A pack says which strata its set is drawn from; `build` draws them, `python -m tasks.held_out` writes them,
and `load` reads them back for an evaluation. Files are made once and committed, so that two runs a year
apart are measured on the same tasks. `read_rows` is for sets that others wrote in a form of their own.
"""

from __future__ import annotations

import json
import random
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, TypeVar

from tasks.contract import TaskPack, TaskRecord
from tasks.kit.payload import Payload

Item = TypeVar("Item")

DRAWS_PER_RECORD = 1000
"""Draws `build` spends on a stratum for each record it wants, before it calls the stratum exhausted."""


@dataclass(frozen=True, slots=True)
class Stratum:
    """One evenly drawn part of a held-out set."""

    name: str  # For error messages.
    count: int  # Records wanted.
    draw: Callable[[random.Random], TaskRecord]  # Draws one valid record.


class FilePack(TaskPack):
    """A pack whose held-out set is a committed file."""

    held_out_seed: ClassVar[int]
    """Seed that the file was drawn from."""

    default_held_out_path: ClassVar[Path]
    """The committed file."""

    def __init__(self, held_out_path: str | None = None) -> None:
        """Take another file in place of the committed one, if a path is given."""
        self.held_out_path = self.default_held_out_path if held_out_path is None else Path(held_out_path)

    @abstractmethod
    def held_out_strata(self) -> Sequence[Stratum]:
        """The parts of the held-out set, in the order of the file."""

    def never_held_out(self) -> Sequence[TaskRecord]:
        """Tasks that must not be drawn for the held-out set."""
        return self.seeds()

    def held_out(self) -> Sequence[TaskRecord]:
        return load(self.held_out_path, self.name, self.held_out_version)


def build(pack: FilePack) -> list[TaskRecord]:
    """Draw a pack's held-out set: distinct by `task_key`, and free of `never_held_out`.

    Raises:
        ValueError: A stratum has too few distinct tasks.
    """
    rng = random.Random(pack.held_out_seed)
    taken = {pack.task_key(record) for record in pack.never_held_out()}
    records: list[TaskRecord] = []
    for stratum in pack.held_out_strata():
        wanted = len(records) + stratum.count
        for _ in range(stratum.count * DRAWS_PER_RECORD):
            record = stratum.draw(rng)
            key = pack.task_key(record)
            if key not in taken:
                taken.add(key)
                records.append(record)
            if len(records) == wanted:
                break
        else:
            raise ValueError(f"stratum {stratum.name} must have {stratum.count} distinct tasks; ran out")
    return records


def render(pack: FilePack, records: Sequence[TaskRecord]) -> str:
    """Return the text of a held-out file."""
    header = {
        "pack": pack.name,
        "version": pack.held_out_version,
        "count": len(records),
        "seed": pack.held_out_seed,
    }
    rows = [json.dumps({"kind": record.kind, "payload": record.payload}) for record in records]
    return "\n".join([json.dumps(header), *rows]) + "\n"


def load(path: Path, pack_name: str, version: int) -> list[TaskRecord]:
    """Read a held-out file.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is of another pack or version, or shorter or longer than its header says.
    """
    remedy = f"run `python -m tasks.held_out {pack_name}` or correct pack.held_out_path"
    if not path.is_file():
        raise FileNotFoundError(f"held-out set {path} is missing; {remedy}")
    first, *rows = path.read_text(encoding="utf-8").splitlines() or [""]
    try:
        header = json.loads(first)
        items = [json.loads(row) for row in rows]
        found = (header["pack"], header["version"], header["count"])
        records = [TaskRecord(kind=item["kind"], payload=item["payload"]) for item in items]
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise ValueError(f"held-out set {path} must be a header and one record a line; {remedy}") from error
    if found != (pack_name, version, len(records)):
        raise ValueError(
            f"held-out set {path} must be pack {pack_name}, version {version} with as many records as its "
            f"header says; got pack {found[0]}, version {found[1]}, {len(records)} of {found[2]}; {remedy}"
        )
    return records


def read_rows(source: object, rows: Iterable[object], read: Callable[[Payload], Item]) -> Iterator[Item]:
    """Read the rows of a data set that others wrote: objects, or lines of JSON, where blank ones are skipped.

    Raises:
        ValueError: A row is no object, or `read` refuses it; the message has the source, the row's number,
            from 1, and the reason.
    """
    for number, row in enumerate(rows, start=1):
        if isinstance(row, str) and not row.strip():
            continue
        try:
            parsed = json.loads(row) if isinstance(row, str) else row
            if not isinstance(parsed, dict):
                raise ValueError("must be an object")
            yield read(parsed)
        except json.JSONDecodeError as error:
            raise ValueError(f"{source}:{number} must be JSON; {error}; nothing was loaded") from error
        except ValueError as error:
            raise ValueError(f"{source}:{number} {error}; nothing was loaded") from error
