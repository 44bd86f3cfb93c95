"""What a word problem is made of, as a proposer wrote it and as it is stored."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from tasks.contract import Json, TaskRecord
from tasks.kit.payload import read_str

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


def open_problem(question: str) -> TaskRecord:
    """A problem that waits for its answer."""
    return TaskRecord(PROBLEM, {"question": question})


def problem(question: str, answer: str, program: str | None = None) -> TaskRecord:
    """A stored problem; `answer` is a canonical number, and one that nothing computed has no program."""
    payload: dict[str, Json] = {"question": question, "answer": answer}
    if program is not None:
        payload["program"] = program
    return TaskRecord(PROBLEM, payload)


def shot(question: str, answer: str = "") -> str:
    """A problem in the form that lm-evaluation-harness shows it in, solved or to be solved."""
    return f"{NEXT_SHOT} {question}\nAnswer: {answer}".rstrip()


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
