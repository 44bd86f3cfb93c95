"""The prime-inversion pack: x * y = 1 (mod p), with one of the three left out.

Abduction leaves out x, deduction y, induction p. Any answer that meets the statement is right, not only the
one that the proposer had in mind.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tasks.contract import TaskRecord
from tasks.kit.held_out_file import Stratum
from tasks.kit.kinds import KindsPack, Style
from tasks.kit.knobs import Knobs, check_choice, check_choices, check_count, check_share, takes_knobs
from tasks.kit.payload import read_int
from tasks.kit.warmup import draw_near, draw_thinning
from tasks.prime_inversion import one_digit
from tasks.prime_inversion.kinds import Inverse, Modulus, Unique, Unknown
from tasks.prime_inversion.one_digit import LARGEST_NUMBER, OneDigitInverse

SMALLEST_MAX_PRIME = 23
LARGEST_MAX_PRIME = 99_991
"""Range of `max_prime`: the seeds fit under the smallest; the largest keeps a check at milliseconds."""

SMALLEST_MAX_NUMBER, SMALLEST_WITH_LEVELS = 3, 107
"""Least that `max_number` may be, and `max_prime` with it: seeds have such numbers and primes."""

KINDS = ("deduction", "abduction", "induction")
DEFAULT, ONE_DIGIT = "default", "one_digit_500"


@dataclass(frozen=True, kw_only=True)
class PrimeInversionKnobs(Knobs):
    """How hard the tasks are, and which are refused."""

    kinds: Sequence[str] = KINDS
    """Kinds of task that are on."""

    max_prime: int = 617
    """Largest modulus, 23 to 99991; with `max_number` at least 107."""

    max_number: int | None = None
    """Largest number to invert in deduction and abduction, 3 to 9; null: any below p. With it numbers begin
    at 2 and primes at 101, the digits of p are levels, and terse answers show their working (below)."""

    induction_unique: str = Unique.LARGER_THAN_OPERANDS.value
    """What makes p unique in induction. `larger_than_operands`: the statement says that p is larger than x
    and y; two such primes would have a product above x * y - 1, so there is one at most. `none`: any prime up
    to `max_prime` that solves it. `n_pairs`: two pairs for one p, refused if more than one solves both."""

    refuse_trivial: bool = True
    """Refuse tasks about 1 and p-1, which are their own inverses."""

    warmup_tail: float = 0.5
    """How often the tiny model's warm-up solves a task of a level, over one of the level before; above 0 and
    below 1. Only with `max_number`."""

    held_out: str = DEFAULT
    """The committed held-out set: `default`, or `one_digit_500`, of numbers up to 9 (below)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choices("kinds", self.kinds, KINDS)
        if self.max_number is not None:
            check_count("max_prime", self.max_prime, SMALLEST_WITH_LEVELS, LARGEST_MAX_PRIME)
            check_count("max_number", self.max_number, SMALLEST_MAX_NUMBER, LARGEST_NUMBER)
        check_share("warmup_tail", self.warmup_tail)
        check_choice("held_out", self.held_out, (DEFAULT, ONE_DIGIT))
        check_count("max_prime", self.max_prime, SMALLEST_MAX_PRIME, LARGEST_MAX_PRIME)
        check_choice("induction_unique", self.induction_unique, list(Unique))


class PrimeInversionPack(KindsPack):
    """Inverses modulo a prime."""

    name = "prime_inversion"
    held_out_version = 1
    held_out_seed = 617
    default_held_out_path = Path(__file__).with_name("held_out.jsonl")

    @takes_knobs(PrimeInversionKnobs)
    def __init__(self, knobs: PrimeInversionKnobs) -> None:
        shared = (Style.of(terse=knobs.terse), knobs.max_prime, knobs.refuse_trivial)

        def inverse(letter: str) -> Inverse:
            if knobs.max_number is None:
                return Inverse(letter, *shared)
            return OneDigitInverse(letter, *shared, knobs.max_number)

        kinds: dict[str, Unknown] = {
            "deduction": inverse("y"),
            "abduction": inverse("x"),
            "induction": Modulus(Unique(knobs.induction_unique), *shared),
        }
        self._tail = knobs.warmup_tail
        self._held_out_set = knobs.held_out
        path = knobs.held_out_path
        if path is None and knobs.held_out != DEFAULT:
            path = str(Path(__file__).with_name(f"held_out_{knobs.held_out}.jsonl"))
        super().__init__({name: kinds[name] for name in KINDS if name in knobs.kinds}, knobs.terse, path)

    def warmup_task(self, kind: str, rng: random.Random) -> TaskRecord:
        """Where there are levels, the n-th with a probability in proportion to `warmup_tail` to the n-th."""
        if not self.levels(kind):
            return super().warmup_task(kind, rng)
        return draw_thinning(self, kind, self._tail, rng)

    def warmup_proposal(self, kind: str, references: Sequence[TaskRecord], rng: random.Random) -> TaskRecord:
        """Where there are levels, a task of one of the references' or of one beside it."""
        if not references or not self.levels(kind):
            return super().warmup_proposal(kind, references, rng)
        return draw_near(self, kind, references, rng)

    def held_out_groups(self, record: TaskRecord) -> tuple[str, ...]:
        """A task's kind; of the set with numbers of one digit its level."""
        if self._held_out_set == DEFAULT:
            return super().held_out_groups(record)
        return (one_digit.level_of(read_int(record.payload, "p")),)

    def held_out_strata(self) -> Sequence[Stratum]:
        return super().held_out_strata() if self._held_out_set == DEFAULT else one_digit.held_out_strata()

    def never_held_out(self) -> Sequence[TaskRecord]:
        if self._held_out_set == DEFAULT:
            return super().never_held_out()
        return [*super().never_held_out(), *one_digit.possible_seeds()]
