"""What a word problem is made of, as a proposer wrote it and as it is stored."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from enum import StrEnum

from tasks.contract import TaskRecord
from tasks.kit.payload import read_str
from tasks.kit.program import parse_program

PROBLEM = "problem"
"""The one kind."""

SHOTS = "shots"
"""Field of a held-out problem that is asked behind solved ones: their text."""

NEXT_SHOT = "Question:"

_EXPRESSION = "def f():\n    return "


class Verify(StrEnum):
    """How a problem gets its answer."""

    PROGRAM = "program"  # A program that the proposer gives computes it.
    CLAIMED = "claimed"  # The proposer says so.
    MAJORITY = "majority"  # Most of the attempts at it say so.


@dataclass(frozen=True, slots=True)
class Draft:
    """What one proposal says, before any of it is checked."""

    question: str  # The problem in words.
    solution: str  # A program or an expression; with `verify=claimed` the answer itself, with `majority` "".


def problem(question: str, answer: str | None = None, program: str | None = None) -> TaskRecord:
    """A problem with its answer, a canonical number, or waiting for one; and the program that computed it."""
    parts = {"question": question, "answer": answer, "program": program}
    return TaskRecord(PROBLEM, {name: text for name, text in parts.items() if text is not None})


def shot(question: str, answer: str = "") -> str:
    """A problem in the form that lm-evaluation-harness shows it in, solved or to be solved."""
    return f"{NEXT_SHOT} {question}\nAnswer: {answer}".rstrip()


def read_expression(text: str) -> ast.expr | None:
    """The one expression that a text is; None if it is anything else."""
    match parse_program(text.strip()):
        case ast.Module([ast.Expr(expression)]):
            return expression
    return None


def from_expression(expression: str) -> str:
    """The program that computes an expression."""
    return _EXPRESSION + expression


def shown_program(record: TaskRecord) -> str:
    """A record's program as a proposal gives it: if it only computes an expression, that expression.

    Raises:
        ValueError: The record has no program.
    """
    program = read_str(record.payload, "program")
    expression = program.removeprefix(_EXPRESSION)
    return program if "\n" in expression else expression
