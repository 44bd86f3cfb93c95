"""The small programs of the terse form: what they are, what they return, and how to find that out in steps.

A rule is one expression in `x`. `x*3+2` and its like map whole numbers; `'b'+x[::-1]`, `x[1:]+[4]` or
`sorted(x)[::-1]` map short strings or lists; `sum(x)`, `max(x)`, `min(x)` and `len(x)` sum up a list. Rules
are evaluated here, by arithmetic and slicing of our own; no text is ever run.
"""

from __future__ import annotations

import itertools
import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from tasks.sandbox.literals import render

MAX_INVERTED_LENGTH = 20

_LINE = re.compile(r"x(?:\*([0-9]{1,4}))?(?:([-+])([0-9]{1,4}))?")
_ITEM = r"('[a-z]'|\[[0-9]\])"
_SEQUENCE = re.compile(rf"(?:{_ITEM}\+)?(x|sorted\(x\))(\[::-1\]|\[1:\]|\[:-1\])?(?:\+{_ITEM})?")
_SUMMARY = re.compile(r"(sum|max|min|len)\(x\)")


class Rule(ABC):
    """A small program."""

    @property
    @abstractmethod
    def text(self) -> str:
        """The expression."""

    @abstractmethod
    def steps(self, value: object) -> list[str]:
        """Steps from an input to the output; none where nothing is simpler than the output itself."""

    @abstractmethod
    def apply(self, value: object) -> object:
        """The output; None if the rule does not fit the input."""

    @abstractmethod
    def invert(self, output: object) -> object:
        """An input for `output`, always the same one; None if this finds none."""

    @abstractmethod
    def steps_back(self, output: object) -> list[str]:
        """Steps from an output that `invert` can invert to its input."""

    @abstractmethod
    def steps_from(self, examples: Sequence[tuple[object, object]]) -> list[str]:
        """Steps from examples to the rule; none where nothing is simpler than the rule itself."""


@dataclass(frozen=True, slots=True)
class Line(Rule):
    """`x*factor+shift`."""

    factor: int
    shift: int

    @property
    def text(self) -> str:
        """See `Rule.text`."""
        product = "x" if self.factor == 1 else f"x*{self.factor}"
        return f"{product}{self.shift:+d}" if self.shift else product

    def steps(self, value: object) -> list[str]:
        """See `Rule.steps`: the product, then the sum."""
        if type(value) is not int:
            return []
        product = value * self.factor
        steps = [] if self.factor == 1 else [f"{value}*{self.factor}={product}"]
        if self.shift:
            steps.append(f"{product}{self.shift:+d}={product + self.shift}")
        return steps

    def apply(self, value: object) -> object:
        """See `Rule.apply`."""
        return value * self.factor + self.shift if type(value) is int else None

    def invert(self, output: object) -> object:
        """See `Rule.invert`."""
        if type(output) is not int or self.factor == 0 or (output - self.shift) % self.factor:
            return None
        return (output - self.shift) // self.factor

    def steps_back(self, output: object) -> list[str]:
        """See `Rule.steps_back`: undo the sum, then the product."""
        assert type(output) is int
        product = output - self.shift
        steps = [f"{output}{-self.shift:+d}={product}"] if self.shift else []
        if self.factor != 1:
            steps.append(f"{product}/{self.factor}={product // self.factor}")
        return steps

    def steps_from(self, examples: Sequence[tuple[object, object]]) -> list[str]:
        """See `Rule.steps_from`: two inputs side by side give the factor, and then one gives the shift."""
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
    """Sort, cut or turn around a string or a list, then put an item in front or behind.

    Attributes:
        is_sorted: Sort first; lists only, because Python makes a list of a sorted string.
        part: `[::-1]`, `[1:]`, `[:-1]` or nothing.
        front: Literal of one item to put in front, or nothing.
        back: Literal of one item to put behind, or nothing.
    """

    is_sorted: bool
    part: str
    front: str
    back: str

    @property
    def text(self) -> str:
        """See `Rule.text`."""
        front = f"{self.front}+" if self.front else ""
        back = f"+{self.back}" if self.back else ""
        return f"{front}{'sorted(x)' if self.is_sorted else 'x'}{self.part}{back}"

    def apply(self, value: object) -> object:
        """See `Rule.apply`."""
        stages = self._stages(value)
        return stages[-1] if stages else None

    def steps(self, value: object) -> list[str]:
        """See `Rule.steps`: what every operation but the last one leaves."""
        return [compact(stage) for stage in self._stages(value)[1:-1]]

    def invert(self, output: object) -> object:
        """See `Rule.invert`."""
        stages = self._stages_back(output)
        return stages[-1] if stages and self.apply(stages[-1]) == output else None

    def steps_back(self, output: object) -> list[str]:
        """See `Rule.steps_back`: what undoing every operation but the last one leaves."""
        return [compact(stage) for stage in self._stages_back(output)[1:-1]]

    def steps_from(self, examples: Sequence[tuple[object, object]]) -> list[str]:
        """See `Rule.steps_from`: the stages of the first example."""
        return self.steps(examples[0][0])

    def _stages(self, value: object) -> list[object]:
        """The input and what every operation leaves of it; nothing if the rule does not fit."""
        if not self._fits(value):
            return []
        assert isinstance(value, str | list)
        items = list(value)
        stages: list[object] = [value]
        if self.is_sorted:
            items = sorted(items)
            stages.append(items)
        if self.part:
            items = {"[::-1]": items[::-1], "[1:]": items[1:], "[:-1]": items[:-1]}[self.part]
            stages.append(_like(value, items))
        if self.front:
            items = [_item(self.front), *items]
            stages.append(_like(value, items))
        if self.back:
            items = [*items, _item(self.back)]
            stages.append(_like(value, items))
        return stages

    def _stages_back(self, output: object) -> list[object]:
        """The output and what undoing the operations leaves; nothing if that fails."""
        if not isinstance(output, str | list) or len(output) < bool(self.front) + bool(self.back):
            return []
        items = list(output)
        stages: list[object] = [output]
        if self.back:
            items = items[:-1]
            stages.append(_like(output, items))
        if self.front:
            items = items[1:]
            stages.append(_like(output, items))
        if self.part:
            filler = ["a" if isinstance(output, str) else 0]
            items = {"[::-1]": items[::-1], "[1:]": filler + items, "[:-1]": items + filler}[self.part]
            stages.append(_like(output, items))
        return stages

    def _fits(self, value: object) -> bool:
        if self.is_sorted and not (type(value) is list and all(type(item) is int for item in value)):
            return False
        items = [_item(text) for text in (self.front, self.back) if text]
        wanted = str if type(value) is str else int
        return type(value) in (str, list) and all(type(item) is wanted for item in items)


@dataclass(frozen=True, slots=True)
class Summary(Rule):
    """`sum(x)`, `max(x)`, `min(x)` or `len(x)` of a list of whole numbers."""

    function: str

    @property
    def text(self) -> str:
        """See `Rule.text`."""
        return f"{self.function}(x)"

    def apply(self, value: object) -> object:
        """See `Rule.apply`."""
        if type(value) is not list or not value or any(type(item) is not int for item in value):
            return None
        return {"sum": sum(value), "max": max(value), "min": min(value), "len": len(value)}[self.function]

    def steps(self, value: object) -> list[str]:
        """See `Rule.steps`: the running sums."""
        if self.function != "sum" or self.apply(value) is None:
            return []
        assert isinstance(value, list)
        totals = list(itertools.accumulate(value))
        return [f"{total}+{item}={total + item}" for total, item in zip(totals, value[1:], strict=False)]

    def invert(self, output: object) -> object:
        """See `Rule.invert`."""
        if type(output) is not int:
            return None
        if self.function == "len":
            return [0] * output if 0 < output <= MAX_INVERTED_LENGTH else None
        return [output]

    def steps_back(self, output: object) -> list[str]:
        """See `Rule.steps_back`."""
        return []

    def steps_from(self, examples: Sequence[tuple[object, object]]) -> list[str]:
        """See `Rule.steps_from`."""
        return self.steps(examples[0][0])


def parse_rule(text: str) -> Rule | None:
    """Read an expression; None if it is no rule."""
    if found := _LINE.fullmatch(text):
        shift = int(f"{found[2]}{found[3]}") if found[2] else 0
        return Line(int(found[1] or 1), shift)
    if found := _SEQUENCE.fullmatch(text):
        return Rearrangement(found[2] != "x", found[3] or "", found[1] or "", found[4] or "")
    if found := _SUMMARY.fullmatch(text):
        return Summary(found[1])
    return None


def compact(value: object) -> str:
    """A literal as short as it can be written."""
    if type(value) is list:
        return "[" + ",".join(map(compact, value)) + "]"
    return render(value)


def _item(text: str) -> object:
    return text[1] if text.startswith("'") else int(text[1])


def _like(value: str | list[object], items: list[object]) -> object:
    """`items` as a string if `value` is one."""
    return "".join(map(str, items)) if isinstance(value, str) else items
