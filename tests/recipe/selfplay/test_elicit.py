"""Making a model answer in the trained way: the examples that it is shown, and the best of several tries."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence

import pytest

from recipe.selfplay.elicit import prompt_with_examples, solve_well_formed
from recipe.selfplay.types import Request, Response
from tasks.arithmetic import ArithmeticPack
from tasks.contract import Message, TaskRecord

RECORD = TaskRecord("deduction", {"a": 4, "op": "+", "b": 1})
SOLVE = Request.solve(0, RECORD, [{"role": "user", "content": "Calculate: 4 + 1 ="}])


class OfFive(ArithmeticPack):
    """Draws 0 + 1 to 4 + 1, over and over; 0 + 1 and 3 + 1 are held out."""

    def sample_record(self, kind: str, rng: random.Random) -> TaskRecord:
        return TaskRecord(kind, {"a": rng.randrange(5), "op": "+", "b": 1})

    def held_out(self) -> Sequence[TaskRecord]:
        return [TaskRecord("deduction", {"a": a, "op": "+", "b": 1}) for a in (0, 3)]


PACK = OfFive(terse=True)
HELD_OUT = {PACK.task_key(record) for record in PACK.held_out()}


def test_examples_are_solved_tasks_but_the_task_and_the_held_out_ones() -> None:
    *examples, asked = prompt_with_examples(PACK, RECORD, 2, HELD_OUT)
    assert asked == {"role": "user", "content": "4 + 1 ="}
    turns = [(turn["role"], turn["content"]) for turn in examples]
    # Of 0 to 4, without 0 and 3, which are held out, and 4, the task itself, these are left
    one, two = (
        [("user", "1 + 1 ="), ("assistant", ":2")],
        [("user", "2 + 1 ="), ("assistant", ":3")],
    )
    assert turns in (one + two, two + one)


def test_examples_follow_from_the_task_alone(arithmetic: ArithmeticPack) -> None:
    records = arithmetic.held_out()[:5]
    prompts = [prompt_with_examples(arithmetic, record, 3, ()) for record in records]
    again = [prompt_with_examples(arithmetic, record, 3, ()) for record in reversed(records)]
    assert prompts == again[::-1]
    assert len({prompt[0]["content"] for prompt in prompts}) > 1


def test_no_examples_leave_the_prompt_as_it_is(arithmetic: ArithmeticPack) -> None:
    assert prompt_with_examples(arithmetic, RECORD, 0, ()) == arithmetic.solve_prompt(RECORD)


def test_pack_without_as_many_examples_is_one_line() -> None:
    with pytest.raises(
        ValueError, match=r"^azr.elicit.examples must be at most 2 with the pack arithmetic: .*; got 3"
    ):
        prompt_with_examples(PACK, RECORD, 3, HELD_OUT)


class Script:
    """A model that gives these texts one after the other."""

    def __init__(self, *texts: str) -> None:
        self.texts = list(texts)

    async def __call__(self, messages: Sequence[Message], *, num_responses: int) -> list[Response]:
        return [Response(self.texts.pop(0)) for _ in range(num_responses)]


def solved(first: Script, again: Script, num_tries: int, count: int = 1) -> list[str]:
    attempts = asyncio.run(solve_well_formed(PACK, SOLVE, first, again, num_tries, count))
    return [attempt.response.text for attempt in attempts]


def test_first_well_formed_try_is_taken_right_or_wrong() -> None:
    again = Script("oh", ":9", ":5")
    assert solved(Script("er"), again, num_tries=8) == [":9"]
    assert again.texts == [":5"]  # was not asked for


def test_well_formed_first_try_is_the_only_one() -> None:
    assert solved(Script(":7"), Script(), num_tries=8) == [":7"]


@pytest.mark.parametrize(("num_tries", "left"), [(1, ["b", ":5"]), (2, [":5"])])
def test_tries_are_counted_with_the_first_which_stands_if_none_is_well_formed(
    num_tries: int, left: list[str]
) -> None:
    again = Script("b", ":5")
    assert solved(Script("a"), again, num_tries) == ["a"]
    assert again.texts == left


def test_each_of_several_attempts_has_its_own_tries() -> None:
    first, again = Script(":1", "x", "y"), Script(":2", "z", ":3")
    assert solved(first, again, num_tries=3, count=3) == [":1", ":2", ":3"]
