"""Abduction: given a result, find two operands."""

from __future__ import annotations

import random
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from typing import ClassVar

from tasks.arithmetic.kind import OPERATIONS, TEN, ArithmeticKind, Difficulty
from tasks.contract import Json, Rejected, Verdict
from tasks.kit.form import terse_answer
from tasks.kit.kinds import Style
from tasks.kit.notation import plain
from tasks.kit.numbers import NumberError, read_integer, read_numbers
from tasks.kit.parsing import answer_line, last_line
from tasks.kit.payload import Payload, read_int, read_pair, read_str

PROPOSAL = re.compile(r"(?:Find:[ \t]*)?\?[ \t]*([-+*])[ \t]*\?[ \t]*=[ \t]*(-?[0-9]{1,9})")
# As in `a = 10, b = 25`, `{'a': 10, 'b': 25}` or `First number: 10, number 2: 25`
LABEL = re.compile(
    r"(?<![^\s,;(*${])['\"]?(?:[a-z?]|(?:first|second|1st|2nd)(?: (?:number|integer|operand))?"
    r"|(?:number|num|integer|operand|[a-z])[ _]?[12])['\"]?[ ]?[=:]",
    re.IGNORECASE,
)
# Each number of its own in bold type, a box or a formula
MARKED = re.compile(r"(\*\*|[$`])[ ]?(-?[0-9]{1,6})[ ]?\1")
SIGN = re.compile(
    r"(?<=[0-9])[ \t]*\b(plus|minus|times)\b[ \t]*(?=[0-9])|(?<=[0-9])([ ]?)x\2(?=[0-9])", re.IGNORECASE
)
SIGNS = {"plus": "+", "minus": "-", "times": "*"}
EQUALS = re.compile(r"==|\b(?:equals|is equal to)\b", re.IGNORECASE)
OPERATOR = re.compile(r"(?<=[0-9])[ \t]*([-+*])[ \t]*(?=[0-9])")
EQUATION = re.compile(
    r"(?<![-0-9.,/*+])([0-9]{1,6})[ \t]*([-+*])[ \t]*([0-9]{1,6})"
    r"[ \t]*=[ \t]*(-?[0-9]{1,9})(?![0-9]|[.,/][0-9])"
)
TOTAL = re.compile(r"=[ \t*$]*(-?[0-9]{1,9})(?=[^0-9]*\Z)(?![.,/][0-9])")

MOST_COUNTED = 999
"""Largest bound of products up to which tasks are counted: that takes time in proportion to its square."""


class Abduction(ArithmeticKind):
    """`Find: ? + ? = 30`, answered by `15 15` or any other pair inside the bounds."""

    num_references = 2
    seeds = ("Find: ? + ? = 7", "Find: ? - ? = 4", "Find: ? * ? = 6", "Find: ? - ? = -3")
    held_out_counts: ClassVar[Mapping[str, int]] = {"+": 80, "-": 80, "*": 60}

    def __init__(self, style: Style, bounds: Mapping[str, int], difficulty: Difficulty) -> None:
        """`bounds` are the largest operands, by operation."""
        super().__init__(style, difficulty)
        self._bounds = bounds
        self.request = (
            "Write one new task in the form of these, solvable with "
            f"numbers 0 to {bounds['+']}, with * 0 to {bounds['*']}."
        )

    def parse(self, response: str) -> Payload | Rejected:
        found = PROPOSAL.fullmatch(last_line(response))
        if found is None:
            return Rejected.malformed("no-task")
        op, result = found[1], int(found[2])
        lowest, highest = self._results(op)
        if not lowest <= result <= highest:
            return Rejected.malformed("result-out-of-range")
        if next(pairs(op, result, self._bounds[op]), None) is None:
            return Rejected.wrong("no-solution")
        return {"op": op, "result": result, "max": self._bounds[op]}

    def statement(self, payload: Payload) -> str:
        op, result, _ = _read(payload)
        task = f"? {op} ? = {result}"
        return task if self._style is Style.TERSE else f"Find: {task}"

    def question(self, payload: Payload) -> str:
        _, _, bound = _read(payload)
        asked = {
            Style.CHAT: f"\nReply with two integers, 0 to {bound}, on the last line.",
            Style.BASE: f"\nTwo integers, 0 to {bound}:",
            Style.TERSE: "",
        }
        return self.statement(payload) + asked[self._style]

    def judge(self, payload: Payload, response: str) -> Verdict:
        """The answer is two integers, or the whole equation of this very task."""
        op, result, bound = _read(payload)
        line = _plain_line(response)
        rest = EQUATION.sub(" ", line)
        # Beside the pair itself an equation only checks it.
        checks = EQUATION.findall(line) if re.search(r"[0-9][^:]*\Z", rest) else []
        line = rest if checks else line
        line = line[line.rfind(":") + 1 :]
        totals = list(map(int, TOTAL.findall(line)))
        line = TOTAL.sub("", line)
        try:
            written = read_numbers(OPERATOR.sub(" , ", line), 2)
        except NumberError:
            return Verdict.malformed("no-answer")
        a, b = map(read_integer, written)
        if a is None or b is None or min(a, b) < 0:
            return Verdict.malformed("no-answer")
        if OPERATOR.findall(line) not in ([], [op]) or totals not in ([], [result]):
            return Verdict.malformed("other-task")
        if any((sign, int(c), {int(x), int(y)}) != (op, result, {a, b}) for x, sign, y, c in checks):
            return Verdict.malformed("other-task")
        if max(a, b) > bound:
            return Verdict.malformed("operand-out-of-range")
        return Verdict.correct() if OPERATIONS[op](a, b) == result else Verdict.wrong("wrong-value")

    def answer(self, payload: Payload) -> str:
        """The pair that it was drawn from; for a proposed task the first that fits."""
        if "drawn_from" in payload:
            a, b = read_pair(payload["drawn_from"])
        else:
            a, b = next(pairs(*_read(payload)))
        return f"{a} {b}"

    def difficulty(self, payload: Payload) -> str:
        """By the pair that gets along with the smallest operands."""
        largest = min(max(pair) for pair in pairs(*_read(payload)))
        return self._difficulty.label(largest, is_product=payload["op"] == "*")

    def num_tasks(self) -> Mapping[str, int]:
        """Counted by the least larger operand, which decides the difficulty."""
        if self._bounds["*"] > MOST_COUNTED:
            return {}
        counts: Counter[str] = Counter()
        for op in "+-":
            for largest in range(self._bounds[op] + 1):
                # 2 * largest - 1 and 2 * largest, or largest and -largest; others have smaller pairs.
                counts[self._difficulty.label(largest)] += 2 if largest else 1
        found: set[int] = set()
        for largest in range(self._bounds["*"] + 1):
            new = {largest * other for other in range(largest + 1)} - found
            counts[self._difficulty.label(largest, is_product=True)] += len(new)
            found |= new
        return counts

    def structure(self, payload: Payload) -> str:
        """The operation, and the result to within ten."""
        op, result, _ = _read(payload)
        return f"{op} {result // TEN}"

    def worked(self, payload: Payload) -> str:
        """The whole equation, with the first pair that solves it."""
        op, result, bound = _read(payload)
        a, b = next(pairs(op, result, bound))
        return terse_answer(f"{a} {b}", f"{a}{op}{b}={result}")

    def draw(self, variant: str, rng: random.Random) -> dict[str, Json]:
        """Evenly by result, and of the pairs that solve it, one with a short operand.

        Of a product both factors are drawn, so that every result has a solution; 0 is the likeliest then.
        """
        bound = self._bounds[variant]
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
        op, result, _ = _read(payload)
        return f"abduction {op} {result}"

    def _results(self, op: str) -> tuple[int, int]:
        """Smallest and largest result of two operands inside the bounds."""
        bound = self._bounds[op]
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
        else:
            b = result // a if a else 0
        if 0 <= b <= bound and OPERATIONS[op](a, b) == result:
            yield a, b


def _plain_line(response: str) -> str:
    """The answer's line without LaTeX, emphasis and labels, its operator as a sign."""
    # The task itself, stated again, is no answer.
    line = LABEL.sub("", PROPOSAL.sub("", EQUALS.sub("=", plain(answer_line(response)))))
    return SIGN.sub(lambda found: SIGNS.get((found[1] or "").lower(), "*"), MARKED.sub(r" \2 ", line))


def _read(payload: Payload) -> tuple[str, int, int]:
    """Operation, result and largest operand."""
    return read_str(payload, "op"), read_int(payload, "result"), read_int(payload, "max")
