"""Whatever a model writes gets an outcome, soon: no text raises, none takes long."""

from __future__ import annotations

import random
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.contract import Accepted, Outcome, TaskPack
from tasks.kit.parsing import TAIL_CHARS
from tasks.registry import load_pack

pytestmark = pytest.mark.usefixtures("own_garbage")

PACKS = ("arithmetic", "prime_inversion")
LIMIT_S = 0.05
Result = TypeVar("Result")
NUM_RESPONSES = 10_000
ARABIC_FIVE = "\N{ARABIC-INDIC DIGIT FIVE}"
MEGABYTES = 3_000_000

FRAGMENTS = [
    "Calculate:", "Find:", "Pattern:", "Answer:", "?", "+", "-", "*", "=", "->", "\N{RIGHTWARDS ARROW}",
    ",", "(1,2)->3", "(1,2", "->3)", "(0,0)->0, " * 40, "3", "12", "-7", "007", "9" * 10_000, "-" * 300,
    "1e9", "3.5", r"\boxed{", r"\boxed{{", "}", "}}", "{", r"\boxed{2}", r"\boxed{x=", r"\boxed{\boxed{",
    r"\[", r"\]", "$", "x", "y", "p", r"\times", r"\cdot", r"\equiv", "\N{IDENTICAL TO}", "(mod 7)",
    r"\pmod{7}", r"\pmod{", "(mod p)", "x * 4 = 1 (mod 7)", "3 * 5 = 1 (mod p)", "<answer>", "</answer>",
    "<think>", "```python", ARABIC_FIVE, "\N{FULLWIDTH DIGIT SEVEN}", "\N{SUPERSCRIPT TWO}",
    "\N{MINUS SIGN}", "\x00", "\x1b[2J", "\r", "\n", "\n\n", "\t", " ", " " * 5000, "\u2028", "\u202e",
    "\ud800", "\N{GRINNING FACE}", "\u4e00\u4e8c", "nan", "inf", "None", "'; DROP TABLE", "{0}", "%s", "\\",
    "\\\\", "\u2013", "\ufe63", r"1{,}234", r"1,\!234", "1\u202f234", r"\frac{1}{2}", "\u00bd", "3 1/2",
    "**", "**2**",
    "`", "(", ")", "kg", "%", "million", "minus ", r"\text{", r"\sqrt{", "x = ", "a = 1, b = 2", "1 and 2",
    "2 (mod 7)",
    " or ", "is", "<<", "<<1+1=2>>2", "x = 5, x = 6", "e-9", "10^{", "x 10^9", "\u200b", "_", "1_234",
    " 234", ",5", r"\boxed{1} or \boxed{2}",
    r"\boxed{1, 2}", "?+?=7", "3 + 4 = 7", "\u00a0",
]  # fmt: skip

HOPELESS = [
    "", " ", "\n", "\x00", "no idea", "Calculate:", "Find: ? + ? =", "Pattern:", r"\boxed{", r"\boxed{}",
    r"\boxed{2", r"\boxed{{2}", r"\boxed{two}", r"\boxed{2 3 4}", f"Calculate: {ARABIC_FIVE} + 3 =",
    ARABIC_FIVE, rf"\boxed{{{ARABIC_FIVE}}}", "Calculate: 3 / 4 =", "Calculate: -3 + 4 =", "3.5", "1e9",
    "9" * 10_000, "-" + "9" * 10_000, "9" * MEGABYTES, rf"\boxed{{{'9' * 10_000}}}",
    f"Calculate: {'9' * 10_000} + 1 =", f"Find: ? + ? = {'9' * 10_000}", "Pattern: (1,2)->" + "3" * 10_000,
    r"\boxed{" * 500_000, "{" * MEGABYTES, "}" * MEGABYTES, "(" * MEGABYTES, " " * MEGABYTES,
    "\n" * MEGABYTES, "12 " * 1_000_000, "Pattern: " + "(1,2)->3, " * 300_000,
    "Pattern: " + "(1,2)->3, " * 300, "1 2 " + " " * MEGABYTES + "x", rf"\boxed{{{'{' * 2000}2{'}' * 2000}",
    "x * 4 " * 500_000, r"\[" * 1_000_000 + r"\]", "**" * MEGABYTES, r"\frac{1}" * 500_000,
    "1\u202f" * 1_000_000,
    r"1\," * 1_200, "\u2013" * 4_000, "\u00bd" * 4_000, "**1** " * 600, r"\text{" * 600, "- 5",
    "5-", "1 dozen",
]  # fmt: skip


def in_time(call: Callable[[], Awaitable[Result]]) -> Result:
    """Run a call and look at its CPU time, because a busy machine is no slow grammar."""
    start = time.process_time()
    result = run_to_end(call())
    taken_s = time.process_time() - start
    assert taken_s < LIMIT_S, f"took {taken_s:.3f} s, for {str(result)[:200]}"
    return result


def run_to_end(awaitable: Awaitable[Result]) -> Result:
    """Drive a coroutine that waits for nothing, which both packs' are; an event loop would cost more."""
    try:
        next(awaitable.__await__())
    except StopIteration as ended:
        return ended.value
    raise AssertionError("it waits for something")


def generated() -> list[str]:
    """Responses from fragments of both grammars and from noise, the same ones each time."""
    rng = random.Random(20250615)
    responses = list(HOPELESS)
    while len(responses) < NUM_RESPONSES:
        joiner = rng.choice(["", " ", "\n"])
        text = joiner.join(rng.choices(FRAGMENTS, k=rng.randint(1, 9)))
        if rng.random() < 0.3:
            start = rng.randrange(len(text))
            text = text[start : rng.randint(start, len(text))]
        if rng.random() < 0.1:
            text += "".join(chr(rng.randrange(0xD800)) for _ in range(rng.randint(1, 50)))
        responses.append(text)
    return responses


def outcomes(pack: TaskPack, response: str) -> list[Outcome]:
    """What a pack says of a response, as a proposal and as an attempt, for each of its kinds, in time."""
    found = []
    for record in {seed.kind: seed for seed in pack.seeds()}.values():
        accepted = in_time(lambda record=record: pack.accept(record.kind, response, []))
        found.append(Outcome.CORRECT if isinstance(accepted, Accepted) else accepted.outcome)
        found.append(in_time(lambda record=record: pack.judge(record, response)).outcome)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("name", PACKS)
def test_ten_thousand_responses_get_an_outcome_in_time(name: str) -> None:
    pack = load_pack(name)
    for response in generated():
        found = outcomes(pack, response)
        assert len(found) == 6
        assert all(isinstance(outcome, Outcome) for outcome in found)


@pytest.mark.parametrize("name", PACKS)
@pytest.mark.parametrize("response", HOPELESS, ids=range(len(HOPELESS)))
def test_hopeless_responses_are_malformed_for_every_kind(name: str, response: str) -> None:
    assert set(outcomes(load_pack(name), response)) == {Outcome.MALFORMED}


@pytest.mark.parametrize("name", PACKS)
def test_long_runs_inside_the_part_that_is_read_take_linear_time(name: str) -> None:
    """The bound on length keeps out megabytes; this keeps out grammars that are slow on what is left."""
    pack = load_pack(name)
    heads = [
        "1",
        "1 2",
        "1 +",
        "Calculate: 1",
        "Find: ?",
        "Find: ? + ? =",
        "Pattern: (1",
        "Pattern: (1,2)->3,",
    ]
    heads += [
        "x",
        "x * 4 = 1",
        "x * 4 = 1 (mod",
        r"\boxed{",
        r"\boxed{x",
        r"\boxed{3 *",
        r"\boxed{x * 4 = 1 \pmod{7",
    ]
    for head in heads:
        for run in (
            " ",
            "\t",
            "\n",
            "1",
            "{",
            "}",
            ",",
            "=",
            ":",
            "(1,2)->3, ",
            "x * 4 = 1 (mod 7),",
            r"\boxed{",
        ):
            for end in ("", "x", "1", "1 x", "}"):
                count = (TAIL_CHARS - len(head) - len(end)) // len(run)
                assert len(outcomes(pack, head + run * count + end)) == 6


@settings(max_examples=200, deadline=None)
@given(text=st.lists(st.sampled_from(FRAGMENTS) | st.text(max_size=20), max_size=8).map("".join))
def test_any_text_gets_an_outcome(text: str) -> None:
    for name in PACKS:
        assert len(outcomes(load_pack(name), text)) == 6
