"""Abduction and deduction: given p and one factor, find the other."""

from __future__ import annotations

import random
from collections.abc import Sequence

from tasks.contract import Json, Rejected
from tasks.kit.kinds import Style
from tasks.kit.payload import Payload, read_int
from tasks.prime_inversion.grammar import read_congruences
from tasks.prime_inversion.unknown import Unknown, in_box, is_prime

SEEDS = {
    "x": ((4, 7), (3, 11), (5, 13), (6, 17)),
    "y": ((3, 7), (2, 11), (6, 13), (5, 17)),
}
"""Known factor and modulus, by unknown."""


class Inverse(Unknown):
    r"""`\boxed{x * 4 = 1 (mod 7)}`, answered by `\boxed{2}`; or the same for y.

    Args:
        letter: The unknown, x or y.
    """

    def __init__(self, letter: str, style: Style, max_prime: int, refuse_trivial: bool) -> None:
        super().__init__(style, max_prime, refuse_trivial)
        self.letter = letter
        self._known = "y" if letter == "x" else "x"
        span = "2 to p-2" if refuse_trivial else "1 to p-1"
        self.request = (
            f"Write one new task in the form of this one, with a prime p <= {max_prime} and a number {span}."
        )
        self.seeds = tuple(in_box(self._render(number, p)) for number, p in SEEDS[letter])

    def parse(self, response: str) -> Payload | Rejected:
        found = read_congruences(response)
        if found is None or len(found) != 1:
            return Rejected.malformed("no-task")
        task = found[0]
        unknown, number = (task.x, task.y) if self.letter == "x" else (task.y, task.x)
        if unknown != self.letter or not isinstance(number, int) or not isinstance(task.p, int):
            return Rejected.malformed("wrong-slots")
        return self._check(number, task.p)

    def _check(self, number: int, p: int) -> Payload | Rejected:
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
        return self._render(read_int(payload, self._known), read_int(payload, "p"))

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

    def _render(self, number: int, p: int) -> str:
        factors = f"x * {number}" if self.letter == "x" else f"{number} * y"
        return f"{factors} = 1 (mod {p})"
