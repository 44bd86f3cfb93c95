"""The small programs of the terse form: what they return, how to work that out, and how tasks are drawn.

A rule is one expression in `x`. `x*3+2` and its like map whole numbers; `'b'+x[::-1]`, `x[1:]+[4]` or
`sorted(x)[::-1]` map short strings or lists; `sum(x)`, `max(x)`, `min(x)` and `len(x)` sum up a list. Rules
are evaluated here, by arithmetic and slicing of our own; no text is ever run.
"""

from __future__ import annotations

import itertools
import random
import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tasks.contract import TaskRecord
from tasks.python_code.records import ERROR, INDUCTION, Example, to_record
from tasks.sandbox.literals import render

MAX_INVERTED_LENGTH = 20
DOMAINS = ("numbers", "strings", "lists")  # what rules are drawn about
TERSE_INPUTS = 6  # inputs of a terse induction task; the first three are shown
TERSE_MESSAGE = "a rule"
LETTERS = "abc"
PARTS = {"": slice(None), "[::-1]": slice(None, None, -1), "[1:]": slice(1, None), "[:-1]": slice(None, -1)}
MAX_DIGIT = 4  # largest number in a list
# What a rearrangement puts in front or behind, by domain.
ITEMS = {"strings": [f"'{c}'" for c in LETTERS], "lists": [f"[{n}]" for n in range(MAX_DIGIT + 1)]}
MAX_FACTOR = 3
MAX_SHIFT = 9
# Largest input of a rule, by whether it only adds: a product of two digits is one fact.
MAX_NUMBER = {False: 9, True: 19}

ERRORS = (
    ("1/x", "0", "ZeroDivisionError"),
    ("x[{}]", "'{}'", "IndexError"),
    ("x+{}", "'{}'", "TypeError"),
    ("int(x)+{}", "'{}'", "ValueError"),
    ("{{}}[x]+{}", "'{}'", "KeyError"),
    ("x.y+{}", "'{}'", "AttributeError"),
)
"""Expression, input and the error that they raise; a digit, and a word of one to four letters, go in."""

_LINE = re.compile(r"x(?:\*([0-9]{1,4}))?([-+][0-9]{1,4})?")
_ITEM = r"('[a-z]'|\[[0-9]\])"
_SEQUENCE = re.compile(rf"(?:{_ITEM}\+)?(x|sorted\(x\))(\[::-1\]|\[1:\]|\[:-1\])?(?:\+{_ITEM})?")
_SUMMARY = re.compile(r"(sum|max|min|len)\(x\)")


class Rule(ABC):
    """A small program, as what its operations leave on the way from an input to the output, and back."""

    @property
    @abstractmethod
    def text(self) -> str:
        """The expression."""

    @abstractmethod
    def stages(self, value: Any) -> list[Any]:
        """The input and what every operation leaves of it; nothing if the rule does not fit."""

    @abstractmethod
    def stages_back(self, output: Any) -> list[Any]:
        """The output and what undoing every operation leaves, always the same; nothing if that fails."""

    def apply(self, value: object) -> object:
        """The output; None if the rule does not fit the input."""
        stages = self.stages(value)
        return stages[-1] if stages else None

    def invert(self, output: object) -> object:
        """An input for `output`; None if this finds none."""
        stages = self.stages_back(output)
        return stages[-1] if stages and self.apply(stages[-1]) == output else None

    def steps(self, value: Any) -> list[str]:
        """Steps from an input to the output; none where nothing is simpler than the output itself."""
        return [compact(stage) for stage in self.stages(value)[1:-1]]

    def steps_back(self, output: object) -> list[str]:
        """Steps from an output that `invert` can invert to its input; none where there is nothing to undo."""
        return [compact(stage) for stage in self.stages_back(output)[1:-1]]

    def steps_from(self, examples: Sequence[tuple[object, object]]) -> list[str]:
        """Steps from examples to the rule: those of the first example, unless a rule has better ones."""
        return self.steps(examples[0][0])


@dataclass(frozen=True, slots=True)
class Line(Rule):
    """`x*factor+shift`; its steps are equations."""

    factor: int
    shift: int

    @property
    def text(self) -> str:
        return "x" + "".join(self._operations)

    @property
    def _operations(self) -> tuple[str, str]:
        return "" if self.factor == 1 else f"*{self.factor}", f"{self.shift:+d}" if self.shift else ""

    def stages(self, value: Any) -> list[Any]:
        if type(value) is not int:
            return []
        return [value, value * self.factor, value * self.factor + self.shift]

    def stages_back(self, output: Any) -> list[Any]:
        if type(output) is not int or self.factor == 0 or (output - self.shift) % self.factor:
            return []
        return [output, output - self.shift, (output - self.shift) // self.factor]

    def steps(self, value: Any) -> list[str]:
        return _equations(self.stages(value), self._operations)

    def steps_back(self, output: object) -> list[str]:
        times, plus = self._operations
        return _equations(self.stages_back(output), (plus and f"{-self.shift:+d}", times.replace("*", "/")))

    def steps_from(self, examples: Sequence[tuple[object, object]]) -> list[str]:
        """Two inputs side by side give the factor, and then one gives the shift."""
        if len(examples) < 2:
            return []
        (x, y), (next_x, next_y) = examples[:2]
        if not (type(x) is type(y) is type(next_x) is type(next_y) is int) or next_x != x + 1:
            return []
        product = x * self.factor
        sides = f"{y}-{product}" if self.shift >= 0 else f"{product}-{y}"
        return [f"{next_y}-{y}={self.factor}", f"{x}*{self.factor}={product}", f"{sides}={abs(self.shift)}"]


@dataclass(frozen=True, slots=True)
class Rearrangement(Rule):
    """Sort, cut or turn around a string or a list, then put an item in front or behind."""

    is_sorted: bool  # sort first; lists only, because Python makes a list of a sorted string
    part: str  # one of `PARTS`
    front: str  # literal of one item to put in front, or nothing
    back: str  # literal of one item to put behind, or nothing

    @property
    def text(self) -> str:
        middle = ("sorted(x)" if self.is_sorted else "x") + self.part
        return "+".join(filter(None, [self.front, middle, self.back]))

    def stages(self, value: Any) -> list[Any]:
        front, back = _item(self.front), _item(self.back)
        if {type(value), *(type(end) for end in (front, back) if end)} not in ({str}, {list}):
            return []
        stages = [value]
        if self.is_sorted:
            if type(value) is not list or any(type(item) is not int for item in value):
                return []
            stages.append(sorted(value))
        if self.part:
            stages.append(stages[-1][PARTS[self.part]])
        if front:
            stages.append(front + stages[-1])
        if back:
            stages.append(stages[-1] + back)
        return stages

    def stages_back(self, output: Any) -> list[Any]:
        if not isinstance(output, str | list) or len(output) < bool(self.front) + bool(self.back):
            return []
        stages: list[Any] = [output]
        if self.back:
            stages.append(stages[-1][:-1])
        if self.front:
            stages.append(stages[-1][1:])
        if self.part:
            x, filler = stages[-1], "a" if isinstance(output, str) else [0]
            stages.append({"[::-1]": x[::-1], "[1:]": filler + x, "[:-1]": x + filler}[self.part])
        return stages


@dataclass(frozen=True, slots=True)
class Summary(Rule):
    """`sum(x)`, `max(x)`, `min(x)` or `len(x)` of a list of whole numbers."""

    function: str

    @property
    def text(self) -> str:
        return f"{self.function}(x)"

    def stages(self, value: Any) -> list[Any]:
        if type(value) is not list or not value or any(type(item) is not int for item in value):
            return []
        results = {"sum": sum(value), "max": max(value), "min": min(value), "len": len(value)}
        return [value, results[self.function]]

    def steps(self, value: Any) -> list[str]:
        """The running sums."""
        if self.function != "sum" or not self.stages(value):
            return []
        return _equations(list(itertools.accumulate(value)), [f"+{item}" for item in value[1:]])

    def stages_back(self, output: Any) -> list[Any]:
        if type(output) is not int:
            return []
        if self.function == "len":
            return [output, [0] * output] if output <= MAX_INVERTED_LENGTH else []
        return [output, [output]]


def parse_rule(text: str) -> Rule | None:
    """Read an expression; None if it is no rule."""
    if found := _LINE.fullmatch(text):
        return Line(int(found[1] or 1), int(found[2] or 0))
    if found := _SEQUENCE.fullmatch(text):
        return Rearrangement(found[2] != "x", found[3] or "", found[1] or "", found[4] or "")
    if found := _SUMMARY.fullmatch(text):
        return Summary(found[1])
    return None


def to_program(expression: str) -> str:
    """The Python program that a terse `f(x)=expression` stands for."""
    return f"def f(x): return {expression}"


def compact(value: object) -> str:
    """A literal as short as it can be written."""
    if type(value) is list:
        return "[" + ",".join(map(compact, value)) + "]"
    return render(value)


def _equations(stages: Sequence[int], operations: Sequence[str]) -> list[str]:
    """`8+3=11` for every operation from a stage to the next, but for those that are none."""
    pairs = zip(itertools.pairwise(stages), operations, strict=False)
    return [f"{before}{operation}={after}" for (before, after), operation in pairs if operation]


def _item(text: str) -> Any:
    """The string or list of one item that stands in front or behind; "" for none."""
    return [int(text[1])] if text.startswith("[") else text[1:-1]


def draw_record(kind: str, domain: str, rng: random.Random) -> TaskRecord:
    """Draw one task; `domain` is one of `DOMAINS`, and says nothing about error tasks."""
    if kind == ERROR:
        expression, value, error = rng.choice(ERRORS)
        digit, word = rng.randint(4, 9), "".join(rng.choices(LETTERS, k=rng.randint(1, 4)))
        return to_record(kind, to_program(expression.format(digit)), [Example(value.format(word), error)])
    while True:
        rule = _draw_rule(domain, rng)
        pairs = [(value, rule.apply(value)) for value in _draw_inputs(kind, domain, rule, rng)]
        if any(type(output) is int and output < 0 for _, output in pairs):
            continue
        if kind != INDUCTION or _is_telling(pairs, domain):
            examples = [Example(render(value), render(output)) for value, output in pairs]
            return to_record(kind, to_program(rule.text), examples, TERSE_MESSAGE)


def _draw_rule(domain: str, rng: random.Random) -> Rule:
    if domain == "numbers":
        # Half of the rules only add: their inputs are larger, and there are few of them.
        factor = rng.choice([1, rng.randint(2, MAX_FACTOR)])
        shift = rng.choice([-1, 1]) * rng.randint(factor == 1, MAX_SHIFT)
        return Line(factor, shift)
    if domain == "lists" and rng.random() < 0.25:
        return Summary("sum")
    while True:
        item = rng.choice(ITEMS[domain])
        front, back = rng.choice([("", ""), (item, ""), ("", item)])
        rule = Rearrangement(False, rng.choice(list(PARTS)), front, back)
        if rule.text != "x":
            return rule


def _draw_inputs(kind: str, domain: str, rule: Rule, rng: random.Random) -> list[Any]:
    count = TERSE_INPUTS if kind == INDUCTION else 1
    if domain == "strings":
        return ["".join(rng.choices(LETTERS, k=rng.randint(2, 3))) for _ in range(count)]
    if domain == "lists":
        return [[rng.randint(0, MAX_DIGIT) for _ in range(rng.randint(2, 3))] for _ in range(count)]
    if kind == INDUCTION:
        # The first two side by side: their difference is the factor.
        first = rng.randint(0, 8)
        return [first, first + 1, *(rng.randint(0, 9) for _ in range(count - 2))]
    return [rng.randint(0, MAX_NUMBER[isinstance(rule, Line) and rule.factor == 1])]


def _is_telling(pairs: Sequence[tuple[object, object]], domain: str) -> bool:
    """Whether no input comes twice, and all rules that fit the shown half agree on the hidden one."""
    if len({render(x) for x, _ in pairs}) < TERSE_INPUTS:
        return False
    if domain == "numbers":
        # Two numbers side by side pin their rule down.
        return True
    items = ITEMS[domain]
    ends = [("", ""), *((item, "") for item in items), *(("", item) for item in items)]
    rules: list[Rule] = [Rearrangement(False, part, *pair) for part in PARTS for pair in ends]
    if domain == "lists":
        rules.append(Summary("sum"))
    half = TERSE_INPUTS // 2
    fitting = [rule for rule in rules if all(rule.apply(x) == y for x, y in pairs[:half])]
    return all(rule.apply(x) == y for rule in fitting for x, y in pairs[half:])
