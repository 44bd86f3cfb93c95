"""Problems made here, and the two held-out sets drawn from them."""

from __future__ import annotations

import asyncio
import random
import re
from collections import Counter

import pytest

from tasks.contract import Accepted
from tasks.kit.held_out_file import build, render
from tasks.math_word import MathWordPack
from tasks.math_word.records import shown_program
from tasks.math_word.stories import STORIES, draw_story, work_out

PROMPT_BYTES = 224
RESPONSE_BYTES = 64
"""Room of the demo, whose model reads bytes."""


@pytest.mark.parametrize("terse", [False, True])
@pytest.mark.parametrize("story", STORIES)
def test_a_story_takes_two_to_four_steps_and_its_program_is_accepted(story: str, terse: bool) -> None:
    pack = MathWordPack(terse=terse)
    rng = random.Random(0)
    for _ in range(5):
        record = draw_story(story, terse, rng)
        steps = work_out(shown_program(record))
        assert steps is not None and 2 <= len(steps) <= 4
        assert str(steps[-1][1]) == record.payload["answer"]
        assert not re.search("[{}]", str(record.payload["question"]))
        found = asyncio.run(pack.accept("problem", pack.gold_proposal(record), []))
        assert found == Accepted(record)


def test_terse_texts_fit_the_tiny_model() -> None:
    pack = MathWordPack(terse=True)
    rng = random.Random(0)
    for _ in range(2_000):
        record, other = (pack.sample_record("problem", rng) for _ in range(2))
        # The chat template takes some bytes of its own.
        assert len(pack.propose_prompt("problem", [other], rng)[0]["content"]) <= PROMPT_BYTES // 2
        # A response ends in a token of its own.
        assert len(pack.gold_proposal(record)) <= RESPONSE_BYTES - 1
        assert len(pack.worked_response(record)) <= RESPONSE_BYTES - 1


@pytest.mark.parametrize("terse", [False, True])
def test_sets_are_what_their_seed_draws(terse: bool) -> None:
    pack = MathWordPack(terse=terse)
    assert render(pack, build(pack)).encode() == pack.held_out_path.read_bytes()
    records = pack.held_out()
    assert len(records) == len({pack.task_key(record) for record in [*records, *pack.seeds()]}) - len(
        pack.seeds()
    )
    numbers = re.compile("[0-9]+")
    assert len({numbers.sub("", shown_program(record)) for record in records}) >= 8
    assert len(Counter(record.payload["answer"] for record in records)) > 100


def test_draws_rarely_meet_the_held_out_set() -> None:
    """The warm-up refuses those that do; there have to be others left."""
    pack = MathWordPack(terse=True)
    held_out = {pack.task_key(record) for record in pack.held_out()}
    rng = random.Random(1)
    drawn = {pack.task_key(pack.sample_record("problem", rng)) for _ in range(2_000)}
    assert len(drawn) > 1_500
    assert len(drawn & held_out) < 0.1 * len(drawn)
