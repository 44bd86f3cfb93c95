"""95 % confidence intervals: of a measured share, of a mean over the tasks of a set, of a mean over runs.

The arithmetic is scipy's, which is imported when an interval is asked for: that takes a second, and a start
asks for none.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean, stdev
from typing import NamedTuple

CONFIDENCE = 0.95

RESAMPLES_AT_ONCE = 500
"""Bounds the memory of a bootstrap: this many times the number of tasks, in floats."""


class Interval(NamedTuple):
    """A closed interval, in the unit of what was measured: shares in [0, 1], their differences in [-1, 1]."""

    low: float
    high: float


def wilson(correct: int, total: int) -> Interval:
    """Wilson's score interval for a share of successes.

    With p = correct / total, n = total and z the 97.5 % quantile of the standard normal distribution:

        (p + z^2 / 2n  -+  z * sqrt(p * (1 - p) / n + z^2 / 4n^2)) / (1 + z^2 / n)

    E. B. Wilson, "Probable inference, the law of succession, and statistical inference", Journal of the
    American Statistical Association 22 (1927), 209-212. It stays inside [0, 1] and has a width at p = 0 and
    p = 1, where the usual p -+ z * sqrt(p * (1 - p) / n) has none. No continuity correction.

    Raises:
        ValueError: `total` is below 1, or `correct` is outside [0, total].
    """
    if total < 1:
        raise ValueError(f"total must be at least 1; got {total!r}. There is no interval without a trial")
    if not 0 <= correct <= total:
        raise ValueError(f"correct must be in [0, {total}]; got {correct!r}")
    from scipy.stats import binomtest

    low, high = binomtest(correct, total).proportion_ci(CONFIDENCE, method="wilson")
    return Interval(float(low), float(high))


def paired_over_tasks(differences: Sequence[float]) -> Interval:
    """Bootstrap interval for the mean of `differences`, one for each task that two policies were both asked.

    Tasks are drawn again with replacement, since they are the sample: the interval is about other tasks of
    the same sort, for these two policies. It says nothing of what another seed would train (`over_runs`).

    The bootstrap is BCa (B. Efron, "Better bootstrap confidence intervals", Journal of the American
    Statistical Association 82 (1987), 171-185), with seeded draws. Where few tasks differ, most of them one
    way, the mean is skewed: BCa moves the interval toward the long tail, a percentile interval does not.
    Differences that are all the same have an interval of zero width; BCa is not defined there.

    Raises:
        ValueError: There is no difference.
    """
    if not differences:
        raise ValueError("there must be at least one difference between paired tasks; got none")
    if min(differences) == max(differences):
        return Interval(differences[0], differences[0])
    import numpy as np
    from scipy.stats import bootstrap

    found = bootstrap(
        (differences,),
        np.mean,
        batch=RESAMPLES_AT_ONCE,
        confidence_level=CONFIDENCE,
        method="BCa",
        rng=1,
    ).confidence_interval
    return Interval(float(found.low), float(found.high))


def over_runs(values: Sequence[float]) -> Interval:
    """Student's two-sided t interval for the mean of `values`, one for each run (seed).

    With mean m, sample standard deviation s (divisor n - 1) and t the 97.5 % quantile of n - 1 degrees of
    freedom: m -+ t * s / sqrt(n). It takes the runs for independent and about normal, and is not held inside
    [0, 1]. Equal values have an interval of zero width.

    Raises:
        ValueError: There are fewer than two values: one run says nothing of how runs vary.
    """
    num = len(values)
    if num < 2:
        raise ValueError(f"values must be of at least 2 runs for an interval over runs; got {num}")
    from scipy.stats import t

    half_width = float(t.ppf((1 + CONFIDENCE) / 2, num - 1)) * stdev(values) / math.sqrt(num)
    return Interval(fmean(values) - half_width, fmean(values) + half_width)
