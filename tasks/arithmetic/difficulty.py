"""How hard an arithmetic task is, by the size of its operands; and how coarsely its structure tells sizes."""

from __future__ import annotations

TEN = 10
"""Numbers of the same tens are of one size to `TaskPack.structure_key`."""


def difficulty_of(largest: int, *, is_product: bool) -> str:
    """The label of a task: easy, medium or hard.

    easy      operands to 5, no product
    medium    operands to 10; to 20 without a product
    hard      the rest

    The three tiers of the first generation of the arithmetic self-play experiments in morganmcg1/pippa
    (`absolute_zero/`, June 2025).

    Args:
        largest: The task's largest operand, at least 0.
        is_product: Whether its operands are multiplied.
    """
    if largest <= 5 and not is_product:
        return "easy"
    return "medium" if largest <= (10 if is_product else 20) else "hard"
