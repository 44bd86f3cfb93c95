"""Grades: prices of a wrong attempt by how near it came, where the pack has measured that.

A profile names one of them beside its table (`PriceTable.wrong_grade`). The attempt stays wrong: solve rates
are what they would be without.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ByShare:
    """The share of the attempt that is right; where none of it is, the price of a wrong attempt.

    The official code of Absolute Zero calls this `accuracy`, for induction (hidden examples that hold).
    """

    measure: str  # a share in [0, 1], as the pack calls it


@dataclass(frozen=True, slots=True)
class BySteps:
    """A price for each stretch of a measure."""

    measure: str  # a number, as the pack calls it; the smaller, the better
    steps: tuple[tuple[float, float], ...]  # largest value of a stretch and its price, by rising value
    beyond: float  # price of what is larger than all of them


Grade = ByShare | BySteps


def price_grade(grade: Grade, value: float, attempt_wrong: float) -> float:
    """The price of a wrong attempt, of `attempt_wrong` in the table, with this value of the grade's measure.

    Raises:
        ValueError: `value` is none that the measure can have: a share of all is no wrong attempt's.
    """
    if isinstance(grade, ByShare):
        if not 0.0 <= value < 1.0:
            raise ValueError(f"{grade.measure} of a wrong attempt must be in [0, 1); got {value!r}")
        return value if value > 0.0 else attempt_wrong
    if not value >= 0.0:
        raise ValueError(f"{grade.measure} must be at least 0; got {value!r}")
    return next((price for largest, price in grade.steps if value <= largest), grade.beyond)
