"""The terse form: its lines, its rules, and that its steps are true."""

from __future__ import annotations

import asyncio
import random
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.contract import Accepted, Outcome, Rejected, TaskRecord, Verdict
from tasks.execution import Runner
from tasks.python_code import PythonCodePack
from tasks.python_code.records import ERROR, INDUCTION, KINDS, Example, Task, to_record
from tasks.python_code.terse_programs import (
    DOMAINS,
    Line,
    Rearrangement,
    Summary,
    compact,
    draw_record,
    parse_rule,
    to_program,
)
from tasks.sandbox import Limits, SandboxConfig, equal, parse_literal

PACK = PythonCodePack(terse=True, kinds=list(KINDS))
LONGEST = 80


def record(kind: str, expression: str, argument: str, output: str) -> TaskRecord:
    """A deduction or an abduction task."""
    return to_record(kind, to_program(expression), [Example(argument, output)])


def induction(expression: str, *pairs: tuple[str, str]) -> TaskRecord:
    """An induction task."""
    examples = [Example(*pair) for pair in pairs]
    return to_record(INDUCTION, to_program(expression), examples, "a rule")


def accept(kind: str, response: str) -> Accepted | Rejected:
    """What the pack says of a proposal."""
    return asyncio.run(PACK.accept(kind, response, []))


def judge(task: TaskRecord, response: str) -> Verdict:
    """What the pack says of an answer."""
    return asyncio.run(PACK.judge(task, response))


LINES = induction("x*2+3", ("1", "5"), ("2", "7"), ("5", "13"), ("0", "3"), ("4", "11"), ("7", "17"))


@pytest.mark.parametrize(
    ("task", "proposal", "question", "answer", "worked"),
    [
        (
            record("deduction", "x*2+3", "4", "11"),
            "f(x)=x*2+3;f(4)",
            "f(x)=x*2+3;f(4)",
            ":11",
            "(4*2=8 8+3=11):11",
        ),
        (record("deduction", "x-3", "12", "9"), "f(x)=x-3;f(12)", "f(x)=x-3;f(12)", ":9", "(12-3=9):9"),
        (
            record("deduction", "sum(x)", "[3, 1, 2]", "6"),
            "f(x)=sum(x);f([3,1,2])",
            "f(x)=sum(x);f([3,1,2])",
            ":6",
            "(3+1=4 4+2=6):6",
        ),
        (
            record("deduction", "x[::-1]+'c'", "'ab'", "'bac'"),
            "f(x)=x[::-1]+'c';f('ab')",
            "f(x)=x[::-1]+'c';f('ab')",
            ":'bac'",
            "('ba'):'bac'",
        ),
        (
            record("abduction", "x*2+3", "4", "11"),
            "f(x)=x*2+3;x=4",
            "f(x)=x*2+3;f(?)=11",
            ":4",
            "(11-3=8 8/2=4):4",
        ),
        (
            record("abduction", "x[1:]+[4]", "[7, 1]", "[1, 4]"),
            "f(x)=x[1:]+[4];x=[7,1]",
            "f(x)=x[1:]+[4];f(?)=[1,4]",
            ":[0,1]",
            "([1]):[0,1]",
        ),
        (
            record("abduction", "len(x)", "[7, 1]", "2"),
            "f(x)=len(x);x=[7,1]",
            "f(x)=len(x);f(?)=2",
            ":[0,0]",
            ":[0,0]",
        ),
        (record("abduction", "x%5", "7", "2"), "f(x)=x%5;x=7", "f(x)=x%5;f(?)=2", ":7", ":7"),
        (LINES, "f(x)=x*2+3;1;2;5;0;4;7", "1>5 2>7 5>13", ":x*2+3", "(7-5=2 1*2=2 5-2=3):x*2+3"),
    ],
)
def test_lines(task: TaskRecord, proposal: str, question: str, answer: str, worked: str) -> None:
    assert PACK.gold_proposal(task) == proposal
    assert PACK.solve_prompt(task) == [{"role": "user", "content": question}]
    assert PACK.gold_response(task) == answer
    assert PACK.worked_response(task) == worked
    for response in (answer, worked):
        assert judge(task, response).outcome is Outcome.CORRECT
    assert accept(task.kind, proposal) == Accepted(task)


def test_a_proposer_sees_one_reference() -> None:
    task = record("deduction", "x+1", "2", "3")
    rng = random.Random(0)
    assert PACK.propose_prompt("deduction", [task], rng)[0]["content"] == "new\nf(x)=x+1;f(2)"
    assert PACK.propose_prompt("abduction", [], rng)[0]["content"] == "new\nf(x)=x;x='Hello world'"
    assert {(spec.reference_kinds, spec.num_references) for spec in PACK.kinds} == {((k,), 1) for k in KINDS}
    assert {spec.num_references for spec in PythonCodePack(terse=True, num_references=0).kinds} == {0}


@pytest.mark.parametrize(
    ("kind", "response", "reason"),
    [
        ("deduction", "x*2+3;f(4)", "no-program"),
        ("deduction", "f(x)=", "no-program"),
        ("deduction", "f(x)=y=3;f(4)", "no-program"),
        ("deduction", "f(x)=import os;f(4)", "no-program"),
        ("deduction", "f(x)=x", "number-of-inputs"),
        ("deduction", "f(x)=x;f(1);f(2)", "number-of-inputs"),
        ("deduction", "f(x)=x;4", "no-input"),
        ("deduction", "f(x)=x;g(4)", "no-input"),
        ("deduction", "f(x)=x;x=4", "no-input"),
        ("deduction", "f(x)=x;f()", "no-input"),
        ("deduction", "f(x)=x;f(y)", "input-not-a-literal"),
        ("deduction", "f(x)=x;f(1,y=2)", "input-not-a-literal"),
        ("abduction", "f(x)=x;f(4)", "no-input"),
        ("abduction", "f(x)=x;y=4", "no-input"),
        ("abduction", "f(x)=x;x=y=4", "no-input"),
        ("induction", "f(x)=x;1;2;3;4;5", "number-of-inputs"),
        ("induction", "f(x)=x;1;2;3;4;5;x=6", "no-input"),
        ("error", "f(x)=x;f(4)", "no-input"),
        ("error", "f(x)=x;raise", "no-input"),
        ("error", "f(x)=1/x;raise f(0) from None", "no-input"),
        ("deduction", "f(x)=x*2;f(4", "syntax-error"),
        ("deduction", "f(x)=x;f('\0')", "nul-character"),
    ],
)
def test_other_lines_are_malformed(kind: str, response: str, reason: str) -> None:
    assert accept(kind, response) == Rejected(Outcome.MALFORMED, reason)


@pytest.mark.parametrize(
    ("response", "reason"),
    [
        ("f(x)=open(x);f('a')", "uses-open"),
        ("f(x)=x.__class__;f(1)", "dunder-attribute"),
        ("f(x)=1/x;f(0)", "raises"),
        ("f(x)=(lambda: x);f(0)", "output-not-a-literal"),
        ("f(x)=hash(x);f('a')", "not-deterministic"),
        ("f(x)=x;f(1,2)", "raises"),
    ],
)
def test_terse_programs_are_checked_alike(response: str, reason: str) -> None:
    assert accept("deduction", response) == Rejected(Outcome.WRONG, reason)


def test_any_expression_is_a_program() -> None:
    found = accept("deduction", "well\nf(x)=[y for y in x if y!=';'];f('a;b')\n")
    assert isinstance(found, Accepted)
    assert PACK.solve_prompt(found.record)[0]["content"] == "f(x)=[y for y in x if y!=';'];f('a;b')"
    assert PACK.gold_response(found.record) == PACK.worked_response(found.record) == ":['a','b']"


@pytest.mark.parametrize(
    ("response", "reason"),
    [
        ("11", "no-answer"),
        (":", "no-answer"),
        ("(4*2=8)", "no-answer"),
        ("(4*2=8) :11", "no-answer"),
        ("=11", "no-answer"),
        (":x", "answer-not-a-literal"),
        (":12", "wrong-output"),
    ],
)
def test_answers_start_with_a_colon(response: str, reason: str) -> None:
    assert judge(record("deduction", "x*2+3", "4", "11"), response).reason == reason


def test_induction_answers_are_expressions() -> None:
    assert judge(LINES, ":f(x)=3+x+x").outcome is Outcome.CORRECT
    assert judge(LINES, "(x[1:]):x*2+3").outcome is Outcome.CORRECT
    assert judge(LINES, ":x*2").reason == "wrong-program"
    assert judge(LINES, ":x x").reason == "syntax-error"
    assert judge(LINES, ":open(x)").reason == "uses-open"


def test_drawn_texts_are_short() -> None:
    rng = random.Random(5)
    for spec in PACK.kinds:
        for _ in range(300):
            task = PACK.sample_record(spec.name, rng)
            shown = [
                PACK.gold_proposal(task),
                PACK.solve_prompt(task)[0]["content"],
                PACK.worked_response(task),
            ]
            assert max(map(len, shown)) <= LONGEST, shown


def test_steps_of_numbers_are_true_equations() -> None:
    rng = random.Random(6)
    for kind in ("deduction", "abduction", "induction"):
        for _ in range(200):
            worked = PACK.worked_response(draw_record(kind, "numbers", rng))
            equations = re.findall(r"(-?\d+)([-+*/])(-?\d+)=(-?\d+)", worked)
            assert equations
            for a, op, b, c in equations:
                value = {"+": int(a) + int(b), "-": int(a) - int(b), "*": int(a) * int(b)}.get(op)
                assert (int(c) * int(b) == int(a)) if op == "/" else value == int(c), worked


def test_rules_agree_with_python() -> None:
    """Outputs of drawn tasks come from our own arithmetic; the sandbox says that Python gives the same."""
    rng = random.Random(7)
    runner = Runner(SandboxConfig(), Limits())
    for domain in DOMAINS:
        for _ in range(60):
            task = draw_record(INDUCTION, domain, rng)
            examples = Task.read(task).examples
            calls = runner.run(str(task.payload["program"]), [each.input for each in examples])
            assert [call.literal for call in calls] == [each.output for each in examples]
    for _ in range(30):
        task = draw_record(ERROR, "numbers", rng)
        assert accept(ERROR, PACK.gold_proposal(task)) == Accepted(task)


ITEMS = st.sampled_from(["", "'c'"]) | st.sampled_from(["", "[4]"])
PARTS = st.sampled_from(["", "[::-1]", "[1:]", "[:-1]"])
RULES = (
    st.builds(Line, st.integers(1, 20), st.integers(-20, 20))
    | st.builds(Rearrangement, st.booleans(), PARTS, ITEMS, ITEMS)
    | st.builds(Summary, st.sampled_from(["sum", "max", "min", "len"]))
)
VALUES = (
    st.integers(-99, 99)
    | st.text("abc'\\", max_size=4)
    | st.lists(st.integers(-9, 9) | st.booleans(), max_size=4)
)


@given(rule=RULES, value=VALUES)
def test_rules_read_back_and_invert(rule: Line | Rearrangement | Summary, value: object) -> None:
    read = parse_rule(rule.text)
    assert read is not None and read.text == rule.text
    output = rule.apply(value)
    if output is None:
        assert rule.steps(value) == []
        return
    found = rule.invert(output)
    if found is not None:
        assert rule.apply(found) == output
        rule.steps_back(output)
    assert equal(parse_literal(compact(output)), output, strict=True)


def test_unreadable_rules_are_none() -> None:
    for text in ("", "y", "x*", "x**2", "x+-1", "x+x", "sorted(x,x)", "x*12345", "sum(y)", "x\n"):
        assert parse_rule(text) is None
