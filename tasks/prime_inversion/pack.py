"""The prime-inversion pack: x * y = 1 (mod p), with one of the three left out.

Abduction leaves out x, deduction y, induction p. Any answer that meets the statement is right, not only the
one that the proposer had in mind.
"""

from __future__ import annotations

from pathlib import Path

from tasks.kit.kinds import KindsPack
from tasks.prime_inversion.inverse import Inverse
from tasks.prime_inversion.modulus import Modulus, Unique

SMALLEST_MAX_PRIME = 23
LARGEST_MAX_PRIME = 9973
"""Range of `max_prime`: the seeds fit under the smallest; the largest keeps a check at milliseconds."""


class PrimeInversionPack(KindsPack):
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
        terse: bool = False,
        held_out_path: str | None = None,
    ) -> None:
        """Set the difficulty.

        Args:
            max_prime: Largest modulus.
            induction_unique: A `Unique`: none, larger_than_operands or n_pairs.
            refuse_trivial: Refuse tasks about 1 and p-1, which are their own inverses.
            terse: Prompts without instructions, for a model that was trained on them.
            held_out_path: Another held-out set in place of the committed one.

        Raises:
            ValueError: `max_prime` is no integer from 23 to 9973, or `induction_unique` is none of the three.
        """
        if not isinstance(max_prime, int) or not SMALLEST_MAX_PRIME <= max_prime <= LARGEST_MAX_PRIME:
            span = f"{SMALLEST_MAX_PRIME} to {LARGEST_MAX_PRIME}"
            raise ValueError(f"pack.max_prime must be an integer from {span}; got {max_prime!r}")
        if induction_unique not in list(Unique):
            raise ValueError(
                f"pack.induction_unique must be one of {', '.join(Unique)}; got {induction_unique!r}"
            )
        kinds = {
            "deduction": Inverse("y", max_prime, refuse_trivial),
            "abduction": Inverse("x", max_prime, refuse_trivial),
            "induction": Modulus(max_prime, Unique(induction_unique), refuse_trivial),
        }
        super().__init__(kinds, terse, held_out_path)
