"""Learnability, by hand."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewards.propose import learnability


@pytest.mark.parametrize(
    ("solve_rate", "expected"),
    [
        (0.0, 0.0),  # never solved
        (1 / 8, 0.875),  # 1 - 1/8
        (1 / 2, 0.5),  # 1 - 1/2
        (7 / 8, 0.125),  # 1 - 7/8
        (1.0, 0.0),  # always solved
        (0, 0.0),  # counts of an integer division
        (1, 0.0),
    ],
)
def test_learnability_is_one_minus_the_solve_rate_except_at_both_ends(
    solve_rate: float, expected: float
) -> None:
    assert learnability(solve_rate) == expected


@pytest.mark.parametrize("solve_rate", [-0.125, 1.125, math.nan, math.inf, -math.inf])
def test_solve_rate_outside_zero_to_one_is_refused(solve_rate: float) -> None:
    with pytest.raises(ValueError, match=r"solve_rate must be in \[0, 1\]"):
        learnability(solve_rate)


@given(st.floats(0, 1))
def test_learnability_stays_in_range(solve_rate: float) -> None:
    assert 0.0 <= learnability(solve_rate) <= 1.0


@given(st.integers(2, 64), st.data())
def test_of_two_solvable_tasks_the_harder_one_earns_more(attempts: int, data: st.DataObject) -> None:
    solved = st.integers(1, attempts - 1)
    first, second = sorted((data.draw(solved), data.draw(solved)))
    harder, easier = learnability(first / attempts), learnability(second / attempts)
    assert harder > easier if first < second else harder == easier
