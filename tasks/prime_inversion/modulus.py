"""Induction: given x and y, find the prime p."""

from __future__ import annotations

import random
from collections.abc import Sequence
from enum import StrEnum

from tasks.contract import Json, Rejected
from tasks.kit.kinds import Style
from tasks.kit.payload import Payload, read_int, read_pairs
from tasks.prime_inversion.grammar import read_congruences
from tasks.prime_inversion.unknown import Unknown, in_box, is_prime, solving_primes


class Unique(StrEnum):
    """What makes the prime of an induction task unique."""

    NONE = "none"  # Nothing: any prime up to the bound that solves the congruence is right.
    LARGER_THAN_OPERANDS = "larger_than_operands"
    """The statement says that p is larger than x and y. Two such primes would have a product above
    x * y - 1, which both divide, so there is never more than one."""

    N_PAIRS = "n_pairs"  # `NUM_PAIRS` pairs for one p, refused if more than one prime solves them all.


NUM_PAIRS = 2
"""Pairs in a task under `Unique.N_PAIRS`: two random pairs leave one prime in four cases of five."""

SEEDS = (((3, 5), (2, 4)), ((3, 4), (2, 6)), ((2, 7), (3, 9)), ((2, 9), (3, 6)))
"""Pairs for the moduli 7, 11, 13 and 17; a task takes the first of a group, or two."""

REQUESTS = {
    Unique.NONE: "two numbers below {bound}, solved by a prime p <= {bound}.",
    Unique.LARGER_THAN_OPERANDS: "two numbers below a prime p <= {bound} that solves it.",
    Unique.N_PAIRS: "two pairs of numbers below {bound}, solved by just one prime p <= {bound}.",
}


class Modulus(Unknown):
    r"""`\boxed{3 * 5 = 1 (mod p)}`, answered by `\boxed{7}`.

    Args:
        unique: What makes p unique.
    """

    letter = "p"

    def __init__(self, unique: Unique, style: Style, max_prime: int, refuse_trivial: bool) -> None:
        super().__init__(style, max_prime, refuse_trivial)
        self._unique = unique
        self._num_pairs = NUM_PAIRS if unique is Unique.N_PAIRS else 1
        wanted = REQUESTS[unique].format(bound=max_prime)
        self.request = f"Write one new task in the form of this one: {wanted}"
        self.seeds = tuple(in_box(_render(group[: self._num_pairs])) for group in SEEDS)

    def parse(self, response: str) -> Payload | Rejected:
        found = read_congruences(response)
        if found is None:
            return Rejected.malformed("no-task")
        if len(found) != self._num_pairs:
            return Rejected.malformed("number-of-pairs")
        pairs = []
        for task in found:
            if task.p != self.letter or not isinstance(task.x, int) or not isinstance(task.y, int):
                return Rejected.malformed("wrong-slots")
            pairs.append((task.x, task.y))
        return self._check(pairs)

    def _check(self, pairs: list[tuple[int, int]]) -> Payload | Rejected:
        if not all(1 <= number < self._max_prime for pair in pairs for number in pair):
            return Rejected.malformed("operand-out-of-range")
        if (1, 1) in pairs:
            return Rejected.wrong("every-prime")
        if len({(min(pair), max(pair)) for pair in pairs}) < len(pairs):
            return Rejected.wrong("repeated-pair")
        payload = self._payload(pairs)
        primes = self._primes(payload)
        if not primes:
            return Rejected.wrong("no-prime")
        if self._unique is Unique.N_PAIRS and len(primes) > 1:
            return Rejected.wrong("ambiguous-prime")
        if self._refuse_trivial and all(_is_trivial(pairs, p) for p in primes):
            return Rejected.wrong("trivial-operand")
        return payload

    def congruence(self, payload: Payload) -> str:
        return _render(read_pairs(payload, "pairs"))

    def demand(self, payload: Payload) -> str:
        if self._above(payload) > 1:
            return f"prime p > {self._above(payload)}"
        return f"prime p <= {read_int(payload, 'limit')}"

    def is_right(self, payload: Payload, answer: int) -> bool:
        """Any prime counts that meets the statement and solves all pairs."""
        if not self._above(payload) < answer <= read_int(payload, "limit") or not is_prime(answer):
            return False
        return all(x * y % answer == 1 for x, y in read_pairs(payload, "pairs"))

    def least_answer(self, payload: Payload) -> int:
        return self._primes(payload)[0]

    def draw_modulo(self, primes: Sequence[int], rng: random.Random) -> dict[str, Json]:
        while True:
            p = rng.choice(primes)
            operands = rng.choices(range(2, p - 1), k=self._num_pairs)
            payload = self._check([(x, pow(x, -1, p)) for x in operands])
            if not isinstance(payload, Rejected):
                return dict(payload)

    def key(self, payload: Payload) -> str:
        """The pairs without their order; the bounds only say which of the answers count."""
        return f"modulus {sorted(sorted(pair) for pair in read_pairs(payload, 'pairs'))}"

    def _payload(self, pairs: Sequence[tuple[int, int]]) -> Payload:
        larger = self._unique is Unique.LARGER_THAN_OPERANDS
        above = max(max(pair) for pair in pairs) if larger else 1
        return {"pairs": [list(pair) for pair in pairs], "above": above, "limit": self._max_prime}

    @staticmethod
    def _above(payload: Payload) -> int:
        return read_int(payload, "above")

    def _primes(self, payload: Payload) -> list[int]:
        pairs, limit = read_pairs(payload, "pairs"), read_int(payload, "limit")
        return solving_primes(pairs, self._above(payload), limit)


def _is_trivial(pairs: Sequence[tuple[int, int]], p: int) -> bool:
    """Whether a pair multiplies 1 or p-1, each its own inverse, by itself modulo p."""
    return any(x % p in (1, p - 1) for x, _ in pairs)


def _render(pairs: Sequence[tuple[int, int]]) -> str:
    return ", ".join(f"{x} * {y} = 1 (mod p)" for x, y in pairs)
