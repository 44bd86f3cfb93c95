"""Whether a file still begins with what was read of it, without reading all of it again.

A ledger grows at its end, and a run that is resumed cuts it back and writes on with other lines. Its length
tells nothing then: the new lines may have made it longer than it was.
"""

from __future__ import annotations

import hashlib
import json
from typing import BinaryIO

BLOCK_BYTES = 128 << 10
MAX_BLOCKS = 256
"""Blocks whose digests are kept. They are all of a file up to 32 MiB, and beyond it every 2nd, 4th, ...: what
looking again costs stays the same."""


class Fingerprint:
    """Digests of blocks of what was read of a file, and its last bytes as they are.

    A file that was cut back and written on is other from the cut to the end of what was read. Looked at are
    the end, and blocks all over the rest. So it passes for unchanged only if it was written again byte by
    byte in every block that is looked at, which no two samplings of a model do.
    """

    def __init__(self) -> None:
        self.num_bytes = 0  # that were read
        self._stride = 1  # blocks of a number that it divides are kept, and the last whole one
        self._digests: dict[int, str] = {}
        self._rest = b""  # behind the last whole block

    def feed(self, data: bytes) -> None:
        """Take in what comes next in the file."""
        self.num_bytes += len(data)
        data = self._rest + data
        whole = len(data) // BLOCK_BYTES
        first = (self.num_bytes - len(data)) // BLOCK_BYTES
        for number in range(whole):
            block = data[number * BLOCK_BYTES : (number + 1) * BLOCK_BYTES]
            self._keep(first + number, hashlib.blake2b(block, digest_size=16).hexdigest())
        self._rest = data[whole * BLOCK_BYTES :]

    def _keep(self, number: int, digest: str) -> None:
        last = number - 1
        if last % self._stride:
            self._digests.pop(last, None)
        self._digests[number] = digest
        if len(self._digests) > MAX_BLOCKS:
            self._stride *= 2
            self._digests = {
                kept: found
                for kept, found in self._digests.items()
                if kept % self._stride == 0 or kept == number
            }

    def matches(self, file: BinaryIO) -> bool:
        """Whether a file, opened for reading, begins with what was read; its position is another then."""
        for number, digest in self._digests.items():
            file.seek(number * BLOCK_BYTES)
            if hashlib.blake2b(file.read(BLOCK_BYTES), digest_size=16).hexdigest() != digest:
                return False
        file.seek(self.num_bytes - len(self._rest))
        return file.read(len(self._rest)) == self._rest

    def to_json(self) -> str:
        """All of it as text."""
        values = [self.num_bytes, self._stride, self._digests, self._rest.hex()]
        return json.dumps(values)

    @classmethod
    def from_json(cls, text: str) -> Fingerprint:
        """The inverse of `to_json`."""
        found = cls()
        found.num_bytes, found._stride, digests, rest = json.loads(text)
        found._digests = {int(number): digest for number, digest in digests.items()}
        found._rest = bytes.fromhex(rest)
        return found
