"""Make a model answer in the trained way without training it: by examples, or as the best of several tries.

A gain in held-out accuracy may be a switch of mode alone: to a way of answering that the base model has, and
seldom takes. What the base reaches when it is made to take that way says how much of a gain this is. The keys
are `azr.elicit` (`recipe/selfplay/config.py`); the agent loop puts a forced beginning behind the prompt.
"""

from __future__ import annotations

import random
from collections.abc import Container

from recipe.selfplay.rollout import Generate, solve
from recipe.selfplay.types import Attempt, Request
from tasks.contract import Message, Outcome, TaskPack, TaskRecord

MAX_DRAWS = 1000
"""Draws for one example; a pack whose tasks are all held out or shown would be asked for ever."""


def prompt_with_examples(
    pack: TaskPack, record: TaskRecord, num_examples: int, held_out: Container[str]
) -> list[Message]:
    """The solver's prompt for `record`, behind solved tasks of its kind as earlier turns of the chat.

    Which tasks follows from the record alone. No two are the same, and none is the record's or has its key in
    `held_out`.

    Raises:
        ValueError: The pack does not draw as many of them.
    """
    rng = random.Random(pack.task_key(record))
    shown = {pack.task_key(record)}
    messages: list[Message] = []
    for _ in range(num_examples):
        drawn = (pack.sample_record(record.kind, rng) for _ in range(MAX_DRAWS))
        free = (each for each in drawn if (key := pack.task_key(each)) not in shown and key not in held_out)
        if (example := next(free, None)) is None:
            raise ValueError(
                f"azr.elicit.examples must be at most {len(shown) - 1} with the pack {pack.name}: {MAX_DRAWS}"
                f" more draws of {record.kind} gave what is held out or shown already; got {num_examples}"
            )
        shown.add(pack.task_key(example))
        messages += pack.solve_prompt(example)
        messages.append({"role": "assistant", "content": pack.gold_response(example)})
    return messages + pack.solve_prompt(record)


async def solve_well_formed(
    pack: TaskPack, request: Request, first: Generate, again: Generate, num_tries: int, count: int = 1
) -> tuple[Attempt, ...]:
    """`count` attempts, each the first well-formed one of at most `num_tries`; of none such, its first.

    The first of each is asked of `first`, the others of `again`.

    Raises:
        GenerationFailedError: The engine gave none, of the first or of those asked for again.
    """
    attempts = list(await solve(pack, request, first, count))
    for _ in range(num_tries - 1):
        malformed = [i for i, attempt in enumerate(attempts) if attempt.outcome is Outcome.MALFORMED]
        if not malformed:
            break
        others = await solve(pack, request, again, len(malformed))
        for place, attempt in zip(malformed, others, strict=False):  # those that failed are left out
            if attempt.outcome is not Outcome.MALFORMED:
                attempts[place] = attempt
    return tuple(attempts)
