"""Decide whether a draft is a problem, and work out its answer."""

from __future__ import annotations

import ast
from decimal import Decimal
from typing import TypeGuard

from tasks.contract import Outcome, Rejected, TaskRecord
from tasks.execution import Runner, fault
from tasks.kit.numbers import NumberError, read_number
from tasks.kit.program import Refusal, Rules, check_program, parse_program
from tasks.math_word.mention import constant_fault
from tasks.math_word.records import Draft, from_expression, open_problem, problem
from tasks.sandbox import CallStatus
from tasks.sandbox.literals import parse_literal

MAX_QUESTION_CHARS = 2_000
MAX_PROGRAM_CHARS = 1_000
LARGEST_ANSWER = 10**15
SMALLEST_ANSWER = 1e-6
"""Bounds of an answer's size, but for 0: of what is smaller, the six compared decimals would be zeros."""

# Without comments and layout: what is left of a program is what it computes.
_RULES = Rules(MAX_PROGRAM_CHARS, keep_comments=False, keep_globals=True)


class Admission:
    """Checks drafts by running their programs in the sandbox. Blocks while they run.

    Args:
        runner: Runs the programs.
    """

    def __init__(self, runner: Runner) -> None:
        self._runner = runner

    def admit(self, draft: Draft) -> TaskRecord | Rejected:
        """Return the problem that a draft makes, or why it makes none.

        Raises:
            SandboxBroken: The sandbox itself failed.
        """
        question = read_question(draft.question)
        if isinstance(question, Rejected):
            return question
        program = check_program(_as_program(draft.solution), _RULES)
        if isinstance(program, Refusal):
            return _malformed(program.reason) if program.is_malformed else _wrong(program.reason)
        reason = constant_fault(program, question)
        if reason:
            return _wrong(reason)
        calls = self._runner.run(program, [""])
        (call,) = calls
        if call.status is CallStatus.UNSUPPORTED_RESULT:
            return _wrong("answer-not-a-number")
        reason = fault(call) or self._runner.repeat_fault(program, [""], calls)
        if reason:
            return _wrong(reason)
        value = parse_literal(call.literal or "")
        if not _is_number(value):
            return _wrong("answer-not-a-number")
        if value != 0 and not SMALLEST_ANSWER <= abs(value) < LARGEST_ANSWER:
            return _wrong("answer-out-of-range")
        return problem(question, _write(value), program)


def admit_claim(draft: Draft) -> TaskRecord | Rejected:
    """Return the problem with the answer that its proposer claims; nothing is known of it."""
    question = read_question(draft.question)
    if isinstance(question, Rejected):
        return question
    try:
        return problem(question, read_number(draft.solution))
    except NumberError as error:
        # The seed's grammar tells a claim that is no number from a missing one, and prices it apart.
        return _wrong(str(error))


def admit_question(draft: Draft) -> TaskRecord | Rejected:
    """Return the problem that a question alone makes: one without an answer, which attempts will give."""
    question = read_question(draft.question)
    return question if isinstance(question, Rejected) else open_problem(question)


def read_question(text: str) -> str | Rejected:
    """Return a question without the blanks around it, or why it is none."""
    question = text.strip()
    if not question:
        return _malformed("no-question")
    if len(question) > MAX_QUESTION_CHARS:
        return _malformed("question-too-big")
    if any("\ud800" <= char <= "\udfff" for char in question):
        # Half a character could not be written into a ledger or given to a tokenizer.
        return _malformed("question-not-unicode")
    return question


def _as_program(text: str) -> str:
    """An expression as the program that computes it; any other text as it is."""
    tree = parse_program(text.strip()) if len(text) <= MAX_PROGRAM_CHARS else ""
    if isinstance(tree, str) or len(tree.body) != 1 or not isinstance(tree.body[0], ast.Expr):
        return text
    try:
        return from_expression(ast.unparse(tree.body[0].value))
    except ValueError:
        # What Python can read and not write; the check of the program meets it again and says so.
        return from_expression(f"({text.strip()}\n)")


def _is_number(value: object) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _write(value: int | float) -> str:
    """A number in canonical form: no exponent, and no `.0`."""
    return str(int(value)) if value == int(value) else format(Decimal(repr(value)), "f")


def _malformed(reason: str) -> Rejected:
    return Rejected(Outcome.MALFORMED, reason)


def _wrong(reason: str) -> Rejected:
    return Rejected(Outcome.WRONG, reason)
