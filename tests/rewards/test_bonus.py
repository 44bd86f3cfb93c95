"""Extra rewards of a proposer, by hand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewards.bonus import Combine, Term, combine, price_terms


def test_term_is_the_scaled_feature_up_to_its_maximum() -> None:
    terms = {"complexity": Term(0.5, 0.3), "edit-distance": Term(0.1, 0.3)}
    # min(0.5 * 0.4, 0.3) = 0.2; min(0.5 * 0.8, 0.3) = 0.3
    assert price_terms(terms, {"complexity": 0.4, "edit-distance": 0.9}) == pytest.approx([0.2, 0.09])
    assert price_terms(terms, {"complexity": 0.8, "edit-distance": 0.9}) == pytest.approx([0.3, 0.09])


def test_feature_that_could_not_be_measured_is_worth_nothing() -> None:
    terms = {"complexity": Term(0.5, 0.3), "edit-distance": Term(0.1, 0.3)}
    # 0.5 * 0 = 0; 0.1 * 1 = 0.1. Where terms multiply, the reward is 0: nobody escapes a small factor.
    assert price_terms(terms, {"edit-distance": 1.0}) == pytest.approx([0.0, 0.1])
    assert combine(0.75, price_terms(terms, {"edit-distance": 1.0}), Combine.MULTIPLY) == 0.0


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        (Combine.SUM, 0.75 + 0.2 + 0.4),
        (Combine.MULTIPLY, 0.75 * 0.2 * 0.4),
        (Combine.SUM_MULTIPLY, 0.75 + 0.2 * 0.4),
        (Combine.MULTIPLY_SUM, 0.75 * (0.2 + 0.4)),
    ],
)
def test_four_ways_to_combine(how: Combine, expected: float) -> None:
    assert combine(0.75, [0.2, 0.4], how) == pytest.approx(expected)


@given(st.floats(-1, 1), st.sampled_from(Combine))
def test_without_terms_nothing_changes(reward: float, how: Combine) -> None:
    assert combine(reward, [], how) == reward
