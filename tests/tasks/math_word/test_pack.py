"""Prompts, answers and knobs of the pack."""

from __future__ import annotations

import asyncio
import pickle
import random

import pytest

from tasks.contract import Accepted, Outcome, Rejected, TaskRecord, Verdict
from tasks.kit.response import Tags, block, wrap
from tasks.math_word import MathWordPack
from tasks.math_word.form import Extraction
from tasks.math_word.records import problem

RECORD = problem("Ann has 16 eggs\nand eats 3. How many are left?", "13", "def f():\n    return 16 - 3")


def judge(pack: MathWordPack, response: str, record: TaskRecord = RECORD) -> str:
    """Outcome and reason."""
    found: Verdict = asyncio.run(pack.judge(record, response))
    assert found.measures == {}
    return f"{found.outcome} {found.reason}".strip()


def content(pack: MathWordPack, record: TaskRecord = RECORD) -> str:
    """The solver's prompt."""
    (message,) = pack.solve_prompt(record)
    return message["content"]


@pytest.mark.parametrize(
    ("response", "found"),
    [
        ("<think>16-3</think><answer>13</answer>", "correct"),
        ("<think></think><answer>$13.0</answer>", "correct"),
        ("<think></think><answer>1300%</answer>", "correct"),
        ("<think></think><answer>13 eggs</answer>", "correct"),
        ("16-3</think><answer>13</answer>", "correct"),
        ("<think></think><answer>14</answer>", "wrong wrong-number"),
        ("<think></think><answer>-13</answer>", "wrong wrong-number"),
        ("<think></think><answer>12 or 13</answer>", "malformed several-numbers"),
        ("<think></think><answer>10**10**10</answer>", "malformed several-numbers"),
        ("<think></think><answer>1e9999</answer>", "malformed not-a-number"),
        ("<think></think><answer>nan</answer>", "malformed no-number"),
        ("<think></think><answer></answer>", "malformed no-number"),
        ("<think></think>13", "malformed no-answer-tags"),
        ("<answer>13</answer>", "malformed no-think-tags"),
        ("#### 13", "malformed no-think-tags"),
        ("", "malformed no-think-tags"),
        ("9" * 200_000, "malformed response-too-big"),
    ],
)
def test_answers_between_tags(response: str, found: str) -> None:
    assert judge(MathWordPack(), response) == found


@pytest.mark.parametrize(
    ("response", "found"),
    [
        ("16 - 3 = 13\n#### 13", "correct"),
        ("#### 13\n#### 14\nI hope that helps 99", "correct"),
        ("#### 13.00", "correct"),
        ("#### 12 13", "wrong wrong-number"),
        ("#### 14", "wrong wrong-number"),
        ("13", "malformed no-mark"),
        ("####13", "malformed no-mark"),
        ("#### ", "malformed no-mark"),
        ("####\n13", "malformed no-mark"),
        ("#### $13", "malformed no-mark"),
        ("#### ..", "malformed no-number"),
        ("", "malformed no-mark"),
        ("#" * 500_000, "malformed no-mark"),
        ("#### " + "9" * 500_000, "malformed not-a-number"),
    ],
)
def test_answers_behind_the_mark(response: str, found: str) -> None:
    assert judge(MathWordPack(extraction="strict"), response) == found


@pytest.mark.parametrize(
    ("response", "found"),
    [
        ("16 - 3 = 13", "correct"),
        ("#### 13", "correct"),
        ("<think></think><answer>13</answer>", "correct"),
        ("It is 13. No, 14", "wrong wrong-number"),
        ("thirteen", "malformed no-number"),
        ("", "malformed no-number"),
        ("9" * 500_000, "malformed no-number"),
        ("13" + " " * 500_000, "malformed no-number"),
    ],
)
def test_the_last_number_as_answer(response: str, found: str) -> None:
    assert judge(MathWordPack(extraction="flexible"), response) == found


@pytest.mark.parametrize(
    ("response", "found"),
    [
        (":13", "correct"),
        ("(16-3=13):13", "correct"),
        ("new\n:13 ", "correct"),
        (":12", "wrong wrong-number"),
        ("13", "malformed no-number"),
        ("(16-3=13", "malformed no-number"),
        (":", "malformed no-number"),
        (":12 13", "malformed several-numbers"),
    ],
)
def test_terse_answers(response: str, found: str) -> None:
    assert judge(MathWordPack(terse=True), response) == found


@pytest.mark.parametrize("extraction", Extraction)
@pytest.mark.parametrize("tags", Tags)
def test_every_way_to_answer_is_asked_for_and_read(extraction: str, tags: str) -> None:
    pack = MathWordPack(extraction=extraction, tags=tags)
    for response in (pack.gold_response(RECORD), pack.worked_response(RECORD)):
        assert judge(pack, response) == "correct"
    has_tags = extraction == "tags" and tags != "none"
    assert ("<answer>" in content(pack)) == has_tags
    assert ("####" in content(pack)) == (extraction == "strict")
    assert "16 eggs" in content(pack) and "16 - 3" not in content(pack)


@pytest.mark.parametrize("terse", [False, True])
@pytest.mark.parametrize("verify", ["program", "claimed"])
def test_proposals_are_shown_as_they_are_read(terse: bool, verify: str) -> None:
    pack = MathWordPack(terse=terse, verify=verify)
    for record in pack.seeds():
        (message,) = pack.propose_prompt("problem", [record], random.Random(0))
        shown = message["content"].split("Example 1\n")[-1] if not terse else message["content"]
        question = str(record.payload["question"])
        assert question in shown
        if terse:
            _, _, proposed = shown.rpartition("\n")
        else:
            proposed = wrap(shown.split("\n\nReply")[0], Tags.THINK_ANSWER, "")
        found = asyncio.run(pack.accept("problem", proposed, []))
        assert found == Accepted(record)


def test_working_is_shown_where_the_program_is_plain_arithmetic() -> None:
    pack, terse = MathWordPack(), MathWordPack(terse=True)
    assert "16 - 3 = 13" in pack.worked_response(RECORD)
    assert terse.worked_response(RECORD) == "(16-3=13):13"
    for other in (problem("7?", "7"), problem("7?", "7", "def f():\n    x = 7\n    return x")):
        assert pack.worked_response(other) == pack.gold_response(other)
        assert terse.worked_response(other) == ":7"


def test_terse_proposals_are_cut_at_the_last_bar() -> None:
    pack = MathWordPack(terse=True)
    found = asyncio.run(pack.accept("problem", "some text\nA | B has 5 pens, buys 3.|5+3", []))
    assert isinstance(found, Accepted)
    assert found.record.payload["question"] == "A | B has 5 pens, buys 3."
    assert pack.gold_proposal(found.record) == "A | B has 5 pens, buys 3.|5+3"
    for response, reason in (("5+3", "no-program"), ("5 and 3|", "no-program"), ("|5", "no-question")):
        refused = asyncio.run(pack.accept("problem", response, []))
        assert isinstance(refused, Rejected)
        assert (refused.outcome, refused.reason) == (Outcome.MALFORMED, reason)
    claimed = asyncio.run(MathWordPack(terse=True, verify="claimed").accept("problem", "5 and 3|", []))
    assert claimed == Rejected(Outcome.MALFORMED, "no-answer")


def test_proposals_for_a_vote_are_questions_alone() -> None:
    pack, terse = MathWordPack(verify="majority"), MathWordPack(verify="majority", terse=True)
    question = "Ann has 16 eggs and eats 3. How many are left?"
    for one, response in (
        (pack, wrap(block("question", question), Tags.THINK_ANSWER, "")),
        (pack, wrap(f"{block('answer', '13')}\n{block('question', question)}", Tags.THINK_ANSWER, "")),
        (terse, f"so\n{question}|"),
        (terse, f"{question}|16-3"),
    ):
        found = asyncio.run(one.accept("problem", response, []))
        assert found == Accepted(TaskRecord("problem", {"question": question}))
        assert question in content(one, found.record)
        assert one.task_key(found.record) == one.task_key(problem(question, "13"))
        assert asyncio.run(one.accept("problem", one.gold_proposal(found.record), [])) == found
    for one, response, reason in (
        (pack, wrap("How many?", Tags.THINK_ANSWER, ""), "no-question"),
        (pack, wrap(f"{block('question', '1')}\n" * 2, Tags.THINK_ANSWER, ""), "several-questions"),
        (terse, question, "no-question"),
        (terse, "|", "no-question"),
    ):
        found = asyncio.run(one.accept("problem", response, []))
        assert found == Rejected(Outcome.MALFORMED, reason)


def test_the_same_question_is_the_same_task() -> None:
    pack = MathWordPack()
    assert pack.task_key(RECORD) == pack.task_key(
        problem("ann has 16 eggs and  eats 3. How many are LEFT?", "7")
    )
    assert pack.task_key(RECORD) != pack.task_key(
        problem("Ann has 17 eggs and eats 3. How many are left?", "13")
    )
    assert pack.answer_key(RECORD) == "13"


def test_references_are_as_many_as_asked_for() -> None:
    assert MathWordPack().kinds[0].num_references == 3
    assert MathWordPack(num_references=5, terse=True).kinds[0].num_references == 1
    pack = MathWordPack(num_references=0)
    assert pack.kinds[0].num_references == 0
    assert "Example" not in pack.propose_prompt("problem", [], random.Random(0))[0]["content"]


@pytest.mark.parametrize(
    ("knobs", "message"),
    [
        ({"verify": "vote"}, "pack.verify must be one of program, claimed, majority; got 'vote'"),
        ({"extraction": "boxed"}, "pack.extraction must be one of tags, strict, flexible"),
        ({"tags": "xml"}, "pack.tags must be one of think_answer, answer, none"),
        ({"terse": 1}, "pack.terse must be true or false"),
        ({"num_references": -1}, "pack.num_references must be an integer from 0 to 64"),
        ({"time_limit_s": 0}, "pack.time_limit_s must be a number from 0.05 to 60"),
        ({"memory_mb": 1}, "pack.memory_mb must be an integer from 96"),
        ({"sandbox": {"colour": 1}}, "pack.sandbox.colour is no key"),
    ],
)
def test_knobs_are_checked(knobs: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MathWordPack(**knobs)


@pytest.mark.parametrize("verify", ["claimed", "majority"])
def test_packs_without_programs_store_what_they_would_accept(verify: str) -> None:
    pack = pickle.loads(pickle.dumps(MathWordPack(verify=verify)))
    rng = random.Random(0)
    for record in [*pack.seeds(), pack.sample_record("problem", rng)]:
        assert set(record.payload) == {"question", "answer"}
        found = asyncio.run(pack.accept("problem", pack.gold_proposal(record), []))
        if pack.resolves:
            assert isinstance(found, Accepted)
            found = asyncio.run(pack.resolve(found.record, [pack.gold_response(record)] * 2))
        assert found == Accepted(record)


@pytest.mark.parametrize("program", ["sum([x for x in range(3)]) + 4", "7 if not 0 else 1", "(16 - 3) * 2"])
def test_terse_programs_are_shown_so_that_they_still_run(program: str) -> None:
    pack = MathWordPack(terse=True)
    proposal = f"There are 3, 4, 7, 16 of them. How many?|{program}"
    found = asyncio.run(pack.accept("problem", proposal, []))
    assert isinstance(found, Accepted)
    assert asyncio.run(pack.accept("problem", pack.gold_proposal(found.record), [])) == found


@pytest.mark.parametrize("program", ["def f(): x=7; return x", "x=7", "7;7"])
def test_a_terse_program_is_one_expression(program: str) -> None:
    found = asyncio.run(MathWordPack(terse=True).accept("problem", f"There are 7. How many?|{program}", []))
    assert found == Rejected(Outcome.MALFORMED, "no-program")
