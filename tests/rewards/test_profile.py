"""Every row of every reward profile, and what profiles have in common."""

from __future__ import annotations

import dataclasses
import itertools
import pickle
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewards.price import Item
from rewards.profile import (
    PROFILES,
    ByLearnability,
    PriceTable,
    UniformDraw,
    load_profile,
    price_attempt,
    price_proposal,
)
from rewards.propose import one_minus, quadratic
from tasks.contract import Outcome

TABLES = tuple(name for name, profile in PROFILES.items() if isinstance(profile, PriceTable))


def table(name: str) -> PriceTable:
    """The prices of a profile that has a table."""
    prices = load_profile(name)
    assert isinstance(prices, PriceTable)
    return prices


BY_LEARNABILITY = tuple(name for name in TABLES if isinstance(table(name).proposal_correct, ByLearnability))

GOLDEN_PROPOSALS: list[tuple[str, Outcome, float | None, float]] = [
    ("paper", Outcome.MALFORMED, None, -1.0),
    ("paper", Outcome.WRONG, None, -0.5),
    ("paper", Outcome.CORRECT, 0 / 8, 0.0),  # never solved: learnability 0, and 0 stays 0
    ("paper", Outcome.CORRECT, 1 / 8, 0.875),  # 1 - 1/8
    ("paper", Outcome.CORRECT, 4 / 8, 0.5),  # 1 - 4/8
    ("paper", Outcome.CORRECT, 7 / 8, 0.125),  # 1 - 7/8
    ("paper", Outcome.CORRECT, 8 / 8, 0.0),  # always solved: learnability 0, and 0 stays 0
    ("paper_accuracy", Outcome.MALFORMED, None, -1.0),
    ("paper_accuracy", Outcome.WRONG, None, -0.5),
    ("paper_accuracy", Outcome.CORRECT, 0 / 8, 0.0),  # solve rates are of correct attempts, as in `paper`
    ("paper_accuracy", Outcome.CORRECT, 1 / 8, 0.875),  # 1 - 1/8
    ("paper_accuracy", Outcome.CORRECT, 8 / 8, 0.0),
    ("azr_code", Outcome.MALFORMED, None, -1.0),
    ("azr_code", Outcome.WRONG, None, -1.0),  # any invalid proposal
    ("azr_code", Outcome.CORRECT, 0 / 8, -0.5),  # never solved: learnability 0 costs 0.5
    ("azr_code", Outcome.CORRECT, 1 / 8, 0.875),  # 1 - 1/8
    ("azr_code", Outcome.CORRECT, 4 / 8, 0.5),  # 1 - 4/8
    ("azr_code", Outcome.CORRECT, 7 / 8, 0.125),  # 1 - 7/8
    ("azr_code", Outcome.CORRECT, 8 / 8, -0.5),  # always solved: learnability 0 costs 0.5
    ("prime_inversion", Outcome.MALFORMED, None, -1.0),
    ("prime_inversion", Outcome.WRONG, None, -0.5),  # parses, but has no solution
    ("prime_inversion", Outcome.CORRECT, 0 / 8, 0.0),  # never solved: learnability 0, and 0 stays 0
    ("prime_inversion", Outcome.CORRECT, 1 / 8, 0.875),  # 1 - 1/8
    ("prime_inversion", Outcome.CORRECT, 4 / 8, 0.5),  # 1 - 4/8
    ("prime_inversion", Outcome.CORRECT, 7 / 8, 0.125),  # 1 - 7/8
    ("prime_inversion", Outcome.CORRECT, 8 / 8, 0.0),  # always solved: learnability 0, and 0 stays 0
    ("arithmetic", Outcome.MALFORMED, None, -1.0),
    ("arithmetic", Outcome.WRONG, None, -1.0),  # any invalid proposal
    ("arithmetic", Outcome.CORRECT, 0 / 8, 0.5),  # any valid one
    ("arithmetic", Outcome.CORRECT, 8 / 8, 0.5),
    ("arithmetic", Outcome.CORRECT, None, 0.5),
    ("arithmetic_rich", Outcome.MALFORMED, None, -1.0),  # proposals as in `paper`
    ("arithmetic_rich", Outcome.WRONG, None, -0.5),
    ("arithmetic_rich", Outcome.CORRECT, 0 / 8, 0.0),
    ("arithmetic_rich", Outcome.CORRECT, 1 / 8, 0.875),  # 1 - 1/8
    ("arithmetic_rich", Outcome.CORRECT, 8 / 8, 0.0),
    ("minazr", Outcome.MALFORMED, None, -10.0),
    ("minazr", Outcome.WRONG, None, 1.0),  # well formed, but no task
    ("minazr", Outcome.CORRECT, 0 / 8, 10.0),  # whatever the solve rate
    ("minazr", Outcome.CORRECT, 8 / 8, 10.0),
    ("minazr", Outcome.CORRECT, None, 10.0),
]

GOLDEN_ATTEMPTS: list[tuple[str, Outcome, float]] = [
    ("paper", Outcome.MALFORMED, -1.0),
    ("paper", Outcome.WRONG, -0.5),
    ("paper", Outcome.CORRECT, 1.0),
    ("paper_accuracy", Outcome.MALFORMED, -1.0),
    ("paper_accuracy", Outcome.WRONG, -0.5),  # not measured
    ("paper_accuracy", Outcome.CORRECT, 1.0),
    ("azr_code", Outcome.MALFORMED, -1.0),
    ("azr_code", Outcome.WRONG, -0.5),
    ("azr_code", Outcome.CORRECT, 1.0),
    ("prime_inversion", Outcome.MALFORMED, -1.0),
    ("prime_inversion", Outcome.WRONG, -0.5),
    ("prime_inversion", Outcome.CORRECT, 1.0),
    ("arithmetic", Outcome.MALFORMED, -1.0),
    ("arithmetic", Outcome.WRONG, -1.0),
    ("arithmetic", Outcome.CORRECT, 1.0),
    ("arithmetic_rich", Outcome.MALFORMED, -1.0),  # no number
    ("arithmetic_rich", Outcome.WRONG, -0.5),  # two numbers, say: no distance
    ("arithmetic_rich", Outcome.CORRECT, 1.0),
    ("minazr", Outcome.MALFORMED, -10.0),
    ("minazr", Outcome.WRONG, 0.0),
    ("minazr", Outcome.CORRECT, 10.0),
]

GOLDEN_GRADES: list[tuple[str, dict[str, float], float]] = [
    ("paper_accuracy", {"share": 0 / 5}, -0.5),  # nothing holds: wrong
    ("paper_accuracy", {"share": 1 / 5}, 0.2),
    ("paper_accuracy", {"share": 4 / 5}, 0.8),
    ("arithmetic_rich", {"distance": 1}, 0.7),
    ("arithmetic_rich", {"distance": 2}, 0.4),
    ("arithmetic_rich", {"distance": 3}, 0.1),
    ("arithmetic_rich", {"distance": 5}, 0.1),
    ("arithmetic_rich", {"distance": 6}, -0.2),
    ("arithmetic_rich", {"distance": 10}, -0.2),
    ("arithmetic_rich", {"distance": 11}, -0.5),
]
"""Prices of wrong attempts with these measures."""


@pytest.mark.parametrize(("name", "outcome", "solve_rate", "expected"), GOLDEN_PROPOSALS)
def test_proposal_price_is_the_row_of_the_table(
    name: str, outcome: Outcome, solve_rate: float | None, expected: float
) -> None:
    assert price_proposal(load_profile(name), outcome, solve_rate, random.Random(0)) == expected


@pytest.mark.parametrize("name", TABLES)
def test_duplicate_has_the_price_of_a_wrong_proposal_unless_it_has_its_own(name: str) -> None:
    prices = table(name)
    assert prices.proposal_duplicate is None
    for price, expected in ((None, prices.proposal_wrong), (0.0, 0.0), (-0.25, -0.25)):
        profile = dataclasses.replace(prices, proposal_duplicate=price)
        duplicate, wrong = (
            price_proposal(profile, Outcome.WRONG, None, random.Random(0), is_duplicate=is_duplicate)
            for is_duplicate in (True, False)
        )
        assert (duplicate, wrong) == (expected, prices.proposal_wrong)


@pytest.mark.parametrize(("name", "outcome", "expected"), GOLDEN_ATTEMPTS)
def test_attempt_price_is_the_row_of_the_table(name: str, outcome: Outcome, expected: float) -> None:
    assert price_attempt(load_profile(name), outcome, random.Random(0)) == expected


@pytest.mark.parametrize(("name", "measures", "expected"), GOLDEN_GRADES)
def test_grade_is_the_row_of_the_table(name: str, measures: dict[str, float], expected: float) -> None:
    assert price_attempt(load_profile(name), Outcome.WRONG, random.Random(0), measures) == expected


def test_golden_rows_cover_every_outcome_of_every_table() -> None:
    every_row = set(itertools.product(TABLES, Outcome))
    assert {(name, outcome) for name, outcome, _, _ in GOLDEN_PROPOSALS} == every_row
    assert {(name, outcome) for name, outcome, _ in GOLDEN_ATTEMPTS} == every_row
    graded = {name for name in TABLES if table(name).wrong_grade is not None}
    assert {name for name, _, _ in GOLDEN_GRADES} == graded


def test_random_draws_an_attempts_three_prices() -> None:
    # random.Random.choice is uniform over the three: 3,000 draws give each 1,000 times on average, with a
    # standard deviation of sqrt(3000 * 1/3 * 2/3) = 25.8; 900 to 1,100 is within 3.8 of them.
    profile, rng = load_profile("random"), random.Random(0)
    assert profile == UniformDraw(values=(-1.0, -0.5, 1.0))
    draws = [price_attempt(profile, Outcome.CORRECT, rng) for _ in range(3000)]
    assert set(draws) == {-1.0, -0.5, 1.0}
    assert all(900 < draws.count(value) < 1100 for value in (-1.0, -0.5, 1.0))


@given(st.lists(st.sampled_from(Outcome), max_size=20), st.integers(0, 2**32), st.data())
def test_permuting_outcomes_changes_nothing_under_random(
    outcomes: list[Outcome], seed: int, data: st.DataObject
) -> None:
    profile = load_profile("random")
    shuffled = data.draw(st.permutations(outcomes))

    def priced(order: list[Outcome], solve_rate: float | None) -> list[tuple[float, float]]:
        rng = random.Random(seed)
        return [
            (price_proposal(profile, outcome, solve_rate, rng), price_attempt(profile, outcome, rng))
            for outcome in order
        ]

    assert priced(outcomes, None) == priced(shuffled, 0.5)


@given(st.sampled_from(TABLES), st.sampled_from(Outcome), st.floats(0, 1))
def test_tables_leave_the_generator_untouched(name: str, outcome: Outcome, solve_rate: float) -> None:
    rng = random.Random(0)
    price_proposal(load_profile(name), outcome, solve_rate, rng)
    price_attempt(load_profile(name), outcome, rng)
    assert rng.getstate() == random.Random(0).getstate()


@given(st.sampled_from(sorted(PROFILES)), st.sampled_from(Outcome), st.floats(0, 1), st.integers(0, 2**32))
def test_every_price_is_on_the_usual_scale_but_for_one_source(
    name: str, outcome: Outcome, solve_rate: float, seed: int
) -> None:
    profile, rng = load_profile(name), random.Random(seed)
    largest = 10.0 if name == "minazr" else 1.0
    assert abs(price_proposal(profile, outcome, solve_rate, rng)) <= largest
    assert abs(price_attempt(profile, outcome, rng)) <= largest


@given(st.sampled_from(TABLES), st.floats(0, 1))
def test_a_better_outcome_never_earns_less(name: str, solve_rate: float) -> None:
    profile, rng = load_profile(name), random.Random(0)
    order = (Outcome.MALFORMED, Outcome.WRONG, Outcome.CORRECT)
    proposals = [price_proposal(profile, outcome, solve_rate, rng) for outcome in order]
    attempts = [price_attempt(profile, outcome, rng) for outcome in order]
    assert proposals == sorted(proposals)
    assert attempts == sorted(attempts)


@pytest.mark.parametrize("name", BY_LEARNABILITY)
def test_price_of_a_valid_proposal_falls_from_one_success_to_all(name: str) -> None:
    profile, rng = load_profile(name), random.Random(0)
    prices = [price_proposal(profile, Outcome.CORRECT, solved / 8, rng) for solved in range(1, 9)]
    assert prices == sorted(set(prices), reverse=True)


@pytest.mark.parametrize("name", TABLES)
def test_solve_rate_is_not_read_unless_the_proposal_is_correct(name: str) -> None:
    profile, rng = load_profile(name), random.Random(0)
    for outcome in (Outcome.MALFORMED, Outcome.WRONG):
        assert price_proposal(profile, outcome, 0.5, rng) == price_proposal(profile, outcome, None, rng)


@pytest.mark.parametrize("name", BY_LEARNABILITY)
@pytest.mark.parametrize("solve_rate", [None, -0.1, 1.1])
def test_correct_proposal_without_a_proper_solve_rate_is_refused(name: str, solve_rate: float | None) -> None:
    with pytest.raises(ValueError, match="solve_rate must be"):
        price_proposal(load_profile(name), Outcome.CORRECT, solve_rate, random.Random(0))


def test_extra_rewards_join_a_constant_price_as_well() -> None:
    # The seed's bonus: 0.5 + 0.3. A malformed proposal and an unlearnable one have none.
    profile, rng, extras = load_profile("arithmetic"), random.Random(0), [Item("mid-range", 0.3, "")]
    assert price_proposal(profile, Outcome.CORRECT, 1.0, rng, extras) == pytest.approx(0.8)
    assert price_proposal(profile, Outcome.MALFORMED, None, rng, extras) == -1.0
    assert price_proposal(load_profile("paper"), Outcome.CORRECT, 1.0, rng, extras) == 0.0


@pytest.mark.parametrize("name", BY_LEARNABILITY)
def test_shape_takes_the_place_of_the_profiles_own_and_changes_no_other_price(name: str) -> None:
    own, other, rng = load_profile(name), load_profile(name, quadratic), random.Random(0)
    # 4 * 1/8 * 7/8 = 0.4375, in place of 1 - 1/8
    assert price_proposal(other, Outcome.CORRECT, 1 / 8, rng) == 0.4375
    assert price_proposal(own, Outcome.CORRECT, 1 / 8, rng) == 0.875
    for solve_rate in (0.0, 1.0):
        prices = [price_proposal(profile, Outcome.CORRECT, solve_rate, rng) for profile in (own, other)]
        assert prices[0] == prices[1]
    assert load_profile(name, one_minus) == own


@pytest.mark.parametrize("name", sorted(set(PROFILES) - set(BY_LEARNABILITY)))
def test_shape_is_refused_where_nothing_is_priced_by_learnability(name: str) -> None:
    with pytest.raises(ValueError, match=f"must be null with reward_profile={name}, which"):
        load_profile(name, one_minus)


def test_unknown_profile_is_refused_in_one_line_that_lists_the_known_ones() -> None:
    with pytest.raises(ValueError) as error:
        load_profile("papr")
    assert str(error.value) == (
        "reward_profile must be one of arithmetic, arithmetic_rich, azr_code, minazr, paper, paper_accuracy, "
        "prime_inversion, random; got 'papr'"
    )


def test_profiles_survive_pickling() -> None:
    for profile in PROFILES.values():
        assert pickle.loads(pickle.dumps(profile)) == profile


def test_profiles_cannot_be_changed() -> None:
    for profile in PROFILES.values():
        first = dataclasses.fields(profile)[0].name
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(profile, first, None)
    with pytest.raises(TypeError):
        PROFILES["other"] = UniformDraw((0.0,))  # type: ignore[index]
