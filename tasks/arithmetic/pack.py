"""The arithmetic pack: three kinds, one wording each.

The grammar is small on purpose: a model of a million parameters that reads bytes can learn it, so the whole
of self-play runs in minutes on a laptop. `docs/packs.md` has the grammar and the prompts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from tasks.arithmetic.abduction import Abduction
from tasks.arithmetic.answer import DISTANCE
from tasks.arithmetic.deduction import OPERATIONS, Deduction
from tasks.arithmetic.held_out_sets import DEFAULT, SETS, TIERS_200, TIERS_2000, possible_seeds, strata
from tasks.arithmetic.induction import Induction
from tasks.contract import TaskRecord
from tasks.kit.held_out_file import Stratum, load
from tasks.kit.kinds import Kind, KindsPack
from tasks.kit.knobs import check_choices, check_count
from tasks.kit.payload import read_int, read_str

SMALLEST_MAXIMUM = 9
LARGEST_MAXIMUM = 9999
"""Range of every knob: the seeds fit under the smallest; the largest keeps a check under a millisecond."""

SMALLEST_SPAN = 9
"""Least that a largest operand of deduction is above the smallest: room for the seeds."""

KINDS = ("deduction", "abduction", "induction")
PROMPTS = ("chat", "base")
NO_CHANGE: Mapping[str, int] = MappingProxyType({})
MOST_REFERENCES = 8

OPERATION_GROUPS = {"+": "op-sum", "-": "op-difference", "*": "op-product", "/": "op-quotient"}
"""What held-out results are told by, beside kinds or tiers."""

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
        kinds: Sequence[str] = KINDS,
        operations: Sequence[str] = ("+", "-", "*"),
        deduction_min: int = 0,
        deduction_max: int = 49,
        deduction_product_max: int = 12,
        abduction_max: int = 299,
        abduction_product_max: int = 30,
        induction_max: int = 9,
        num_references: Mapping[str, int] = NO_CHANGE,
        prompts: str = "chat",
        terse: bool = False,
        held_out: str = DEFAULT,
        held_out_path: str | None = None,
    ) -> None:
        """Set what is asked, and the difficulty.

        Args:
            kinds: Kinds of task that are on, of deduction, abduction and induction.
            operations: Operations of deduction that may be proposed, of +, -, * and /.
            deduction_min: Smallest operand in deduction; it is 0 elsewhere, and with /.
            deduction_max: Largest operand of +, - and / in deduction.
            deduction_product_max: Largest operand of * in deduction.
            abduction_max: Largest operand of + and - in abduction.
            abduction_product_max: Largest operand of * in abduction.
            induction_max: Largest operand in induction.
            num_references: Examples in a proposer's prompt by kind, 1 to 8; where nothing is said 2, and of
                induction 1. A terse prompt shows one.
            prompts: chat; or base, for a model that goes on with a text. Terse prompts are neither.
            terse: Prompts without instructions, for a model that was trained on them.
            held_out: The committed held-out set: default, tiers_200, tiers_2000 or three_digit_products.
            held_out_path: A file in place of the committed ones.

        Raises:
            ValueError: A knob has a value it cannot have.
        """
        bounds = {
            "deduction_max": deduction_max,
            "deduction_product_max": deduction_product_max,
            "abduction_max": abduction_max,
            "abduction_product_max": abduction_product_max,
            "induction_max": induction_max,
        }
        for knob, bound in bounds.items():
            check_count(knob, bound, SMALLEST_MAXIMUM, LARGEST_MAXIMUM)
        on = check_choices("operations", operations, OPERATIONS)
        _check_minimum(deduction_min, deduction_max, deduction_product_max, on)
        makers: dict[str, Kind] = {
            "deduction": Deduction(deduction_min, deduction_max, deduction_product_max, on),
            "abduction": Abduction(abduction_max, abduction_product_max),
            "induction": Induction(induction_max),
        }
        for name, count in num_references.items():
            if name not in KINDS:
                known = ", ".join(KINDS)
                raise ValueError(f"pack.num_references.{name} is no kind of this pack; it has {known}")
            check_count(f"num_references.{name}", count, 1, MOST_REFERENCES)
            makers[name].num_references = count
        chosen = check_choices("kinds", kinds, KINDS)
        if held_out not in SETS:
            raise ValueError(f"pack.held_out must be one of {', '.join(SETS)}; got {held_out!r}")
        if prompts not in PROMPTS:
            raise ValueError(f"pack.prompts must be one of {', '.join(PROMPTS)}; got {prompts!r}")
        self._held_out_set = held_out
        if held_out_path is None and held_out != DEFAULT:
            held_out_path = str(_path(held_out))
        super().__init__({name: makers[name] for name in chosen}, terse, held_out_path, prompts == "base")

    def held_out(self) -> Sequence[TaskRecord]:
        """See `KindsPack.held_out`; it also raises if a smallest operand makes a seed of a held-out task."""
        records = super().held_out()
        seeds = {self.task_key(seed) for seed in self.seeds()}
        for record in records:
            if self.task_key(record) in seeds:
                raise ValueError(
                    f"pack.deduction_min must be another one: with it self-play starts from "
                    f"{self.gold_proposal(record)!r}, a task of the held-out set {self.held_out_path}"
                )
        return records

    def held_out_groups(self, record: TaskRecord) -> tuple[str, ...]:
        """See `TaskPack.held_out_groups`: its tier or else its kind, and the operation that it asks for."""
        part = read_str(record.payload, "tier") if "tier" in record.payload else record.kind
        return (part, OPERATION_GROUPS[read_str(record.payload, "op")]) if "op" in record.payload else (part,)

    def held_out_strata(self) -> Sequence[Stratum]:
        """See `FilePack.held_out_strata`."""
        return super().held_out_strata() if self._held_out_set == DEFAULT else strata(self._held_out_set)

    def never_held_out(self) -> Sequence[TaskRecord]:
        """See `FilePack.never_held_out`; the larger set of tiers leaves out what the smaller one has."""
        if self._held_out_set == DEFAULT:
            return super().never_held_out()
        smaller: Sequence[TaskRecord] = ()
        if self._held_out_set == TIERS_2000:
            smaller = load(_path(TIERS_200), self.name, self.held_out_version)
        return [*possible_seeds(self._held_out_set), *smaller]

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


def _path(held_out: str) -> Path:
    return Path(__file__).with_name(f"held_out_{held_out}.jsonl")


def _is_mid_range(record: TaskRecord) -> bool:
    if record.kind == "deduction":
        return 5 <= read_int(record.payload, "a") <= 15
    return record.kind == "abduction" and 10 <= read_int(record.payload, "result") <= 30


def _check_minimum(minimum: int, maximum: int, product_maximum: int, operations: Sequence[str]) -> None:
    """Check that deduction has room between its bounds.

    Raises:
        ValueError: It has not, or the minimum is no integer, or not 0 with `/`.
    """
    bounds = {"deduction_product_max": product_maximum} if "*" in operations else {}
    if set(operations) != {"*"}:
        bounds["deduction_max"] = maximum
    check_count("deduction_min", minimum, 0, LARGEST_MAXIMUM - SMALLEST_SPAN)
    for knob, bound in bounds.items():
        if bound - minimum < SMALLEST_SPAN:
            raise ValueError(
                f"pack.{knob} must be {SMALLEST_SPAN} or more above pack.deduction_min={minimum}; got {bound}"
            )
    if minimum and "/" in operations:
        raise ValueError(f"pack.deduction_min must be 0 with / in pack.operations; got {minimum}")
