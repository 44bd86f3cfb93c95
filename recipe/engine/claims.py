"""The tasks that are taken, in the one place that every agent loop of a run asks.

Proposals are checked as they arrive, in several worker processes at once. So that two of them cannot accept
the same task, and so that no attempts are spent on a task that the buffer holds already or that a step has no
room for, each claims its task from the run's actor before it goes on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import ray
from ray.actor import ActorHandle

from recipe.selfplay.types import Refusal


class Claims:
    """Task keys that are taken, and how many tasks a step has.

    Args:
        held_out: Keys of the evaluation set, refused for good.
        room: Tasks of every kind that can be claimed between two calls of `reset`, by the first to ask.
    """

    def __init__(self, held_out: Iterable[str], room: int) -> None:
        self._held_out = frozenset(held_out)
        self._room = room
        self._taken: set[str] = set()
        self._num_claimed: Counter[str] = Counter()

    async def claim(self, kind: str, key: str) -> Refusal | None:
        """Take `key` of a task of `kind`; None when it was free, else why the task is refused."""
        refusal = Refusal.HELD_OUT if key in self._held_out else None
        if key in self._taken:
            return refusal or Refusal.DUPLICATE
        if self._num_claimed[kind] == self._room:
            return refusal or Refusal.SURPLUS
        # A held-out task takes a place as any other does: what is held out must not decide who else gets in.
        self._num_claimed[kind] += 1
        self._taken.add(key)
        return refusal

    async def reset(self, keys: list[str]) -> None:
        """Make `keys` the only ones that are taken: the buffer's, between two steps."""
        self._taken = set(keys)
        self._num_claimed.clear()


def actor_name(run_dir: str) -> str:
    """Name under which the actor of the run in `run_dir` is found inside its Ray job."""
    return f"azr-claims:{run_dir}"


def start_claims(run_dir: str, held_out: Iterable[str], room: int) -> ActorHandle:
    """Start the run's actor, a `Claims`; it lives as long as its creator holds the handle."""
    actor_class = ray.remote(num_cpus=0)(Claims)
    return actor_class.options(name=actor_name(run_dir)).remote(list(held_out), room)
