"""Reward profiles: named tables that turn an outcome into a number.

A profile is data. `itemize_proposal` and `itemize_attempt` read it, and no code asks for a profile's name. To
add a profile, add an entry to `PROFILES`, its table to docs/rewards.md and its rows to the golden tests.

Not done here: deciding outcomes (packs do), estimating the solve rate (the rollout does), and comparing
rewards with each other (the estimator does).
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

from rewards.bonus import Combine
from rewards.price import Item, Price
from rewards.propose import Shape, describe, one_minus
from tasks.contract import Outcome


@dataclass(frozen=True, slots=True)
class ByLearnability:
    """A valid proposal earns its learnability."""

    otherwise: float  # its price where learnability is 0: always or never solved, or outside a band
    shape: Shape = one_minus  # learnability by solve rate


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
"""Prices a wrong attempt by how near it came, where the pack measures that. To solve rates it stays wrong."""


@dataclass(frozen=True, slots=True)
class PriceTable:
    """Prices that follow the outcome."""

    proposal_malformed: float  # the proposal does not parse
    proposal_wrong: float  # it parses but is no valid task, or one that is not new
    proposal_correct: ByLearnability | float  # a valid task; a number is its price whatever the solve rate
    attempt_malformed: float  # the answer does not parse
    attempt_wrong: float  # it parses but is not right
    attempt_correct: float  # it is right
    wrong_grade: Grade | None = None  # replaces `attempt_wrong` where the attempt has the grade's measure
    proposal_duplicate: float | None = None  # a task that was proposed before; None: as `proposal_wrong`


@dataclass(frozen=True, slots=True)
class UniformDraw:
    """Prices that ignore the outcome: one of `values`, each equally likely."""

    values: tuple[float, ...]


Profile = PriceTable | UniformDraw
"""A way to price outcomes."""

_PAPER = PriceTable(
    proposal_malformed=-1.0,
    proposal_wrong=-0.5,
    proposal_correct=ByLearnability(otherwise=0.0),
    attempt_malformed=-1.0,
    attempt_wrong=-0.5,
    attempt_correct=1.0,
)

PROFILES: Mapping[str, Profile] = MappingProxyType(
    {
        "paper": _PAPER,
        "paper_accuracy": replace(_PAPER, wrong_grade=ByShare("share")),
        "azr_code": replace(_PAPER, proposal_wrong=-1.0, proposal_correct=ByLearnability(otherwise=-0.5)),
        "arithmetic": replace(_PAPER, proposal_wrong=-1.0, proposal_correct=0.5, attempt_wrong=-1.0),
        "arithmetic_rich": replace(
            _PAPER, wrong_grade=BySteps("distance", ((1, 0.7), (2, 0.4), (5, 0.1), (10, -0.2)), beyond=-0.5)
        ),
        "minazr": PriceTable(
            proposal_malformed=-10.0,
            proposal_wrong=1.0,
            proposal_correct=10.0,
            attempt_malformed=-10.0,
            attempt_wrong=0.0,
            attempt_correct=10.0,
        ),
        # The control has an attempt's three prices, so that its rewards have the usual scale.
        "random": UniformDraw(values=(-1.0, -0.5, 1.0)),
        # The reproduction with modular inverses has the paper's prices; its name goes on working.
        "prime_inversion": _PAPER,
    }
)
"""Every profile by the name that the key `reward_profile` has for it."""


def load_profile(name: str, shape: Shape | None = None) -> Profile:
    """The profile that the key `reward_profile` names, with `shape`, if given, in place of its own.

    Raises:
        ValueError: There is no such profile, or it prices no proposal by learnability and a shape is given.
    """
    if name not in PROFILES:
        raise ValueError(f"reward_profile must be one of {', '.join(sorted(PROFILES))}; got {name!r}")
    profile = PROFILES[name]
    if shape is None:
        return profile
    if not isinstance(profile, PriceTable) or not isinstance(profile.proposal_correct, ByLearnability):
        raise ValueError(
            f"azr.learnability.shape must be null with reward_profile={name}, which prices no proposal by "
            "learnability"
        )
    return replace(profile, proposal_correct=replace(profile.proposal_correct, shape=shape))


def missing_measure(profile: Profile, measure_names: Sequence[str]) -> str:
    """The measure that a profile grades wrong attempts by, where it is none of these; else ""."""
    grade = profile.wrong_grade if isinstance(profile, PriceTable) else None
    return "" if grade is None or grade.measure in measure_names else grade.measure


def drawn(profile: UniformDraw, value: float) -> Price:
    """The price that a draw of `value` is; what was drawn can be told from the reward alone."""
    values = ", ".join(f"{each:g}" for each in profile.values)
    return Price(Item("draw", value, f"drawn from {values}, each equally likely, whatever the outcome"))


def price_proposal(
    profile: Profile,
    outcome: Outcome,
    solve_rate: float | None,
    rng: random.Random,
    extras: Sequence[Item] = (),
    how: Combine = Combine.SUM,
    *,
    is_duplicate: bool = False,
) -> float:
    """The proposer's reward for one proposal, a scalar without unit: the total of `itemize_proposal`."""
    return itemize_proposal(profile, outcome, solve_rate, rng, extras, how, is_duplicate=is_duplicate).total


def itemize_proposal(
    profile: Profile,
    outcome: Outcome,
    solve_rate: float | None,
    rng: random.Random,
    extras: Sequence[Item] = (),
    how: Combine = Combine.SUM,
    *,
    is_duplicate: bool = False,
) -> Price:
    """What one proposal is worth, item by item.

    Args:
        solve_rate: Share of correct attempts at the accepted task, in [0, 1]. None where there is no such
            share: the task was not accepted. Only `ByLearnability` reads it, for CORRECT.
        rng: Source of a draw. A table leaves it untouched.
        extras: Extra rewards. They join what a valid task earns, but not where learnability is 0: a task that
            teaches nothing earns nothing for its looks.
        how: How they join it.
        is_duplicate: Whether a WRONG proposal is a task that there is already.

    Raises:
        ValueError: A CORRECT proposal has to be priced by learnability, and `solve_rate` is None or outside
            [0, 1].
    """
    if isinstance(profile, UniformDraw):
        return drawn(profile, rng.choice(profile.values))
    match outcome:
        case Outcome.MALFORMED:
            return Price(
                Item(
                    "malformed",
                    profile.proposal_malformed,
                    "the proposal has not the form that was asked for",
                )
            )
        case Outcome.WRONG:
            return Price(_wrong_proposal(profile, is_duplicate))
        case Outcome.CORRECT:
            price = profile.proposal_correct
            if not isinstance(price, ByLearnability):
                item = Item("valid", price, "a valid task has one price, whatever its solve rate")
                return Price(item, tuple(extras), how)
            if solve_rate is None:
                raise ValueError("solve_rate must be given for a correct proposal; got None")
            value = price.shape(solve_rate)
            if value > 0.0:
                why = f"{describe(price.shape)}, at a solve rate of {solve_rate:g}"
                return Price(Item("learnability", value, why), tuple(extras), how)
            why = f"learnability is 0 at a solve rate of {solve_rate:g}: this price, and no extras"
            return Price(Item("unlearnable", price.otherwise, why))


def _wrong_proposal(profile: PriceTable, is_duplicate: bool) -> Item:
    if is_duplicate and profile.proposal_duplicate is not None:
        why = "the task was proposed before, which has a price of its own"
        return Item("duplicate", profile.proposal_duplicate, why)
    if is_duplicate:
        return Item("wrong", profile.proposal_wrong, "the task was proposed before, which counts as wrong")
    return Item(
        "wrong", profile.proposal_wrong, "the proposal has its form, and is no task that may be taken"
    )


def price_attempt(
    profile: Profile,
    outcome: Outcome,
    rng: random.Random,
    measures: Mapping[str, float] = MappingProxyType({}),
) -> float:
    """The solver's reward for one attempt, a scalar without unit: the total of `itemize_attempt`."""
    return itemize_attempt(profile, outcome, rng, measures).total


def itemize_attempt(
    profile: Profile,
    outcome: Outcome,
    rng: random.Random,
    measures: Mapping[str, float] = MappingProxyType({}),
) -> Price:
    """What one attempt is worth, item by item.

    A table leaves `rng` untouched; `measures`, the pack's by name, it reads for WRONG only.
    """
    if isinstance(profile, UniformDraw):
        return drawn(profile, rng.choice(profile.values))
    match outcome:
        case Outcome.MALFORMED:
            return Price(
                Item("malformed", profile.attempt_malformed, "the answer has not the form that was asked for")
            )
        case Outcome.WRONG:
            grade = profile.wrong_grade
            if grade is None or grade.measure not in measures:
                return Price(
                    Item("wrong", profile.attempt_wrong, "the answer has its form, and is not right")
                )
            value = measures[grade.measure]
            why = f"the answer is not right, and graded by its {grade.measure} of {value:g}"
            return Price(Item("graded", price_grade(grade, value, profile.attempt_wrong), why))
        case Outcome.CORRECT:
            return Price(Item("right", profile.attempt_correct, "the answer is right"))


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
