"""The arithmetic pack: three kinds, one wording each.

The grammar is small on purpose: a model of a million parameters that reads bytes can learn it, so the whole
of self-play runs in minutes on a laptop. `docs/packs.md` has the grammar and the prompts.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

from tasks.arithmetic.abduction import Abduction
from tasks.arithmetic.deduction import Deduction
from tasks.arithmetic.induction import Induction
from tasks.arithmetic.kind import Kind
from tasks.contract import Accepted, KindSpec, Message, Rejected, TaskRecord, Verdict
from tasks.held_out_file import FilePack, Stratum
from tasks.parsing import last_line

SMALLEST_MAXIMUM = 9
LARGEST_MAXIMUM = 9999
"""Range of every knob: the seeds fit under the smallest; the largest keeps a check under a millisecond."""


class ArithmeticPack(FilePack):
    """Sums, differences, products and patterns of whole numbers.

    A task or an answer is the last line of a response that is not blank.
    """

    name = "arithmetic"
    held_out_version = 1
    held_out_seed = 20250615
    default_held_out_path = Path(__file__).with_name("held_out.jsonl")

    def __init__(
        self,
        *,
        deduction_max: int = 99,
        deduction_product_max: int = 12,
        abduction_max: int = 199,
        abduction_product_max: int = 30,
        induction_max: int = 9,
        held_out_path: str | None = None,
    ) -> None:
        """Set the difficulty.

        Args:
            deduction_max: Largest operand of + and - in deduction; the smallest is 0 everywhere.
            deduction_product_max: Largest operand of * in deduction.
            abduction_max: Largest operand of + and - in abduction.
            abduction_product_max: Largest operand of * in abduction.
            induction_max: Largest operand in induction.
            held_out_path: Another held-out set in place of the committed one.

        Raises:
            ValueError: A bound is outside 9..9999.
        """
        super().__init__(held_out_path)
        bounds = {
            "deduction_max": deduction_max,
            "deduction_product_max": deduction_product_max,
            "abduction_max": abduction_max,
            "abduction_product_max": abduction_product_max,
            "induction_max": induction_max,
        }
        for knob, bound in bounds.items():
            if not SMALLEST_MAXIMUM <= bound <= LARGEST_MAXIMUM:
                raise ValueError(
                    f"pack.{knob} must be from {SMALLEST_MAXIMUM} to {LARGEST_MAXIMUM}; got {bound!r}"
                )
        self._kinds: dict[str, Kind] = {
            "deduction": Deduction(deduction_max, deduction_product_max),
            "abduction": Abduction(abduction_max, abduction_product_max),
            "induction": Induction(induction_max),
        }

    @property
    def kinds(self) -> tuple[KindSpec, ...]:
        """See `TaskPack.kinds`."""
        return tuple(KindSpec(name, (name,), kind.num_references) for name, kind in self._kinds.items())

    def seeds(self) -> Sequence[TaskRecord]:
        """See `TaskPack.seeds`."""
        records = []
        for name, kind in self._kinds.items():
            for proposal in kind.seeds:
                payload = kind.parse(proposal)
                assert not isinstance(payload, Rejected), proposal
                records.append(TaskRecord(name, payload))
        return records

    def propose_prompt(
        self, kind: str, references: Sequence[TaskRecord], rng: random.Random
    ) -> list[Message]:
        """See `TaskPack.propose_prompt`; without references, the first seed of the kind is the example."""
        logic = self._logic(kind)
        lines = [self._logic(record.kind).statement(record.payload) for record in references]
        return [{"role": "user", "content": "\n".join([logic.request, *(lines or logic.seeds[:1])])}]

    async def accept(
        self, kind: str, response: str, references: Sequence[TaskRecord]
    ) -> Accepted | Rejected:
        """See `TaskPack.accept`."""
        payload = self._logic(kind).parse(last_line(response))
        return payload if isinstance(payload, Rejected) else Accepted(TaskRecord(kind, payload))

    def solve_prompt(self, record: TaskRecord) -> list[Message]:
        """See `TaskPack.solve_prompt`."""
        return [{"role": "user", "content": self._logic(record.kind).question(record.payload)}]

    async def judge(self, record: TaskRecord, response: str) -> Verdict:
        """See `TaskPack.judge`."""
        return self._logic(record.kind).judge(record.payload, last_line(response))

    def gold_response(self, record: TaskRecord) -> str:
        """See `TaskPack.gold_response`."""
        return self._logic(record.kind).gold(record.payload)

    def gold_proposal(self, record: TaskRecord) -> str:
        """See `TaskPack.gold_proposal`."""
        return self._logic(record.kind).statement(record.payload)

    def sample_record(self, kind: str, rng: random.Random) -> TaskRecord:
        """See `TaskPack.sample_record`; operations and rules are drawn evenly."""
        logic = self._logic(kind)
        return TaskRecord(kind, logic.draw(rng.choice(list(logic.held_out_counts)), rng))

    def task_key(self, record: TaskRecord) -> str:
        """See `TaskPack.task_key`."""
        return f"{record.kind} {self._logic(record.kind).key(record.payload)}"

    def held_out_strata(self) -> Sequence[Stratum]:
        """See `FilePack.held_out_strata`: one stratum an operation or rule."""

        def drawer(name: str, variant: str) -> Stratum:
            kind = self._kinds[name]
            return Stratum(
                name=f"{name} {variant}",
                count=kind.held_out_counts[variant],
                draw=lambda rng: TaskRecord(name, kind.draw(variant, rng)),
            )

        return [drawer(name, v) for name, kind in self._kinds.items() for v in kind.held_out_counts]

    def _logic(self, kind: str) -> Kind:
        return self._kinds[self.spec(kind).name]
