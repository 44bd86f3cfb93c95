"""The buffer: accepted records, from which references and solver tasks are drawn.

The buffer owns no random generator: whoever draws brings one, so that the order of draws, and with it a
resumed run, is decided in one place (`recipe/selfplay/curriculum.py`).
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from tasks.contract import Json, TaskRecord


@dataclass(frozen=True, slots=True)
class Entry:
    """One record of the buffer."""

    record: TaskRecord
    key: str  # the pack's `task_key` of it; unique in the buffer
    step: int  # of training, that accepted it; 0 for seeds and the seeding phase


class TaskBuffer:
    """Accepted records by kind, oldest first.

    Args:
        kinds: Names of the kinds that it holds.
        capacity: Most records of one kind; the oldest leave first, so new tasks always enter.
        favours_recent: Draw a record in proportion to 1 + the step that accepted it, not uniformly.
    """

    def __init__(self, kinds: Sequence[str], capacity: int, *, favours_recent: bool = False) -> None:
        if capacity < 1:
            raise ValueError(f"azr.buffer_capacity must be at least 1; got {capacity}")
        self._capacity = capacity
        self._favours_recent = favours_recent
        self._entries: dict[str, list[Entry]] = {kind: [] for kind in kinds}

    def size(self, kind: str) -> int:
        """Number of records of `kind`."""
        return len(self._entries[kind])

    def keys(self) -> list[str]:
        """Keys of all records, by kind and then by age."""
        return [entry.key for entries in self._entries.values() for entry in entries]

    def add(self, record: TaskRecord, key: str, step: int) -> None:
        """Append a record whose key is not in the buffer; the oldest of its kind leaves a full one."""
        entries = self._entries[record.kind]
        entries.append(Entry(record, key, step))
        del entries[: -self._capacity]

    def sample(self, kinds: Sequence[str], count: int, rng: random.Random) -> list[TaskRecord]:
        """Draw `count` records of `kinds` without replacement; fewer when there are fewer.

        A weighted draw takes the records with the largest u^(1/w), u uniform in (0, 1) and w the weight
        (Efraimidis and Spirakis, 2006): the same as drawing one after the other in proportion to w.
        """
        pool = [entry for kind in kinds for entry in self._entries[kind]]
        if not self._favours_recent:
            return [entry.record for entry in rng.sample(pool, min(count, len(pool)))]
        keys = [rng.random() ** (1 / (1 + entry.step)) for entry in pool]
        chosen = sorted(range(len(pool)), key=keys.__getitem__, reverse=True)[:count]
        return [pool[place].record for place in chosen]

    def records(self, kind: str) -> list[TaskRecord]:
        """Records of `kind`, oldest first."""
        return [entry.record for entry in self._entries[kind]]

    def added_at(self, kind: str, step: int) -> list[TaskRecord]:
        """Records of `kind` that `step` accepted, oldest first."""
        return [entry.record for entry in self._entries[kind] if entry.step == step]

    def state_dict(self) -> dict[str, Json]:
        """Everything in the buffer as JSON values."""
        return {
            kind: [
                {"payload": dict(entry.record.payload), "key": entry.key, "step": entry.step}
                for entry in entries
            ]
            for kind, entries in self._entries.items()
        }

    def load_state_dict(self, state: dict[str, list[dict]]) -> None:  # type: ignore[type-arg]
        """Replace the contents by `state`, as made by `state_dict`; ValueError if it holds other kinds."""
        if list(state) != list(self._entries):
            raise ValueError(
                f"the checkpoint's buffer holds the kinds {list(state)}, this run has {list(self._entries)}. "
                "Resume with the pack and kinds that the checkpoint was made with."
            )
        self._entries = {
            kind: [Entry(TaskRecord(kind, item["payload"]), item["key"], item["step"]) for item in items]
            for kind, items in state.items()
        }
