"""What a reward is made of, item by item: a price for the outcome, and extra rewards that join it.

`rewards/profile.py` makes a `Price`, and the reward is its total. So whoever explains a reward shows the very
numbers that were added up, and works none of them out again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from rewards.bonus import Combine, Term, combine, price_terms


@dataclass(frozen=True, slots=True)
class Item:
    """One number that a reward is made of."""

    name: str
    value: float
    why: str  # in one sentence


@dataclass(frozen=True, slots=True)
class Price:
    """What one response is worth, item by item."""

    base: Item  # what the outcome is worth
    extras: tuple[Item, ...] = ()  # extra rewards, in the order of `azr.bonus.terms`
    how: Combine = Combine.SUM  # how they join the base

    @property
    def total(self) -> float:
        """The reward, a scalar without unit."""
        return combine(self.base.value, [extra.value for extra in self.extras], self.how)


def itemize(terms: Mapping[str, Term], features: Mapping[str, float]) -> tuple[Item, ...]:
    """The extra rewards of a proposal with these features, in the order of `terms` (`price_terms`)."""
    values = price_terms(terms, features)
    return tuple(
        Item(name, value, _why(term, features.get(name)))
        for (name, term), value in zip(terms.items(), values, strict=True)
    )


def _why(term: Term, feature: float | None) -> str:
    if feature is None:
        return "it could not be measured of this task, and counts as 0"
    return f"{term.coefficient:g} times its value of {feature:g}, and at most {term.maximum:g}"
