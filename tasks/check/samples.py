"""A pack's prompts with right answers, for a person to read."""

from __future__ import annotations

import random

from tasks.check.conformance import proposal_references
from tasks.contract import Message, TaskPack

SEED = 5

NUM_DRAWS = 20


def sample_texts(pack: TaskPack) -> dict[str, dict[str, str]]:
    """By kind, a proposer's prompt, a proposal, the solver's prompt for it, and an answer; by title.

    The tasks are drawn, the same ones each time, and not out of the evaluation set if there are others.
    """
    held_out = {pack.task_key(record) for record in pack.held_out()}
    texts = {}
    for spec in pack.kinds:
        rng = random.Random(SEED)
        drawn = [pack.sample_record(spec.name, rng) for _ in range(NUM_DRAWS)]
        record = next((record for record in drawn if pack.task_key(record) not in held_out), drawn[0])
        references = proposal_references(pack, spec)
        texts[spec.name] = {
            "the proposer is asked": _text(pack.propose_prompt(spec.name, references, rng)),
            "it proposes": pack.gold_proposal(record),
            "the solver is asked": _text(pack.solve_prompt(record)),
            "it answers": pack.gold_response(record),
        }
    return texts


def _text(messages: list[Message]) -> str:
    """A prompt as text; who speaks is said where it is not the user."""
    return "\n".join(
        message["content"] if message["role"] == "user" else f"[{message['role']}]\n{message['content']}"
        for message in messages
    )
