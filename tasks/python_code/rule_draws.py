"""Draw tasks of the terse form: rules, inputs, and outputs by the rules themselves."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

from tasks.contract import TaskRecord
from tasks.python_code.records import (
    ERROR,
    INDUCTION,
    Example,
    error_task,
    induction_task,
    triplet,
)
from tasks.python_code.rules import Line, Rearrangement, Rule, Summary
from tasks.sandbox.literals import render

DOMAINS = ("numbers", "strings", "lists")
LETTERS = "abc"
MAX_DIGIT = 4
"""Largest number in a list."""

TERSE_INPUTS = 6
"""Inputs of a terse induction task; the first three are shown."""

TERSE_MESSAGE = "a rule"
PARTS = ("", "[::-1]", "[1:]", "[:-1]")
MAX_FACTOR = 3
MAX_SHIFT = 9
MAX_NUMBER = {False: 9, True: 19}
"""Largest input of a rule, by whether it only adds: a product of two digits is one fact."""

ERRORS = (
    ("1/x", "0", "ZeroDivisionError"),
    ("x[{}]", "'{}'", "IndexError"),
    ("x+{}", "'{}'", "TypeError"),
    ("int(x)+{}", "'{}'", "ValueError"),
    ("{{}}[x]+{}", "'{}'", "KeyError"),
    ("x.y+{}", "'{}'", "AttributeError"),
)
"""Expression, input and the error that they raise; a digit, and a word of one to four letters, go in."""


def to_program(expression: str) -> str:
    """The Python program that a terse `f(x)=expression` stands for."""
    return f"def f(x): return {expression}"


def draw_record(kind: str, domain: str, rng: random.Random) -> TaskRecord:
    """Draw one task; `domain` is one of `DOMAINS`, and says nothing about error tasks."""
    if kind == ERROR:
        return _draw_error(rng)
    if kind == INDUCTION:
        return _draw_induction(domain, rng)
    while True:
        rule = _draw_rule(domain, rng)
        value = _draw_input(rule, domain, rng)
        output = rule.apply(value)
        if type(output) is not int or output >= 0:
            return TaskRecord(kind, triplet(to_program(rule.text), Example(render(value), render(output))))


def _draw_rule(domain: str, rng: random.Random) -> Rule:
    if domain == "numbers":
        # Half of the rules only add: their inputs are larger, and there are few of them.
        factor = rng.choice([1, rng.randint(2, MAX_FACTOR)])
        shift = rng.choice([-1, 1]) * rng.randint(factor == 1, MAX_SHIFT)
        return Line(factor, shift)
    if domain == "lists" and rng.random() < 0.25:
        return Summary("sum")
    while True:
        item = f"'{rng.choice(LETTERS)}'" if domain == "strings" else f"[{rng.randint(0, MAX_DIGIT)}]"
        front, back = rng.choice([("", ""), (item, ""), ("", item)])
        rule = Rearrangement(False, rng.choice(PARTS), front, back)
        if rule.text != "x":
            return rule


def _draw_input(rule: Rule, domain: str, rng: random.Random) -> object:
    if domain == "numbers":
        assert isinstance(rule, Line)
        return rng.randint(0, MAX_NUMBER[rule.factor == 1])
    if domain == "strings":
        return "".join(rng.choices(LETTERS, k=rng.randint(2, 3)))
    return [rng.randint(0, MAX_DIGIT) for _ in range(rng.randint(2, 3))]


def _draw_induction(domain: str, rng: random.Random) -> TaskRecord:
    while True:
        rule = _draw_rule(domain, rng)
        values = _draw_inputs(rule, domain, rng)
        pairs = [(value, rule.apply(value)) for value in values]
        if len({render(value) for value in values}) < TERSE_INPUTS:
            continue
        if any(type(output) is int and output < 0 for _, output in pairs) or not _is_pinned(pairs, domain):
            continue
        examples = [Example(render(value), render(output)) for value, output in pairs]
        return TaskRecord(INDUCTION, induction_task(to_program(rule.text), examples, TERSE_MESSAGE))


def _draw_inputs(rule: Rule, domain: str, rng: random.Random) -> list[object]:
    if domain != "numbers":
        return [_draw_input(rule, domain, rng) for _ in range(TERSE_INPUTS)]
    # The first two side by side: their difference is the factor.
    first = rng.randint(0, 8)
    return [first, first + 1, *(rng.randint(0, 9) for _ in range(TERSE_INPUTS - 2))]


def _is_pinned(pairs: Sequence[tuple[object, object]], domain: str) -> bool:
    """Whether all rules that fit the shown half agree on the hidden one."""
    half = TERSE_INPUTS // 2
    fitting = [rule for rule in _rules(domain) if all(rule.apply(x) == y for x, y in pairs[:half])]
    return all(rule.apply(x) == y for rule in fitting for x, y in pairs[half:])


def _rules(domain: str) -> Iterator[Rule]:
    """Every rule of a domain; for numbers none, because two numbers side by side pin theirs down."""
    if domain == "numbers":
        return
    if domain == "lists":
        yield Summary("sum")
    items = [f"'{c}'" for c in LETTERS] if domain == "strings" else [f"[{n}]" for n in range(MAX_DIGIT + 1)]
    for part in PARTS:
        yield Rearrangement(False, part, "", "")
        for item in items:
            yield Rearrangement(False, part, item, "")
            yield Rearrangement(False, part, "", item)


def _draw_error(rng: random.Random) -> TaskRecord:
    expression, value, error = rng.choice(ERRORS)
    digit, word = rng.randint(4, 9), "".join(rng.choices(LETTERS, k=rng.randint(1, 4)))
    program = to_program(expression.format(digit))
    return TaskRecord(ERROR, error_task(program, value.format(word), error))
