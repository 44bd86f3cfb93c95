"""Who gets in: new tasks that are not held out, the first of every kind, as many as a step wants."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from recipe.engine.claims import Claims
from recipe.selfplay.types import Refusal

DUPLICATE, HELD_OUT, SURPLUS = Refusal.DUPLICATE, Refusal.HELD_OUT, Refusal.SURPLUS


async def ask(claims: Claims, kind: str, *keys: str) -> list[Refusal | None]:
    """What is said to each key, one after the other."""
    return [await claims.claim(kind, key) for key in keys]


def test_taken_tasks_are_refused_and_take_no_room() -> None:
    async def wave() -> None:
        claims = Claims(["kept"], room=2)
        assert await ask(claims, "deduction", "a", "a", "b") == [None, DUPLICATE, None]

    asyncio.run(wave())


def test_held_out_tasks_are_refused_and_take_the_room_that_they_would_take() -> None:
    async def wave(held_out: Sequence[str]) -> list[Refusal | None]:
        claims = Claims(held_out, room=2)
        return await ask(claims, "deduction", "a", "a", "b", "c", "d", "a")

    assert asyncio.run(wave([])) == [None, DUPLICATE, None, SURPLUS, SURPLUS, DUPLICATE]
    assert asyncio.run(wave(["a", "d"])) == [HELD_OUT, HELD_OUT, None, SURPLUS, HELD_OUT, HELD_OUT]


def test_the_first_of_every_kind_get_in_until_the_next_step() -> None:
    async def waves() -> None:
        claims = Claims(["kept"], room=2)
        assert await ask(claims, "deduction", "a", "b", "c", "a") == [
            None,
            None,
            SURPLUS,
            DUPLICATE,
        ]
        assert await ask(claims, "abduction", "d", "kept") == [None, HELD_OUT]
        await claims.reset(["a", "b", "d"])
        # The one that came too late may come again.
        assert await ask(claims, "deduction", "c", "a", "e", "f") == [
            None,
            DUPLICATE,
            None,
            SURPLUS,
        ]

    asyncio.run(waves())
