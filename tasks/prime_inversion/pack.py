"""The prime-inversion pack: x * y = 1 (mod p), with one of the three left out.

Abduction leaves out x, deduction y, induction p. Any answer that meets the statement is right, not only the
one that the proposer had in mind.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

from tasks.contract import Accepted, KindSpec, Message, Rejected, TaskRecord, Verdict
from tasks.held_out_file import FilePack, Stratum
from tasks.prime_inversion.inverse import Inverse
from tasks.prime_inversion.kind import Kind
from tasks.prime_inversion.modulus import Modulus, Unique
from tasks.prime_inversion.primes import primes_between

SMALLEST_MAX_PRIME = 23
LARGEST_MAX_PRIME = 9973
"""Range of `max_prime`: the seeds fit under the smallest; the largest keeps a check at milliseconds."""

HELD_OUT_BANDS = ((5, 43, 60), (44, 199, 200), (200, 617, 200))
"""Lowest prime, highest prime and held-out tasks a kind. The first band has 240 inverses, which abduction and
deduction share, and 120 pairs for induction: 60 a kind leaves half of them for training."""


class PrimeInversionPack(FilePack):
    """Inverses modulo a prime."""

    name = "prime_inversion"
    held_out_version = 1
    held_out_seed = 617
    default_held_out_path = Path(__file__).with_name("held_out.jsonl")

    def __init__(
        self,
        *,
        max_prime: int = 617,
        induction_unique: str = Unique.LARGER_THAN_OPERANDS.value,
        refuse_trivial: bool = True,
        held_out_path: str | None = None,
    ) -> None:
        """Set the difficulty.

        Args:
            max_prime: Largest modulus.
            induction_unique: A `Unique`: none, larger_than_operands or n_pairs.
            refuse_trivial: Refuse tasks about 1 and p-1, which are their own inverses.
            held_out_path: Another held-out set in place of the committed one.

        Raises:
            ValueError: `max_prime` is outside 23..9973, or `induction_unique` is none of the three.
        """
        super().__init__(held_out_path)
        if not SMALLEST_MAX_PRIME <= max_prime <= LARGEST_MAX_PRIME:
            raise ValueError(
                f"pack.max_prime must be from {SMALLEST_MAX_PRIME} to {LARGEST_MAX_PRIME}; got {max_prime!r}"
            )
        if induction_unique not in list(Unique):
            raise ValueError(
                f"pack.induction_unique must be one of {', '.join(Unique)}; got {induction_unique!r}"
            )
        self._max_prime = max_prime
        self._kinds: dict[str, Kind] = {
            "deduction": Inverse("y", max_prime, refuse_trivial),
            "abduction": Inverse("x", max_prime, refuse_trivial),
            "induction": Modulus(max_prime, Unique(induction_unique), refuse_trivial),
        }

    @property
    def kinds(self) -> tuple[KindSpec, ...]:
        """See `TaskPack.kinds`."""
        return tuple(KindSpec(name, (name,), 1) for name in self._kinds)

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
        examples = [self.gold_proposal(record) for record in references] or logic.seeds[:1]
        return [{"role": "user", "content": "\n".join([logic.request, *examples])}]

    async def accept(
        self, kind: str, response: str, references: Sequence[TaskRecord]
    ) -> Accepted | Rejected:
        """See `TaskPack.accept`."""
        payload = self._logic(kind).parse(response)
        return payload if isinstance(payload, Rejected) else Accepted(TaskRecord(kind, payload))

    def solve_prompt(self, record: TaskRecord) -> list[Message]:
        """See `TaskPack.solve_prompt`."""
        kind = self._logic(record.kind)
        question = f"Solve for {kind.demand(record.payload)}: {kind.congruence(record.payload)}"
        return [{"role": "user", "content": f"{question}\nAnswer as \\boxed{{{kind.letter}}}."}]

    async def judge(self, record: TaskRecord, response: str) -> Verdict:
        """See `TaskPack.judge`."""
        return self._logic(record.kind).judge(record.payload, response)

    def gold_response(self, record: TaskRecord) -> str:
        """See `TaskPack.gold_response`."""
        return rf"\boxed{{{self._logic(record.kind).gold(record.payload)}}}"

    def gold_proposal(self, record: TaskRecord) -> str:
        """See `TaskPack.gold_proposal`."""
        return rf"\boxed{{{self._logic(record.kind).congruence(record.payload)}}}"

    def sample_record(self, kind: str, rng: random.Random) -> TaskRecord:
        """See `TaskPack.sample_record`; primes are drawn evenly, and never a trivial task."""
        return TaskRecord(kind, self._logic(kind).draw(primes_between(5, self._max_prime), rng))

    def task_key(self, record: TaskRecord) -> str:
        """See `TaskPack.task_key`; abduction and deduction of the same number are the same task."""
        return self._logic(record.kind).key(record.payload)

    def held_out_strata(self) -> Sequence[Stratum]:
        """See `FilePack.held_out_strata`: one stratum a kind and band of primes."""

        def stratum(name: str, lowest: int, highest: int, count: int) -> Stratum:
            kind, primes = self._kinds[name], primes_between(lowest, highest)
            return Stratum(
                name=f"{name}, primes {lowest} to {highest}",
                count=count,
                draw=lambda rng: TaskRecord(name, kind.draw(primes, rng)),
            )

        return [stratum(name, *band) for name in self._kinds for band in HELD_OUT_BANDS]

    def _logic(self, kind: str) -> Kind:
        return self._kinds[self.spec(kind).name]
