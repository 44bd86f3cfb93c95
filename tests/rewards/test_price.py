"""The items of a price, by hand."""

from __future__ import annotations

import random

import pytest

from rewards.bonus import Combine, Term
from rewards.price import Item, Price, itemize
from rewards.profile import UniformDraw, drawn, itemize_attempt, itemize_proposal, load_profile
from tasks.contract import Outcome

TERMS = {"complexity": Term(0.5, 0.3), "edit-distance": Term(0.1, 0.3)}
EXTRAS = itemize(TERMS, {"complexity": 0.8})
"""min(0.5 * 0.8, 0.3) = 0.3, and 0 for what was not measured."""


def test_extra_rewards_say_what_they_are_made_of() -> None:
    complexity, distance = EXTRAS
    assert complexity == Item("complexity", 0.3, "0.5 times its value of 0.8, and at most 0.3")
    assert distance == Item("edit-distance", 0.0, "it could not be measured of this task, and counts as 0")


@pytest.mark.parametrize(
    ("how", "total"),
    [
        (Combine.SUM, 0.75 + 0.3 + 0.0),
        (Combine.MULTIPLY, 0.75 * 0.3 * 0.0),
        (Combine.SUM_MULTIPLY, 0.75 + 0.3 * 0.0),
        (Combine.MULTIPLY_SUM, 0.75 * (0.3 + 0.0)),
    ],
)
def test_total_joins_the_items_as_a_run_asks_for(how: Combine, total: float) -> None:
    assert Price(Item("learnability", 0.75, ""), EXTRAS, how).total == pytest.approx(total)


def test_learnability_is_an_item_with_its_formula_and_extras_join_it() -> None:
    price = itemize_proposal(load_profile("paper"), Outcome.CORRECT, 0.25, random.Random(0), EXTRAS)
    assert price.base == Item("learnability", 0.75, "1 - solve rate, at a solve rate of 0.25")
    assert price.extras == EXTRAS


@pytest.mark.parametrize("solve_rate", [0.0, 1.0])
def test_what_teaches_nothing_has_one_item(solve_rate: float) -> None:
    price = itemize_proposal(load_profile("azr_code"), Outcome.CORRECT, solve_rate, random.Random(0), EXTRAS)
    assert (price.base.name, price.base.value, price.extras) == ("unlearnable", -0.5, ())


def test_a_graded_attempt_names_its_measure() -> None:
    price = itemize_attempt(
        load_profile("arithmetic_rich"), Outcome.WRONG, random.Random(0), {"distance": 3.0}
    )
    # 3 is at most 5, which is worth 0.1.
    assert (price.base.name, price.base.value) == ("graded", 0.1)
    assert "its distance of 3" in price.base.why


def test_a_draw_is_explained_by_what_was_drawn() -> None:
    profile = load_profile("random")
    assert isinstance(profile, UniformDraw)
    price = itemize_attempt(profile, Outcome.WRONG, random.Random(3))
    assert price == drawn(profile, price.total)
    assert price.base.why == "drawn from -1, -0.5, 1, each equally likely, whatever the outcome"
