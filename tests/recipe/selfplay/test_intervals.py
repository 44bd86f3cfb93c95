"""Wilson's interval and Newcombe's, by hand."""

from __future__ import annotations

import math
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recipe.selfplay.intervals import Z_95, Interval, newcombe, wilson

COUNTS = st.integers(1, 10_000).flatmap(lambda total: st.tuples(st.integers(0, total), st.just(total)))


def test_z_is_the_normal_quantile_of_95_percent() -> None:
    assert pytest.approx(statistics.NormalDist().inv_cdf(0.975), abs=1e-12) == Z_95


def test_five_of_ten() -> None:
    # z^2 = 1.959964^2 = 3.841459; p = 0.5, n = 10
    # center = (0.5 + 3.841459 / 20) / (1 + 3.841459 / 10) = (0.5 + 0.192073) / 1.384146 = 0.5
    # half   = 1.959964 * sqrt(0.25 / 10 + 3.841459 / 400) / 1.384146
    #        = 1.959964 * sqrt(0.025 + 0.009603647) / 1.384146
    #        = 1.959964 * 0.186021 / 1.384146 = 0.263407
    assert wilson(5, 10) == pytest.approx((0.5 - 0.263407, 0.5 + 0.263407), abs=2e-6)


def test_one_of_four() -> None:
    # p = 0.25, n = 4; 1 + z^2 / n = 1 + 0.960365 = 1.960365
    # center = (0.25 + 3.841459 / 8) / 1.960365 = (0.25 + 0.480182) / 1.960365 = 0.372473
    # half   = 1.959964 * sqrt(0.1875 / 4 + 3.841459 / 64) / 1.960365
    #        = 1.959964 * sqrt(0.046875 + 0.060023) / 1.960365 = 0.999796 * 0.326953 = 0.326886
    assert wilson(1, 4) == pytest.approx((0.372473 - 0.326886, 0.372473 + 0.326886), abs=2e-6)


def test_none_of_ten_has_a_width() -> None:
    # p = 0: both terms are z^2 / 2n, so the high end is (z^2 / n) / (1 + z^2 / n) = z^2 / (n + z^2)
    # = 3.841459 / 13.841459 = 0.277533
    assert wilson(0, 10).low == 0.0
    assert wilson(0, 10).high == pytest.approx(0.277533, abs=1e-6)


def test_ten_of_ten_has_a_width() -> None:
    # The mirror image of none of ten: n / (n + z^2) = 10 / 13.841459 = 0.722467
    assert wilson(10, 10).low == pytest.approx(0.722467, abs=1e-6)
    assert wilson(10, 10).high == 1.0


@given(COUNTS)
def test_ends_are_where_the_score_statistic_is_z(counts: tuple[int, int]) -> None:
    # The definition behind the formula: |p - end| = z * sqrt(end * (1 - end) / n).
    correct, total = counts
    for end in wilson(correct, total):
        distance = Z_95 * math.sqrt(end * (1 - end) / total)
        assert abs(correct / total - end) == pytest.approx(distance, abs=1e-7)


@given(COUNTS)
def test_interval_is_inside_zero_to_one_and_holds_the_share(counts: tuple[int, int]) -> None:
    correct, total = counts
    low, high = wilson(correct, total)
    assert 0.0 <= low <= correct / total <= high <= 1.0
    assert low < high


@given(COUNTS)
def test_failures_have_the_mirrored_interval(counts: tuple[int, int]) -> None:
    correct, total = counts
    low, high = wilson(correct, total)
    assert wilson(total - correct, total) == pytest.approx(Interval(1 - high, 1 - low), abs=1e-12)


@given(COUNTS)
def test_more_trials_of_the_same_share_are_narrower(counts: tuple[int, int]) -> None:
    correct, total = counts
    few, many = wilson(correct, total), wilson(4 * correct, 4 * total)
    assert many.high - many.low < few.high - few.low


@pytest.mark.parametrize("total", [0, -1])
def test_no_trials_are_refused(total: int) -> None:
    with pytest.raises(ValueError, match=f"total must be at least 1; got {total}"):
        wilson(0, total)


@pytest.mark.parametrize("correct", [-1, 4])
def test_successes_outside_the_trials_are_refused(correct: int) -> None:
    with pytest.raises(ValueError, match=rf"correct must be in \[0, 3\]; got {correct}"):
        wilson(correct, 3)


def test_difference_is_the_published_one() -> None:
    # Newcombe (1998), Table II, example (a): 56/70 against 48/80, method 10: 0.0524 to 0.3339.
    # Wilson: 56/70 0.691834 to 0.876953; 48/80 0.490455 to 0.700382; difference 0.8 - 0.6 = 0.2
    # low  = 0.2 - sqrt(0.108166^2 + 0.100382^2) = 0.2 - 0.147569 = 0.052431
    # high = 0.2 + sqrt(0.076953^2 + 0.109545^2) = 0.2 + 0.133873 = 0.333873
    assert newcombe(48, 80, 56, 70) == pytest.approx((0.052431, 0.333873), abs=2e-6)


def test_difference_of_all_from_none_reaches_the_end() -> None:
    # Both shares lie at an end, where Wilson's interval has one side: 0 to 0.277533 and 0.722467 to 1.
    # low = 1 - sqrt(0.277533^2 + 0.277533^2) = 1 - 0.392491 = 0.607509; high = 1 + 0
    assert newcombe(0, 10, 10, 10) == pytest.approx((0.607509, 1.0), abs=2e-6)


@given(COUNTS, COUNTS)
def test_difference_turns_with_its_samples_and_lies_inside(
    before: tuple[int, int], after: tuple[int, int]
) -> None:
    interval, turned = newcombe(*before, *after), newcombe(*after, *before)
    difference = after[0] / after[1] - before[0] / before[1]
    assert -1 - 1e-12 <= interval.low <= difference <= interval.high <= 1 + 1e-12
    assert interval.low < interval.high
    assert turned == pytest.approx((-interval.high, -interval.low))
