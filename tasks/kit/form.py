"""How a pack's prompts are written and its responses are read: a pack chooses one `Form` by its knobs.

Instructions in chat, a text that the model completes, tags and fenced blocks, or lines of a few characters
for a model that was trained on them (terse): each is a `Form`. What was read is then checked by the pack,
whatever its form.
"""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Generic, TypeVar

from tasks.contract import Accepted, Message, Rejected, TaskRecord, Verdict
from tasks.kit.held_out_file import FilePack
from tasks.kit.parsing import last_line

Draft = TypeVar("Draft")
"""What one proposal says, before any of it is checked."""

TERSE_REQUEST = "new"
"""First line of a terse proposer's prompt; the reference says of which kind."""

TERSE_REFERENCES = 1
"""Most references in a terse proposer's prompt."""


class Form(ABC, Generic[Draft]):
    """One way to write proposals, questions and answers."""

    stop_strings: tuple[str, ...] = ()
    """What ends a response (`TaskPack.stop_strings`)."""

    @abstractmethod
    def request(self, kind: str, references: Sequence[TaskRecord]) -> str:
        """A proposer's prompt."""

    @abstractmethod
    def read_proposal(self, kind: str, response: str) -> Draft | Rejected:
        """Read one proposal; nothing in it is checked yet, unless a pack's grammar is its check."""

    @abstractmethod
    def proposal(self, record: TaskRecord) -> str:
        """The response that `read_proposal` reads as the draft of `record`."""

    @abstractmethod
    def question(self, record: TaskRecord) -> str:
        """A solver's prompt."""

    @abstractmethod
    def read_answer(self, record: TaskRecord, response: str) -> str | Verdict:
        """Read one attempt at `record`; its answer is not compared with anything yet."""

    @abstractmethod
    def answer(self, record: TaskRecord) -> str:
        """A right response."""

    def worked_answer(self, record: TaskRecord) -> str:
        """A right response that shows its working, where there is any to show."""
        return self.answer(record)


class FormPack(FilePack, Generic[Draft]):
    """A pack that leaves wording to its form, and says what a task (`admit`) and what right is (`grade`)."""

    _form: Form[Draft]

    @property
    def stop_strings(self) -> tuple[str, ...]:
        return self._form.stop_strings

    @abstractmethod
    async def admit(
        self, kind: str, draft: Draft, references: Sequence[TaskRecord], step: int
    ) -> Accepted | Rejected:
        """Check what a proposal says; `references` and `step` are those of its prompt."""

    @abstractmethod
    async def grade(self, record: TaskRecord, answer: str) -> Verdict:
        """Compare an answer with what the record demands."""

    def propose_prompt(
        self, kind: str, references: Sequence[TaskRecord], rng: random.Random, *, step: int = 0
    ) -> list[Message]:
        return ask(self._form.request(self.spec(kind).name, references))

    async def accept(
        self, kind: str, response: str, references: Sequence[TaskRecord], *, step: int = 0
    ) -> Accepted | Rejected:
        draft = self._form.read_proposal(self.spec(kind).name, response)
        return draft if isinstance(draft, Rejected) else await self.admit(kind, draft, references, step)

    def solve_prompt(self, record: TaskRecord) -> list[Message]:
        return ask(self._form.question(record))

    async def judge(self, record: TaskRecord, response: str) -> Verdict:
        answer = self._form.read_answer(record, response)
        return answer if isinstance(answer, Verdict) else await self.grade(record, answer)

    def gold_response(self, record: TaskRecord) -> str:
        return self._form.answer(record)

    def worked_response(self, record: TaskRecord) -> str:
        return self._form.worked_answer(record)

    def gold_proposal(self, record: TaskRecord) -> str:
        return self._form.proposal(record)


def ask(prompt: str) -> list[Message]:
    """A prompt as the only message of a chat."""
    return [{"role": "user", "content": prompt}]


def terse_answer(answer: str, steps: str = "") -> str:
    """A terse answer, behind the steps that lead to it: `:8` or `(5+3=8):8`."""
    return f"({steps}):{answer}" if steps else f":{answer}"


def read_terse_answer(response: str) -> str | None:
    """What a response's last line has behind its colon, which steps in parentheses may precede; None without.

    Blanks around the answer stay.
    """
    line = last_line(response)
    if line.startswith("("):
        line = ":" + line.partition("):")[2]
    return line[1:] if line.startswith(":") else None
