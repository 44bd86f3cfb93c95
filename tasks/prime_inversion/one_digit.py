"""Inverses of numbers of one digit: how many digits the prime has says how hard they are.

Every step of the working is one of a small table of single digits, so a longer prime takes more steps and no
other ones.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from functools import partial

from tasks.contract import Json, Rejected, TaskRecord
from tasks.kit.held_out_file import Stratum
from tasks.kit.kinds import Style
from tasks.kit.payload import Payload, read_int
from tasks.prime_inversion.kinds import Inverse, primes_between

LEVELS = {"p-to-999": (101, 999), "p-to-9999": (1000, 9999), "p-to-99999": (10_000, 99_999)}
"""Lowest and highest modulus by level. Of two digits there are but 21 primes."""

SMALLEST_NUMBER, LARGEST_NUMBER = 2, 9
SMALLEST_PRIME, LARGEST_PRIME = 101, 99_999

# Of the first level there are 1,144 tasks, and self-play needs most of them.
HELD_OUT_COUNTS = dict(zip(LEVELS, (100, 200, 200), strict=True))

SEEDS: Mapping[str, Sequence[tuple[int, int]]] = {
    "x": ((2, 107), (3, 107), (2, 1009), (3, 10_007)),
    "y": ((2, 101), (3, 103), (3, 1009), (2, 10_007)),
}
"""By the letter that is asked for, in neither held-out set; a pack starts from those within `max_prime`."""


class OneDigitInverse(Inverse):
    """Abduction and deduction with numbers of one digit, answered by the working where prompts are terse."""

    def __init__(
        self, letter: str, style: Style, max_prime: int, refuse_trivial: bool, max_number: int
    ) -> None:
        """Take proposals about the numbers 2 to `max_number`, which is 9 at most, and primes from 101."""
        super().__init__(letter, style, max_prime, refuse_trivial)
        self._max_number = max_number
        self.request = (
            "Write one new task in the form of this one, with a prime p from "
            f"{SMALLEST_PRIME} to {max_prime} and a number {SMALLEST_NUMBER} to {max_number}."
        )
        self.seeds = [self.statement(self._task(number, p)) for number, p in SEEDS[letter] if p <= max_prime]

    def parse(self, response: str) -> Payload | Rejected:
        payload = super().parse(response)
        if isinstance(payload, Rejected):
            return payload
        if read_int(payload, "p") < SMALLEST_PRIME:
            return Rejected.malformed("prime-out-of-range")
        if not SMALLEST_NUMBER <= read_int(payload, self._known) <= self._max_number:
            return Rejected.malformed("operand-out-of-range")
        return payload

    def gold(self, payload: Payload) -> str:
        number = read_int(payload, self._known)
        if self._style is Style.TERSE and number <= LARGEST_NUMBER:
            return work_out(number, read_int(payload, "p"))
        return super().gold(payload)

    def difficulty(self, payload: Payload) -> str:
        return level_of(read_int(payload, "p"))

    def num_tasks(self) -> Mapping[str, int]:
        num_numbers = self._max_number - SMALLEST_NUMBER + 1
        return {level: num_numbers * len(self._primes(level)) for level in self.levels()}

    def levels(self) -> tuple[str, ...]:
        return tuple(level for level in LEVELS if self._primes(level))

    def draw_at(self, level: str, rng: random.Random) -> dict[str, Json]:
        """Draw the prime evenly from those of a level, and the number evenly."""
        number = rng.randint(SMALLEST_NUMBER, self._max_number)
        return self._task(number, rng.choice(self._primes(level)))

    def sample(self, rng: random.Random) -> dict[str, Json]:
        """A task of any level, the levels evenly."""
        return self.draw_at(rng.choice(self.levels()), rng)

    def _task(self, number: int, p: int) -> dict[str, Json]:
        return {self._known: number, "p": p}

    def _primes(self, level: str) -> Sequence[int]:
        lowest, highest = LEVELS[level]
        return primes_between(lowest, min(highest, self._max_prime))


def level_of(p: int) -> str:
    """The level of a task modulo `p`, which has five digits at most."""
    return next(level for level, (_, highest) in LEVELS.items() if p <= highest)


def held_out_strata() -> list[Stratum]:
    """The parts of the held-out set of such tasks, one a level, whatever the bounds of a run."""
    all_tasks = OneDigitInverse("y", Style.CHAT, LARGEST_PRIME, True, LARGEST_NUMBER)

    def draw(level: str, rng: random.Random) -> TaskRecord:
        return TaskRecord("deduction", all_tasks.draw_at(level, rng))

    return [Stratum(level, count, partial(draw, level)) for level, count in HELD_OUT_COUNTS.items()]


def possible_seeds() -> list[TaskRecord]:
    """What a run with such tasks may start from, under any bounds."""
    return [TaskRecord("deduction", {"x": number, "p": p}) for seeds in SEEDS.values() for number, p in seeds]


def work_out(number: int, p: int) -> str:
    """The inverse of `number`, 2 to 9, modulo a larger prime p, on the line below the steps that lead to it.

    p = q * a + r by short division of p by the number a, digit by digit from the left. Then k below a makes
    k * r + 1 a multiple of a, say m * a, and the inverse is y = k * q + m: a * y = k * (p - r) + k * r + 1 =
    k * p + 1. Of 3 and 617: 617 = 205 * 3 + 2, 1 * 2 + 1 = 1 * 3 and y = 1 * 205 + 1, written

        6=2r0 1=0r1 7=5r2 1+1 5=06 0=00 2=02
        206

    for each digit of p its quotient and what is left; k and m; and from the right for each digit of q its
    product by k with what is carried, m at first. Nothing is carried at the end: y < p, so it has no more
    digits.
    """
    divisions, left, quotient = [], 0, []
    for digit in map(int, str(p)):
        digit_of_quotient, left = divmod(10 * left + digit, number)
        divisions.append(f"{digit}={digit_of_quotient}r{left}")
        quotient.append(digit_of_quotient)
    factor = -pow(left, -1, number) % number
    added = (factor * left + 1) // number
    products, carried = [], added
    for digit in reversed(quotient):
        product = digit * factor + carried
        products.append(f"{digit}={product:02d}")
        carried = product // 10
    inverse = "".join(product[-1] for product in reversed(products))
    return " ".join([*divisions, f"{factor}+{added}", *products]) + f"\n{int(inverse)}"
