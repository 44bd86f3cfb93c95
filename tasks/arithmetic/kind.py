"""What the three kinds share: how answers are asked for and judged, and how hard a task is."""

from __future__ import annotations

import operator
import re
from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from tasks.contract import Verdict
from tasks.kit.form import terse_answer
from tasks.kit.kinds import Kind, Style
from tasks.kit.numbers import NumberError, read_integer, read_number
from tasks.kit.parsing import answer_line, last_line
from tasks.kit.payload import Payload

OPERATIONS: Mapping[str, Callable[[int, int], int]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.floordiv,
}
"""What an operation may be; `/` is exact, so its answer is a whole number as well."""

BARE = re.compile(r"-?[0-9]{1,9}")
"""ASCII digits only, and few enough that `int` never refuses them."""

DISTANCE = "distance"
"""Measure of an answer that is one integer: how far it is from the right one."""

TEN = 10
"""Numbers of the same tens are of one size to `TaskPack.structure_key`."""


@dataclass(frozen=True, slots=True)
class Difficulty:
    """Labels of tasks by their largest operand, easy to hard: each ends where the next begins."""

    plain: Mapping[str, int]
    products: Mapping[str, int]  # The same where the operation is `*`; labels of `plain`, if not all of them.

    def label(self, largest: int, *, is_product: bool = False) -> str:
        """The label of a task with operands up to `largest`."""
        labels = self.products if is_product else self.plain
        return [label for label, start in labels.items() if start <= largest][-1]

    def operands(self, label: str, largest: int, *, is_product: bool = False) -> range:
        """What the largest operand is with this label, up to `largest`; empty where there is no such task."""
        labels = self.products if is_product else self.plain
        if label not in labels:
            return range(0)
        end = min((start for start in labels.values() if start > labels[label]), default=largest + 1)
        return range(labels[label], min(end, largest + 1))


BANDS, SIZES = "bands", "sizes"
SIZE_LABELS = {"size-0-9": 0, "size-10-49": 10, "size-50-99": 50, "size-100-999": 100, "size-1000-up": 1000}
DIFFICULTIES: Mapping[str, Difficulty] = {
    # The three tiers of the first generation of the arithmetic self-play experiments in morganmcg1/pippa
    # (`absolute_zero/`, June 2025).
    BANDS: Difficulty({"easy": 0, "medium": 6, "hard": 21}, {"medium": 0, "hard": 11}),
    SIZES: Difficulty(SIZE_LABELS, SIZE_LABELS),
}
"""What tasks can be labelled by; docs/packs.md has them as a table."""


class ArithmeticKind(Kind):
    """A kind about small whole numbers; a terse answer begins with a colon, or with steps in parentheses."""

    def __init__(self, style: Style, difficulty: Difficulty) -> None:
        super().__init__(style)
        self._difficulty = difficulty

    @abstractmethod
    def answer(self, payload: Payload) -> str:
        """A right answer, bare."""

    def gold(self, payload: Payload) -> str:
        answer = self.answer(payload)
        return terse_answer(answer) if self._style is Style.TERSE else answer

    def answer_key(self, payload: Payload) -> str:
        return self.answer(payload)


class IntegerKind(ArithmeticKind):
    """A kind whose answer is one integer."""

    @abstractmethod
    def result(self, payload: Payload) -> int:
        """The right answer."""

    def answer(self, payload: Payload) -> str:
        return str(self.result(payload))

    def ask(self, task: str) -> str:
        """The solver's prompt with this task."""
        reply = "Reply with one integer, in digits, on the last line."
        return f"{task}\n{reply}" if self._style is Style.CHAT else task

    def judge(self, payload: Payload, response: str) -> Verdict:
        answer = (_read_bare if self._style is Style.TERSE else _read_written)(response)
        if answer is None:
            return Verdict.malformed("no-answer")
        distance = abs(answer - self.result(payload))
        measures = {DISTANCE: float(distance)}
        return Verdict.wrong("wrong-value", measures) if distance else Verdict.correct(measures)


def _read_written(response: str) -> int | None:
    """The integer of a response's last line, however it is written; None if there is none."""
    try:
        return read_integer(read_number(answer_line(response)))
    except NumberError:
        return None


def _read_bare(response: str) -> int | None:
    """The integer that a terse response's last line is, or has behind its last `=` or `:`; None without."""
    line = last_line(response)
    bare = line[max(line.rfind("="), line.rfind(":")) + 1 :].strip().removesuffix(".")
    return int(bare) if BARE.fullmatch(bare) else None
