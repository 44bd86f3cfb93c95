"""Held-out sets beside the default one: tiers from very easy to very hard, sizes, and three-digit products.

The tiers are those of an evaluation in morganmcg1/pippa (`absolute_zero/`, June 2025), with as many tasks as
there are: of the 21 sums of 0 to 5 it asked 30, some of them more than once. Here no task is asked twice, and
neither of the two sets has a task of the other.

The sizes are those that `pack.difficulty=sizes` labels tasks by.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from tasks.arithmetic.deduction import SEEDS, draw_largest, draw_task
from tasks.arithmetic.kind import DIFFICULTIES, SIZES
from tasks.contract import Json, TaskRecord
from tasks.kit.held_out_file import Stratum

DEFAULT = "default"
TIERS_200 = "tiers_200"
TIERS_2000 = "tiers_2000"
PRODUCTS = "three_digit_products"
SIZES_1100 = "sizes_1100"
SETS = (DEFAULT, TIERS_200, TIERS_2000, PRODUCTS, SIZES_1100)

NUM_PRODUCTS = 1000
THREE_DIGITS = (100, 999)
DIVISORS = (2, 10)


@dataclass(frozen=True, slots=True)
class Tier:
    """Deductions of one difficulty."""

    name: str  # What results are reported by.
    low: int  # Smallest operand.
    high: int  # Largest operand.
    counts: Mapping[str, Mapping[str, int]]  # Tasks by operation, for each of the sets that have tiers.


def _counts(*counts: int) -> dict[str, int]:
    return dict(zip("+-*/", counts, strict=False))


# The larger set leaves about half of the easier tiers to self-play, so most of it is in the two hardest.
TIERS = (
    Tier("very-easy", 0, 5, {TIERS_200: _counts(10), TIERS_2000: _counts(5)}),
    Tier("easy", 0, 10, {TIERS_200: _counts(14, 13, 13), TIERS_2000: _counts(20, 40, 20)}),
    Tier("medium", 0, 20, {TIERS_200: _counts(17, 17, 16), TIERS_2000: _counts(60, 80, 60)}),
    Tier("hard", 10, 50, {TIERS_200: _counts(17, 17, 16), TIERS_2000: _counts(285, 284, 285)}),
    Tier("very-hard", 20, 100, {TIERS_200: _counts(14, 13, 13, 10), TIERS_2000: _counts(260, 271, 260, 70)}),
)

# Of one digit there are 55 sums, 100 differences and 55 products, and self-play needs most of them.
SIZE_COUNTS: Mapping[str, Mapping[str, int]] = {"size-0-9": _counts(20, 40, 20)} | dict.fromkeys(
    ("size-10-49", "size-50-99", "size-100-999"), _counts(113, 114, 113)
)


def strata(name: str) -> list[Stratum]:
    """The parts of the set `name`, one a tier or size and operation; of the products there is one."""
    if name == PRODUCTS:
        return [Stratum(PRODUCTS, NUM_PRODUCTS, lambda rng: _record(draw_task("*", *THREE_DIGITS, rng)))]
    if name == SIZES_1100:
        return [
            Stratum(f"{size} {op}", count, partial(_draw_of_size, size, op))
            for size, counts in SIZE_COUNTS.items()
            for op, count in counts.items()
        ]
    return [
        Stratum(f"{tier.name} {op}", count, partial(_draw, tier, op))
        for tier in TIERS
        for op, count in tier.counts[name].items()
    ]


def possible_seeds(name: str) -> Sequence[TaskRecord]:
    """What a pack that is evaluated on the set `name` may start from, under any choice of operations."""
    minimum = THREE_DIGITS[0] if name == PRODUCTS else 0
    return [_record({"a": a + minimum, "op": op, "b": b + minimum}) for a, op, b in SEEDS]


def _draw(tier: Tier, op: str, rng: random.Random) -> TaskRecord:
    if op != "/":
        return _record(draw_task(op, tier.low, tier.high, rng) | {"tier": tier.name})
    # Of even draws from the bounds most would be a number over itself.
    b = rng.randint(*DIVISORS)
    a = b * rng.randint(-(-tier.low // b), tier.high // b)
    return _record({"a": a, "op": op, "b": b, "tier": tier.name})


def _draw_of_size(size: str, op: str, rng: random.Random) -> TaskRecord:
    """The larger operand is drawn evenly, and then the smaller."""
    largest = rng.choice(DIFFICULTIES[SIZES].operands(size, THREE_DIGITS[1]))
    return _record(draw_largest(op, 0, largest, rng) | {"tier": size})


def _record(payload: dict[str, Json]) -> TaskRecord:
    return TaskRecord("deduction", payload)
