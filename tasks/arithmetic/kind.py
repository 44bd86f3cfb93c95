"""What the pack asks of each of its three kinds."""

from __future__ import annotations

import random
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar

from tasks.contract import Json, Outcome, Rejected, Verdict
from tasks.payload import Payload

INTEGER = re.compile(r"-?[0-9]{1,9}")
"""An integer in an answer. ASCII digits only, and few enough that `int` never refuses them."""


class Kind(ABC):
    """One kind of task: its wording, its grammar and its arithmetic."""

    request: str
    """First lines of a proposer's prompt; the references follow, one a line."""

    num_references: ClassVar[int]

    seeds: ClassVar[tuple[str, ...]]
    """Proposals that start the buffer. Valid under every setting of the knobs."""

    held_out_counts: ClassVar[Mapping[str, int]]
    """Held-out tasks by operation or rule."""

    @abstractmethod
    def parse(self, line: str) -> Payload | Rejected:
        """Read one proposed task."""

    @abstractmethod
    def statement(self, payload: Payload) -> str:
        """The proposal that `parse` reads as this task."""

    @abstractmethod
    def question(self, payload: Payload) -> str:
        """The solver's prompt."""

    @abstractmethod
    def judge(self, payload: Payload, line: str) -> Verdict:
        """Compare one answer with the task."""

    @abstractmethod
    def gold(self, payload: Payload) -> str:
        """A right answer."""

    @abstractmethod
    def draw(self, variant: str, rng: random.Random) -> dict[str, Json]:
        """Draw a task with the operation or rule `variant`, a key of `held_out_counts`."""

    @abstractmethod
    def key(self, payload: Payload) -> str:
        """What makes two tasks of this kind the same."""


def judge_integer(line: str, right: int) -> Verdict:
    """Judge an answer that is one integer: the whole line, or what stands behind its last `=` or `:`."""
    answer = line[max(line.rfind("="), line.rfind(":")) + 1 :].strip().removesuffix(".")
    if INTEGER.fullmatch(answer) is None:
        return Verdict(Outcome.MALFORMED, "no-answer")
    if int(answer) != right:
        return Verdict(Outcome.WRONG, "wrong-value")
    return Verdict(Outcome.CORRECT, "")


def malformed(reason: str) -> Rejected:
    """A proposal outside the grammar."""
    return Rejected(Outcome.MALFORMED, reason)


def wrong(reason: str) -> Rejected:
    """A proposal that fits the grammar and is no task."""
    return Rejected(Outcome.WRONG, reason)
