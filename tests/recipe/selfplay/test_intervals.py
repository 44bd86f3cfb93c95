"""Intervals by hand: Wilson's, the bootstrap over paired tasks, and Student's over runs."""

from __future__ import annotations

import math
import statistics

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recipe.selfplay.intervals import Interval, over_runs, paired_over_tasks, wilson

COUNTS = st.integers(1, 10_000).flatmap(lambda total: st.tuples(st.integers(0, total), st.just(total)))


Z_95 = statistics.NormalDist().inv_cdf(0.975)
DIFFERENCES = st.lists(st.sampled_from([-1.0, -0.5, 0.0, 0.25, 1.0]), min_size=1, max_size=30)


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


# ------------------------------ over tasks ------------------------------


def test_two_tasks_of_which_one_differs_reach_from_none_to_all() -> None:
    # A mean of two draws from (0, 1) is 0, 1/2 or 1, with 1/4, 1/2 and 1/4. Both 2.5 % tails lie inside the
    # outer quarters; there is no bias (as much below 1/2 as above) and no skew to correct.
    assert paired_over_tasks([0.0, 1.0]) == (0.0, 1.0)


def test_interval_of_many_tasks_is_the_normal_one() -> None:
    # 1,000 tasks: 300 right where the other was wrong, 100 the other way round, 600 the same in both.
    # mean = (300 - 100) / 1000 = 0.2; variance = 400 / 1000 - 0.2^2 = 0.36
    # 0.2 -+ 1.959964 * sqrt(0.36 / 1000) = 0.2 -+ 0.037188; the draws add about 1 % of the width
    differences = [1.0] * 300 + [-1.0] * 100 + [0.0] * 600
    assert paired_over_tasks(differences) == pytest.approx((0.162812, 0.237188), abs=1.5e-3)


def test_few_tasks_that_differ_one_way_are_not_told_from_none_but_lean_to_more() -> None:
    # 4 of 200 differ: 0.02. The normal interval, 0.02 -+ 1.959964 * sqrt(0.02 * 0.98 / 200) = 0.02 -+ 0.0194,
    # is symmetric; of 4 events Poisson's exact interval is 1.09 to 10.24, over 200: 0.0054 to 0.051.
    low, high = paired_over_tasks([1.0] * 4 + [0.0] * 196)
    assert 0.0 < low < 0.01
    assert 0.045 < high < 0.055


def test_tasks_that_all_differ_alike_have_no_width() -> None:
    assert paired_over_tasks([0.0] * 50) == (0.0, 0.0)
    assert paired_over_tasks([0.1] * 3) == (0.1, 0.1)
    assert paired_over_tasks([-1.0]) == (-1.0, -1.0)


@given(DIFFERENCES)
@settings(max_examples=20, deadline=None)
def test_interval_over_tasks_is_the_same_each_time_and_inside_the_differences(
    differences: list[float],
) -> None:
    low, high = paired_over_tasks(differences)
    assert min(differences) <= low <= high <= max(differences)  # false for nan
    assert paired_over_tasks(differences) == (low, high)


def test_no_tasks_are_refused() -> None:
    with pytest.raises(ValueError, match="at least one difference between paired tasks; got none"):
        paired_over_tasks([])


# ------------------------------ over runs ------------------------------


def test_three_runs() -> None:
    # mean 0.6; s = sqrt((0.01 + 0 + 0.01) / 2) = 0.1; the 97.5 % quantile of t with 2 degrees is 4.302653
    # half = 4.302653 * 0.1 / sqrt(3) = 0.248414
    assert over_runs([0.5, 0.6, 0.7]) == pytest.approx((0.6 - 0.248414, 0.6 + 0.248414), abs=1e-6)


def test_two_runs() -> None:
    # mean 0; s = sqrt(2); with 1 degree t is tan(0.475 pi) = 12.706205; half = 12.706205 * sqrt(2) / sqrt(2)
    assert over_runs([-1.0, 1.0]) == pytest.approx((-12.706205, 12.706205), abs=1e-5)


def test_equal_runs_have_no_width() -> None:
    assert over_runs([0.25, 0.25, 0.25]) == (0.25, 0.25)


@pytest.mark.parametrize("values", [[], [0.5]])
def test_one_run_is_no_sample_of_runs(values: list[float]) -> None:
    with pytest.raises(ValueError, match=f"at least 2 runs for an interval over runs; got {len(values)}"):
        over_runs(values)
