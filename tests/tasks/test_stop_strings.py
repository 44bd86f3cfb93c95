"""Where responses of each pack end, and that nothing behind an answer is read in its place."""

from __future__ import annotations

import asyncio
import random
from typing import Any

from tasks.contract import Outcome
from tasks.registry import load_pack

PACKS: list[tuple[str, dict[str, Any], tuple[str, ...]]] = [
    ("arithmetic", {}, ()),
    ("arithmetic", {"prompts": "base"}, ("\n",)),
    ("arithmetic", {"prompts": "base", "terse": True}, ()),
    ("prime_inversion", {}, ()),
    ("prime_inversion", {"terse": True}, ()),
    ("math_word", {}, ("</answer>",)),
    ("math_word", {"tags": "answer"}, ("</answer>",)),
    ("math_word", {"tags": "none"}, ()),
    ("math_word", {"terse": True}, ()),
    ("python_code", {}, ("</answer>",)),
    ("python_code", {"tags": "answer"}, ("</answer>",)),
    ("python_code", {"tags": "none"}, ()),
    ("python_code", {"terse": True}, ()),
]


def test_a_pack_says_where_its_responses_end() -> None:
    found = [(name, knobs, load_pack({"_target_": name, **knobs}).stop_strings) for name, knobs, _ in PACKS]
    assert found == PACKS


def test_a_right_answer_before_an_invented_turn_stays_right() -> None:
    """And a wrong one stays wrong, with the right one in the turn."""
    read_wrong = []
    for name, knobs, stop in PACKS:
        pack = load_pack({"_target_": name, **knobs})
        kind = pack.kinds[0].name  # of python_code deduction, whose answers are compared without running
        rng = random.Random(0)
        record, other = (pack.sample_record(kind, rng) for _ in range(2))
        right, wrong = pack.gold_response(record), pack.gold_response(other)
        for first, then, outcome in ((right, wrong, Outcome.CORRECT), (wrong, right, Outcome.WRONG)):
            response = f"{first}\nUser: {pack.solve_prompt(other)[-1]['content']}\nAssistant: {then}"
            found = asyncio.run(pack.judge(record, response)).outcome
            if stop and found is not outcome:
                read_wrong.append((name, knobs, response, found))
    assert not read_wrong
