"""A question has to mention the numbers of its program."""

from __future__ import annotations

from fractions import Fraction

import pytest

from tasks.math_word.admission import constant_fault, mentioned_numbers
from tasks.math_word.records import from_expression


@pytest.mark.parametrize(
    ("question", "numbers"),
    [
        ("7 hens", [7]),
        ("1,234 hens and 5,6", [1234, 5, 6]),
        ("$2.50, 250g, the 3rd of 4.", [Fraction(5, 2), 250, 3, 4]),
        ("seven hens, Twelve eggs, sevenths", [7, 12]),
        ("thirteen, dozen, half", []),
        ("15% or 20 percent or 3 per cent", [15, Fraction(15, 100), 20, Fraction(1, 5), 3, Fraction(3, 100)]),
        ("3/4 of it", [3, 4, Fraction(3, 4)]),
        ("3/0", [3, 0]),
        ("\N{ARABIC-INDIC DIGIT FIVE} hens", []),
        ("9" * 2_000, [int("9" * 2_000)]),
    ],
)
def test_what_a_question_mentions(question: str, numbers: list[Fraction]) -> None:
    assert mentioned_numbers(question) == set(map(Fraction, numbers))


@pytest.mark.parametrize(
    ("expression", "question", "fault"),
    [
        ("16 - 3", "16 less three?", ""),
        ("16 - 3", "16 less four?", "unmentioned-number"),
        ("0 + 1 * 2 / 100", "free", ""),
        ("3", "free", "unmentioned-number"),
        ("x if True else None", "free", ""),
        ("0.15 * 8", "15% of 8?", ""),
        ("15 / 100 * 8", "15% of 8?", ""),
        ("1.15 * 8", "15% more than 8?", "unmentioned-number"),
        ("0.5 * 8", "1/2 of 8?", ""),
        ("2.5 * 8", "$2.50 for each of 8?", ""),
        ("1e3", "1,000", ""),
        ("0x10", "16", ""),
        ("1e999", "free", "unmentioned-number"),
        ("2j", "2", "unmentioned-number"),
        ("int('37')", "37", "uses-text"),
        ("len(b'aaa')", "3", "uses-text"),
        ("len(f'{1}aaa')", "3", "uses-text"),
    ],
)
def test_constants_are_mentioned_or_free(expression: str, question: str, fault: str) -> None:
    assert constant_fault(from_expression(expression), question) == fault
