"""An answer by the vote of the attempts: `verify=majority`."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.contract import Accepted, Outcome, Rejected, TaskRecord
from tasks.kit.response import Tags, wrap
from tasks.math_word import MathWordPack
from tasks.math_word.number import find_majority
from tasks.math_word.records import problem

QUESTION = "A bag of 3 kg costs $1.50. What does 1 kg cost?"
PACK = MathWordPack(verify="majority")
TERSE = MathWordPack(verify="majority", terse=True)
NO_MAJORITY = Rejected(Outcome.WRONG, "no-majority")


def resolve(pack: MathWordPack, *responses: str) -> Accepted | Rejected:
    return asyncio.run(pack.resolve(problem(QUESTION), responses))


def solve_rate(pack: MathWordPack, record: TaskRecord, responses: Sequence[str]) -> float:
    """Share of the responses that are right answers to the record."""
    verdicts = [asyncio.run(pack.judge(record, response)) for response in responses]
    return sum(verdict.outcome is Outcome.CORRECT for verdict in verdicts) / len(responses)


def test_the_most_frequent_answer_is_the_answer() -> None:
    # 0.5, 1/2 and $0.50 are one number: 3 votes of 8. 5 has 2, 2 has 1, and two responses have none.
    answers = ["0.5", "5", "1/2", "2", "$0.50", "5", "1 or 2", "?"]
    responses = [wrap(answer, Tags.THINK_ANSWER, "") for answer in answers]
    found = resolve(PACK, *responses)
    assert found == Accepted(problem(QUESTION, "0.5"))
    assert solve_rate(PACK, found.record, responses) == 3 / 8


@pytest.mark.parametrize(
    "responses",
    [
        (),
        (":7",),
        (":7", ":8", ":9"),
        (":7", ":7", ":8", ":8"),
        (":7", ":7", ":8", ":8", ":9"),
        ("7", "", ":", ":7 7"),
        # Of four, 50% could side with either two.
        (":50", ":50", ":0.5", ":0.5", ":50%"),
    ],
)
def test_without_a_most_frequent_answer_there_is_no_task(responses: Sequence[str]) -> None:
    assert resolve(TERSE, *responses) == NO_MAJORITY


@pytest.mark.parametrize(
    ("answers", "majority"),
    [
        (["7", "7"], "7"),
        (["7", "8", "7", "9"], "7"),
        (["7.0", "7", "7.00"], "7"),
        (["1/3", "0.333333", "0.33"], "1/3"),
        (["25%", "25%", "0.25"], "0.25"),
        (["50%", "50", "50", "0.5"], "50"),
        (["50%", "50%", "7"], "50%"),
    ],
)
def test_equal_answers_vote_together_for_the_plainest_of_them(answers: list[str], majority: str) -> None:
    assert find_majority(answers) == majority


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_the_order_of_attempts_decides_nothing(data: st.DataObject) -> None:
    words = ["7", "7.0", "8", "1/2", "0.5", "50%", "50", "-7", "none", "7 or 8"]
    responses = [f":{word}" for word in data.draw(st.lists(st.sampled_from(words), max_size=7))]
    found = resolve(TERSE, *responses)
    assert resolve(TERSE, *data.draw(st.permutations(responses))) == found
    if isinstance(found, Accepted):
        # Whoever agrees is right, and no other plain number would have made more of them right.
        rate = solve_rate(TERSE, found.record, responses)
        assert rate >= 2 / len(responses)
        for other in ("7", "8", "0.5", "50", "-7"):
            assert solve_rate(TERSE, problem(QUESTION, other), responses) <= rate
