"""Word problems made here: for seeds, for the tiny model's warm-up and for the held-out sets.

Each story has a long and a short wording, and its answer follows from its numbers by plain arithmetic.
"""

from __future__ import annotations

import ast
import operator
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from tasks.contract import TaskRecord
from tasks.math_word.records import from_expression, problem, read_expression

LARGEST_VALUE = 9_999
"""Of any step of a drawn problem."""

NAMES = ("Ada", "Ben", "Cleo", "Dan", "Eva", "Finn", "Gia", "Hugo", "Ida", "Jon", "Kim", "Leo")
ITEMS = ("pens", "cards", "shells", "stamps", "beads", "marbles", "coins", "buttons")
FRUITS = ("apples", "pears", "plums", "lemons", "figs", "peaches")


@dataclass(frozen=True, slots=True)
class Story:
    """A template of problems."""

    text: str  # The story at length, with `{name}`, `{item}`, `{fruit}` and its numbers as fields.
    terse: str  # The same in short.
    expression: str  # What computes the answer out of the numbers.
    ranges: Mapping[str, tuple[int, int]]  # Smallest and largest value of every number.


STORIES: Mapping[str, Story] = {
    "gift": Story(
        "{name} has {a} {item}. A friend brings {b} more, and later {name} gives {c} of them to a cousin. "
        "How many {item} does {name} have in the end?",
        "{name} has {a} {item}, gets {b}, gives {c}. Left?",
        "{a} + {b} - {c}",
        {"a": (10, 60), "b": (5, 40), "c": (3, 30)},
    ),
    "orchard": Story(
        "An orchard has {a} rows of {b} trees. In a storm {c} trees fall. From each tree that still stands, "
        "{name} picks {d} {fruit}. How many {fruit} is that?",
        "{a} rows of {b} trees, {c} fall, {d} {fruit} each. Sum?",
        "({a} * {b} - {c}) * {d}",
        {"a": (3, 9), "b": (4, 12), "c": (3, 11), "d": (3, 9)},
    ),
    "shop": Story(
        "{name} buys {a} boxes of {item} at ${b} a box and a bag for ${c}, and pays with ${d}. How many "
        "dollars does {name} get back?",
        "{name} pays ${d}: {a} boxes at ${b}, bag ${c}. Change?",
        "{d} - ({a} * {b} + {c})",
        {"a": (3, 9), "b": (3, 12), "c": (3, 9), "d": (50, 150)},
    ),
    "sharing": Story(
        "{name} picks {a} {fruit} on Monday and {b} on Tuesday, and shares all of them evenly among {c} "
        "neighbours. How many {fruit} does each neighbour get?",
        "{a} and {b} {fruit} shared by {c}. Each?",
        "({a} + {b}) / {c}",
        {"a": (10, 70), "b": (10, 70), "c": (3, 9)},
    ),
    "wages": Story(
        "{name} earns ${a} an hour and works {b} hours a day. After {c} days {name} spends ${d} on a coat. "
        "How many dollars are left?",
        "{name}: ${a} an hour, {b} hours, {c} days, pays ${d}. Left?",
        "{a} * {b} * {c} - {d}",
        {"a": (8, 20), "b": (3, 8), "c": (3, 6), "d": (20, 90)},
    ),
    "ages": Story(
        "{name} is {a} years old and has an aunt who is {b} times as old. "
        "How old will the aunt be in {c} years?",
        "{name} is {a}, aunt {b} times that. Aunt in {c} years?",
        "{a} * {b} + {c}",
        {"a": (6, 14), "b": (3, 5), "c": (3, 15)},
    ),
    "reading": Story(
        "A book has {a} pages. {name} reads {b} pages a day for {c} days, and then the rest in {d} equal "
        "parts. How many pages does each of these parts have?",
        "{a} pages, {b} a day, {c} days, rest in {d}. Each?",
        "({a} - {b} * {c}) / {d}",
        {"a": (80, 300), "b": (8, 25), "c": (3, 8), "d": (3, 8)},
    ),
    "sale": Story(
        "A bike costs ${a}. In a sale it costs {b} percent less, and {name} has a coupon for another ${c} "
        "off. How many dollars does {name} pay?",
        "Bike ${a}, {b}% off, then ${c} off. Pay?",
        "{a} - {a} * {b} / 100 - {c}",
        {"a": (80, 400), "b": (5, 60), "c": (3, 20)},
    ),
    "bus": Story(
        "A bus leaves with {a} passengers. At the first stop {b} get off and {c} get on. At the second stop "
        "twice as many get on as at the first, and nobody gets off. How many passengers are on the bus then?",
        "Bus of {a}, {b} off, {c} on, twice that on. Now?",
        "{a} - {b} + {c} + 2 * {c}",
        {"a": (15, 50), "b": (3, 14), "c": (3, 12)},
    ),
    "garden": Story(
        "{name} has a garden {a} metres long and {b} metres wide, with a pond of {c} square metres in it. "
        "Grass costs ${d} a square metre. How many dollars does grass for the garden around the pond cost?",
        "Garden {a} by {b}, pond {c}, grass ${d} each. Cost?",
        "({a} * {b} - {c}) * {d}",
        {"a": (5, 15), "b": (4, 12), "c": (3, 18), "d": (3, 9)},
    ),
}
"""Every story by its name."""

_OPERATIONS: dict[type[ast.operator], tuple[str, Callable[[int, int], int]]] = {
    ast.Add: ("+", operator.add),
    ast.Sub: ("-", operator.sub),
    ast.Mult: ("*", operator.mul),
    ast.Div: ("/", operator.floordiv),
}

_SEEDS = {
    "gift": {"name": "Ada", "item": "pens", "a": 12, "b": 7, "c": 4},
    "orchard": {"fruit": "plums", "name": "Ben", "a": 4, "b": 6, "c": 5, "d": 3},
    "sharing": {"fruit": "figs", "name": "Cleo", "a": 20, "b": 16, "c": 4},
}


def draw_story(story: str, terse: bool, rng: random.Random) -> TaskRecord:
    """Draw a problem of the story of that name; no step of it gives a fraction or less than 1."""
    template = STORIES[story]
    while True:
        fields = {
            "name": rng.choice(NAMES),
            "item": rng.choice(ITEMS),
            "fruit": rng.choice(FRUITS),
            **{name: rng.randint(*bounds) for name, bounds in template.ranges.items()},
        }
        steps = work_out(template.expression.format(**fields))
        if steps is not None and all(1 <= value <= LARGEST_VALUE for _, value in steps):
            return _tell(template, terse, fields)


def seed_problems(terse: bool) -> list[TaskRecord]:
    """The problems that the buffer starts from."""
    return [_tell(STORIES[story], terse, fields) for story, fields in _SEEDS.items()]


def work_out(expression: str) -> list[tuple[str, int]] | None:
    """Return the steps of an expression, innermost first: each an operation on two numbers, and its value.

    `(16 - 3) * 2` has the steps `("16 - 3", 13)` and `("13 * 2", 26)`. Only sums, differences, products and
    quotients of integers have steps; None for another operation or constant, or a value that is no integer.
    """
    steps: list[tuple[str, int]] = []
    return None if _work_out(read_expression(expression), steps) is None else steps


def _tell(template: Story, terse: bool, fields: Mapping[str, object]) -> TaskRecord:
    expression = template.expression.format(**fields)
    steps = work_out(expression)
    assert steps, expression
    question = (template.terse if terse else template.text).format(**fields)
    return problem(question, str(steps[-1][1]), from_expression(expression))


def _work_out(node: ast.expr | None, steps: list[tuple[str, int]]) -> int | None:
    if isinstance(node, ast.Constant):
        return node.value if type(node.value) is int else None
    if not isinstance(node, ast.BinOp) or type(node.op) not in _OPERATIONS:
        return None
    left, right = _work_out(node.left, steps), _work_out(node.right, steps)
    sign, apply = _OPERATIONS[type(node.op)]
    if left is None or right is None or (sign == "/" and (right == 0 or left % right)):
        return None
    value = apply(left, right)
    steps.append((f"{left} {sign} {right}", value))
    return value
