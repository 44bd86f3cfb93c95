r"""Right answers in other notations, and wrong ones that could be taken for them: reports F5, F6 and F8.

F5 is opencompass#2647 (LaTeX's thousands separators), F6 grobid#980 (dashes for a minus), F8 verl#2150 (two
integers read more narrowly than one, congruences as answers).
"""

from __future__ import annotations

import asyncio

import pytest

from tasks.arithmetic import ArithmeticPack
from tasks.contract import Outcome, TaskPack, TaskRecord
from tasks.kit.response import Tags, wrap
from tasks.math_word import MathWordPack
from tasks.math_word.records import problem
from tasks.prime_inversion import PrimeInversionPack

DASHES = "\u2010\u2011\u2012\u2013\ufe63\uff0d"
WORDS = {name: MathWordPack(extraction=name) for name in ("tags", "strict", "flexible")}
SUM = TaskRecord("abduction", {"op": "+", "result": 35, "max": 299})
FIVE = TaskRecord("deduction", {"a": 2, "op": "+", "b": 3})
INVERSE = TaskRecord("deduction", {"x": 32, "p": 43})  # 32 * 39 = 1248 = 29 * 43 + 1


def word(extraction: str, answer: str, said: str) -> tuple[TaskPack, TaskRecord, str]:
    """A word problem and a response to it."""
    response = wrap(said, Tags.THINK_ANSWER, "w") if extraction == "tags" else said
    return WORDS[extraction], problem("A question?", answer), response


RIGHT = {
    **{f"F6 U+{ord(dash):04X} for a minus": word("tags", "-5", f"{dash}5") for dash in DASHES},
    "F5 {,}": word("tags", "1234", r"1{,}234"),
    "F5 comma and negative space": word("tags", "1234", r"1,\!234"),
    "F5 thin space": word("tags", "1234", r"1\,234"),
    "F5 {,} as the last number": word("flexible", "1234", r"so \boxed{1{,}234}"),
    "F5 comma and negative space as the last number": word("flexible", "10000", r"so \boxed{10,\!000}"),
    **{
        f"F8 {said}": (ArithmeticPack(), SUM, said)
        for said in (
            "10 25", "**10 25**", r"\boxed{10, 25}", "(10, 25)", "10 and 25", "10, 25.", "`10 25`"
        )
    },
    "F8 congruence": (PrimeInversionPack(), INVERSE, r"\boxed{y \equiv 39 \pmod{43}}"),
    "F8 number with its modulus": (PrimeInversionPack(), INVERSE, r"\boxed{39 \pmod{43}}"),
}  # fmt: skip

NOT_RIGHT = {
    **{f"F6 U+{ord(dash):04X} is no plus": word("tags", "5", f"{dash}5") for dash in DASHES},
    "F6 behind the mark": word("strict", "5", "#### \u20135"),
    "F6 in a sentence": word("flexible", "5", "It falls to \u20135 degrees"),
    "F6 in arithmetic": (ArithmeticPack(), FIVE, "\u20135"),
    "F5 the last group": word("flexible", "234", r"so \boxed{1{,}234}"),
    "F5 the last zeros": word("flexible", "0", r"so \boxed{10,\!000}"),
}


@pytest.mark.parametrize("name", RIGHT)
def test_a_right_answer_is_right_in_this_notation(name: str) -> None:
    pack, record, response = RIGHT[name]
    assert asyncio.run(pack.judge(record, response)).outcome is Outcome.CORRECT


@pytest.mark.parametrize("name", NOT_RIGHT)
def test_an_answer_of_another_value_is_not_right(name: str) -> None:
    pack, record, response = NOT_RIGHT[name]
    assert asyncio.run(pack.judge(record, response)).outcome is not Outcome.CORRECT
