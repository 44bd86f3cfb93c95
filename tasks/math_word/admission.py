"""Decide whether a draft is a problem, and work out its answer.

A question has to mention every number that its program uses: else nobody could solve it.
"""

from __future__ import annotations

import ast
import math
import re
from decimal import Decimal
from fractions import Fraction

from tasks.contract import Rejected, TaskRecord
from tasks.execution import Runner, fault
from tasks.kit.notation import plain
from tasks.kit.program import Rules, check_program, parse_program
from tasks.math_word.records import from_expression, problem, read_expression
from tasks.sandbox import CallStatus
from tasks.sandbox.literals import parse_literal

MAX_QUESTION_CHARS = 2_000
MAX_PROGRAM_CHARS = 1_000
LARGEST_ANSWER = 10**15
SMALLEST_ANSWER = 1e-6
"""Bounds of an answer's size, but for 0: of what is smaller, the six compared decimals would be zeros."""

FREE = frozenset(map(Fraction, (0, 1, 2, 100)))
"""Numbers that a program may use unmentioned: for halves and doubles, for per cent, for counting from one."""

WORDS = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
)  # fmt: skip

_NUMBER = re.compile(r"((?:[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])|[0-9]+)(?:\.[0-9]+)?)(\s?(?:%|per\s?cent\b))?")
_FRACTION = re.compile(r"([0-9]+)/0*([1-9][0-9]*)")

# Without comments and layout: what is left of a program is what it computes.
_RULES = Rules(MAX_PROGRAM_CHARS, keep_comments=False, keep_globals=True)


def admit_program(question: str, solution: str, runner: Runner) -> TaskRecord | Rejected:
    """Return the problem that a question makes with a program, or why it makes none. Blocks while that runs.

    Raises:
        SandboxBroken: The sandbox itself failed.
    """
    program = check_program(_as_program(solution), _RULES)
    if isinstance(program, Rejected):
        return program
    if reason := constant_fault(program, question):
        return Rejected.wrong(reason)
    calls = runner.run(program, [""])
    (call,) = calls
    if call.status is CallStatus.UNSUPPORTED_RESULT:
        return Rejected.wrong("answer-not-a-number")
    if reason := fault(call) or runner.repeat_fault(program, [""], calls):
        return Rejected.wrong(reason)
    value = parse_literal(call.literal or "")
    if not isinstance(value, int | float) or isinstance(value, bool):
        return Rejected.wrong("answer-not-a-number")
    if value != 0 and not SMALLEST_ANSWER <= abs(value) < LARGEST_ANSWER:
        return Rejected.wrong("answer-out-of-range")
    # In canonical form: no exponent, and no `.0`.
    written = str(int(value)) if value == int(value) else format(Decimal(repr(value)), "f")
    return problem(question, written, program)


def read_question(text: str) -> str | Rejected:
    """Return a question without the blanks around it, or why it is none."""
    question = text.strip()
    if not question:
        return Rejected.malformed("no-question")
    if len(question) > MAX_QUESTION_CHARS:
        return Rejected.malformed("question-too-big")
    if any("\ud800" <= char <= "\udfff" for char in question):
        # Half a character could not be written into a ledger or given to a tokenizer.
        return Rejected.malformed("question-not-unicode")
    return question


def mentioned_numbers(question: str) -> frozenset[Fraction]:
    """The numbers that a question, of less than 4,300 characters, mentions.

    They are in digits, with or without thousands separators and decimals, or the words zero to twelve; `15%`
    and `15 percent` mention 0.15 too, `3/4` also 0.75.
    """
    question = plain(question)
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


def _as_program(text: str) -> str:
    """An expression as the program that computes it; any other text as it is."""
    expression = read_expression(text) if len(text) <= MAX_PROGRAM_CHARS else None
    if expression is None:
        return text
    try:
        return from_expression(ast.unparse(expression))
    except ValueError:
        # What Python can read and not write; the check of the program meets it again and says so.
        return from_expression(f"({text.strip()}\n)")
