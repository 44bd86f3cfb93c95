"""The three kinds, each a congruence with one number left out: x, y or the prime p."""

from __future__ import annotations

import random
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from enum import StrEnum
from functools import cache
from math import gcd, isqrt
from typing import ClassVar

from tasks.contract import Json, Rejected, Verdict
from tasks.kit.kinds import Kind, Style
from tasks.kit.payload import Payload, read_int, read_pairs
from tasks.prime_inversion.grammar import read_answer, read_congruences

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
        modulus = read_int(payload, "p") if "p" in payload else None
        answer = read_answer(response, self.letter, modulus)
        if answer is None:
            return Verdict.malformed("no-answer")
        return Verdict.correct() if self.is_right(payload, answer) else Verdict.wrong("wrong-value")

    def gold(self, payload: Payload) -> str:
        return self._box(str(self.least_answer(payload)))

    def answer_key(self, payload: Payload) -> str:
        return _boxed(str(self.least_answer(payload)))

    def draw(self, variant: str, rng: random.Random) -> dict[str, Json]:
        """The variants are the bands of the held-out set, whatever the largest modulus."""
        return self.draw_modulo(primes_between(*BANDS[variant]), rng)

    def sample(self, rng: random.Random) -> dict[str, Json]:
        """Draw a task with the primes up to the largest modulus drawn evenly."""
        return self.draw_modulo(primes_between(5, self._max_prime), rng)

    def _box(self, text: str) -> str:
        return text if self._style is Style.TERSE else _boxed(text)


class Inverse(Unknown):
    r"""Abduction and deduction: `\boxed{x * 4 = 1 (mod 7)}`, answered by `\boxed{2}`; or the same for y."""

    def __init__(self, letter: str, style: Style, max_prime: int, refuse_trivial: bool) -> None:
        super().__init__(style, max_prime, refuse_trivial)
        self.letter = letter
        self._known = "y" if letter == "x" else "x"
        span = "2 to p-2" if refuse_trivial else "1 to p-1"
        self.request = (
            f"Write one new task in the form of this one, with a prime p <= {max_prime} and a number {span}."
        )
        seeds = {"x": ((4, 7), (3, 11), (5, 13), (6, 17)), "y": ((3, 7), (2, 11), (6, 13), (5, 17))}[letter]
        self.seeds = [self.congruence({self._known: number, "p": p}) for number, p in seeds]

    def parse(self, response: str) -> Payload | Rejected:
        found = read_congruences(response)
        if len(found) != 1:
            return Rejected.malformed("no-task")
        (task,) = found
        unknown, number = (task.x, task.y) if self.letter == "x" else (task.y, task.x)
        p = task.p
        if unknown != self.letter or not isinstance(number, int) or not isinstance(p, int):
            return Rejected.malformed("wrong-slots")
        if not 2 <= p <= self._max_prime:
            return Rejected.malformed("prime-out-of-range")
        if not is_prime(p):
            return Rejected.wrong("composite-modulus")
        if number % p == 0:
            return Rejected.wrong("multiple-of-p")
        if number >= p:
            return Rejected.malformed("operand-out-of-range")
        if self._refuse_trivial and number in (1, p - 1):
            return Rejected.wrong("trivial-operand")
        return {self._known: number, "p": p}

    def congruence(self, payload: Payload) -> str:
        number = read_int(payload, self._known)
        factors = f"x * {number}" if self.letter == "x" else f"{number} * y"
        return f"{factors} = 1 (mod {read_int(payload, 'p')})"

    def is_right(self, payload: Payload, answer: int) -> bool:
        """Any number that is congruent to the inverse is right."""
        return answer * read_int(payload, self._known) % read_int(payload, "p") == 1

    def least_answer(self, payload: Payload) -> int:
        return pow(read_int(payload, self._known), -1, read_int(payload, "p"))

    def draw_modulo(self, primes: Sequence[int], rng: random.Random) -> dict[str, Json]:
        p = rng.choice(primes)
        return {self._known: rng.randint(2, p - 2), "p": p}

    def key(self, payload: Payload) -> str:
        """Number and modulus; x * 4 = 1 and 4 * y = 1 (mod 7) ask for the same."""
        return f"inverse {read_int(payload, self._known)} {read_int(payload, 'p')}"


class Unique(StrEnum):
    """What makes the prime of an induction task unique; the knob `induction_unique` says more."""

    NONE = "none"
    LARGER_THAN_OPERANDS = "larger_than_operands"
    N_PAIRS = "n_pairs"


NUM_PAIRS = 2
"""Pairs in a task under `Unique.N_PAIRS`: two random pairs leave one prime in four cases of five."""

PAIRS_OF_SEEDS = (((3, 5), (2, 4)), ((3, 4), (2, 6)), ((2, 7), (3, 9)), ((2, 9), (3, 6)))
"""For the moduli 7, 11, 13 and 17; a task takes the first of a group, or two."""

REQUESTS = {
    Unique.NONE: "two numbers below {bound}, solved by a prime p <= {bound}.",
    Unique.LARGER_THAN_OPERANDS: "two numbers below a prime p <= {bound} that solves it.",
    Unique.N_PAIRS: "two pairs of numbers below {bound}, solved by just one prime p <= {bound}.",
}


class Modulus(Unknown):
    r"""Induction: `\boxed{3 * 5 = 1 (mod p)}`, answered by `\boxed{7}`."""

    letter = "p"

    def __init__(self, unique: Unique, style: Style, max_prime: int, refuse_trivial: bool) -> None:
        super().__init__(style, max_prime, refuse_trivial)
        self._unique = unique
        self._num_pairs = NUM_PAIRS if unique is Unique.N_PAIRS else 1
        wanted = REQUESTS[unique].format(bound=max_prime)
        self.request = f"Write one new task in the form of this one: {wanted}"
        self.seeds = [_render(pairs[: self._num_pairs]) for pairs in PAIRS_OF_SEEDS]

    def parse(self, response: str) -> Payload | Rejected:
        found = read_congruences(response)
        if not found:
            return Rejected.malformed("no-task")
        if len(found) != self._num_pairs:
            return Rejected.malformed("number-of-pairs")
        pairs = []
        for task in found:
            if task.p != self.letter or not isinstance(task.x, int) or not isinstance(task.y, int):
                return Rejected.malformed("wrong-slots")
            pairs.append((task.x, task.y))
        return self._check(pairs)

    def _check(self, pairs: list[tuple[int, int]]) -> dict[str, Json] | Rejected:
        if not all(1 <= number < self._max_prime for pair in pairs for number in pair):
            return Rejected.malformed("operand-out-of-range")
        if (1, 1) in pairs:
            return Rejected.wrong("every-prime")
        if len({(min(pair), max(pair)) for pair in pairs}) < len(pairs):
            return Rejected.wrong("repeated-pair")
        is_above = self._unique is Unique.LARGER_THAN_OPERANDS
        above = max(max(pair) for pair in pairs) if is_above else 1
        payload: dict[str, Json] = {
            "pairs": [[x, y] for x, y in pairs],
            "above": above,
            "limit": self._max_prime,
        }
        primes = _solving_primes(payload)
        if not primes:
            return Rejected.wrong("no-prime")
        if self._unique is Unique.N_PAIRS and len(primes) > 1:
            return Rejected.wrong("ambiguous-prime")
        # 1 and p-1, each its own inverse, are trivial.
        if self._refuse_trivial and all(any(x % p in (1, p - 1) for x, _ in pairs) for p in primes):
            return Rejected.wrong("trivial-operand")
        return payload

    def congruence(self, payload: Payload) -> str:
        return _render(read_pairs(payload, "pairs"))

    def demand(self, payload: Payload) -> str:
        above = read_int(payload, "above")
        return f"prime p > {above}" if above > 1 else f"prime p <= {read_int(payload, 'limit')}"

    def is_right(self, payload: Payload, answer: int) -> bool:
        """Any prime counts that meets the statement and solves all pairs."""
        if not read_int(payload, "above") < answer <= read_int(payload, "limit") or not is_prime(answer):
            return False
        return all(x * y % answer == 1 for x, y in read_pairs(payload, "pairs"))

    def least_answer(self, payload: Payload) -> int:
        return _solving_primes(payload)[0]

    def draw_modulo(self, primes: Sequence[int], rng: random.Random) -> dict[str, Json]:
        while True:
            p = rng.choice(primes)
            operands = rng.choices(range(2, p - 1), k=self._num_pairs)
            payload = self._check([(x, pow(x, -1, p)) for x in operands])
            if not isinstance(payload, Rejected):
                return payload

    def key(self, payload: Payload) -> str:
        """The pairs without their order; the bounds only say which of the answers count."""
        return f"modulus {sorted(sorted(pair) for pair in read_pairs(payload, 'pairs'))}"


def is_prime(number: int) -> bool:
    """Whether `number` is a prime; meant for less than 100,000."""
    return number > 1 and all(number % divisor for divisor in range(2, isqrt(number) + 1))


@cache
def primes_between(lowest: int, highest: int) -> tuple[int, ...]:
    """The primes from `lowest` to `highest`, both included, rising."""
    return tuple(number for number in range(lowest, highest + 1) if is_prime(number))


def _solving_primes(payload: Payload) -> list[int]:
    """The primes p inside a payload's bounds with x * y = 1 (mod p) for all its pairs, rising."""
    common = gcd(*(x * y - 1 for x, y in read_pairs(payload, "pairs")))
    candidates = range(read_int(payload, "above") + 1, read_int(payload, "limit") + 1)
    return [number for number in candidates if common % number == 0 and is_prime(number)]


def _render(pairs: Sequence[tuple[int, int]]) -> str:
    return ", ".join(f"{x} * {y} = 1 (mod p)" for x, y in pairs)


def _boxed(text: str) -> str:
    return rf"\boxed{{{text}}}"
