"""The arithmetic pack: three kinds, one wording each.

The grammar is small on purpose: a model of a million parameters that reads bytes can learn it, so the whole
of self-play runs in minutes on a laptop. `docs/packs.md` has the grammar and the prompts.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tasks.arithmetic.abduction import Abduction
from tasks.arithmetic.answer import DISTANCE
from tasks.arithmetic.deduction import Deduction
from tasks.arithmetic.induction import Induction
from tasks.contract import TaskRecord
from tasks.kinds_pack import KindsPack
from tasks.payload import read_int

SMALLEST_MAXIMUM = 9
LARGEST_MAXIMUM = 9999
"""Range of every knob: the seeds fit under the smallest; the largest keeps a check under a millisecond."""

MID_RANGE = "mid-range"
"""Feature: 1 if a deduction's first operand is in 5..15 or an abduction's result in 10..30, else 0."""


class ArithmeticPack(KindsPack):
    """Sums, differences, products and patterns of whole numbers.

    A task or an answer is the last line of a response that is not blank.
    """

    name = "arithmetic"
    held_out_version = 2
    held_out_seed = 20250615
    default_held_out_path = Path(__file__).with_name("held_out.jsonl")

    def __init__(
        self,
        *,
        deduction_max: int = 49,
        deduction_product_max: int = 12,
        abduction_max: int = 299,
        abduction_product_max: int = 30,
        induction_max: int = 9,
        terse: bool = False,
        held_out_path: str | None = None,
    ) -> None:
        """Set the difficulty.

        Args:
            deduction_max: Largest operand of + and - in deduction; the smallest is 0 everywhere.
            deduction_product_max: Largest operand of * in deduction.
            abduction_max: Largest operand of + and - in abduction.
            abduction_product_max: Largest operand of * in abduction.
            induction_max: Largest operand in induction.
            terse: Prompts without instructions, for a model that was trained on them.
            held_out_path: Another held-out set in place of the committed one.

        Raises:
            ValueError: A bound is no integer from 9 to 9999.
        """
        bounds = {
            "deduction_max": deduction_max,
            "deduction_product_max": deduction_product_max,
            "abduction_max": abduction_max,
            "abduction_product_max": abduction_product_max,
            "induction_max": induction_max,
        }
        for knob, bound in bounds.items():
            if not isinstance(bound, int) or not SMALLEST_MAXIMUM <= bound <= LARGEST_MAXIMUM:
                span = f"{SMALLEST_MAXIMUM} to {LARGEST_MAXIMUM}"
                raise ValueError(f"pack.{knob} must be an integer from {span}; got {bound!r}")
        kinds = {
            "deduction": Deduction(deduction_max, deduction_product_max),
            "abduction": Abduction(abduction_max, abduction_product_max),
            "induction": Induction(induction_max),
        }
        super().__init__(kinds, terse, held_out_path)

    @property
    def feature_names(self) -> tuple[str, ...]:
        """See `TaskPack.feature_names`."""
        return (MID_RANGE,)

    def features(
        self, record: TaskRecord, references: Sequence[TaskRecord], names: Sequence[str]
    ) -> dict[str, float]:
        """See `TaskPack.features`."""
        return {MID_RANGE: float(_is_mid_range(record))} if names else {}

    @property
    def measure_names(self) -> tuple[str, ...]:
        """See `TaskPack.measure_names`; an abduction's answer, two integers, has none."""
        return (DISTANCE,)


def _is_mid_range(record: TaskRecord) -> bool:
    if record.kind == "deduction":
        return 5 <= read_int(record.payload, "a") <= 15
    return record.kind == "abduction" and 10 <= read_int(record.payload, "result") <= 30
