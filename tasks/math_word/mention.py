"""Whether a question mentions every number that its program uses: else nobody could solve it.

Mentioned are numbers in digits, with or without thousands separators and decimals; the words zero to twelve;
of `15%` and `15 percent` also 0.15; of `3/4` also 0.75.
"""

from __future__ import annotations

import ast
import math
import re
from fractions import Fraction

from tasks.kit.program import parse_program

FREE = frozenset(map(Fraction, (0, 1, 2, 100)))
"""Numbers that a program may use unmentioned: for halves and doubles, for per cent, for counting from one."""

WORDS = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
)  # fmt: skip

_NUMBER = re.compile(r"((?:[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])|[0-9]+)(?:\.[0-9]+)?)(\s?(?:%|per\s?cent\b))?")
_FRACTION = re.compile(r"([0-9]+)/0*([1-9][0-9]*)")


def mentioned_numbers(question: str) -> frozenset[Fraction]:
    """The numbers that a question mentions; it has less than 4,300 characters."""
    found = set()
    for digits, percent in _NUMBER.findall(question):
        number = Fraction(digits.replace(",", ""))
        found |= {number, number / 100} if percent else {number}
    found |= {Fraction(int(above), int(below)) for above, below in _FRACTION.findall(question)}
    words = set(re.findall("[a-z]+", question.lower()))
    return frozenset(found | {Fraction(value) for value, word in enumerate(WORDS) if word in words})


def constant_fault(program: str, question: str) -> str:
    """Slug of why a program's constants are not what the question mentions; "" if they are.

    Text is refused altogether: a number could hide in it.
    """
    known = mentioned_numbers(question) | FREE
    tree = parse_program(program)
    if isinstance(tree, str):
        # Python writes a few programs in a form that it cannot read.
        return "no-canonical-form"
    for node in ast.walk(tree):
        if not isinstance(node, ast.Constant) or isinstance(node.value, bool):
            continue
        value = node.value
        if isinstance(value, str | bytes):
            return "uses-text"
        if isinstance(value, complex) or (isinstance(value, float) and not math.isfinite(value)):
            return "unmentioned-number"
        # By its decimals: 0.15 is 15/100, which the nearest binary fraction is not.
        if isinstance(value, int | float) and Fraction(repr(value)) not in known:
            return "unmentioned-number"
    return ""
