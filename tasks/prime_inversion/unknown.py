"""What the three kinds have in common: one letter stands for an unknown number; and primes below 10,000."""

from __future__ import annotations

import random
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from math import gcd, isqrt
from typing import ClassVar

from tasks.contract import Json, Verdict
from tasks.kit.kinds import Kind, Style
from tasks.kit.payload import Payload
from tasks.prime_inversion.grammar import read_answer

BANDS = {"p 5-43": (5, 43), "p 44-199": (44, 199), "p 200-617": (200, 617)}
"""Lowest and highest modulus of the held-out set's bands."""


class Unknown(Kind):
    """A congruence with one number left out, to be found.

    Args:
        max_prime: Largest modulus.
        refuse_trivial: Refuse tasks about 1 and p-1, which are their own inverses.
    """

    num_references = 1
    # The first band has 240 inverses, which abduction and deduction share, and 120 pairs for induction:
    # 60 a kind leaves half of them for training.
    held_out_counts: ClassVar[Mapping[str, int]] = dict(zip(BANDS, (60, 200, 200), strict=True))

    letter: str
    """The unknown: x, y or p."""

    def __init__(self, style: Style, max_prime: int, refuse_trivial: bool) -> None:
        super().__init__(style)
        self._max_prime = max_prime
        self._refuse_trivial = refuse_trivial

    @abstractmethod
    def congruence(self, payload: Payload) -> str:
        """The task's congruence or congruences, with the letter in the place of the unknown."""

    def demand(self, payload: Payload) -> str:
        """What the solver is asked to find."""
        return self.letter

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
        return self._box(self.congruence(payload))

    def question(self, payload: Payload) -> str:
        task = self.congruence(payload)
        if self._style is Style.TERSE:
            return task
        return f"Solve for {self.demand(payload)}: {task}\nAnswer as \\boxed{{{self.letter}}}."

    def judge(self, payload: Payload, response: str) -> Verdict:
        answer = read_answer(response, self.letter)
        if answer is None:
            return Verdict.malformed("no-answer")
        if not self.is_right(payload, answer):
            return Verdict.wrong("wrong-value")
        return Verdict.correct()

    def gold(self, payload: Payload) -> str:
        return self._box(str(self.least_answer(payload)))

    def answer_key(self, payload: Payload) -> str:
        return in_box(str(self.least_answer(payload)))

    def draw(self, variant: str, rng: random.Random) -> dict[str, Json]:
        """The variants are the bands of the held-out set, whatever the largest modulus."""
        return self.draw_modulo(primes_between(*BANDS[variant]), rng)

    def sample(self, rng: random.Random) -> dict[str, Json]:
        """Draw a task with the primes up to the largest modulus drawn evenly."""
        return self.draw_modulo(primes_between(5, self._max_prime), rng)

    def _box(self, text: str) -> str:
        return text if self._style is Style.TERSE else in_box(text)


def in_box(text: str) -> str:
    """A text as LaTeX frames it."""
    return rf"\boxed{{{text}}}"


def is_prime(number: int) -> bool:
    """Whether `number` is a prime."""
    return number > 1 and all(number % divisor for divisor in range(2, isqrt(number) + 1))


def primes_between(lowest: int, highest: int) -> list[int]:
    """The primes from `lowest` to `highest`, both included, rising."""
    return [number for number in range(lowest, highest + 1) if is_prime(number)]


def solving_primes(pairs: Sequence[tuple[int, int]], above: int, limit: int) -> list[int]:
    """The primes p with `above` < p <= `limit` and x * y = 1 (mod p) for all pairs, rising."""
    common = gcd(*(x * y - 1 for x, y in pairs))
    divisors = (number for number in range(above + 1, limit + 1) if common % number == 0)
    return [number for number in divisors if is_prime(number)]
