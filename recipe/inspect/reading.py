"""Reading a ledger as batches of lines for DuckDB, in memory that does not grow with the file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa

from recipe.inspect.fingerprint import Fingerprint

CHUNK_BYTES = 4 << 20
MAX_LINE_BYTES = 64 << 20
"""A longer line is none that a run wrote. It is not kept, and counts as damaged."""

SCHEMA = pa.schema(
    [
        ("line", pa.int64()),  # its number, from 1
        ("start", pa.int64()),  # where it begins in the file, in bytes
        ("num_bytes", pa.int64()),  # with its end
        ("text", pa.large_string()),
    ]
)


class LedgerReader:
    """The lines of a ledger from one on. What was read stands in its attributes.

    Attributes:
        start: Where the next line begins, in bytes.
        end: How far was read, in bytes; what stands between `start` and here is a line without its end.
        num_lines: Lines before it.
        fingerprint: Of all that was read.
    """

    def __init__(self, file: BinaryIO, start: int, num_lines: int, fingerprint: Fingerprint) -> None:
        self.start = start
        self.end = start
        self.num_lines = num_lines
        self.fingerprint = fingerprint
        self._file = file

    def batches(self, progress: Callable[[int], None]) -> Iterator[pa.RecordBatch]:
        """Batches of `SCHEMA`, of whole lines; `progress` is told how far in the file they have come."""
        self._file.seek(self.end)
        pending: list[bytes] = []  # of a line whose end is still to come
        num_dropped = 0  # bytes of it that are not kept
        while data := self._file.read(CHUNK_BYTES):
            # The beginning of a line may have been read before, when it had no end yet.
            self.fingerprint.feed(data[max(self.fingerprint.num_bytes - self.end, 0) :])
            self.end += len(data)
            cut = data.rfind(b"\n") + 1
            if cut:
                yield self._batch(b"".join([*pending, data[:cut]]), num_dropped)
                pending, num_dropped = [data[cut:]], 0
            else:
                pending.append(data)
            if sum(map(len, pending)) > MAX_LINE_BYTES:
                num_dropped += sum(map(len, pending))
                pending = []
            progress(self.end)

    def _batch(self, data: bytes, num_dropped: int) -> pa.RecordBatch:
        """The lines of `data`, in front of which so many bytes of the first were dropped."""
        ends = np.flatnonzero(np.frombuffer(data, np.uint8) == ord("\n")) + 1
        offsets = np.concatenate([[0], ends]).astype(np.int64)
        starts = offsets[:-1] + self.start + num_dropped
        lengths = np.diff(offsets)
        starts[0] -= num_dropped
        lengths[0] += num_dropped
        numbers = np.arange(len(ends), dtype=np.int64) + self.num_lines + 1
        self.start += num_dropped + len(data)
        self.num_lines += len(ends)
        texts = _texts(data, offsets)
        return pa.record_batch([numbers, starts, lengths, texts], schema=SCHEMA)


def _texts(data: bytes, offsets: np.ndarray[Any, Any]) -> pa.Array:
    """The lines that begin at these offsets, without a copy; a line that is no UTF-8 is left empty."""
    try:
        data.decode()
    except UnicodeDecodeError:
        lines = [data[offsets[i] : offsets[i + 1]] for i in range(len(offsets) - 1)]
        return pa.array([line.decode() if _is_text(line) else "" for line in lines], pa.large_string())
    buffers = [pa.py_buffer(offsets), pa.py_buffer(data)]
    return pa.LargeStringArray.from_buffers(len(offsets) - 1, *buffers)


def _is_text(line: bytes) -> bool:
    try:
        line.decode()
    except UnicodeDecodeError:
        return False
    return True
