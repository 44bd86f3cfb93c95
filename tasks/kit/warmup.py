"""What the tiny model's warm-up has of a pack with levels: ever fewer of the harder ones.

So the base model's accuracy falls over several levels, and which of them it practises decides what it learns.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from tasks.contract import TaskPack, TaskRecord


def draw_thinning(pack: TaskPack, kind: str, tail: float, rng: random.Random) -> TaskRecord:
    """Draw a task of the n-th level with a probability in proportion to `tail` to the n-th."""
    levels = pack.levels(kind)
    (level,) = rng.choices(levels, [tail**place for place in range(len(levels))])
    return pack.sample_at(kind, level, rng)


def draw_near(pack: TaskPack, kind: str, references: Sequence[TaskRecord], rng: random.Random) -> TaskRecord:
    """Draw a task of the level of one of the references, or of the one above or below, evenly.

    At either end the level itself stands for the one that is not there.
    """
    levels = pack.levels(kind)
    place = levels.index(pack.difficulty(rng.choice(references))) + rng.choice((-1, 0, 1))
    return pack.sample_at(kind, levels[min(max(place, 0), len(levels) - 1)], rng)
