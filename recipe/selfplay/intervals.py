"""Confidence intervals for measured shares, such as held-out accuracy, and for their differences."""

from __future__ import annotations

import math
from typing import NamedTuple

Z_95 = 1.959963984540054
"""The 97.5 % quantile of the standard normal distribution: a two-sided 95 % interval."""


class Interval(NamedTuple):
    """A closed interval of shares in [0, 1], or of differences of shares in [-1, 1]."""

    low: float
    high: float


def wilson(correct: int, total: int) -> Interval:
    """Wilson's 95 % score interval for a share of successes.

    With p = correct / total, n = total and z = `Z_95`:

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
    share = correct / total
    z2 = Z_95 * Z_95
    center = (share + z2 / (2 * total)) / (1 + z2 / total)
    half_width = Z_95 * math.sqrt(share * (1 - share) / total + z2 / (4 * total * total)) / (1 + z2 / total)
    # At p = 0 and p = 1 the ends are exactly 0 and 1, which rounding can miss.
    low = 0.0 if correct == 0 else center - half_width
    high = 1.0 if correct == total else center + half_width
    return Interval(low=low, high=high)


def newcombe(correct_before: int, before: int, correct_after: int, after: int) -> Interval:
    """Newcombe's 95 % interval for the difference of two shares, after less before.

    With p, l and u the share and the ends of its Wilson interval:

        low  = p_after - p_before - sqrt((p_after - l_after)^2 + (u_before - p_before)^2)
        high = p_after - p_before + sqrt((u_after - p_after)^2 + (p_before - l_before)^2)

    Method 10 of R. G. Newcombe, "Interval estimation for the difference between independent proportions:
    comparison of eleven methods", Statistics in Medicine 17 (1998), 873-890.

    It takes the two samples for independent. Where the same items are asked twice and answers agree more
    often than by chance, it is wider than it need be. ValueError as for `wilson`.
    """
    first, second = wilson(correct_before, before), wilson(correct_after, after)
    share_before, share_after = correct_before / before, correct_after / after
    difference = share_after - share_before
    return Interval(
        low=difference - math.hypot(share_after - second.low, first.high - share_before),
        high=difference + math.hypot(second.high - share_after, share_before - first.low),
    )
