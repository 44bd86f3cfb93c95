"""Reward profiles: named tables that turn an outcome into a number.

A profile is data. The two pricing functions read it, and no code asks for a profile's name. To add a profile,
add an entry to `PROFILES`, its table to docs/rewards.md and its rows to the golden tests.

Not done here: deciding outcomes (packs do), estimating the solve rate (the rollout does), and comparing
rewards with each other (the estimator does).
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from rewards.bonus import Combine, combine
from rewards.grade import ByShare, Grade, price_grade
from rewards.propose import learnability
from tasks.contract import Outcome

NO_MEASURES: Mapping[str, float] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class PriceTable:
    """Prices that follow the outcome. A valid proposal with learnability above 0 earns its learnability.

    Attributes:
        proposal_malformed: The proposal does not parse.
        proposal_wrong: It parses but is no valid task.
        proposal_unlearnable: A valid task that is always or never solved (learnability 0).
        attempt_malformed: The answer does not parse.
        attempt_wrong: It parses but is not right.
        attempt_correct: It is right.
        wrong_grade: Prices a wrong attempt that has the grade's measure, in place of `attempt_wrong`.
    """

    proposal_malformed: float
    proposal_wrong: float
    proposal_unlearnable: float
    attempt_malformed: float
    attempt_wrong: float
    attempt_correct: float
    wrong_grade: Grade | None = None

    def price_wrong_attempt(self, measures: Mapping[str, float]) -> float:
        """What a wrong attempt with these measures earns."""
        grade = self.wrong_grade
        if grade is None or grade.measure not in measures:
            return self.attempt_wrong
        return price_grade(grade, measures[grade.measure], self.attempt_wrong)


@dataclass(frozen=True, slots=True)
class UniformDraw:
    """Prices that ignore the outcome: one of `values`, each equally likely."""

    values: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class RewardProfile:
    """A named way to price outcomes.

    Attributes:
        name: What the key `reward_profile` calls it.
        prices: Its table, or the values that it draws from.
    """

    name: str
    prices: PriceTable | UniformDraw


_ALL = (
    RewardProfile(
        name="paper",
        prices=PriceTable(
            proposal_malformed=-1.0,
            proposal_wrong=-0.5,
            proposal_unlearnable=0.0,
            attempt_malformed=-1.0,
            attempt_wrong=-0.5,
            attempt_correct=1.0,
        ),
    ),
    RewardProfile(
        name="paper_accuracy",
        prices=PriceTable(
            proposal_malformed=-1.0,
            proposal_wrong=-0.5,
            proposal_unlearnable=0.0,
            attempt_malformed=-1.0,
            attempt_wrong=-0.5,
            attempt_correct=1.0,
            wrong_grade=ByShare("share"),
        ),
    ),
    RewardProfile(
        name="azr_code",
        prices=PriceTable(
            proposal_malformed=-1.0,
            proposal_wrong=-1.0,
            proposal_unlearnable=-0.5,
            attempt_malformed=-1.0,
            attempt_wrong=-0.5,
            attempt_correct=1.0,
        ),
    ),
    RewardProfile(
        name="prime_inversion",
        prices=PriceTable(
            proposal_malformed=-1.0,
            proposal_wrong=-0.5,
            proposal_unlearnable=0.0,
            attempt_malformed=-1.0,
            attempt_wrong=-0.5,
            attempt_correct=1.0,
        ),
    ),
    # The control has an attempt's three prices, so that its rewards have the usual scale.
    RewardProfile(name="random", prices=UniformDraw(values=(-1.0, -0.5, 1.0))),
)

PROFILES: Mapping[str, RewardProfile] = MappingProxyType({profile.name: profile for profile in _ALL})
"""Every profile by its name."""


def load_profile(name: str) -> RewardProfile:
    """The profile that the key `reward_profile` names.

    Raises:
        ValueError: There is no such profile.
    """
    if name not in PROFILES:
        raise ValueError(f"reward_profile must be one of {', '.join(sorted(PROFILES))}; got {name!r}")
    return PROFILES[name]


def price_proposal(
    profile: RewardProfile,
    outcome: Outcome,
    solve_rate: float | None,
    rng: random.Random,
    terms: Sequence[float] = (),
    how: Combine = Combine.SUM,
) -> float:
    """The proposer's reward for one proposal.

    Args:
        profile: The prices.
        outcome: What is true of the proposal.
        solve_rate: Share of correct attempts at the accepted task, in [0, 1]. None where there is no such
            share: the task was not accepted. A table reads it for CORRECT only, a draw never.
        rng: Source of a draw. A table leaves it untouched.
        terms: Extra rewards. They join a learnability above 0 and no other price: a task that teaches nothing
            earns nothing for its looks.
        how: How they join it.

    Returns:
        The reward, a scalar without unit.

    Raises:
        ValueError: A table has to price a CORRECT proposal, and `solve_rate` is None or outside [0, 1].
    """
    prices = profile.prices
    if isinstance(prices, UniformDraw):
        return rng.choice(prices.values)
    match outcome:
        case Outcome.MALFORMED:
            return prices.proposal_malformed
        case Outcome.WRONG:
            return prices.proposal_wrong
        case Outcome.CORRECT:
            if solve_rate is None:
                raise ValueError("solve_rate must be given for a correct proposal; got None")
            value = learnability(solve_rate)
            return combine(value, terms, how) if value > 0.0 else prices.proposal_unlearnable


def price_attempt(
    profile: RewardProfile, outcome: Outcome, rng: random.Random, measures: Mapping[str, float] = NO_MEASURES
) -> float:
    """The solver's reward for one attempt.

    Args:
        profile: The prices.
        outcome: What is true of the attempt.
        rng: Source of a draw. A table leaves it untouched.
        measures: What the pack measured of the attempt, by name. A table reads it for WRONG only.

    Returns:
        The reward, a scalar without unit.
    """
    prices = profile.prices
    if isinstance(prices, UniformDraw):
        return rng.choice(prices.values)
    match outcome:
        case Outcome.MALFORMED:
            return prices.attempt_malformed
        case Outcome.WRONG:
            return prices.price_wrong_attempt(measures)
        case Outcome.CORRECT:
            return prices.attempt_correct
