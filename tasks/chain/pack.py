"""The chain pack: its knobs, its levels, and what the tiny model's warm-up has of them.

Warm-up thins out with a chain's length and ends nowhere, so the base model's accuracy falls over several
lengths, and which tasks it practises decides what it learns. `docs/packs.md` has the grammar and the prompts.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tasks.chain.kind import LONGEST, SHORTEST, Chain
from tasks.contract import TaskRecord
from tasks.kit.kinds import KindsPack, Style
from tasks.kit.knobs import Knobs, check_choice, check_count, check_share, takes_knobs
from tasks.kit.warmup import draw_near, draw_thinning

PROMPTS = (Style.CHAT.value, Style.BASE.value)


@dataclass(frozen=True, kw_only=True)
class ChainKnobs(Knobs):
    """How long chains may be, and which the tiny model starts from."""

    longest: int = 16
    """Most digits in a proposal, 4 to 40; the fewest are 3."""

    warmup_tail: float = 0.65
    """How often the tiny model's warm-up solves a chain, over one with a digit less; above 0 and below 1."""

    prompts: str = Style.CHAT.value
    """`chat`: for a model that is told what to do; `base`: for one that goes on with a text, set by
    `prompts=base` together with the bare chat template. Of no account with terse prompts."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_count("longest", self.longest, SHORTEST + 1, LONGEST)
        check_share("warmup_tail", self.warmup_tail)
        check_choice("prompts", self.prompts, PROMPTS)


class ChainPack(KindsPack):
    """Running sums modulo 10. A task or an answer is the last line of a response that is not blank."""

    name = "chain"
    held_out_version = 1
    held_out_seed = 20261128
    default_held_out_path = Path(__file__).with_name("held_out.jsonl")

    @takes_knobs(ChainKnobs)
    def __init__(self, knobs: ChainKnobs) -> None:
        completes = knobs.prompts == Style.BASE
        self._tail = knobs.warmup_tail
        chain = Chain(Style.of(terse=knobs.terse, completes=completes), knobs.longest)
        super().__init__({"deduction": chain}, knobs.terse, knobs.held_out_path, completes)

    def warmup_task(self, kind: str, rng: random.Random) -> TaskRecord:
        """A chain of n terms with a probability in proportion to `warmup_tail` to the n-th."""
        return draw_thinning(self, kind, self._tail, rng)

    def warmup_proposal(self, kind: str, references: Sequence[TaskRecord], rng: random.Random) -> TaskRecord:
        """A chain as long as one of the references, or by one term longer or shorter, evenly."""
        return draw_near(self, kind, references, rng) if references else self.warmup_task(kind, rng)

    def held_out_groups(self, record: TaskRecord) -> tuple[str, ...]:
        """A task's level."""
        return (self.difficulty(record),)
