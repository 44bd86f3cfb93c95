"""Deduction: given `a op b`, find the result."""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import product
from math import isqrt
from typing import ClassVar

from tasks.arithmetic.kind import OPERATIONS, TEN, Difficulty, IntegerKind
from tasks.contract import Json, Rejected
from tasks.kit.form import terse_answer
from tasks.kit.kinds import Style
from tasks.kit.parsing import last_line
from tasks.kit.payload import Payload, read_int, read_str

NUM_SEEDS = 4
SEEDS = (
    *((3, "+", 4), (9, "-", 5), (2, "*", 3), (6, "/", 2), (2, "-", 8), (2, "+", 3), (2, "*", 8), (8, "/", 4)),
    *((2, "+", 8), (3, "-", 4), (5, "*", 7), (9, "/", 3), (9, "+", 5), (2, "-", 3), (6, "*", 8), (4, "/", 2)),
)
"""A pack starts from the first four whose operation is on, moved up by the smallest operand."""


class Deduction(IntegerKind):
    """`Calculate: 12 + 5 =`, answered by `17`."""

    num_references = 2
    # There are few products under the default bounds, and self-play needs most of them.
    held_out_counts: ClassVar[Mapping[str, int]] = {"+": 150, "-": 200, "*": 30}

    def __init__(
        self,
        style: Style,
        bounds: Mapping[str, int],
        difficulty: Difficulty,
        *,
        operations: Sequence[str],
        minimum: int,
    ) -> None:
        """Take the operations of proposals; tasks of the others are stated and judged all the same.

        `bounds` are the largest operands, by operation; `minimum` is the smallest, 0 with `/`.
        """
        super().__init__(style, difficulty)
        self._minimum = minimum
        self._bounds = bounds
        self._operations = tuple(operations)
        self.request = self._make_request()
        signs = "".join(map(re.escape, self._operations))
        self._proposal = re.compile(
            rf"(?:Calculate:[ \t]*)?([0-9]{{1,6}})[ \t]*([{signs}])[ \t]*([0-9]{{1,6}})[ \t]*="
        )
        on = [f"{a + minimum} {op} {b + minimum} =" for a, op, b in SEEDS if op in self._operations]
        self.seeds = tuple(f"Calculate: {task}" for task in on[:NUM_SEEDS])

    def parse(self, response: str) -> Payload | Rejected:
        found = self._proposal.fullmatch(last_line(response))
        if found is None:
            return Rejected.malformed("no-task")
        a, op, b = int(found[1]), found[2], int(found[3])
        if max(a, b) > self._bounds[op] or min(a, b) < self._minimum:
            return Rejected.malformed("operand-out-of-range")
        if op == "/" and (b == 0 or a % b):
            return Rejected.wrong("not-exact")
        return {"a": a, "op": op, "b": b}

    def statement(self, payload: Payload) -> str:
        a, op, b = _read(payload)
        return f"{a} {op} {b} =" if self._style is Style.TERSE else f"Calculate: {a} {op} {b} ="

    def question(self, payload: Payload) -> str:
        return self.ask(self.statement(payload))

    def result(self, payload: Payload) -> int:
        a, op, b = _read(payload)
        return OPERATIONS[op](a, b)

    def difficulty(self, payload: Payload) -> str:
        a, op, b = _read(payload)
        return self._difficulty.label(max(a, b), is_product=op == "*")

    def num_tasks(self) -> Mapping[str, int]:
        """Counted by the larger operand, which decides the difficulty."""
        counts: Counter[str] = Counter()
        for level, op in product(self._difficulty.plain, self._operations):
            counts[level] += sum(self._num_with(op, largest) for largest in self._largest_at(level, op))
        return +counts

    def levels(self) -> tuple[str, ...]:
        return tuple(
            level
            for level in self._difficulty.plain
            if any(self._largest_at(level, op) for op in self._operations)
        )

    def draw_at(self, level: str, rng: random.Random) -> dict[str, Json]:
        """Draw the operation evenly from those with such tasks, then the larger operand, then the smaller."""
        op = rng.choice([op for op in self._operations if self._largest_at(level, op)])
        return draw_largest(op, self._minimum, rng.choice(self._largest_at(level, op)), rng)

    def _largest_at(self, level: str, op: str) -> range:
        """What the larger operand of a task of `op` is at this level."""
        found = self._difficulty.operands(level, self._bounds[op], is_product=op == "*")
        return range(max(found.start, self._minimum, int(op == "/")), found.stop)

    def _num_with(self, op: str, largest: int) -> int:
        """How many tasks of `op` have this larger operand."""
        num_smaller = largest - self._minimum
        if op == "-":
            return 2 * num_smaller + 1
        if op != "/":
            return num_smaller + 1  # the operands' order makes no other task
        return len(_divisors(largest)) + 1  # and 0 / largest

    def structure(self, payload: Payload) -> str:
        """The operation, and the larger operand to within ten."""
        a, op, b = _read(payload)
        return f"{op} {max(a, b) // TEN}"

    def worked(self, payload: Payload) -> str | None:
        """Column by column, the units first; a product or a quotient has no steps."""
        a, op, b = _read(payload)
        if op in "*/":
            return None
        if op == "+":
            units = a % 10 + b % 10
            carried = units // 10
            tens = a // 10 + b // 10 + carried
            steps = f"{a % 10}+{b % 10}={units} {a // 10}+{b // 10}+{carried}={tens}"
        else:
            high, low = max(a, b), min(a, b)
            borrowed = int(high % 10 < low % 10)
            tens = high // 10 - low // 10 - borrowed
            left = high % 10 + 10 * borrowed
            steps = f"{left}-{low % 10}={left - low % 10} {high // 10}-{low // 10}-{borrowed}={tens}"
        return terse_answer(self.answer(payload), steps)

    def draw(self, variant: str, rng: random.Random) -> dict[str, Json]:
        return draw_task(variant, self._minimum, self._bounds[variant], rng)

    def sample(self, rng: random.Random) -> dict[str, Json]:
        """A task of an operation that is on, drawn evenly."""
        return self.draw(rng.choice(self._operations), rng)

    def key(self, payload: Payload) -> str:
        """Without the order of a sum's or a product's operands."""
        a, op, b = _read(payload)
        return f"deduction {a} {op} {b}" if op in "-/" else f"deduction {min(a, b)} {op} {max(a, b)}"

    def _make_request(self) -> str:
        limits = []
        if self._operations != ("*",):
            limits.append(f"{self._minimum} to {self._bounds['+']}")
        if "*" in self._operations:
            sign = "with * " if limits else ""
            limits.append(f"{sign}{self._minimum} to {self._bounds['*']}")
        if "/" in self._operations:
            limits.append("/ only without a remainder")
        return f"Write one new task in the form of these. Numbers {', '.join(limits)}."


def draw_task(op: str, low: int, high: int, rng: random.Random) -> dict[str, Json]:
    """Draw both operands evenly from `low` to `high`; for `/` the divisor, but 0, and a multiple of it."""
    if op == "/":
        b = rng.randint(max(low, 1), high)
        return {"a": b * rng.randint(-(-low // b), high // b), "op": op, "b": b}
    return {"a": rng.randint(low, high), "op": op, "b": rng.randint(low, high)}


def draw_largest(op: str, low: int, largest: int, rng: random.Random) -> dict[str, Json]:
    """Draw a task whose larger operand is `largest`: the smaller evenly from `low`, and the order likewise.

    For `/`, which has no such task of 0, the smaller is 0 or a divisor.
    """
    if op == "/":
        smaller = rng.choice([0, *_divisors(largest)])
        return {"a": largest if smaller else 0, "op": op, "b": smaller or largest}
    a, b = rng.sample([largest, rng.randint(low, largest)], 2)
    return {"a": a, "op": op, "b": b}


def _divisors(number: int) -> list[int]:
    small = [d for d in range(1, isqrt(number) + 1) if number % d == 0]
    return sorted({*small, *(number // d for d in small)})


def _read(payload: Payload) -> tuple[int, str, int]:
    return read_int(payload, "a"), read_str(payload, "op"), read_int(payload, "b")
