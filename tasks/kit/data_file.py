"""Files of tasks that others published: parquet, JSON Lines or one JSON document, compressed or not.

What a file is is read off its bytes, not off its name. A row that makes no task costs that row alone: it is
left out, and counted by its number and the reason. What does make a task is tried with its own answer first,
since a task that nobody can solve would lower an accuracy in silence.
"""

from __future__ import annotations

import asyncio
import bz2
import gzip
import json
import lzma
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from tasks.contract import Outcome, TaskPack, TaskRecord
from tasks.kit.payload import Payload

if TYPE_CHECKING:
    import pyarrow

Item = TypeVar("Item")

Row = tuple[int, object]
"""A row's number, from 1, and the row: an object, or a line of JSON that is still to be parsed."""

Reasons = Mapping[str, Sequence[int]]
"""Why rows make no task, with the numbers of those rows."""

UNPACK: Mapping[bytes, Callable[[bytes], bytes]] = {
    b"\x1f\x8b": gzip.decompress,
    b"BZh": bz2.decompress,
    b"\xfd7zXZ\0": lzma.decompress,
}
"""How a compressed file begins, and what unpacks it."""

FOREIGN = {
    b"PK\x03\x04": "a zip archive; unpack it first",
    b"\x28\xb5\x2f\xfd": "compressed by zstd; unpack it first, by `zstd -d`",
    b"ARROW1": "an Arrow file; write it as parquet",
    b"version https://git-lfs": "a pointer of Git LFS; fetch the file itself, by `git lfs pull`",
    b"<": "a web page; download the raw file",
}
"""How files begin that are mistaken for data files, what they are and what to do."""

FORMATS = "parquet, JSON Lines or JSON, as it is or packed by gzip, bzip2 or xz"


class Tasks(list[TaskRecord]):
    """The tasks of a data file, in its order, and why its other rows made none."""

    def __init__(self, records: Iterable[TaskRecord], left_out: Reasons) -> None:
        super().__init__(records)
        self.left_out = left_out


def read_data_file(path: Path) -> list[Row]:
    """Read a file's rows; in JSON Lines a row's number is its line's, and blank lines are passed over.

    Raises:
        OSError: There is no such file, or it cannot be read.
        ValueError: It is damaged or of another format; the message has the file, what it is, and the remedy.
    """
    if path.is_dir():
        raise ValueError(f"{path} must be {FORMATS}; it is a folder. Name one of its files")
    data = path.read_bytes()
    for start, unpack in UNPACK.items():
        if data.startswith(start):
            try:
                data = unpack(data)
            except (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError) as error:
                raise ValueError(
                    f"{path} is damaged, it cannot be unpacked ({error}); get it anew"
                ) from error
    if data.startswith(b"PAR1"):
        return list(enumerate(_read_parquet(path, data), start=1))
    found = "a tar archive; unpack it first" if data[257:262] == b"ustar" else None
    for start, what in FOREIGN.items():
        found = what if data.lstrip().startswith(start) else found
    if found is not None:
        raise ValueError(f"{path} must be {FORMATS}; it is {found}")
    return _read_json(path, data)


def collect(
    rows: Iterable[Row], read: Callable[[Payload], Item]
) -> tuple[list[tuple[int, Item]], dict[str, list[int]]]:
    """What `read` makes of each row, with its number; and the rows it makes nothing of, by its ValueError."""
    items: list[tuple[int, Item]] = []
    left_out: dict[str, list[int]] = {}
    for number, row in rows:
        try:
            items.append((number, read(_parse(row))))
        except ValueError as error:
            left_out.setdefault(str(error), []).append(number)
    return items, left_out


def collect_tasks(
    source: object,
    rows: Iterable[Row],
    read: Callable[[Payload], Sequence[TaskRecord]],
    pack: TaskPack,
    wanted: str,
) -> Tasks:
    """The tasks that `read` makes of the rows: each once, of the pack's kinds, and solved by its own answer.

    `wanted` says in an error's message what the rows should have been. Not to be called in an event loop.

    Raises:
        ValueError: There is none; the message has the source, what was found, and what is wanted.
        CheckBrokenError: What the pack checks with broke.
    """
    rows = list(rows)
    items, left_out = collect(rows, read)
    kinds = {spec.name for spec in pack.kinds}
    made = [(number, record) for number, records in items for record in records if record.kind in kinds]
    by_key: dict[str, TaskRecord] = {}
    for (number, record), fault in zip(made, asyncio.run(_own_answer_faults(pack, made)), strict=True):
        if not fault and (key := pack.task_key(record)) in by_key:
            fault = f"repeats the {record.kind} task of an earlier row"
        if not fault:
            by_key[key] = record
        else:
            left_out.setdefault(fault, []).append(number)
    if not by_key:
        raise ValueError(f"{source} must hold {wanted}; {_describe_nothing(rows, left_out)}")
    return Tasks(by_key.values(), left_out)


def describe_left_out(source: object, left_out: Reasons) -> list[str]:
    """One line a reason: how many rows, why, and which."""
    return [
        f"{source}: {len(numbers)} left out, {reason}: row {', '.join(map(str, numbers))}"
        for reason, numbers in left_out.items()
    ]


async def _own_answer_faults(pack: TaskPack, made: Sequence[tuple[int, TaskRecord]]) -> list[str]:
    return await asyncio.gather(*(_own_answer_fault(pack, record) for _, record in made))


async def _own_answer_fault(pack: TaskPack, record: TaskRecord) -> str:
    """Why a task cannot be asked or is not solved by its own answer; "" if all is well."""
    try:
        pack.task_key(record)
        pack.solve_prompt(record)
        verdict = await pack.judge(record, pack.gold_response(record))
    except ValueError as error:
        return f"makes no {record.kind} task; {error}"
    right = verdict.outcome is Outcome.CORRECT
    return "" if right else f"its own answer does not solve its {record.kind} task: {verdict.reason}"


def _describe_nothing(rows: Sequence[Row], left_out: Reasons) -> str:
    """What was found in place of tasks."""
    if not rows:
        return "it is empty"
    reason = max(left_out, key=lambda reason: len(left_out[reason]))
    try:
        has = f"the first row has {', '.join(_parse(rows[0][1])) or 'no fields'}"
    except ValueError as error:
        has = f"the first row {error}"
    return f"none of its {len(rows)} rows is a task: {has}; most often: {reason}"


def _read_parquet(path: Path, data: bytes) -> list[object]:
    import pyarrow
    from pyarrow import parquet

    try:
        table = parquet.read_table(pyarrow.BufferReader(data))
    except (pyarrow.ArrowException, OSError) as error:
        raise ValueError(
            f"{path} must be a parquet file, as its first bytes say; get it anew ({error})"
        ) from error
    columns = [[_cell(scalar) for scalar in column] for column in table.columns]
    return [dict(zip(table.column_names, row, strict=True)) for row in zip(*columns, strict=True)]


def _cell(scalar: pyarrow.Scalar) -> object:
    """The value of a cell. One that Python has no value for spoils a row that needs it, and no other."""
    from pyarrow import StringScalar

    try:
        value: object = scalar.as_py()
    except (ValueError, OverflowError):
        # Text that is no UTF-8, to be refused where text is read; or a time that is too far away.
        if isinstance(scalar, StringScalar):
            return bytes(scalar.as_buffer()).decode(errors="surrogateescape")
        return None
    return value


def _read_json(path: Path, data: bytes) -> list[Row]:
    try:
        # With or without a byte-order mark. A byte that is no UTF-8 spoils its own row only: as half a
        # surrogate pair it is refused wherever text is read.
        text = data.decode(json.detect_encoding(data), "surrogateescape")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} must be {FORMATS}; it is no text ({error})") from error
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        rows = [(number, line) for number, line in enumerate(text.split("\n"), start=1) if line.strip()]
        if rows and not any(line.lstrip("\ufeff \t").startswith(("{", "[")) for _, line in rows):
            raise ValueError(f"{path} must be {FORMATS}; it holds no JSON") from None
        return list(rows)
    return list(enumerate(document if isinstance(document, list) else [document], start=1))


def _parse(row: object) -> Payload:
    if isinstance(row, str):
        try:
            # Files that were put together from several keep the marks of each.
            row = json.loads(row.removeprefix("\ufeff"))
        except json.JSONDecodeError as error:
            raise ValueError(f"must be JSON; {error.msg}") from error
        except RecursionError as error:
            raise ValueError("must be JSON of less depth") from error
    if not isinstance(row, dict):
        raise ValueError("must be an object")
    return row
