"""The shapes of learnability, by hand."""

from __future__ import annotations

import math
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewards.propose import SHAPES, Shape, band, describe, find_shape, one_minus, quadratic, tent

EVERY_SHAPE = pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)


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
def test_one_minus_is_one_minus_the_solve_rate_except_at_both_ends(
    solve_rate: float, expected: float
) -> None:
    assert one_minus(solve_rate) == expected


@pytest.mark.parametrize(
    ("solve_rate", "expected"),
    [
        (0.0, 0.0),
        (1 / 8, 0.4375),  # 4 * 1/8 * 7/8 = 28/64
        (1 / 4, 0.75),  # 4 * 1/4 * 3/4
        (1 / 2, 1.0),  # 4 * 1/2 * 1/2
        (7 / 8, 0.4375),  # 4 * 7/8 * 1/8
        (1.0, 0.0),
    ],
)
def test_quadratic_is_four_times_the_variance(solve_rate: float, expected: float) -> None:
    assert quadratic(solve_rate) == expected


@pytest.mark.parametrize(
    ("solve_rate", "expected"),
    [(0.0, 0.0), (1 / 8, 1 / 8), (1 / 2, 1 / 2), (7 / 8, 1 / 8), (1.0, 0.0)],  # 1 - 7/8 = 1/8
)
def test_tent_is_the_smaller_of_both_shares(solve_rate: float, expected: float) -> None:
    assert tent(solve_rate) == expected


@pytest.mark.parametrize(
    ("solve_rate", "low", "high", "expected"),
    [
        (0.0, 0.0, 1.0, 0.0),
        (1 / 8, 0.0, 1.0, 1.0),
        (7 / 8, 0.0, 1.0, 1.0),
        (1.0, 0.0, 1.0, 0.0),
        (1 / 4, 0.25, 0.75, 0.0),  # the ends are outside
        (3 / 8, 0.25, 0.75, 1.0),
        (3 / 4, 0.25, 0.75, 0.0),
    ],
)
def test_band_is_one_inside_and_nothing_outside(
    solve_rate: float, low: float, high: float, expected: float
) -> None:
    assert band(solve_rate, low, high) == expected


@EVERY_SHAPE
@pytest.mark.parametrize("solve_rate", [-0.125, 1.125, math.nan, math.inf, -math.inf])
def test_solve_rate_outside_zero_to_one_is_refused(shape: Shape, solve_rate: float) -> None:
    with pytest.raises(ValueError, match=r"solve_rate must be in \[0, 1\]"):
        shape(solve_rate)


@EVERY_SHAPE
@given(solve_rate=st.floats(0, 1))
def test_learnability_stays_in_range(shape: Shape, solve_rate: float) -> None:
    assert 0.0 <= shape(solve_rate) <= 1.0


@EVERY_SHAPE
@given(attempts=st.integers(2, 64), data=st.data())
def test_task_is_worth_something_when_some_attempts_solve_it_and_some_do_not(
    shape: Shape, attempts: int, data: st.DataObject
) -> None:
    assert shape(data.draw(st.integers(1, attempts - 1)) / attempts) > 0.0
    assert shape(0.0) == shape(1.0) == 0.0


@pytest.mark.parametrize("shape", [quadratic, tent, band])
@given(solved=st.integers(0, 64))
def test_all_but_one_minus_are_symmetric(shape: Shape, solved: int) -> None:
    assert shape(solved / 64) == shape((64 - solved) / 64)


@given(st.integers(2, 64), st.data())
def test_of_two_solvable_tasks_the_harder_one_earns_more(attempts: int, data: st.DataObject) -> None:
    solved = st.integers(1, attempts - 1)
    first, second = sorted((data.draw(solved), data.draw(solved)))
    harder, easier = one_minus(first / attempts), one_minus(second / attempts)
    assert harder > easier if first < second else harder == easier


def test_shapes_are_found_by_their_names_and_survive_pickling() -> None:
    assert [find_shape(name) for name in ("one-minus", "quadratic", "tent")] == [one_minus, quadratic, tent]
    assert find_shape(None) is None
    found = find_shape("band", 0.25, 0.75)
    assert found is not None
    again = pickle.loads(pickle.dumps(found))
    assert [again(solved / 8) for solved in range(9)] == [0, 0, 0, 1, 1, 1, 0, 0, 0]


@pytest.mark.parametrize(
    ("shape", "low", "high", "message"),
    [
        ("flat", 0.0, 1.0, "must be null or one of one-minus, quadratic, tent, band; got 'flat'"),
        ("band", 0.5, 0.5, "less than .high"),
        ("band", -0.1, 0.5, "less than .high"),
        ("band", 0.5, 1.1, "less than .high"),
        ("tent", 0.1, 1.0, "with shape=band only; got 0.1 and 1.0 with tent"),
        (None, 0.0, 0.9, "with shape=band only; got 0.0 and 0.9 with None"),
    ],
)
def test_shapes_that_there_are_not_are_refused(
    shape: str | None, low: float, high: float, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        find_shape(shape, low, high)


def test_shapes_are_described_by_their_formula() -> None:
    assert describe(one_minus) == "1 - solve rate"
    shape = find_shape("band", 0.25, 0.75)
    assert shape is not None
    assert describe(shape) == "1 between 0.25 and 0.75, else 0"
    assert all("solve rate" in describe(each) for name, each in SHAPES.items() if name != "band")
