"""Rows of sessions that end at about the same time, stored in one call.

verl 0.9.1 stores each session's outputs by themselves, which with a small model costs more than what a
session does (docs/performance.md).
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import transfer_queue as tq
from verl.utils.tensordict_utils import list_of_dict_to_tensordict

WAIT_S = 0.05
"""How long an output waits for others to be stored with; the trainer looks as often on a CPU."""


@dataclass(frozen=True, slots=True)
class Row:
    """An output as verl stores it."""

    key: str
    fields: dict[str, Any]
    tag: dict[str, Any]


Store = Callable[[str, list[Row]], Awaitable[None]]
"""Stores rows in a partition."""


class Together:
    """Rows of several sessions, stored in one call where they have the same fields."""

    def __init__(self, store: Store, wait_s: float = WAIT_S) -> None:
        self._store = store
        self._wait_s = wait_s
        self._rows: defaultdict[tuple[str, frozenset[str]], list[Row]] = defaultdict(list)
        self._next: asyncio.Task[None] | None = None

    async def put(self, partition: str, rows: list[Row]) -> None:
        """Return when these rows are stored, and fail if that does."""
        for row in rows:
            self._rows[partition, frozenset(row.fields)].append(row)
        if self._next is None:
            self._next = asyncio.create_task(self._store_all())
        # A session that is cancelled takes no other's rows with it.
        await asyncio.shield(self._next)

    async def _store_all(self) -> None:
        await asyncio.sleep(self._wait_s)
        ready, self._rows, self._next = self._rows, defaultdict(list), None
        for (partition, _), rows in ready.items():
            await self._store(partition, rows)


async def store(partition: str, rows: list[Row]) -> None:
    """Put rows of the same fields into verl's storage."""
    await tq.async_kv_batch_put(
        keys=[row.key for row in rows],
        fields=list_of_dict_to_tensordict([row.fields for row in rows]),
        tags=[row.tag for row in rows],
        partition_id=partition,
    )
