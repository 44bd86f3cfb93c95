"""The arithmetic pack's grammar, string by string, and its checks against plain recomputation."""

from __future__ import annotations

import asyncio
import operator
import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.arithmetic import ArithmeticPack
from tasks.arithmetic.abduction import pairs
from tasks.arithmetic.kind import OPERATIONS
from tasks.check.conformance import CHECKS, Check, check_imports
from tasks.contract import Accepted, Json, Outcome, TaskRecord
from tasks.kit.payload import read_int
from tasks.registry import load_pack

PACK = ArithmeticPack(deduction_max=99, abduction_max=199)
ARROW = "\N{RIGHTWARDS ARROW}"

PROPOSALS = [
    ("deduction", "Calculate: 12 + 5 =", "correct", ""),
    ("deduction", "  Calculate:12+5=  \n", "correct", ""),
    ("deduction", "Here is one:\nCalculate: 99 - 0 =\n\n", "correct", ""),
    ("deduction", "Calculate: 1 + 1 =\nCalculate: 12 * 12 =", "correct", ""),
    ("deduction", "Calculate: 007 + 5 =", "correct", ""),
    ("deduction", "Calculate: 12 + 5", "malformed", "no-task"),
    ("deduction", "Calculate: 12 + 5 = 17", "malformed", "no-task"),
    ("deduction", "Calculate: 12 / 4 =", "malformed", "no-task"),
    ("deduction", "Calculate: 1 + 2 + 3 =", "malformed", "no-task"),
    ("deduction", "Calculate: 12 + 5 =\nGood luck!", "malformed", "no-task"),
    ("deduction", "calculate: 12 + 5 =", "malformed", "no-task"),
    ("deduction", "12 + 5 =", "correct", ""),
    ("induction", "a+b+1: (1,2) (4,5) (7,1) (3,6)", "correct", ""),
    ("induction", "Pattern: (a-b)^2: (1,2) (4,6) (7,1) (3,6)", "correct", ""),
    ("induction", "a+b+1: 1,2 4,5 7,1 3,6", "correct", ""),
    ("induction", "a+b+1: 1,2 4,57,1 3,6", "malformed", "no-task"),
    ("induction", "a+b+1: 1,2 (4,5) 7,1 3,6", "malformed", "no-task"),
    ("induction", "a+b+2: (1,2) (4,5) (7,1) (3,6)", "malformed", "no-task"),
    ("induction", "a+b: (1,2) (4,5)", "malformed", "number-of-examples"),
    ("induction", "a+b: (1,2) (4,5) (7,1) (3,60)", "malformed", "operand-out-of-range"),
    ("induction", "a*b: (2,2) (0,0) (2,2) (3,6)", "wrong", "ambiguous-rule"),
    ("induction", "a*b: (2,3) (4,5) (3,2) (3,6)", "wrong", "repeated-example"),
    ("deduction", "Calculate: -1 + 5 =", "malformed", "no-task"),
    ("deduction", "Calculate: 1.5 + 5 =", "malformed", "no-task"),
    ("deduction", "Calculate: 100 + 5 =", "malformed", "operand-out-of-range"),
    ("deduction", "Calculate: 13 * 1 =", "malformed", "operand-out-of-range"),
    ("deduction", "Find: ? + ? = 30", "malformed", "no-task"),
    ("abduction", "Find: ? + ? = 30", "correct", ""),
    ("abduction", "Find:?-?=-199", "correct", ""),
    ("abduction", "Find: ? * ? = 0", "correct", ""),
    ("abduction", "Find: ? + ? = 398", "correct", ""),
    ("abduction", "Find: ? + ? = 399", "malformed", "result-out-of-range"),
    ("abduction", "Find: ? + ? = -1", "malformed", "result-out-of-range"),
    ("abduction", "Find: ? - ? = 200", "malformed", "result-out-of-range"),
    ("abduction", "Find: ? * ? = 901", "malformed", "result-out-of-range"),
    ("abduction", "Find: ? * ? = 31", "wrong", "no-solution"),
    ("abduction", "Find: 3 + ? = 30", "malformed", "no-task"),
    ("abduction", "Find: ? + ? = ?", "malformed", "no-task"),
    ("abduction", "Calculate: 12 + 5 =", "malformed", "no-task"),
    ("induction", "Pattern: (1,2)->3, (4,5)->9, (7,1)->8, (3,6)->9", "correct", ""),
    ("induction", f"Pattern: (1, 2){ARROW}3, (4, 5) {ARROW} 9,(7,1){ARROW}8", "correct", ""),
    ("induction", "Pattern: (1,2)->3, (4,5)->9, (7,1)->8, (0,1)->1, (0,2)->2, (0,3)->3", "correct", ""),
    ("induction", "Pattern: (1,2)->-1, (4,5)->-1, (7,1)->6, (3,6)->-3", "correct", ""),
    ("induction", "Pattern: (1,2)->3, (4,5)->9", "malformed", "number-of-examples"),
    ("induction", "Pattern: " + ", ".join(f"({n},{n + 1})->{2 * n + 1}" for n in range(7)), "malformed",
     "number-of-examples"),
    ("induction", "Pattern: (1,2)->3, (4,5)->9, (7,1)->8, (3,6)->?", "malformed", "no-task"),
    ("induction", "Pattern: (1,2)->3 (4,5)->9 (7,1)->8", "malformed", "no-task"),
    ("induction", "Pattern: (1,2)->3, (4,5)->9, (7,1)->8,", "malformed", "no-task"),
    ("induction", "Pattern: (1,2)=3, (4,5)=9, (7,1)=8", "malformed", "no-task"),
    ("induction", "Pattern: (1,2)->3, (4,5)->9, (7,10)->17", "malformed", "operand-out-of-range"),
    ("induction", "Pattern: (1,2)->3, (4,5)->9, (7,1)->9", "wrong", "no-rule"),
    ("induction", "Pattern: (1,2)->3, (4,5)->9, (7,1)->8, (3,6)->8", "wrong", "no-rule"),
    ("induction", "Pattern: (2,2)->4, (0,0)->0, (7,1)->8", "wrong", "ambiguous-rule"),
    ("induction", "Pattern: (1,0)->1, (2,1)->1, (7,6)->1, (3,2)->1", "wrong", "ambiguous-rule"),
    ("induction", "Pattern: (1,2)->3, (4,5)->9, (7,1)->8, (1,2)->3", "wrong", "repeated-example"),
    ("induction", "Pattern: (1,2)->3, (4,5)->9, (7,1)->8, (2,1)->3", "wrong", "repeated-example"),
    ("induction", "Pattern: (1,2)->-1, (4,5)->-1, (7,1)->6, (2,1)->1", "correct", ""),
]  # fmt: skip

DEDUCTION = TaskRecord("deduction", {"a": 12, "op": "-", "b": 15})
ABDUCTION = TaskRecord("abduction", {"op": "+", "result": 30, "max": 199})
DIFFERENCE = TaskRecord("abduction", {"op": "-", "result": 3, "max": 199})
INDUCTION = TaskRecord("induction", {"rule": "addition", "shown": [[1, 2], [4, 5], [7, 1]], "query": [3, 6]})

ANSWERS = [
    (DEDUCTION, "-3", "correct", ""),
    (DEDUCTION, " -3.\n", "correct", ""),
    (DEDUCTION, "12 - 15 = -3", "correct", ""),
    (DEDUCTION, "I borrow.\nAnswer: -3", "correct", ""),
    (DEDUCTION, "-03", "correct", ""),
    (DEDUCTION, "3", "wrong", "wrong-value"),
    (DEDUCTION, "-3\n3", "wrong", "wrong-value"),
    (DEDUCTION, "- 3", "malformed", "no-answer"),
    (DEDUCTION, "-3.0", "correct", ""),
    (DEDUCTION, "12 - 15 =", "malformed", "no-answer"),
    (DEDUCTION, "12:15", "malformed", "no-answer"),
    (DEDUCTION, "12 \u2212 15 = \u22123", "correct", ""),
    (ABDUCTION, "15 15", "correct", ""),
    (ABDUCTION, "0, 30", "correct", ""),
    (ABDUCTION, "30,0", "correct", ""),
    (ABDUCTION, "12 + 18", "correct", ""),
    (ABDUCTION, "Find: 12+18 = 30.", "correct", ""),
    (ABDUCTION, "15 16", "wrong", "wrong-value"),
    (ABDUCTION, "12 + 18 = 31", "malformed", "other-task"),
    (ABDUCTION, "40 - 10", "malformed", "other-task"),
    (ABDUCTION, "200 3", "malformed", "operand-out-of-range"),
    (ABDUCTION, "-10 40", "malformed", "no-answer"),
    (ABDUCTION, "30", "malformed", "no-answer"),
    (ABDUCTION, "10 10 10", "malformed", "no-answer"),
    (ABDUCTION, "? + ? = 30, so 0", "malformed", "no-answer"),
    (ABDUCTION, "a + b = 30, 0", "malformed", "no-answer"),
    (ABDUCTION, "5 + 10 + 15 = 30", "malformed", "no-answer"),
    (ABDUCTION, "15 + 15 = 30.5", "malformed", "no-answer"),
    (ABDUCTION, "15 + 15 million", "malformed", "operand-out-of-range"),
    (ABDUCTION, "15 or 15", "malformed", "no-answer"),
    (ABDUCTION, "10 or 20", "malformed", "no-answer"),
    (ABDUCTION, "10 20 or 11 19", "malformed", "no-answer"),
    (ABDUCTION, "10 20 (10 + 21 = 31)", "malformed", "other-task"),
    (ABDUCTION, "10 20 (11 + 19 = 30)", "malformed", "other-task"),
    (ABDUCTION, "10 times 20", "malformed", "other-task"),
    (ABDUCTION, "-10 40", "malformed", "no-answer"),
    (ABDUCTION, "minus 10 and 40", "malformed", "no-answer"),
    (DIFFERENCE, "5 minus 2", "correct", ""),
    (ABDUCTION, "15 15 = 31", "malformed", "other-task"),
    (ABDUCTION, "\u201310 40", "malformed", "no-answer"),
    (ABDUCTION, "10\u201340", "malformed", "other-task"),
    (ABDUCTION, "10 \u00d7 3 = 30", "malformed", "other-task"),
    (DIFFERENCE, "5 \u2212 2 = 3", "correct", ""),
    (DIFFERENCE, "5 2", "correct", ""),
    (DIFFERENCE, "5 - 2 = 3", "correct", ""),
    (DIFFERENCE, "2 5", "wrong", "wrong-value"),
    (INDUCTION, "9", "correct", ""),
    (INDUCTION, "(3,6)->9", "malformed", "no-answer"),
    (INDUCTION, "10", "wrong", "wrong-value"),
    (INDUCTION, "(1+2=3 1-2=-1 a+b 3+6):9", "correct", ""),
    (INDUCTION, "(1+2=3 1-2=-1 a+b 3+6):8", "wrong", "wrong-value"),
]

PRODUCT = TaskRecord("deduction", {"a": 103, "op": "*", "b": 102})  # 10506

# What an instruct model writes for one integer, and what it is read as
WRITTEN = {
    "10506": "correct", "10,506": "correct", "10506.": "correct", "**10506**": "correct",
    "$10,506$": "correct", "= 10506": "correct", r"\boxed{10506}": "correct", r"\(10506\)": "correct",
    r"$\boxed{10,506}$.": "correct", "**Answer:** 10506": "correct", "**103 * 102 = 10506**": "correct",
    "The answer is 10506.": "correct", "103 * 102 is **10506**.": "correct",
    r"\[ 103 \times 102 = 10,506 \]": "correct", "\\[\n103 \\times 102 = 10506\n\\]": "correct",
    "**Step 2:** 10300 + 206 = **10,506**": "correct", "Answer: \\boxed{10506} units": "correct",
    "so it is -10506": "wrong", "**10507**": "wrong", "3 ways, **10,056**": "wrong", "**10506**\n3": "wrong",
    "103 * 102 is 10506": "correct", "10506 or 10507": "malformed", "10,56": "malformed",
    "10506.0": "correct", "10506.5": "malformed", "103 * 102 =": "malformed",
    "103 * 102 = **?**": "malformed",
    "10506 = 103 * 102": "malformed", "10506%": "malformed", "1e4": "wrong", "10 506": "correct",
    "1.0506e4": "correct",
    "10 thousand": "wrong", "minus 10506": "wrong", "ten thousand": "malformed", "": "malformed",
    "**": "malformed", r"\boxed{10506, 3}": "malformed", r"\boxed{105": "malformed",
    "10506\n\\]\n\\]": "correct", "```\n10506\n```": "correct", "$$\n10506\n$$": "correct",
    "<answer>\n10506\n</answer>": "correct", "10506\n---": "correct", "not 10506": "malformed",
    "**10506** or **10507**": "malformed", "**10507** or **10506**": "malformed",
    r"10{,}506": "correct", r"10\,506": "correct", "10\u202f506": "correct",
    "**10506** (a product)": "correct",
    "Step 2: **10506** of 20000": "correct", "10506 kg": "correct", "10506kg": "correct",
    "-**10506**": "malformed", r"-\boxed{10506}": "malformed", "**10506** million": "malformed",
    r"\boxed{\sqrt{10506}}": "malformed", "2**10506": "malformed", "\u2013 10506": "malformed",
    "21012/2": "malformed",
    "Step 10506: done": "malformed",
}  # fmt: skip

# What an instruct model writes for two integers, 10 and 20
PAIRS = [
    "10 20", "**10 20**", r"\boxed{10, 20}", "(10, 20)", "10 and 20", "10, 20.", "`10 20`", "[10, 20]",
    "10,20",
    "**10** and **20**", r"$10$ and $20$", r"\( 10, 20 \)", r"\boxed{10 \quad 20}", r"10 \text{ and } 20",
    "a = 10, b = 20", "x=10 and y=20", "? = 10, ? = 20", "The answer is 10 and 20.", "**Answer: 10 20**",
    "So 10 + 20 = 30.", "**10 + 20 = 30**", r"\boxed{10 + 20 = 30}", "10 + 20 = **30**", "30 = 10 + 20",
    "? + ? = 30, so 10 and 20", "Find: ? + ? = 30: 10 20", "10; 20", "10\u00a020", '"10 20"', "10 & 20",
    "**10** + **20**", "$10$ + $20$", "10 plus 20 equals 30", "10 + 20 == 30", "10.0 20.0",
    "{'a': 10, 'b': 20}", "1st: 10, 2nd: 20", "Number 1: 10, Number 2: 20", "x1 = 10, x2 = 20",
    "10\u300120", "\N{FULLWIDTH DIGIT ONE}0 20", r"\boxed{10} \boxed{20}", "10 and 20 (10 + 20 = 30)",
    "The two integers are 10 and 20, since 10 + 20 = 30.", "10 + 20 = 30, so 10 and 20",
    "Step 2: 10 + 20 = 30",
    "20 10 because 10+20=30", "10 20\n```",
]  # fmt: skip

# Terse question, bare answer, answer behind its steps
TRANSCRIPTS = [
    ("deduction", {"a": 27, "op": "+", "b": 6}, "27 + 6 =", ":33", "(7+6=13 2+0+1=3):33"),
    ("deduction", {"a": 27, "op": "-", "b": 9}, "27 - 9 =", ":18", "(17-9=8 2-0-1=1):18"),
    ("deduction", {"a": 12, "op": "-", "b": 35}, "12 - 35 =", ":-23", "(5-2=3 3-1-0=2):-23"),
    ("deduction", {"a": 7, "op": "*", "b": 12}, "7 * 12 =", ":84", ":84"),
    ("abduction", {"op": "+", "result": 30, "max": 299, "drawn_from": [4, 26]}, "? + ? = 30", ":4 26",
     "(0+30=30):0 30"),
    ("abduction", {"op": "-", "result": -3, "max": 299}, "? - ? = -3", ":0 3", "(0-3=-3):0 3"),
    ("induction", {"rule": "difference_squared", "shown": [[5, 2], [1, 3], [6, 1]], "query": [4, 8]},
     "5,2>9 1,3>4 6,1>25 4,8>", ":16", "(5+2=7 5-2=3 (a-b)^2 4-8=-4):16"),
    ("induction", {"rule": "sum_plus_one", "shown": [[1, 2], [4, 5], [7, 1]], "query": [3, 6]},
     "1,2>4 4,5>10 7,1>9 3,6>", ":10", "(1+2=3 1-2=-1 a+b+1 3+6=9):10"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "payload", "question", "bare", "worked"), TRANSCRIPTS)
def test_terse_question_and_both_ways_to_answer(
    kind: str, payload: dict[str, Json], question: str, bare: str, worked: str
) -> None:
    pack = ArithmeticPack(terse=True)
    record = TaskRecord(kind, payload)
    assert pack.solve_prompt(record)[0]["content"] == question
    assert pack.gold_response(record) == bare
    assert pack.worked_response(record) == worked


@pytest.mark.parametrize(("kind", "response", "outcome", "reason"), PROPOSALS)
def test_proposals(kind: str, response: str, outcome: str, reason: str) -> None:
    found = asyncio.run(PACK.accept(kind, response, []))
    assert isinstance(found, Accepted) == (outcome == "correct")
    if not isinstance(found, Accepted):
        assert (found.outcome, found.reason) == (outcome, reason)


@pytest.mark.parametrize(("record", "response", "outcome", "reason"), ANSWERS)
def test_answers(record: TaskRecord, response: str, outcome: str, reason: str) -> None:
    verdict = asyncio.run(PACK.judge(record, response))
    assert (verdict.outcome, verdict.reason) == (outcome, reason)


@pytest.mark.parametrize(("response", "outcome"), WRITTEN.items())
def test_one_integer_as_an_instruct_model_writes_it(response: str, outcome: str) -> None:
    assert asyncio.run(PACK.judge(PRODUCT, response)).outcome == outcome


def test_two_integers_are_read_as_freely_as_one() -> None:
    found = {text: asyncio.run(PACK.judge(ABDUCTION, text)).outcome for text in PAIRS}
    assert [text for text, outcome in found.items() if outcome is not Outcome.CORRECT] == []


def test_terse_answers_are_read_as_before() -> None:
    # A bare integer, and nothing of what an instruct model would put around it.
    pack = ArithmeticPack(terse=True)
    read = [
        text for text in WRITTEN if asyncio.run(pack.judge(PRODUCT, text)).outcome is not Outcome.MALFORMED
    ]
    assert read == ["10506", "10506.", "= 10506", "**10506**\n3"]


@pytest.mark.parametrize(
    ("record", "response", "measures"),
    [
        (DEDUCTION, "-3", {"distance": 0.0}),
        (DEDUCTION, "3", {"distance": 6.0}),  # |3 - (-3)|
        (DEDUCTION, "three", {}),
        (INDUCTION, "10", {"distance": 1.0}),  # |10 - 9|
        (ABDUCTION, "15 14", {}),
        (ABDUCTION, "15 15", {}),
    ],
)
def test_distance_of_an_answer_that_is_a_number(
    record: TaskRecord, response: str, measures: dict[str, float]
) -> None:
    assert asyncio.run(PACK.judge(record, response)).measures == measures


@pytest.mark.parametrize(
    ("kind", "proposal", "expected"),
    [
        ("deduction", "Calculate: 4 + 9 =", 0.0),
        ("deduction", "Calculate: 5 + 90 =", 1.0),
        ("deduction", "Calculate: 15 - 0 =", 1.0),
        ("deduction", "Calculate: 16 - 9 =", 0.0),
        ("abduction", "Find: ? + ? = 9", 0.0),
        ("abduction", "Find: ? + ? = 10", 1.0),
        ("abduction", "Find: ? * ? = 30", 1.0),
        ("abduction", "Find: ? + ? = 31", 0.0),
        ("induction", "Pattern: (10,12)->22, (14,5)->19, (7,11)->18", 0.0),
    ],
)
def test_mid_range_is_the_stretch_that_the_bonus_is_for(kind: str, proposal: str, expected: float) -> None:
    found = asyncio.run(ArithmeticPack(deduction_max=99, induction_max=20).accept(kind, proposal, []))
    assert isinstance(found, Accepted)
    assert PACK.features(found.record, [], ["mid-range"]) == {"mid-range": expected}


@pytest.mark.parametrize(
    ("kind", "proposal", "difficulty"),
    [
        ("deduction", "Calculate: 5 + 5 =", "easy"),
        ("deduction", "Calculate: 0 - 5 =", "easy"),
        ("deduction", "Calculate: 1 * 1 =", "medium"),
        ("deduction", "Calculate: 6 + 0 =", "medium"),
        ("deduction", "Calculate: 3 - 20 =", "medium"),
        ("deduction", "Calculate: 10 * 2 =", "medium"),
        ("deduction", "Calculate: 21 + 0 =", "hard"),
        ("deduction", "Calculate: 11 * 1 =", "hard"),
        # 5 + 5; 5 + 6; 20 + 20; 20 + 21
        ("abduction", "Find: ? + ? = 10", "easy"),
        ("abduction", "Find: ? + ? = 11", "medium"),
        ("abduction", "Find: ? + ? = 40", "medium"),
        ("abduction", "Find: ? + ? = 41", "hard"),
        # 5 - 0; 0 - 21
        ("abduction", "Find: ? - ? = 5", "easy"),
        ("abduction", "Find: ? - ? = -21", "hard"),
        # 0 * 0; 10 * 10 and not 5 * 20; 11 * 10
        ("abduction", "Find: ? * ? = 0", "medium"),
        ("abduction", "Find: ? * ? = 100", "medium"),
        ("abduction", "Find: ? * ? = 110", "hard"),
        ("induction", "a-b: (1,2) (4,5) (4,1) (3,5)", "easy"),
        ("induction", "a-b: (1,2) (4,5) (4,1) (3,6)", "medium"),
        ("induction", "(a-b)^2: (1,2) (4,0) (5,1) (3,5)", "easy"),
        ("induction", "a*b: (1,2) (4,5) (4,1) (3,5)", "medium"),
    ],
)
def test_difficulty_goes_by_the_operands(kind: str, proposal: str, difficulty: str) -> None:
    found = asyncio.run(PACK.accept(kind, proposal, []))
    assert isinstance(found, Accepted)
    assert PACK.difficulty(found.record) == difficulty


@pytest.mark.parametrize(
    ("kind", "proposal", "difficulty"),
    [
        ("deduction", "Calculate: 9 - 0 =", "size-0-9"),
        ("deduction", "Calculate: 0 * 10 =", "size-10-49"),
        ("deduction", "Calculate: 49 + 49 =", "size-10-49"),
        ("deduction", "Calculate: 3 * 50 =", "size-50-99"),
        ("deduction", "Calculate: 99 - 100 =", "size-100-999"),
        ("deduction", "Calculate: 1000 / 2 =", "size-1000-up"),
        # 9 + 9; 9 + 10
        ("abduction", "Find: ? + ? = 18", "size-0-9"),
        ("abduction", "Find: ? + ? = 19", "size-10-49"),
        ("induction", "a*b: (1,2) (4,5) (4,1) (3,9)", "size-0-9"),
    ],
)
def test_difficulty_can_go_by_sizes(kind: str, proposal: str, difficulty: str) -> None:
    pack = ArithmeticPack(
        difficulty="sizes", operations=list("+-*/"), deduction_max=9999, deduction_product_max=99
    )
    found = asyncio.run(pack.accept(kind, proposal, []))
    assert isinstance(found, Accepted)
    assert pack.difficulty(found.record) == difficulty


# Every proposal is tried, those outside of the bounds too.
@pytest.mark.parametrize(("minimum", "difficulty"), [(0, "bands"), (2, "bands"), (0, "sizes")])
def test_number_of_tasks_is_that_of_all_proposals(minimum: int, difficulty: str) -> None:
    pack = ArithmeticPack(
        difficulty=difficulty,
        operations=["+", "-", "*"] if minimum else ["+", "-", "*", "/"],
        deduction_min=minimum,
        deduction_max=25,
        deduction_product_max=minimum + 9,
        abduction_max=25,
        abduction_product_max=12,
    )
    proposals = {
        "deduction": [f"{a} {op} {b} =" for op in "+-*/" for a in range(27) for b in range(27)],
        "abduction": [f"? {op} ? = {result}" for op in "+-*" for result in range(-30, 200)],
    }
    for kind, texts in proposals.items():
        found = [asyncio.run(pack.accept(kind, text, [])) for text in texts]
        difficulties = {
            pack.task_key(one.record): pack.difficulty(one.record)
            for one in found
            if isinstance(one, Accepted)
        }
        assert pack.num_tasks(kind) == Counter(difficulties.values())
    assert pack.num_tasks("induction") == {}


def test_levels_are_the_difficulties_that_have_tasks() -> None:
    products = ArithmeticPack(operations=["*"], deduction_product_max=12, difficulty="bands")
    assert products.levels("deduction") == ("medium", "hard")
    pack = ArithmeticPack(difficulty="sizes", deduction_max=999, deduction_product_max=99)
    assert pack.levels("deduction") == ("size-0-9", "size-10-49", "size-50-99", "size-100-999")
    assert pack.levels("abduction") == pack.levels("induction") == ()
    with pytest.raises(ValueError, match=r"level must be one of size-0-9, .*; got 'easy'"):
        pack.sample_at("deduction", "easy", random.Random(0))


@pytest.mark.parametrize("minimum", [0, 30])
def test_task_of_a_level_is_drawn_evenly_by_operation_and_larger_operand(minimum: int) -> None:
    signs = ["+", "-", "*"] if minimum else ["+", "-", "*", "/"]
    pack = ArithmeticPack(
        difficulty="sizes",
        operations=signs,
        deduction_min=minimum,
        deduction_max=79,
        deduction_product_max=49,
    )
    rng = random.Random(0)
    for level, low, high in (("size-10-49", max(10, minimum), 49), ("size-50-99", 50, 79)):
        drawn = [pack.sample_at("deduction", level, rng).payload for _ in range(3000)]
        operands = [(read_int(payload, "a"), read_int(payload, "b")) for payload in drawn]
        assert min(map(min, operands)) == minimum
        larger = Counter(map(max, operands))
        assert set(larger) == set(range(low, high + 1))
        # 5 standard deviations of a binomial count
        mean = 3000 / (high - low + 1)
        assert all(abs(count - mean) < 5 * mean**0.5 for count in larger.values())
        by_sign = Counter(payload["op"] for payload in drawn)
        asked = [sign for sign in signs if sign != "*" or low < 50]
        assert set(by_sign) == set(asked)
        assert all(abs(count - 3000 / len(asked)) < 150 for count in by_sign.values())
        differences = [p for p, payload in zip(operands, drawn, strict=True) if payload["op"] == "-"]
        assert 0.4 < sum(a < b for a, b in differences) / len(differences) < 0.6


def test_number_of_tasks_is_not_worked_out_where_that_takes_long() -> None:
    assert ArithmeticPack(abduction_product_max=9999).num_tasks("abduction") == {}
    # 10,000 * 10,001 / 2 sums or products, and of differences as many as there are pairs.
    counts = ArithmeticPack(deduction_max=9999, deduction_product_max=9999).num_tasks("deduction")
    assert sum(counts.values()) == 2 * (10_000 * 10_001 // 2) + 10_000**2


def test_difficulty_is_the_tasks_own() -> None:
    # The same task, drawn from another pair, or with wider bounds.
    for extra in ({}, {"drawn_from": [0, 10]}, {"max": 299}):
        record = TaskRecord("abduction", {"op": "+", "result": 10, "max": 49} | extra)
        assert PACK.difficulty(record) == "easy"


def test_prompts_stay_as_they_are() -> None:
    """A change of wording changes every result."""
    rng = random.Random(0)
    prompts = [
        PACK.propose_prompt(kind, [], rng)[0]["content"] for kind in ("deduction", "abduction", "induction")
    ]
    assert prompts == [
        "Write one new task in the form of these. Numbers 0 to 99, with * 0 to 12.\nCalculate: 3 + 4 =",
        "Write one new task in the form of these, solvable with numbers 0 to 199, with * 0 to 30.\n"
        "Find: ? + ? = 7",
        "Write one new task in the form of this one. Numbers 0 to 9, rule a+b, a-b, a*b, a+b+1 or (a-b)^2.\n"
        "Pattern: (2,3)->5, (4,1)->5, (6,2)->8, (5,4)->9",
    ]
    assert [PACK.solve_prompt(record)[0]["content"] for record in (DEDUCTION, ABDUCTION, INDUCTION)] == [
        "Calculate: 12 - 15 =\nReply with one integer, in digits, on the last line.",
        "Find: ? + ? = 30\nReply with two integers, 0 to 199, on the last line.",
        "Pattern: (1,2)->3, (4,5)->9, (7,1)->8, (3,6)->?\n"
        "Reply with one integer, in digits, on the last line.",
    ]


BASE = ArithmeticPack(deduction_max=99, abduction_max=199, prompts="base")


def test_prompts_for_a_base_model_stop_where_it_goes_on() -> None:
    assert [BASE.solve_prompt(record)[0]["content"] for record in (DEDUCTION, ABDUCTION, INDUCTION)] == [
        "Calculate: 12 - 15 =",
        "Find: ? + ? = 30\nTwo integers, 0 to 199:",
        "Pattern: (1,2)->3, (4,5)->9, (7,1)->8, (3,6)->",
    ]
    for kind, word in {"deduction": "Calculate:", "abduction": "Find:", "induction": "Pattern:"}.items():
        prompt, told = (
            pack.propose_prompt(kind, [], random.Random(0))[0]["content"] for pack in (BASE, PACK)
        )
        _, example = told.split("\n")  # a text asks for nothing
        assert prompt == f"{example}\n{word}"


@pytest.mark.parametrize(
    ("record", "response", "outcome"),
    [
        (DEDUCTION, " -3\nCalculate: 7 + 8 = 15", "correct"),
        (DEDUCTION, "\n\n -3.", "correct"),
        (DEDUCTION, " 3\n-3", "wrong"),
        (DEDUCTION, " -3 and 7 + 8 = 15 and", "wrong"),
        (DEDUCTION, " -3" + " " * 5_000, "malformed"),
        (ABDUCTION, " 15 15\nFind: ? + ? = 7", "correct"),
        (INDUCTION, "9\nPattern: (1,1)->2", "correct"),
    ],
)
def test_first_line_of_a_base_model_is_its_answer(record: TaskRecord, response: str, outcome: str) -> None:
    assert asyncio.run(BASE.judge(record, response)).outcome == outcome


def test_first_line_of_a_base_model_is_its_proposal() -> None:
    found = asyncio.run(BASE.accept("deduction", " 7 + 8 =\nCalculate: 1 + 1 = 2", []))
    assert isinstance(found, Accepted)
    assert found.record.payload == {"a": 7, "op": "+", "b": 8}


@pytest.mark.parametrize("check", [check for check in CHECKS if check is not check_imports])
def test_pack_for_a_base_model_keeps_the_contract(check: Check) -> None:
    check(lambda: load_pack({"_target_": "arithmetic", "prompts": "base"}))


def test_terse_prompts_are_for_no_base_model() -> None:
    pack = ArithmeticPack(terse=True, prompts="base")
    assert pack.solve_prompt(DEDUCTION)[0]["content"] == "12 - 15 ="
    assert asyncio.run(pack.judge(DEDUCTION, "(5-2=3 1-1-0=0)\n:-3")).outcome is Outcome.CORRECT


def test_prompts_are_short_and_their_examples_parse() -> None:
    rng = random.Random(2)
    for spec in PACK.kinds:
        for _ in range(200):
            shown = [PACK.sample_record(spec.name, rng) for _ in range(spec.num_references)]
            prompt = PACK.propose_prompt(spec.name, shown, rng)[0]["content"]
            assert len(prompt.encode()) <= 160
            examples = prompt.splitlines()[1:]
            assert len(examples) == spec.num_references
            for example in examples:
                assert isinstance(asyncio.run(PACK.accept(spec.name, example, [])), Accepted)
            assert len(PACK.solve_prompt(shown[0])[0]["content"].encode()) <= 106


@pytest.mark.parametrize(
    ("kind", "one", "other", "same"),
    [
        ("deduction", "Calculate: 3 + 4 =", "Calculate: 4+3=", True),
        ("deduction", "Calculate: 3 * 4 =", "Calculate: 4 * 3 =", True),
        ("deduction", "Calculate: 3 - 4 =", "Calculate: 4 - 3 =", False),
        ("deduction", "Calculate: 3 + 4 =", "Calculate: 3 * 4 =", False),
        ("abduction", "Find: ? + ? = 7", "Find:?+?= 07", True),
        ("abduction", "Find: ? + ? = 7", "Find: ? - ? = 7", False),
        ("induction", "Pattern: (1,2)->3, (4,5)->9, (7,1)->8", "Pattern: (5,4)->9, (1,2)->3, (1,7)->8", True),
        (
            "induction",
            "Pattern: (1,2)->3, (4,5)->9, (7,1)->8",
            "Pattern: (7,1)->8, (4,5)->9, (1,2)->3",
            False,
        ),
        (
            "induction",
            "Pattern: (1,2)->-1, (4,9)->-5, (7,1)->6",
            "Pattern: (1,2)->-1, (9,4)->5, (7,1)->6",
            False,
        ),
    ],
)
def test_identity_of_tasks(kind: str, one: str, other: str, same: bool) -> None:
    keys = []
    for proposal in (one, other):
        found = asyncio.run(PACK.accept(kind, proposal, []))
        assert isinstance(found, Accepted)
        keys.append(PACK.task_key(found.record))
    assert (keys[0] == keys[1]) is same


def test_bounds_do_not_change_a_task() -> None:
    """Else another setting of the knobs would let self-play train on held-out tasks."""
    narrow = ArithmeticPack(abduction_max=50)
    for pack in (PACK, narrow):
        found = asyncio.run(pack.accept("abduction", "Find: ? + ? = 7", []))
        assert isinstance(found, Accepted)
        assert narrow.task_key(found.record) == "abduction + 7"


@settings(max_examples=200, deadline=None)
@given(a=st.integers(0, 99), b=st.integers(0, 99), op=st.sampled_from("+-"), answer=st.integers(-250, 250))
def test_deduction_agrees_with_python(a: int, b: int, op: str, answer: int) -> None:
    found = asyncio.run(PACK.accept("deduction", f"Calculate: {a} {op} {b} =", []))
    assert isinstance(found, Accepted)
    right = {"+": operator.add, "-": operator.sub}[op](a, b)
    for value in (answer, right):
        verdict = asyncio.run(PACK.judge(found.record, str(value)))
        assert (verdict.outcome is Outcome.CORRECT) == (value == right)
        assert verdict.measures == {"distance": abs(value - right)}


@settings(max_examples=60, deadline=None)
@given(op=st.sampled_from("+-*"), result=st.integers(-40, 900))
def test_abduction_is_accepted_when_some_pair_solves_it(op: str, result: int) -> None:
    bound = 30 if op == "*" else 199
    compute = {"+": operator.add, "-": operator.sub, "*": operator.mul}[op]
    solvable = any(compute(a, b) == result for a in range(bound + 1) for b in range(bound + 1))
    found = asyncio.run(PACK.accept("abduction", f"Find: ? {op} ? = {result}", []))
    assert isinstance(found, Accepted) == solvable


def test_pairs_are_all_pairs() -> None:
    for op, compute in (("+", operator.add), ("-", operator.sub), ("*", operator.mul)):
        for result in range(-12, 150):
            plain = [(a, b) for a in range(13) for b in range(13) if compute(a, b) == result]
            if (op, result) == ("*", 0):
                plain = [(a, 0) for a in range(13)]
            assert list(pairs(op, result, 12)) == plain


@settings(max_examples=100, deadline=None)
@given(numbers=st.lists(st.integers(0, 9), min_size=8, max_size=8), rule=st.integers(0, 4))
def test_accepted_patterns_have_one_rule(numbers: list[int], rule: int) -> None:
    plain = [
        operator.add,
        operator.sub,
        operator.mul,
        lambda a, b: 1 + a + b,
        lambda a, b: a * a - 2 * a * b + b * b,
    ]
    points = list(zip(numbers[::2], numbers[1::2], strict=True))
    values = [plain[rule](a, b) for a, b in points]
    text = ", ".join(f"({a},{b})->{c}" for (a, b), c in zip(points, values, strict=True))
    found = asyncio.run(PACK.accept("induction", f"Pattern: {text}", []))
    fitting = [p for p in plain if [p(a, b) for a, b in points[:3]] == values[:3]]
    if isinstance(found, Accepted):
        assert fitting == [plain[rule]]
        assert PACK.gold_response(found.record) == str(values[3])
    else:
        assert len(fitting) > 1 or found.reason == "repeated-example"


@pytest.mark.parametrize(
    ("kind", "proposal", "structure"),
    [
        ("deduction", "Calculate: 9 + 5 =", "+ 0"),
        ("deduction", "Calculate: 5 + 10 =", "+ 1"),
        ("deduction", "Calculate: 9 - 5 =", "- 0"),
        ("abduction", "Find: ? - ? = -3", "- -1"),
        ("abduction", "Find: ? - ? = 23", "- 2"),
        ("induction", "Pattern: (1,2)->3, (4,5)->9, (7,1)->8", "addition 0"),
    ],
)
def test_structure_is_operation_and_size(kind: str, proposal: str, structure: str) -> None:
    found = asyncio.run(PACK.accept(kind, proposal, []))
    assert isinstance(found, Accepted)
    assert PACK.structure_key(found.record) == structure


# ------------------------------ knobs ------------------------------

MULTIPLICATION = ArithmeticPack(
    kinds=["deduction"], operations=["*"], deduction_min=100, deduction_product_max=999
)
DIVISION = ArithmeticPack(kinds=["deduction"], operations=["/", "+"])


@pytest.mark.parametrize(
    ("pack", "proposal", "outcome", "reason"),
    [
        (MULTIPLICATION, "Calculate: 100 * 999 =", "correct", ""),
        (MULTIPLICATION, "Calculate: 99 * 999 =", "malformed", "operand-out-of-range"),
        (MULTIPLICATION, "Calculate: 100 * 1000 =", "malformed", "operand-out-of-range"),
        (MULTIPLICATION, "Calculate: 100 + 100 =", "malformed", "no-task"),
        (DIVISION, "Calculate: 12 / 4 =", "correct", ""),
        (DIVISION, "Calculate: 0 / 4 =", "correct", ""),
        (DIVISION, "Calculate: 12 / 5 =", "wrong", "not-exact"),
        (DIVISION, "Calculate: 12 / 0 =", "wrong", "not-exact"),
        (DIVISION, "Calculate: 50 / 5 =", "malformed", "operand-out-of-range"),
        (DIVISION, "Calculate: 12 * 4 =", "malformed", "no-task"),
    ],
)
def test_knobs_decide_what_may_be_proposed(
    pack: ArithmeticPack, proposal: str, outcome: str, reason: str
) -> None:
    found = asyncio.run(pack.accept("deduction", proposal, []))
    told = ("correct", "") if isinstance(found, Accepted) else (found.outcome, found.reason)
    assert told == (outcome, reason)


@pytest.mark.parametrize(
    ("pack", "limits"),
    [
        (ArithmeticPack(), "Numbers 0 to 49, with * 0 to 12."),
        (MULTIPLICATION, "Numbers 100 to 999."),
        (DIVISION, "Numbers 0 to 49, / only without a remainder."),
        (ArithmeticPack(operations=list(OPERATIONS)), "0 to 49, with * 0 to 12, / only without a remainder."),
    ],
)
def test_proposer_is_told_the_bounds(pack: ArithmeticPack, limits: str) -> None:
    prompt = pack.propose_prompt("deduction", pack.seeds()[:1], random.Random(0))[0]["content"]
    assert prompt.splitlines()[0].endswith(limits)


def test_quotients_are_judged_where_they_are_not_proposed() -> None:
    record = TaskRecord("deduction", {"a": 12, "op": "/", "b": 4})
    assert (
        PACK.solve_prompt(record)[0]["content"]
        == "Calculate: 12 / 4 =\nReply with one integer, in digits, on the last line."
    )
    assert asyncio.run(PACK.judge(record, "12 / 4 = 3")).outcome is Outcome.CORRECT
    assert asyncio.run(PACK.judge(record, "4")).measures == {"distance": 1.0}
    assert PACK.task_key(record) != PACK.task_key(TaskRecord("deduction", {"a": 4, "op": "/", "b": 12}))


@pytest.mark.parametrize("kinds", [["induction"], ["abduction", "deduction"]])
def test_only_kinds_that_are_on_are_there(kinds: list[str]) -> None:
    pack = ArithmeticPack(kinds=kinds)
    names = {spec.name for spec in pack.kinds}
    assert names == set(kinds)
    assert {record.kind for record in [*pack.seeds(), *pack.held_out()]} == names


@settings(max_examples=40, deadline=None)
@given(
    operations=st.lists(st.sampled_from(list(OPERATIONS)), min_size=1, unique=True),
    minimum=st.integers(0, 1000),
    span=st.integers(9, 1000),
)
def test_seeds_and_draws_fit_any_bounds(operations: list[str], minimum: int, span: int) -> None:
    minimum = 0 if "/" in operations else minimum
    bound = minimum + span
    pack = ArithmeticPack(
        kinds=["deduction"],
        operations=operations,
        deduction_min=minimum,
        deduction_max=bound,
        deduction_product_max=bound,
    )
    assert len({pack.task_key(seed) for seed in pack.seeds()}) == 4
    assert {seed.payload["op"] for seed in pack.seeds()} == set(operations)
    rng = random.Random(0)
    for record in [*pack.seeds(), *(pack.sample_record("deduction", rng) for _ in range(20))]:
        assert record.payload["op"] in operations
        found = asyncio.run(pack.accept("deduction", pack.gold_proposal(record), []))
        assert isinstance(found, Accepted)
        answer = asyncio.run(pack.judge(record, pack.worked_response(record)))
        assert answer.outcome is Outcome.CORRECT


def test_no_choice_of_operations_starts_from_a_held_out_task() -> None:
    held_out = {PACK.task_key(record) for record in PACK.held_out()}
    for number in range(1, 16):
        operations = [op for place, op in enumerate(OPERATIONS) if number >> place & 1]
        pack = ArithmeticPack(operations=operations)
        assert not held_out & {pack.task_key(seed) for seed in pack.seeds()}


def test_number_of_references_is_set_by_kind() -> None:
    pack = ArithmeticPack(num_references={"deduction": 4, "induction": 2})
    assert [spec.num_references for spec in pack.kinds] == [4, 2, 2]
    assert [spec.num_references for spec in ArithmeticPack().kinds] == [2, 2, 1]


@pytest.mark.parametrize(
    ("knobs", "message"),
    [
        ({"kinds": []}, "pack.kinds must be a list of some of deduction, abduction, induction"),
        ({"kinds": ["error"]}, "pack.kinds must be a list of some of"),
        ({"prompts": "completion"}, "pack.prompts must be one of chat, base; got 'completion'"),
        ({"operations": "+"}, r"pack.operations must be a list of some of \+, -, \*, /; got '\+'"),
        ({"deduction_min": -1}, "pack.deduction_min must be an integer from 0"),
        ({"deduction_min": 41}, "pack.deduction_product_max must be 9 or more above .*=41; got 12"),
        ({"deduction_min": 41, "operations": ["+"]}, "pack.deduction_max must be 9 or more above .*; got 49"),
        ({"deduction_min": 1, "operations": ["/"]}, "pack.deduction_min must be 0 with / in pack.operations"),
        ({"num_references": {"error": 1}}, "pack.num_references.error is no kind of this pack"),
        (
            {"num_references": {"deduction": 0}},
            "pack.num_references.deduction must be an integer from 1",
        ),
    ],
)
def test_impossible_knobs_are_refused(knobs: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ArithmeticPack(**knobs)  # type: ignore[arg-type]
