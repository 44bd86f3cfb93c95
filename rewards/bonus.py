"""Extra rewards of a proposer, beside what a valid task earns: for long, unlike or rare programs, say.

A pack measures (`TaskPack.features`), this file prices. Absolute Zero tried such terms without a clear gain
(https://arxiv.org/abs/2505.03335, App. D.4); none is on unless a run asks for it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

ANSWER_DIVERSITY = "answer-diversity"
"""1 - share of the buffer's tasks of its kind with the same answer (`TaskPack.answer_key`)."""

STRUCTURE_DIVERSITY = "structure-diversity"
"""1 - share of the buffer's tasks of its kind with the same structure (`TaskPack.structure_key`)."""

BUFFER_FEATURES = (ANSWER_DIVERSITY, STRUCTURE_DIVERSITY)
"""The features that the buffer gives and not the pack."""


class Combine(StrEnum):
    """How terms I_1, I_2, ... join the reward r (`azr.bonus.combine`)."""

    SUM = "sum"  # r + sum of I
    MULTIPLY = "multiply"  # r * product of I
    SUM_MULTIPLY = "sum-multiply"  # r + product of I
    MULTIPLY_SUM = "multiply-sum"  # r * sum of I


@dataclass
class Term:
    """One extra reward: min(coefficient * feature, maximum)."""

    coefficient: float = 1.0
    maximum: float = 0.5


def price_terms(terms: Mapping[str, Term], features: Mapping[str, float]) -> list[float]:
    """The value of every term, in the order of `terms`; both mappings are by the name of the feature.

    A feature that could not be measured counts as 0, so that what cannot be measured is worth nothing more.
    """
    return [min(term.coefficient * features.get(name, 0.0), term.maximum) for name, term in terms.items()]


def combine(reward: float, terms: Sequence[float], how: Combine) -> float:
    """Join a proposal's reward with its terms; without terms it stays as it is."""
    if not terms:
        return reward
    match how:
        case Combine.SUM:
            return reward + sum(terms)
        case Combine.MULTIPLY:
            return reward * math.prod(terms)
        case Combine.SUM_MULTIPLY:
            return reward + math.prod(terms)
        case Combine.MULTIPLY_SUM:
            return reward * sum(terms)
