"""How tasks and answers are written down: what a model is asked, and how its response is read.

There are two forms: prompts with instructions and fenced blocks for a language model (`tagged.py`), and lines
of a few characters for a model that was trained on them (`terse.py`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from tasks.contract import Outcome, Rejected, TaskRecord, Verdict
from tasks.kit.payload import read_str
from tasks.python_code.records import ABDUCTION, DEDUCTION, ERROR, Draft, read_program


class Form(ABC):
    """One way to write proposals, questions and answers."""

    num_inputs: int
    """Inputs of an induction task."""

    @abstractmethod
    def request(self, kind: str, references: Sequence[TaskRecord], given: str) -> str:
        """A proposer's prompt; `given` defines the functions that its program has to call, if any."""

    @abstractmethod
    def read_proposal(self, kind: str, response: str) -> Draft | Rejected:
        """Read one proposal; nothing in it is checked yet."""

    @abstractmethod
    def proposal(self, record: TaskRecord) -> str:
        """The response that `read_proposal` reads as the draft of `record`."""

    @abstractmethod
    def question(self, record: TaskRecord) -> str:
        """A solver's prompt."""

    @abstractmethod
    def read_answer(self, kind: str, response: str) -> str | Verdict:
        """Read one answer: a value, an argument list, a program or a class name, not checked yet."""

    @abstractmethod
    def answer(self, record: TaskRecord) -> str:
        """A right response."""

    @abstractmethod
    def worked_answer(self, record: TaskRecord) -> str:
        """A right response that shows its working."""


def stored_answer(record: TaskRecord) -> str:
    """What the record itself has for an answer."""
    if record.kind == DEDUCTION:
        return read_str(record.payload, "output")
    if record.kind == ABDUCTION:
        return read_str(record.payload, "input")
    return read_str(record.payload, "error") if record.kind == ERROR else read_program(record)


def malformed(reason: str) -> Rejected:
    """A proposal outside the form."""
    return Rejected(Outcome.MALFORMED, reason)


def unanswered(reason: str) -> Verdict:
    """An attempt outside the form."""
    return Verdict(Outcome.MALFORMED, reason)
