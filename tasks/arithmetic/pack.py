"""The arithmetic pack: its knobs and its three kinds, each a module.

The grammar is small on purpose: a model of a million parameters that reads bytes can learn it, so the whole
of self-play runs in minutes on a laptop. `docs/packs.md` has the grammar and the prompts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path

from tasks.arithmetic.abduction import Abduction
from tasks.arithmetic.deduction import Deduction
from tasks.arithmetic.held_out_sets import DEFAULT, SETS, TIERS_200, TIERS_2000, possible_seeds, strata
from tasks.arithmetic.induction import Induction
from tasks.arithmetic.kind import BANDS, DIFFICULTIES, DISTANCE, OPERATIONS, SIZE_LABELS, ArithmeticKind
from tasks.contract import TaskRecord
from tasks.kit.held_out_file import Stratum, load
from tasks.kit.kinds import KindsPack, Style
from tasks.kit.knobs import Knobs, check_choice, check_choices, check_count, takes_knobs
from tasks.kit.payload import read_int, read_str

SMALLEST_MAXIMUM = 9
LARGEST_MAXIMUM = 9999
"""Range of every bound: the seeds fit under the smallest; the largest keeps a check under a millisecond."""

SMALLEST_SPAN = 9
"""Least that a largest operand of deduction is above the smallest: room for the seeds."""

KINDS: Mapping[str, type[ArithmeticKind]] = {
    "deduction": Deduction,
    "abduction": Abduction,
    "induction": Induction,
}
PROMPTS = (Style.CHAT.value, Style.BASE.value)
MOST_REFERENCES = 8

OPERATION_GROUPS = {"+": "op-sum", "-": "op-difference", "*": "op-product", "/": "op-quotient"}
"""What held-out results are reported by, beside kinds or tiers."""

MID_RANGE = "mid-range"
"""Feature: 1 if a deduction's first operand is in 5..15 or an abduction's result in 10..30, else 0."""


@dataclass(frozen=True, kw_only=True)
class ArithmeticKnobs(Knobs):
    """What is asked, and how hard it is."""

    kinds: Sequence[str] = tuple(KINDS)
    """Kinds of task that are on."""

    operations: Sequence[str] = ("+", "-", "*")
    """Operations of deduction that may be proposed, `/` (without a remainder) among them if it is named."""

    deduction_min: int = 0
    """Smallest operand of deduction: at least 9 below the largest, and 0 with `/`. It moves the seeds up; one
    that makes a held-out task of them is refused."""

    deduction_max: int = 49
    """Largest operand of `+`, `-` and `/` in deduction, 9 to 9999."""

    deduction_product_max: int = 12
    """Largest operand of `*` in deduction, 9 to 9999."""

    abduction_max: int = 299
    """Largest operand of `+` and `-` in abduction, 9 to 9999."""

    abduction_product_max: int = 30
    """Largest operand of `*` in abduction, 9 to 9999."""

    induction_max: int = 9
    """Largest operand in induction, 9 to 9999."""

    num_references: Mapping[str, int] = field(
        default_factory=lambda: {name: kind.num_references for name, kind in KINDS.items()}
    )
    """Examples in a proposer's prompt by kind, 1 to 8; a terse prompt shows one."""

    prompts: str = Style.CHAT.value
    """`chat`: for a model that is told what to do; `base`: for one that goes on with a text, set by
    `prompts=base` together with the bare chat template. Of no account with terse prompts."""

    difficulty: str = BANDS
    """Labels of a task's difficulty: `bands` (easy, medium, hard) or `sizes` (below)."""

    held_out: str = DEFAULT
    """The committed held-out set: `default`, `tiers_200`, `tiers_2000`, `three_digit_products` or
    `sizes_1100` (below)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for knob in (each.name for each in fields(self) if each.name.endswith("_max")):
            check_count(knob, getattr(self, knob), SMALLEST_MAXIMUM, LARGEST_MAXIMUM)
        check_choices("operations", self.operations, list(OPERATIONS))
        self._check_minimum()
        for name, count in self.num_references.items():
            if name not in KINDS:
                known = ", ".join(KINDS)
                raise ValueError(f"pack.num_references.{name} is no kind of this pack; it has {known}")
            check_count(f"num_references.{name}", count, 1, MOST_REFERENCES)
        check_choices("kinds", self.kinds, list(KINDS))
        check_choice("held_out", self.held_out, SETS)
        check_choice("prompts", self.prompts, PROMPTS)
        check_choice("difficulty", self.difficulty, list(DIFFICULTIES))

    def _check_minimum(self) -> None:
        """Check that deduction has room between its bounds."""
        minimum = self.deduction_min
        check_count("deduction_min", minimum, 0, LARGEST_MAXIMUM - SMALLEST_SPAN)
        for op in sorted(self.operations):
            knob = "deduction_product_max" if op == "*" else "deduction_max"
            bound = getattr(self, knob)
            if bound - minimum < SMALLEST_SPAN:
                raise ValueError(
                    f"pack.{knob} must be {SMALLEST_SPAN} or more above pack.deduction_min={minimum}; "
                    f"got {bound}"
                )
        if minimum and "/" in self.operations:
            raise ValueError(f"pack.deduction_min must be 0 with / in pack.operations; got {minimum}")


class ArithmeticPack(KindsPack):
    """Sums, differences, products and patterns of whole numbers.

    A task or an answer is the last line of a response that is not blank.
    """

    name = "arithmetic"
    held_out_version = 2
    held_out_seed = 20250615
    default_held_out_path = Path(__file__).with_name("held_out.jsonl")

    @takes_knobs(ArithmeticKnobs)
    def __init__(self, knobs: ArithmeticKnobs) -> None:
        completes = knobs.prompts == Style.BASE
        style = Style.of(terse=knobs.terse, completes=completes)
        operations = [op for op in OPERATIONS if op in knobs.operations]
        deduced = dict.fromkeys(OPERATIONS, knobs.deduction_max) | {"*": knobs.deduction_product_max}
        abduced = dict.fromkeys(OPERATIONS, knobs.abduction_max) | {"*": knobs.abduction_product_max}
        difficulty = DIFFICULTIES[knobs.difficulty]
        kinds: dict[str, ArithmeticKind] = {
            "deduction": Deduction(
                style, deduced, difficulty, operations=operations, minimum=knobs.deduction_min
            ),
            "abduction": Abduction(style, abduced, difficulty),
            "induction": Induction(style, knobs.induction_max, difficulty),
        }
        for name, count in knobs.num_references.items():
            kinds[name].num_references = count
        self._held_out_set = knobs.held_out
        path = knobs.held_out_path
        if path is None and knobs.held_out != DEFAULT:
            path = str(_path(knobs.held_out))
        on = {name: kind for name, kind in kinds.items() if name in knobs.kinds}
        super().__init__(on, knobs.terse, path, completes)

    def held_out(self) -> Sequence[TaskRecord]:
        """The tasks of the kinds that are on.

        Raises:
            ValueError: The smallest operand makes a seed of a held-out task, or there is no task.
        """
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
        """A task's tier or else its kind, the operation that it asks for, and of a size both in one."""
        part = read_str(record.payload, "tier") if "tier" in record.payload else record.kind
        if "op" not in record.payload:
            return (part,)
        operation = OPERATION_GROUPS[read_str(record.payload, "op")]
        both = f"{operation.removeprefix('op-')}-{part.removeprefix('size-')}"
        return (part, operation, both) if part in SIZE_LABELS else (part, operation)

    def held_out_strata(self) -> Sequence[Stratum]:
        return super().held_out_strata() if self._held_out_set == DEFAULT else strata(self._held_out_set)

    def never_held_out(self) -> Sequence[TaskRecord]:
        """The seeds; for the larger set of tiers also the tasks of the smaller one."""
        if self._held_out_set == DEFAULT:
            return super().never_held_out()
        smaller: Sequence[TaskRecord] = ()
        if self._held_out_set == TIERS_2000:
            smaller = load(_path(TIERS_200), self.name, self.held_out_version)
        return [*possible_seeds(self._held_out_set), *smaller]

    @property
    def feature_names(self) -> tuple[str, ...]:
        return (MID_RANGE,)

    def features(
        self, record: TaskRecord, references: Sequence[TaskRecord], names: Sequence[str]
    ) -> dict[str, float]:
        return {MID_RANGE: float(_is_mid_range(record))} if names else {}

    @property
    def measure_names(self) -> tuple[str, ...]:
        """An abduction's answer, two integers, has none."""
        return (DISTANCE,)


def _path(held_out: str) -> Path:
    return Path(__file__).with_name(f"held_out_{held_out}.jsonl")


def _is_mid_range(record: TaskRecord) -> bool:
    if record.kind == "deduction":
        return 5 <= read_int(record.payload, "a") <= 15
    return record.kind == "abduction" and 10 <= read_int(record.payload, "result") <= 30
