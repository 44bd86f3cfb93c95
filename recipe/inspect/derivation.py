"""How the reward of a response came about, item by item.

It follows from the response's line in the ledger and the run's configuration. The items are those that the
run itself adds up (`rewards/profile.py`); nothing is priced here.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from recipe.inspect.entries import Entry
from recipe.inspect.run import Run
from recipe.selfplay.types import Refusal
from rewards.bonus import Combine
from rewards.price import Item, Price, itemize
from rewards.profile import UniformDraw, drawn, itemize_attempt, itemize_proposal
from tasks.contract import Outcome, Role

JOINED = {
    Combine.SUM: "the extra rewards are added",
    Combine.MULTIPLY: "it is multiplied by all extra rewards",
    Combine.SUM_MULTIPLY: "the product of the extra rewards is added",
    Combine.MULTIPLY_SUM: "it is multiplied by the sum of the extra rewards",
}


@dataclass(frozen=True, slots=True)
class Derivation:
    """A reward and what it is made of."""

    reward: float | None  # that of the ledger
    items: tuple[Item, ...]  # what the outcome is worth, then extra rewards; none where there is no reward
    combine: str | None  # how extra rewards join (`azr.bonus.combine`); None without any
    total: float | None  # of the items
    adds_up: bool  # whether that is the reward of the ledger
    why: str  # there is no reward, or it is another one; "" otherwise


def derive(run: Run, entry: Entry) -> Derivation:
    """The derivation of a response's reward.

    Raises:
        InspectError: The run's configuration names no profile that is known here.
    """
    if entry.reward is None:
        return Derivation(None, (), None, None, True, why_unpriced(run, entry))
    try:
        price = _price(run, entry, entry.reward)
    except ValueError as error:
        return Derivation(entry.reward, (), None, None, False, f"{error}; {_CHANGED}")
    adds_up = price.total == entry.reward and _can_be_drawn(run, entry.reward)
    combine = price.how.value if price.extras else None
    items = (price.base, *price.extras)
    return Derivation(entry.reward, items, combine, price.total, adds_up, "" if adds_up else _CHANGED)


_CHANGED = (
    "by the run's config.yaml this is another number: the settings were others when the line was written, "
    "before a resume, or the line was changed"
)


def _price(run: Run, entry: Entry, reward: float) -> Price:
    profile, outcome = run.profile(), Outcome(entry.outcome)
    if isinstance(profile, UniformDraw):
        return drawn(profile, reward)
    rng = random.Random(0)  # a table draws nothing
    if entry.role == Role.SOLVE:
        return itemize_attempt(profile, outcome, rng, entry.measures)
    extras = () if entry.record is None else itemize(run.azr.bonus.terms, entry.features)
    is_duplicate = entry.reason == Refusal.DUPLICATE
    how = Combine(run.azr.bonus.combine)
    return itemize_proposal(profile, outcome, entry.solve_rate, rng, extras, how, is_duplicate=is_duplicate)


def _can_be_drawn(run: Run, reward: float) -> bool:
    profile = run.profile()
    return not isinstance(profile, UniformDraw) or reward in profile.values


def why_unpriced(run: Run, entry: Entry) -> str:
    """Why a response has no reward, in one sentence (`SelfPlay.settle` decides it)."""
    if entry.step == 0:
        return "nothing is priced or trained on while seeding"
    if entry.role == Role.SOLVE:
        if entry.proposal_line is not None and not run.plan.trains_attempts:
            return (
                f"with azr.solve_on={run.azr.solve_on} an attempt at a new task is there for its solve rate, "
                "and is not trained on"
            )
        return _UNSAID
    if entry.outcome == Outcome.CORRECT and entry.reason == Refusal.HELD_OUT:
        return "the task is of the held-out set, and what is said of that must not reach training"
    if entry.outcome == Outcome.CORRECT and entry.reason == Refusal.SURPLUS:
        return "the task is valid, and its step had as many of its kind as it wanted: it was not attempted"
    if not run.plan.trains_proposals:
        return "the proposer is not trained in this run (azr.train_proposer=false)"
    if entry.outcome == Outcome.CORRECT and entry.solve_rate is None:
        return "no attempt at the task came back, so it has no solve rate to be priced by"
    return _UNSAID


_UNSAID = "by the run's config.yaml it would have one; the settings were others when the line was written"
