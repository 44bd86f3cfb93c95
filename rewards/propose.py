"""What a valid proposal is worth by its solve rate: learnability, in four shapes.

They know the solve rate and nothing else. Which proposals are valid is a pack's business, and what an invalid
one costs is in `rewards/profile.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType

Shape = Callable[[float], float]
"""From the solve rate, a share in [0, 1], to a number in [0, 1] that is 0 at both ends.

Every shape raises ValueError for what is outside [0, 1] or no number.
"""


def one_minus(solve_rate: float) -> float:
    """0 if the task is always or never solved, else 1 - solve rate.

    Absolute Zero (https://arxiv.org/abs/2505.03335), Eq. 4. It is largest for the hardest task that is still
    solved at times: with 8 attempts that is 7/8, at one success, not at one half.
    """
    _check(solve_rate)
    return 1.0 - solve_rate if solve_rate > 0.0 else 0.0


def quadratic(solve_rate: float) -> float:
    """4 * solve rate * (1 - solve rate): the variance of one attempt, scaled to 1 at one half (prime-rl)."""
    _check(solve_rate)
    return 4.0 * solve_rate * (1.0 - solve_rate)


def tent(solve_rate: float) -> float:
    """The smaller of solve rate and 1 - solve rate: 1/2 at one half.

    The code of R-Zero; its paper (https://arxiv.org/abs/2508.05004) has twice that, 1 - 2 |solve rate - 1/2|.
    """
    _check(solve_rate)
    return min(solve_rate, 1.0 - solve_rate)


def band(solve_rate: float, low: float = 0.0, high: float = 1.0) -> float:
    """1 if low < solve rate < high, else 0.

    With 0 and 1, self-questioning (https://arxiv.org/abs/2508.03682): solved at times and not always.
    """
    _check(solve_rate)
    return float(low < solve_rate < high)


SHAPES: Mapping[str, Callable[..., float]] = MappingProxyType(
    {"one-minus": one_minus, "quadratic": quadratic, "tent": tent, "band": band}
)
"""Every shape by the name that the key `azr.learnability.shape` calls it."""

_IN_WORDS: Mapping[Shape, str] = MappingProxyType(
    {
        one_minus: "1 - solve rate",
        quadratic: "4 * solve rate * (1 - solve rate)",
        tent: "the smaller of solve rate and 1 - solve rate",
        band: "1 between 0 and 1, else 0",
    }
)


def find_shape(shape: str | None, low: float = 0.0, high: float = 1.0) -> Shape | None:
    """The shape that the keys under `azr.learnability` ask for.

    Args:
        shape: A key of `SHAPES`; None for the reward profile's own, which gives None.
        low: Lower end of a band, in [0, 1]; like its upper end, `high`, it does not belong to the band.

    Raises:
        ValueError: There is no such shape or band, or ends are given for a shape that has none.
    """
    if shape is not None and shape not in SHAPES:
        raise ValueError(f"azr.learnability.shape must be null or one of {', '.join(SHAPES)}; got {shape!r}")
    if shape == "band":
        if not 0.0 <= low < high <= 1.0:
            raise ValueError(
                f"azr.learnability.low must be less than .high, both in [0, 1]; got {low} and {high}"
            )
        return partial(band, low=low, high=high)
    if (low, high) != (0.0, 1.0):
        raise ValueError(
            f"azr.learnability.low and .high are read with shape=band only; got {low} and {high} with {shape}"
        )
    return None if shape is None else SHAPES[shape]


def describe(shape: Shape) -> str:
    """A shape in words, for a person; a shape that is not of this file by the name of its function."""
    if isinstance(shape, partial) and shape.func is band:
        low, high = shape.keywords["low"], shape.keywords["high"]
        return f"1 between {low:g} and {high:g}, else 0"
    return _IN_WORDS.get(shape, getattr(shape, "__name__", "a function"))


def _check(solve_rate: float) -> None:
    if not 0.0 <= solve_rate <= 1.0:
        raise ValueError(f"solve_rate must be in [0, 1]; got {solve_rate!r}")
