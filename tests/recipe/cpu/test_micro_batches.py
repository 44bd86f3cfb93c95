"""Micro-batches of rows that are about as long as each other."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from recipe.cpu.micro_batches import group_alike


def never(*_: object) -> list[list[int]]:
    raise AssertionError


def padded(lengths: list[int], groups: list[list[int]]) -> int:
    return sum(len(group) * max(lengths[row] for row in group) for group in groups)


def test_long_rows_and_short_ones_are_apart() -> None:
    lengths = [30, 10, 30, 10, 20, 20]
    # In order 10, 10, 20, 20, 30, 30, of which 60 are half.
    assert group_alike(never, lengths, 2, equal_size=False) == [[1, 3, 4, 5], [0, 2]]
    assert padded(lengths, [[1, 3, 4, 5], [0, 2]]) == 4 * 20 + 2 * 30
    assert padded(lengths, [[0, 1, 4], [2, 3, 5]]) == 6 * 30  # of mixed ones


@given(st.data())
def test_every_row_is_in_one_group_and_groups_do_not_overlap_in_length(data: st.DataObject) -> None:
    lengths = data.draw(st.lists(st.integers(1, 10_000), min_size=1, max_size=60))
    count = data.draw(st.integers(1, len(lengths)))
    groups = group_alike(never, lengths, count, equal_size=False)
    assert sorted(row for group in groups for row in group) == list(range(len(lengths)))
    assert len(groups) == count
    assert all(groups)
    ends = [(min(lengths[row] for row in group), max(lengths[row] for row in group)) for group in groups]
    assert all(high <= low for (_, high), (low, _) in pairwise(ends))


@given(st.lists(st.integers(10, 20), min_size=40, max_size=80), st.integers(1, 8))
def test_sums_differ_by_no_more_than_two_rows(lengths: list[int], count: int) -> None:
    sums = [sum(lengths[row] for row in group) for group in group_alike(never, lengths, count, False)]
    assert max(sums) - min(sums) <= 2 * max(lengths)


def test_workers_have_as_many_rows_as_each_other() -> None:
    assert group_alike(lambda *asked: [list(asked)], [1, 2], 2, equal_size=True) == [[[1, 2], 2, True]]
