"""What the three kinds have in common: one letter stands for an unknown number."""

from __future__ import annotations

import random
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import ClassVar

from tasks.contract import Json, Outcome, Verdict
from tasks.kit.kinds import Kind
from tasks.kit.payload import Payload
from tasks.prime_inversion.grammar import read_answer
from tasks.prime_inversion.primes import primes_between

BANDS = {"p 5-43": (5, 43), "p 44-199": (44, 199), "p 200-617": (200, 617)}
"""Lowest and highest modulus of the held-out set's bands."""


class Unknown(Kind):
    """A congruence with one number left out, to be found."""

    num_references = 1
    # The first band has 240 inverses, which abduction and deduction share, and 120 pairs for induction:
    # 60 a kind leaves half of them for training.
    held_out_counts: ClassVar[Mapping[str, int]] = dict(zip(BANDS, (60, 200, 200), strict=True))

    letter: str
    """The unknown: x, y or p."""

    def __init__(self, max_prime: int) -> None:
        """Set the largest modulus."""
        self._max_prime = max_prime

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
    def least_answer(self, payload: Payload) -> int:
        """The least right answer that is positive."""

    @abstractmethod
    def draw_modulo(self, primes: Sequence[int], rng: random.Random) -> dict[str, Json]:
        """Draw a task that is not trivial, modulo one of `primes`, which are above 3."""

    def statement(self, payload: Payload) -> str:
        """See `Kind.statement`."""
        return rf"\boxed{{{self.congruence(payload)}}}"

    def terse_statement(self, payload: Payload) -> str:
        """See `Kind.terse_statement`."""
        return self.congruence(payload)

    def question(self, payload: Payload) -> str:
        """See `Kind.question`."""
        task = f"Solve for {self.demand(payload)}: {self.congruence(payload)}"
        return f"{task}\nAnswer as \\boxed{{{self.letter}}}."

    def terse_question(self, payload: Payload) -> str:
        """See `Kind.terse_question`."""
        return self.congruence(payload)

    def judge(self, payload: Payload, response: str) -> Verdict:
        """See `Kind.judge`."""
        answer = read_answer(response, self.letter)
        if answer is None:
            return Verdict(Outcome.MALFORMED, "no-answer")
        if not self.is_right(payload, answer):
            return Verdict(Outcome.WRONG, "wrong-value")
        return Verdict(Outcome.CORRECT, "")

    def gold(self, payload: Payload) -> str:
        """See `Kind.gold`."""
        return rf"\boxed{{{self.least_answer(payload)}}}"

    def terse_gold(self, payload: Payload) -> str:
        """See `Kind.terse_gold`."""
        return str(self.least_answer(payload))

    def draw(self, variant: str, rng: random.Random) -> dict[str, Json]:
        """See `Kind.draw`; the variants are the bands of the held-out set, whatever the largest modulus."""
        return self.draw_modulo(primes_between(*BANDS[variant]), rng)

    def sample(self, rng: random.Random) -> dict[str, Json]:
        """Draw a task with the primes up to the largest modulus drawn evenly."""
        return self.draw_modulo(primes_between(5, self._max_prime), rng)
