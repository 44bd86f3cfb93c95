"""Induction: given examples of a rule, find the rule's value at another pair."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar

from tasks.arithmetic.kind import TEN, Difficulty, IntegerKind
from tasks.contract import Json, Rejected
from tasks.kit.form import terse_answer
from tasks.kit.kinds import Style
from tasks.kit.parsing import last_line
from tasks.kit.payload import Payload, read_pair, read_pairs, read_str

ARROW = "\N{RIGHTWARDS ARROW}"
MIN_EXAMPLES = 3
MAX_EXAMPLES = 6
NUM_SHOWN = 3

EXAMPLE = r"\([ \t]*([0-9]{1,6})[ \t]*,[ \t]*([0-9]{1,6})[ \t]*\)[ \t]*->[ \t]*(-?[0-9]{1,9})"
ONE_EXAMPLE = re.compile(EXAMPLE)
PROPOSAL = re.compile(rf"(?:Pattern:[ \t]*)?({EXAMPLE}(?:[ \t]*,[ \t]*{EXAMPLE})*)")

PAIR = r"[0-9]{1,6}[ \t]*,[ \t]*[0-9]{1,6}"
PAIRS = rf"(?:\([ \t]*{PAIR}[ \t]*\)[ \t]*){{1,9}}|{PAIR}(?:[ \t]+{PAIR}){{0,8}}"
ONE_PAIR = re.compile(r"([0-9]{1,6})[ \t]*,[ \t]*([0-9]{1,6})")

RULES: dict[str, Callable[[int, int], int]] = {
    "addition": lambda a, b: a + b,
    "subtraction": lambda a, b: a - b,
    "multiplication": lambda a, b: a * b,
    "sum_plus_one": lambda a, b: a + b + 1,
    "difference_squared": lambda a, b: (a - b) ** 2,
}

FORMULAS = dict(zip(RULES, ("a+b", "a-b", "a*b", "a+b+1", "(a-b)^2"), strict=True))
"""How a proposal may name a rule."""

BY_RULE = re.compile(rf"(?:Pattern:[ \t]*)?({'|'.join(map(re.escape, FORMULAS.values()))}):[ \t]*({PAIRS})")

Example = tuple[int, int, int]
"""a, b and the rule's value there."""


class Induction(IntegerKind):
    """`Pattern: (1,2)->3, (4,5)->9, (7,1)->8, (3,6)->?`, answered by `9`."""

    num_references = 1
    seeds = (
        "Pattern: (2,3)->5, (4,1)->5, (6,2)->8, (5,4)->9",
        "Pattern: (7,2)->5, (3,1)->2, (4,6)->-2, (8,3)->5",
        "Pattern: (2,3)->6, (5,2)->10, (3,4)->12, (2,6)->12",
        "Pattern: (1,2)->4, (3,3)->7, (5,2)->8, (2,4)->7",
        "Pattern: (5,2)->9, (1,3)->4, (6,1)->25, (4,2)->4",
    )
    held_out_counts: ClassVar[Mapping[str, int]] = dict.fromkeys(RULES, 90)

    def __init__(self, style: Style, maximum: int, difficulty: Difficulty) -> None:
        """`maximum` is the largest operand."""
        super().__init__(style, difficulty)
        self._maximum = maximum
        self.request = (
            f"Write one new task in the form of this one. Numbers 0 to {maximum}, "
            "rule a+b, a-b, a*b, a+b+1 or (a-b)^2."
        )

    def parse(self, response: str) -> Payload | Rejected:
        """The last example is hidden, and of the others the first three are shown."""
        examples = read_examples(last_line(response).replace(ARROW, "->"))
        if examples is None:
            return Rejected.malformed("no-task")
        if not MIN_EXAMPLES <= len(examples) <= MAX_EXAMPLES:
            return Rejected.malformed("number-of-examples")
        if any(max(a, b) > self._maximum for a, b, _ in examples):
            return Rejected.malformed("operand-out-of-range")
        if not matching_rules(examples):
            return Rejected.wrong("no-rule")
        hidden = examples.pop()
        shown = examples[:NUM_SHOWN]
        found = matching_rules(shown)
        if len(found) > 1:
            return Rejected.wrong("ambiguous-rule")
        rule = found[0]
        if len({canonical(rule, a, b) for a, b, _ in [*examples, hidden]}) <= len(examples):
            return Rejected.wrong("repeated-example")
        return {"rule": rule, "shown": [[a, b] for a, b, _ in shown], "query": [hidden[0], hidden[1]]}

    def statement(self, payload: Payload) -> str:
        """A terse one by the rule, whose values are left to the program."""
        if self._style is not Style.TERSE:
            return f"Pattern: {self._render(payload, self.answer(payload))}"
        rule, shown, query = _read(payload)
        return f"{FORMULAS[rule]}: {' '.join(f'{a},{b}' for a, b in [*shown, query])}"

    def question(self, payload: Payload) -> str:
        if self._style is not Style.TERSE:
            return self.ask(f"Pattern: {self._render(payload, '?' if self._style is Style.CHAT else '')}")
        rule, shown, query = _read(payload)
        examples = [f"{a},{b}>{RULES[rule](a, b)}" for a, b in shown]
        return " ".join([*examples, f"{query[0]},{query[1]}>"])

    def result(self, payload: Payload) -> int:
        rule, _, query = _read(payload)
        return RULES[rule](*query)

    def difficulty(self, payload: Payload) -> str:
        """By the operands of all examples, the hidden one included."""
        return self._difficulty.label(_largest(payload), is_product=payload["rule"] == "multiplication")

    def structure(self, payload: Payload) -> str:
        """The rule, and the largest operand of its examples to within ten."""
        return f"{read_str(payload, 'rule')} {_largest(payload) // TEN}"

    def worked(self, payload: Payload) -> str:
        """Sum and difference of the first example, as a hint; the rule; its steps."""
        rule, [(x, y), *_], (a, b) = _read(payload)
        steps = {
            "addition": f"{a}+{b}",
            "subtraction": f"{a}-{b}",
            "multiplication": f"{a}*{b}",
            "sum_plus_one": f"{a}+{b}={a + b}",
            "difference_squared": f"{a}-{b}={a - b}",
        }
        tried = f"{x}+{y}={x + y} {x}-{y}={x - y}"
        return terse_answer(self.answer(payload), f"{tried} {FORMULAS[rule]} {steps[rule]}")

    def draw(self, variant: str, rng: random.Random) -> dict[str, Json]:
        """Three examples that no other rule fits, and a query unlike them."""
        while True:
            drawn = [(rng.randint(0, self._maximum), rng.randint(0, self._maximum)) for _ in range(4)]
            *shown, query = drawn
            examples = [(a, b, RULES[variant](a, b)) for a, b in shown]
            distinct = len({canonical(variant, a, b) for a, b in drawn}) == len(drawn)
            if distinct and matching_rules(examples) == [variant]:
                return {"rule": variant, "shown": [[a, b] for a, b in shown], "query": list(query)}

    def key(self, payload: Payload) -> str:
        """No order counts, except of operands where the rule tells them apart."""
        rule, shown, query = _read(payload)
        pairs = sorted(canonical(rule, a, b) for a, b in shown)
        return f"induction {rule} {pairs} {canonical(rule, *query)}"

    @staticmethod
    def _render(payload: Payload, last: str) -> str:
        rule, shown, query = _read(payload)
        examples = [f"({a},{b})->{RULES[rule](a, b)}" for a, b in shown]
        return ", ".join([*examples, f"({query[0]},{query[1]})->{last}"])


def _largest(payload: Payload) -> int:
    """The largest operand of all examples, the hidden one included."""
    _, shown, query = _read(payload)
    return max(max(pair) for pair in [*shown, query])


def _read(payload: Payload) -> tuple[str, list[tuple[int, int]], tuple[int, int]]:
    """The rule, the pairs that are shown, and the one that is asked for."""
    rule, shown = read_str(payload, "rule"), read_pairs(payload, "shown")
    return rule, shown, read_pair(payload.get("query"))


def read_examples(line: str) -> list[Example] | None:
    """Read a proposal: examples with their values, or a rule with pairs; None if it is neither."""
    by_rule = BY_RULE.fullmatch(line)
    if by_rule is not None:
        (rule,) = (RULES[name] for name, formula in FORMULAS.items() if formula == by_rule[1])
        found = [(int(a), int(b)) for a, b in ONE_PAIR.findall(by_rule[2])]
        return [(a, b, rule(a, b)) for a, b in found]
    if PROPOSAL.fullmatch(line) is None:
        return None
    return [(int(a), int(b), int(c)) for a, b, c in ONE_EXAMPLE.findall(line)]


def matching_rules(examples: Sequence[Example]) -> list[str]:
    """Names of the rules that all of `examples` follow, in the order of `RULES`."""
    return [name for name, rule in RULES.items() if all(rule(a, b) == c for a, b, c in examples)]


def canonical(rule: str, a: int, b: int) -> tuple[int, int]:
    """The pair in rising order, unless the rule tells (a, b) from (b, a)."""
    return (a, b) if rule == "subtraction" else (min(a, b), max(a, b))
