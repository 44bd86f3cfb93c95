"""The prime-inversion pack: x * y = 1 (mod p), with one of the three left out.

Abduction leaves out x, deduction y, induction p. Any answer that meets the statement is right, not only the
one that the proposer had in mind.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tasks.kit.kinds import KindsPack, Style
from tasks.kit.knobs import Knobs, check_choice, check_count, takes_knobs
from tasks.prime_inversion.kinds import Inverse, Modulus, Unique

SMALLEST_MAX_PRIME = 23
LARGEST_MAX_PRIME = 9973
"""Range of `max_prime`: the seeds fit under the smallest; the largest keeps a check at milliseconds."""


@dataclass(frozen=True, kw_only=True)
class PrimeInversionKnobs(Knobs):
    """How hard the tasks are, and which are refused."""

    max_prime: int = 617
    """Largest modulus, 23 to 9973."""

    induction_unique: str = Unique.LARGER_THAN_OPERANDS.value
    """What makes p unique in induction. `larger_than_operands`: the statement says that p is larger than x
    and y; two such primes would have a product above x * y - 1, so there is one at most. `none`: any prime up
    to `max_prime` that solves it. `n_pairs`: two pairs for one p, refused if more than one solves both."""

    refuse_trivial: bool = True
    """Refuse tasks about 1 and p-1, which are their own inverses."""

    def __post_init__(self) -> None:
        super().__post_init__()
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
        kinds = {
            "deduction": Inverse("y", *shared),
            "abduction": Inverse("x", *shared),
            "induction": Modulus(Unique(knobs.induction_unique), *shared),
        }
        super().__init__(kinds, knobs.terse, knobs.held_out_path)
