"""Admission: the one place that knows which tasks exist, asked by every agent loop of a run.

Proposals are checked as they arrive, in several worker processes at once. So that two of them cannot accept
the same task, and so that no attempts are spent on a task that the buffer holds already or that a step has no
room for, each asks the run's admission actor before it goes on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import ray
from ray.actor import ActorHandle

from recipe.selfplay.rollout import DUPLICATE, HELD_OUT, SURPLUS


class Admission:
    """Task keys that are taken, and how many tasks a step has.

    Args:
        held_out: Keys of the evaluation set, refused for good.
        room: Tasks of every kind that are taken between two calls of `replace`; the first to ask get in.
    """

    def __init__(self, held_out: Iterable[str], room: int) -> None:
        self._held_out = frozenset(held_out)
        self._room = room
        self._taken: set[str] = set()
        self._num_admitted: Counter[str] = Counter()

    async def admit(self, kind: str, key: str) -> str:
        """Take `key` of a task of `kind`; "" when it was free, else the reason why the task is refused."""
        if key in self._held_out:
            return HELD_OUT
        if key in self._taken:
            return DUPLICATE
        if self._num_admitted[kind] == self._room:
            return SURPLUS
        self._num_admitted[kind] += 1
        self._taken.add(key)
        return ""

    async def replace(self, keys: list[str]) -> None:
        """Make `keys` the only ones that are taken: the buffer's, between two steps."""
        self._taken = set(keys)
        self._num_admitted.clear()


def actor_name(run_dir: str) -> str:
    """Name under which the admission actor of the run in `run_dir` is found inside its Ray job."""
    return f"azr-admission:{run_dir}"


def start_admission(run_dir: str, held_out: Iterable[str], room: int) -> ActorHandle:
    """Start the run's admission actor, an `Admission`; it lives as long as its creator holds the handle."""
    actor_class = ray.remote(num_cpus=0)(Admission)
    return actor_class.options(name=actor_name(run_dir)).remote(list(held_out), room)
