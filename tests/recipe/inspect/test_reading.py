"""Lines of a ledger as batches, by hand."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from recipe.inspect import reading
from recipe.inspect.fingerprint import Fingerprint
from recipe.inspect.reading import LedgerReader


def read(content: bytes, start: int = 0, num_lines: int = 0) -> tuple[LedgerReader, list[tuple[object, ...]]]:
    reader = LedgerReader(io.BytesIO(content), start, num_lines, Fingerprint())
    batches = list(reader.batches(lambda end: None))
    return reader, [tuple(row.values()) for batch in batches for row in batch.to_pylist()]


@pytest.mark.parametrize("chunk", [1, 2, 3, 7, 100])
def test_lines_have_their_number_and_place_however_they_are_read(
    chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "CHUNK_BYTES", chunk)
    content = "ab\n\nça\nhalf".encode()
    reader, rows = read(content)
    assert rows == [(1, 0, 3, "ab\n"), (2, 3, 1, "\n"), (3, 4, 4, "ça\n")]
    assert (reader.start, reader.end, reader.num_lines) == (8, 12, 3)
    assert reader.fingerprint.matches(io.BytesIO(content))
    reader, rows = read(content + b"!\n", start=8, num_lines=3)
    assert rows == [(4, 8, 6, "half!\n")]


def test_a_line_that_is_no_text_is_empty_and_its_neighbours_are_not() -> None:
    _, rows = read(b"a\n\xff\xfe\nb\n")
    assert [row[3] for row in rows] == ["a\n", "", "b\n"]


def test_a_line_without_an_end_takes_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "CHUNK_BYTES", 10)
    monkeypatch.setattr(reading, "MAX_LINE_BYTES", 30)
    content = b"first\n" + b"x" * 95 + b"\nlast\n"
    reader, rows = read(content)
    (_, *long), last = rows[1], rows[2]
    assert (long[0], long[1]) == (6, 96)
    assert len(str(long[2])) < 30
    assert last == (3, 102, 5, "last\n")
    assert reader.start == len(content)


def test_what_a_reader_took_in_is_what_the_next_one_goes_on_from(tmp_path: Path) -> None:
    reader, _ = read(b"one\nhal")
    again = LedgerReader(io.BytesIO(b"one\nhalf\n"), reader.start, reader.num_lines, reader.fingerprint)
    rows = [row for batch in again.batches(lambda end: None) for row in batch.to_pylist()]
    assert [row["text"] for row in rows] == ["half\n"]
    assert again.fingerprint.matches(io.BytesIO(b"one\nhalf\n"))
