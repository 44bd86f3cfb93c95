"""Abduction: given a result, find two operands."""

from __future__ import annotations

import random
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import ClassVar

from tasks.arithmetic.kind import TEN, ArithmeticKind, difficulty_of
from tasks.contract import Json, Rejected, Verdict
from tasks.kit.form import terse_answer
from tasks.kit.kinds import Style
from tasks.kit.parsing import last_line
from tasks.kit.payload import Payload, read_int, read_pair, read_str

PROPOSAL = re.compile(r"(?:Find:[ \t]*)?\?[ \t]*([-+*])[ \t]*\?[ \t]*=[ \t]*(-?[0-9]{1,9})")
# Two ways to be apart, not one optional mark among blanks: that would take quadratic time on many blanks.
APART = r"(?:[ \t]*([-+*,])[ \t]*|[ \t]+)"
ANSWER = re.compile(rf"([0-9]{{1,6}}){APART}([0-9]{{1,6}})(?:[ \t]*=[ \t]*(-?[0-9]{{1,9}}))?")


class Abduction(ArithmeticKind):
    """`Find: ? + ? = 30`, answered by `15 15` or any other pair inside the bounds.

    Args:
        maximum: Largest operand of sums and differences.
        product_maximum: Largest operand of products.
    """

    num_references = 2
    seeds = ("Find: ? + ? = 7", "Find: ? - ? = 4", "Find: ? * ? = 6", "Find: ? - ? = -3")
    held_out_counts: ClassVar[Mapping[str, int]] = {"+": 80, "-": 80, "*": 60}

    def __init__(self, style: Style, *, maximum: int, product_maximum: int) -> None:
        super().__init__(style)
        self._maximum = maximum
        self._product_maximum = product_maximum
        self.request = (
            "Write one new task in the form of these, solvable with "
            f"numbers 0 to {maximum}, with * 0 to {product_maximum}."
        )

    def parse(self, response: str) -> Payload | Rejected:
        found = PROPOSAL.fullmatch(last_line(response))
        if found is None:
            return Rejected.malformed("no-task")
        op, result = found[1], int(found[2])
        bound = self._bound(op)
        lowest, highest = self._results(op)
        if not lowest <= result <= highest:
            return Rejected.malformed("result-out-of-range")
        if next(pairs(op, result, bound), None) is None:
            return Rejected.wrong("no-solution")
        return {"op": op, "result": result, "max": bound}

    def statement(self, payload: Payload) -> str:
        task = f"? {read_str(payload, 'op')} ? = {read_int(payload, 'result')}"
        return task if self._style is Style.TERSE else f"Find: {task}"

    def question(self, payload: Payload) -> str:
        task = self.statement(payload)
        match self._style:
            case Style.CHAT:
                bound = read_int(payload, "max")
                return f"{task}\nReply with two integers, 0 to {bound}, on the last line."
            case Style.BASE:
                return f"{task}\nTwo integers, 0 to {read_int(payload, 'max')}:"
            case Style.TERSE:
                return task

    def judge(self, payload: Payload, response: str) -> Verdict:
        """The answer is two integers, or the whole equation of this very task."""
        line = last_line(response)
        answer = line[line.rfind(":") + 1 :].strip().removesuffix(".")
        found = ANSWER.fullmatch(answer)
        if found is None:
            return Verdict.malformed("no-answer")
        op, result, bound = read_str(payload, "op"), read_int(payload, "result"), read_int(payload, "max")
        a, separator, b = int(found[1]), found[2], int(found[3])
        other_op = separator not in (None, ",", op)
        other_result = found[4] is not None and int(found[4]) != result
        if other_op or other_result:
            return Verdict.malformed("other-task")
        if max(a, b) > bound:
            return Verdict.malformed("operand-out-of-range")
        if {"+": a + b, "-": a - b, "*": a * b}[op] != result:
            return Verdict.wrong("wrong-value")
        return Verdict.correct()

    def answer(self, payload: Payload) -> str:
        """The pair that it was drawn from; for a proposed task the first that fits."""
        if "drawn_from" in payload:
            a, b = read_pair(payload["drawn_from"])
        else:
            found = pairs(read_str(payload, "op"), read_int(payload, "result"), read_int(payload, "max"))
            a, b = next(found)
        return f"{a} {b}"

    def difficulty(self, payload: Payload) -> str:
        """By the pair that gets along with the smallest operands."""
        op = read_str(payload, "op")
        solutions = pairs(op, read_int(payload, "result"), read_int(payload, "max"))
        return difficulty_of(min(max(pair) for pair in solutions), is_product=op == "*")

    def structure(self, payload: Payload) -> str:
        """The operation, and the result to within ten."""
        return f"{read_str(payload, 'op')} {read_int(payload, 'result') // TEN}"

    def worked(self, payload: Payload) -> str:
        """The whole equation, with the first pair that solves it."""
        op, result = read_str(payload, "op"), read_int(payload, "result")
        a, b = next(pairs(op, result, read_int(payload, "max")))
        return terse_answer(f"{a} {b}", f"{a}{op}{b}={result}")

    def draw(self, variant: str, rng: random.Random) -> dict[str, Json]:
        """Evenly by result, and of the pairs that solve it, one with a short operand.

        Of a product both factors are drawn, so that every result has a solution; 0 is the likeliest then.
        """
        bound = self._bound(variant)
        if variant == "*":
            result = rng.randint(0, bound) * rng.randint(0, bound)
        else:
            result = rng.randint(*self._results(variant))
        by_digits: dict[int, list[tuple[int, int]]] = defaultdict(list)
        for pair in pairs(variant, result, bound):
            by_digits[len(str(min(pair)))].append(pair)
        drawn_from = rng.choice(by_digits[min(by_digits)])
        return {"op": variant, "result": result, "max": bound, "drawn_from": list(drawn_from)}

    def key(self, payload: Payload) -> str:
        """Without the bounds: they only say which of the task's answers count."""
        return f"abduction {read_str(payload, 'op')} {read_int(payload, 'result')}"

    def _bound(self, op: str) -> int:
        return self._product_maximum if op == "*" else self._maximum

    def _results(self, op: str) -> tuple[int, int]:
        """Smallest and largest result of two operands inside the bounds."""
        bound = self._bound(op)
        return {"+": (0, 2 * bound), "-": (-bound, bound), "*": (0, bound * bound)}[op]


def pairs(op: str, result: int, bound: int) -> Iterator[tuple[int, int]]:
    """Yield the pairs (a, b) of 0..`bound` with `a op b = result`, by rising a.

    For a * b = 0 with a = 0 any b would do; only b = 0 is given.
    """
    for a in range(bound + 1):
        if op == "+":
            b = result - a
        elif op == "-":
            b = a - result
        elif a == 0:
            b = 0 if result == 0 else -1
        else:
            b = result // a if result % a == 0 else -1
        if 0 <= b <= bound:
            yield a, b
