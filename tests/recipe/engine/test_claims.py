"""Who gets in: new tasks that are not held out, the first of every kind, as many as a step wants."""

from __future__ import annotations

import asyncio

from recipe.engine.claims import Admission
from recipe.selfplay.rollout import DUPLICATE, HELD_OUT, SURPLUS


async def ask(admission: Admission, kind: str, *keys: str) -> list[str]:
    """What is said to each key, one after the other."""
    return [await admission.admit(kind, key) for key in keys]


def test_held_out_and_taken_tasks_are_refused_and_take_no_room() -> None:
    async def wave() -> None:
        admission = Admission(["kept"], room=2)
        assert await ask(admission, "deduction", "kept", "a", "a", "b") == [HELD_OUT, "", DUPLICATE, ""]

    asyncio.run(wave())


def test_the_first_of_every_kind_get_in_until_the_next_step() -> None:
    async def waves() -> None:
        admission = Admission(["kept"], room=2)
        assert await ask(admission, "deduction", "a", "b", "c", "a") == ["", "", SURPLUS, DUPLICATE]
        assert await ask(admission, "abduction", "d", "kept") == ["", HELD_OUT]
        await admission.replace(["a", "b", "d"])
        # The one that came too late may come again.
        assert await ask(admission, "deduction", "c", "a", "e", "f") == ["", DUPLICATE, "", SURPLUS]

    asyncio.run(waves())
