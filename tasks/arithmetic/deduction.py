"""Deduction: given `a op b`, find the result."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from typing import ClassVar

from tasks.arithmetic.answer import after_steps, bare, judge_integer
from tasks.arithmetic.difficulty import difficulty_of
from tasks.contract import Json, Rejected, Verdict
from tasks.kinds_pack import Kind, malformed
from tasks.parsing import last_line
from tasks.payload import Payload, read_int, read_str

PROPOSAL = re.compile(r"(?:Calculate:[ \t]*)?([0-9]{1,6})[ \t]*([-+*])[ \t]*([0-9]{1,6})[ \t]*=")


class Deduction(Kind):
    """`Calculate: 12 + 5 =`, answered by `17`."""

    num_references = 2
    seeds = ("Calculate: 3 + 4 =", "Calculate: 9 - 5 =", "Calculate: 2 * 3 =", "Calculate: 2 - 8 =")
    # There are few products under the default bounds, and self-play needs most of them.
    held_out_counts: ClassVar[Mapping[str, int]] = {"+": 150, "-": 200, "*": 30}

    def __init__(self, maximum: int, product_maximum: int) -> None:
        """Set the largest operand of sums and differences, and of products."""
        self._maximum = maximum
        self._product_maximum = product_maximum
        self.request = (
            f"Write one new task in the form of these. Numbers 0 to {maximum}, with * 0 to {product_maximum}."
        )

    def parse(self, response: str) -> Payload | Rejected:
        """See `Kind.parse`."""
        found = PROPOSAL.fullmatch(last_line(response))
        if found is None:
            return malformed("no-task")
        a, op, b = int(found[1]), found[2], int(found[3])
        if max(a, b) > self._bound(op):
            return malformed("operand-out-of-range")
        return {"a": a, "op": op, "b": b}

    def statement(self, payload: Payload) -> str:
        """See `Kind.statement`."""
        return f"Calculate: {self.terse_statement(payload)}"

    def terse_statement(self, payload: Payload) -> str:
        """See `Kind.terse_statement`."""
        return f"{read_int(payload, 'a')} {read_str(payload, 'op')} {read_int(payload, 'b')} ="

    def question(self, payload: Payload) -> str:
        """See `Kind.question`."""
        return f"{self.statement(payload)}\nReply with one integer."

    def terse_question(self, payload: Payload) -> str:
        """See `Kind.terse_question`."""
        return self.terse_statement(payload)

    def judge(self, payload: Payload, response: str) -> Verdict:
        """See `Kind.judge`."""
        return judge_integer(response, self._result(payload))

    def gold(self, payload: Payload) -> str:
        """See `Kind.gold`."""
        return str(self._result(payload))

    def difficulty(self, payload: Payload) -> str:
        """See `Kind.difficulty`."""
        largest = max(read_int(payload, "a"), read_int(payload, "b"))
        return difficulty_of(largest, is_product=read_str(payload, "op") == "*")

    def terse_gold(self, payload: Payload) -> str:
        """See `Kind.terse_gold`."""
        return bare(self.gold(payload))

    def worked(self, payload: Payload) -> str | None:
        """See `Kind.worked`: column by column, the units first; a product has no steps."""
        a, op, b = read_int(payload, "a"), read_str(payload, "op"), read_int(payload, "b")
        if op == "*":
            return None
        if op == "+":
            units = a % 10 + b % 10
            carried = units // 10
            tens = a // 10 + b // 10 + carried
            steps = f"{a % 10}+{b % 10}={units} {a // 10}+{b // 10}+{carried}={tens}"
            return after_steps(steps, self.gold(payload))
        high, low = max(a, b), min(a, b)
        borrowed = int(high % 10 < low % 10)
        tens = high // 10 - low // 10 - borrowed
        left = high % 10 + 10 * borrowed
        steps = f"{left}-{low % 10}={left - low % 10} {high // 10}-{low // 10}-{borrowed}={tens}"
        return after_steps(steps, self.gold(payload))

    def draw(self, variant: str, rng: random.Random) -> dict[str, Json]:
        """See `Kind.draw`."""
        bound = self._bound(variant)
        return {"a": rng.randint(0, bound), "op": variant, "b": rng.randint(0, bound)}

    def key(self, payload: Payload) -> str:
        """See `Kind.key`; the order of a sum's or a product's operands is not part of the task."""
        a, op, b = read_int(payload, "a"), read_str(payload, "op"), read_int(payload, "b")
        return f"deduction {a} - {b}" if op == "-" else f"deduction {min(a, b)} {op} {max(a, b)}"

    def _bound(self, op: str) -> int:
        return self._product_maximum if op == "*" else self._maximum

    def _result(self, payload: Payload) -> int:
        a, op, b = read_int(payload, "a"), read_str(payload, "op"), read_int(payload, "b")
        return {"+": a + b, "-": a - b, "*": a * b}[op]
