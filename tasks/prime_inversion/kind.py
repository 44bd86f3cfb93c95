"""What the pack asks of each of its three kinds."""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Sequence

from tasks.contract import Json, Outcome, Rejected, Verdict
from tasks.payload import Payload
from tasks.prime_inversion.grammar import read_answer


class Kind(ABC):
    """One kind of task: its wording, its grammar and its arithmetic."""

    letter: str
    """The unknown."""

    request: str
    """First line of a proposer's prompt; the reference follows."""

    seeds: tuple[str, ...]
    """Proposals that start the buffer. Valid under every setting of the knobs."""

    @abstractmethod
    def parse(self, response: str) -> Payload | Rejected:
        """Read and check one proposal."""

    @abstractmethod
    def congruence(self, payload: Payload) -> str:
        """The task's congruence or congruences, with the letter in the place of the unknown."""

    @abstractmethod
    def demand(self, payload: Payload) -> str:
        """What the solver is told to find."""

    @abstractmethod
    def is_right(self, payload: Payload, answer: int) -> bool:
        """Whether `answer` solves the task."""

    @abstractmethod
    def gold(self, payload: Payload) -> int:
        """The least right answer that is positive."""

    @abstractmethod
    def draw(self, primes: Sequence[int], rng: random.Random) -> dict[str, Json]:
        """Draw a task that is not trivial, modulo one of `primes`, which are above 3."""

    @abstractmethod
    def key(self, payload: Payload) -> str:
        """What makes two tasks the same."""

    def judge(self, payload: Payload, response: str) -> Verdict:
        """Compare one answer with the task."""
        answer = read_answer(response, self.letter)
        if answer is None:
            return Verdict(Outcome.MALFORMED, "no-answer")
        if not self.is_right(payload, answer):
            return Verdict(Outcome.WRONG, "wrong-value")
        return Verdict(Outcome.CORRECT, "")


def malformed(reason: str) -> Rejected:
    """A proposal outside the grammar."""
    return Rejected(Outcome.MALFORMED, reason)


def wrong(reason: str) -> Rejected:
    """A proposal that fits the grammar and is no task."""
    return Rejected(Outcome.WRONG, reason)
