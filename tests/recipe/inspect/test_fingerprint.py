"""A file that was written again is known, at whatever length."""

from __future__ import annotations

import io
import random

import pytest

from recipe.inspect import fingerprint
from recipe.inspect.fingerprint import Fingerprint


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fingerprint, "BLOCK_BYTES", 64)
    monkeypatch.setattr(fingerprint, "MAX_BLOCKS", 8)


def fed(data: bytes, *ends: int) -> Fingerprint:
    """Of data that was read in pieces that end there."""
    found = Fingerprint()
    for begin, end in zip((0, *ends), (*ends, len(data)), strict=True):
        found = Fingerprint.from_json(found.to_json())
        found.feed(data[begin:end])
    return found


@pytest.mark.parametrize("size", [0, 1, 63, 64, 65, 511, 512, 513, 5000])
def test_a_file_that_has_grown_matches(size: int) -> None:
    data = random.Random(size).randbytes(size)
    found = fed(data, size // 3, size // 3, size // 2)
    assert found.num_bytes == size
    assert found.matches(io.BytesIO(data))
    assert found.matches(io.BytesIO(data + b"more"))
    if size:
        assert not found.matches(io.BytesIO(data[:-1]))


def test_any_other_byte_is_seen_while_all_blocks_are_kept() -> None:
    data = bytes(8 * 64 + 40)
    found = fed(data, 100)
    for place in range(len(data)):
        other = data[:place] + b"x" + data[place + 1 :]
        assert not found.matches(io.BytesIO(other)), place


@pytest.mark.parametrize("cut", [0, 64, 1000, 4000, 4990])
def test_a_longer_file_is_known_to_be_other_from_the_cut_on(cut: int) -> None:
    data = random.Random(1).randbytes(5000)
    found = fed(data, 17, 2222)
    again = data[:cut] + random.Random(2).randbytes(6000 - cut)
    assert not found.matches(io.BytesIO(again))


def test_what_is_kept_does_not_grow_with_the_file() -> None:
    assert len(fed(bytes(100_000)).to_json()) < 1000
