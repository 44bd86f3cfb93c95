"""Files that others published: what is read, what is left out, and what is said of a file that is neither."""

from __future__ import annotations

import asyncio
import bz2
import gzip
import io
import json
import lzma
import tarfile
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pyarrow
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from tasks.contract import TaskRecord
from tasks.kit.data_file import FOREIGN, UNPACK, collect, collect_tasks, describe_left_out, read_data_file
from tasks.kit.payload import Payload, read_int, read_str
from tasks.prime_inversion import PrimeInversionPack

OBJECTS = [{"text": "a\u2028\u00e9"}, {"text": "b"}, {"text": None}]
LINES = "\n".join(json.dumps(item, ensure_ascii=False) for item in OBJECTS) + "\n"


def as_parquet(items: Sequence[object]) -> bytes:
    sink = io.BytesIO()
    parquet.write_table(pyarrow.Table.from_pylist(list(items)), sink)
    return sink.getvalue()


def as_tar(name: str, content: bytes) -> bytes:
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w") as archive:
        member = tarfile.TarInfo(name)
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    return sink.getvalue()


FORMATS = {
    "lines": LINES.encode(),
    "a mark": b"\xef\xbb\xbf" + LINES.encode(),
    "UTF-16": LINES.encode("utf-16"),
    "Windows": LINES.replace("\n", "\r\n").encode(),
    "no last line end": LINES.strip().encode(),
    "array": json.dumps(OBJECTS).encode(),
    "indented array with a mark": b"\xef\xbb\xbf" + json.dumps(OBJECTS, indent=2).encode(),
    "parquet": as_parquet(OBJECTS),
    "gzip": gzip.compress(LINES.encode()),
    "gzip of a mark": gzip.compress(b"\xef\xbb\xbf" + LINES.encode()),
    "bzip2": bz2.compress(LINES.encode()),
    "xz": lzma.compress(LINES.encode()),
    "gzip of an array": gzip.compress(json.dumps(OBJECTS).encode()),
    "gzip of parquet": gzip.compress(as_parquet(OBJECTS)),
}


def write(folder: Path, content: bytes) -> Path:
    path = folder / "rows.data"
    path.write_bytes(content)
    return path


def test_every_format_gives_the_same_rows(tmp_path: Path) -> None:
    differs = []
    for name, content in FORMATS.items():
        items, left_out = collect(read_data_file(write(tmp_path, content)), dict)
        if items != list(enumerate(OBJECTS, start=1)) or left_out:
            differs.append((name, items, left_out))
    assert differs == []


def test_one_object_is_one_row_however_it_is_laid_out(tmp_path: Path) -> None:
    # As in MATH's archive: a file a problem.
    for indent in (None, 4):
        path = write(tmp_path, json.dumps(OBJECTS[0], indent=indent).encode())
        assert collect(read_data_file(path), dict) == ([(1, OBJECTS[0])], {})


def test_an_odd_row_costs_that_row_alone(tmp_path: Path) -> None:
    def read(row: Payload) -> int:
        return read_int(row, "n")

    lines = [
        b'{"n": 1}', b"", b'{"n": 2', b"[3]", b'{"n": "4"}', b'{"n": 5, "note": "\xff"}', b"nothing",
        b'\xef\xbb\xbf{"n": 8}', b'{"n": ' + b"9" * 5000 + b"}", b'{"n": ' + b"[" * 100_000, b'{"n": 11}',
    ]  # fmt: skip
    items, left_out = collect(read_data_file(write(tmp_path, b"\n".join(lines))), read)
    assert items == [(1, 1), (6, 5), (8, 8), (11, 11)]
    assert sorted(number for numbers in left_out.values() for number in numbers) == [3, 4, 5, 7, 9, 10]
    assert left_out["must be an object"] == [4]
    assert left_out["field 'n' must be an integer; got '4'"] == [5]
    assert "rows.jsonl: 1 left out, must be an object: row 4" in describe_left_out("rows.jsonl", left_out)


def test_a_cell_that_python_has_no_value_for_costs_no_row_that_does_without_it(tmp_path: Path) -> None:
    # By its offsets and its bytes, which pyarrow does not look at.
    offsets = pyarrow.array([0, 1, 2, 4], pyarrow.int32()).buffers()[1]
    text = pyarrow.Array.from_buffers(
        pyarrow.string(), 3, [None, offsets, pyarrow.py_buffer(b"a\xff\xc3\xa9")]
    )
    odd = {
        "text": text,
        "texts": pyarrow.ListArray.from_arrays([0, 1, 2, 3], text),
        "time": pyarrow.array([0, 2**60, -(2**60)], pyarrow.timestamp("us")),
        "span": pyarrow.array([0, 2**62, -(2**62)], pyarrow.duration("s")),
    }
    for name, column in odd.items():
        sink = io.BytesIO()
        parquet.write_table(pyarrow.table({"n": [1, 2, 3], name: column}), sink)
        path = write(tmp_path, sink.getvalue())
        assert collect(read_data_file(path), lambda row: read_int(row, "n"))[0] == [(1, 1), (2, 2), (3, 3)]
        if name == "text":
            items, _ = collect(read_data_file(path), lambda row: read_str(row, "text"))
            assert items == [(1, "a"), (2, "\udcff"), (3, "\u00e9")]  # JSON Lines give the same


NO_DATA_FILES = {
    "a zip archive; unpack": b"PK\x03\x04 and more",
    "compressed by zstd; unpack": b"\x28\xb5\x2f\xfd and more",
    "an Arrow file; write it as parquet": b"ARROW1 and more",
    "a pointer of Git LFS; fetch": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
    "a web page; download the raw file": b"\n<!DOCTYPE html><html></html>",
    "a tar archive; unpack": gzip.compress(as_tar("MATH/train/algebra/1.json", b"{}")),
    "cannot be unpacked": gzip.compress(LINES.encode())[:-9],
    "damaged": bz2.compress(LINES.encode())[:-9],
    "get it anew": b"\xfd7zXZ\0 and no more",
    "must be a parquet file, as its first bytes say; get it anew": as_parquet(OBJECTS)[:-9],
    "no text": b"\xff\xfe\x00",
    "holds no JSON": b"question,answer\nHow many?,3\n",
}


def test_one_line_says_what_a_file_is_that_is_no_data_file(tmp_path: Path) -> None:
    unsaid = []
    for said, content in NO_DATA_FILES.items():
        path = write(tmp_path, content)
        with pytest.raises(ValueError) as caught:
            read_data_file(path)
        message = str(caught.value)
        if said not in message or str(path) not in message or "\n" in message.strip():
            unsaid.append((said, message))
    assert unsaid == []


def test_a_folder_is_no_data_file(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"it is a folder\. Name one of its files$"):
        read_data_file(tmp_path)


@given(
    st.sampled_from([b"", b"PAR1", b"\xef\xbb\xbf", b"[", b'{"a": ', *UNPACK, *FOREIGN]),
    st.binary(max_size=300),
)
def test_no_bytes_bring_another_error(start: bytes, rest: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = write(Path(folder), start + rest)
        try:
            rows = read_data_file(path)
        except ValueError as error:
            assert str(path) in str(error)
        else:
            collect(rows, dict)


PRIMES = PrimeInversionPack()


def test_tasks_are_distinct_of_the_pack_s_kinds_and_solved_by_their_own_answers() -> None:
    solved, unsolved, *_ = PRIMES.seeds()

    class Mistaken(PrimeInversionPack):
        def gold_response(self, record: TaskRecord) -> str:
            return super().gold_response(record) if record == solved else "no answer"

    made = {"a": [solved], "b": [TaskRecord("no-such-kind", {})], "c": [unsolved]}
    rows = [(number, {"makes": letter}) for number, letter in enumerate("aabc", start=1)]
    tasks = collect_tasks("rows", rows, lambda row: made[read_str(row, "makes")], Mistaken(), "primes")
    assert tasks == [solved]
    reason = asyncio.run(PRIMES.judge(unsolved, "no answer")).reason
    assert tasks.left_out == {
        f"repeats the {solved.kind} task of an earlier row": [2],
        f"its own answer does not solve its {unsolved.kind} task: {reason}": [4],
    }


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([], "it is empty"),
        (
            [(1, {"a": 1, "b": 2}), (2, {"a": 3})],
            "none of its 2 rows is a task: the first row has a, b; most often: no",
        ),
        ([(1, "?")], "the first row must be JSON"),
        ([(1, {})], "the first row has no fields"),
    ],
)
def test_a_source_without_tasks_says_what_it_holds_instead(rows: list[tuple[int, object]], said: str) -> None:
    def read(row: Payload) -> list[TaskRecord]:
        raise ValueError("no")

    with pytest.raises(ValueError, match=r"^rows\.x must hold primes; ") as caught:
        collect_tasks("rows.x", rows, read, PRIMES, "primes")
    assert said in str(caught.value)
