"""Grades of wrong attempts, by hand."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewards.profile import ByShare, BySteps, PriceTable, price_attempt, price_grade
from tasks.contract import Outcome

STEPS = BySteps(measure="distance", steps=((1, 0.7), (2, 0.4), (5, 0.1), (10, -0.2)), beyond=-0.5)


def graded(grade: ByShare | BySteps | None) -> PriceTable:
    """A profile whose prices are all different."""
    return PriceTable(-1.0, -0.6, 0.5, -0.9, -0.8, 1.0, grade)


@pytest.mark.parametrize(("share", "expected"), [(0.0, -0.8), (0.2, 0.2), (4 / 5, 4 / 5)])
def test_share_is_the_price_unless_nothing_is_right(share: float, expected: float) -> None:
    assert price_grade(ByShare("share"), share, attempt_wrong=-0.8) == expected


@pytest.mark.parametrize(
    ("distance", "expected"),
    [
        (1, 0.7),  # off by 1
        (2, 0.4),  # off by 2
        (3, 0.1),  # off by 3 to 5
        (5, 0.1),
        (6, -0.2),  # off by 6 to 10
        (10, -0.2),
        (11, -0.5),  # farther
        (1e9, -0.5),
        (1.5, 0.4),  # a step reaches up to its value, fractions included
    ],
)
def test_steps_price_the_stretch_that_the_value_is_in(distance: float, expected: float) -> None:
    assert price_grade(STEPS, distance, attempt_wrong=-0.8) == expected


@pytest.mark.parametrize(
    ("grade", "value"),
    [(ByShare("share"), 50.0), (ByShare("share"), 1.0), (ByShare("share"), -0.1), (STEPS, -7.0)],
)
def test_a_value_that_the_measure_cannot_have_is_no_reward(grade: ByShare | BySteps, value: float) -> None:
    with pytest.raises(ValueError, match=f"{grade.measure} .*must be .*got {value}"):
        price_grade(grade, value, -0.8)


@given(st.floats(0, 100), st.floats(0, 100))
def test_nearer_never_earns_less(one: float, other: float) -> None:
    near, far = sorted((one, other))
    assert price_grade(STEPS, near, -0.8) >= price_grade(STEPS, far, -0.8)


@pytest.mark.parametrize(
    ("outcome", "measures", "expected"),
    [
        (Outcome.WRONG, {"share": 0.6}, 0.6),
        (Outcome.WRONG, {}, -0.8),  # not measured
        (Outcome.WRONG, {"distance": 0.6}, -0.8),  # another measure
        (Outcome.MALFORMED, {"share": 0.6}, -0.9),
        (Outcome.CORRECT, {"share": 0.6}, 1.0),
    ],
)
def test_only_wrong_attempts_with_the_measure_are_graded(
    outcome: Outcome, measures: dict[str, float], expected: float
) -> None:
    assert price_attempt(graded(ByShare("share")), outcome, random.Random(0), measures) == expected


@given(st.dictionaries(st.sampled_from(["share", "distance"]), st.floats(0, 1)))
def test_without_a_grade_measures_change_nothing(measures: dict[str, float]) -> None:
    assert price_attempt(graded(None), Outcome.WRONG, random.Random(0), measures) == -0.8
