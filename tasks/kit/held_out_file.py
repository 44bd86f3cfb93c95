"""Held-out sets as files: one JSON header line, then one record a line.

A pack says which strata its set is drawn from; `build` draws them, `python -m tasks.held_out` writes them,
and `load` reads them back for an evaluation. Files are made once and committed, so that two runs a year
apart are measured on the same tasks. What others published is read by `data_file.py`.
"""

from __future__ import annotations

import json
import random
from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from tasks.contract import TaskPack, TaskRecord
from tasks.kit.data_file import collect, describe_left_out, read_data_file
from tasks.kit.payload import Payload

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
    return "\n".join([json.dumps(header), *(record.to_json() for record in records)]) + "\n"


def require_place(out: Path, *sources: Path) -> None:
    """Refuse, before any work, a place where no file can be written or where one that is read would be lost.

    Raises:
        ValueError: It is one; the message begins with --out.
    """
    if out.is_dir():
        raise ValueError(f"--out must name a file; {out} is a folder")
    if not out.parent.is_dir():
        raise ValueError(f"--out must be in a folder that exists; got {out}. Make {out.parent}")
    if out.exists() and any(source.exists() and out.samefile(source) for source in sources):
        raise ValueError(f"--out must be none of the files that are read; got {out}")


def load(path: Path, pack_name: str, version: int) -> list[TaskRecord]:
    """Read a held-out file.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is of another pack or version, or shorter or longer than its header says.
    """
    remedy = f"run `python -m tasks.held_out {pack_name}` or correct pack.held_out_path"
    if not path.is_file():
        raise FileNotFoundError(f"held-out set {path} is missing; {remedy}")
    objects, odd = collect(read_data_file(path), _values)
    try:
        header, *items = (item for _, item in objects)
        found = (header["pack"], header["version"], header["count"])
        records = [TaskRecord(kind=item["kind"], payload=item["payload"]) for item in items]
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"held-out set {path} must be a header and one record a line; {remedy} (of a file that others "
            "published a set has to be made first)"
        ) from error
    if odd:
        raise ValueError(f"{describe_left_out(f'held-out set {path}', odd)[0]}; {remedy}")
    if found != (pack_name, version, len(records)):
        raise ValueError(
            f"held-out set {path} must be pack {pack_name}, version {version} with as many records as its "
            f"header says; got pack {found[0]}, version {found[1]}, {len(records)} of {found[2]}; {remedy}"
        )
    return records


def _values(row: Payload) -> dict[str, Any]:
    return dict(row)
