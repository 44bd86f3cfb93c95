"""Who gets in: new tasks that are not held out, the first of every kind, as many as a step wants."""

from __future__ import annotations

import asyncio

from recipe.engine.claims import Claims
from recipe.selfplay.types import Refusal


async def ask(claims: Claims, kind: str, *keys: str) -> list[Refusal | None]:
    """What is said to each key, one after the other."""
    return [await claims.claim(kind, key) for key in keys]


def test_held_out_and_taken_tasks_are_refused_and_take_no_room() -> None:
    async def wave() -> None:
        claims = Claims(["kept"], room=2)
        assert await ask(claims, "deduction", "kept", "a", "a", "b") == [
            Refusal.HELD_OUT,
            None,
            Refusal.DUPLICATE,
            None,
        ]

    asyncio.run(wave())


def test_the_first_of_every_kind_get_in_until_the_next_step() -> None:
    async def waves() -> None:
        claims = Claims(["kept"], room=2)
        assert await ask(claims, "deduction", "a", "b", "c", "a") == [
            None,
            None,
            Refusal.SURPLUS,
            Refusal.DUPLICATE,
        ]
        assert await ask(claims, "abduction", "d", "kept") == [None, Refusal.HELD_OUT]
        await claims.reset(["a", "b", "d"])
        # The one that came too late may come again.
        assert await ask(claims, "deduction", "c", "a", "e", "f") == [
            None,
            Refusal.DUPLICATE,
            None,
            Refusal.SURPLUS,
        ]

    asyncio.run(waves())
