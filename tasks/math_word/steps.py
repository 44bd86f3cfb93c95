"""Work an expression of plain arithmetic out, step by step, for tasks that are made here.

A model's programs run in the sandbox. This only does sums, differences, products and quotients of integers.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable
from fractions import Fraction

from tasks.kit.program import parse_program

_OPERATIONS: dict[type[ast.operator], tuple[str, Callable[[Fraction, Fraction], Fraction]]] = {
    ast.Add: ("+", operator.add),
    ast.Sub: ("-", operator.sub),
    ast.Mult: ("*", operator.mul),
    ast.Div: ("/", operator.truediv),
}


def work_out(expression: str) -> list[tuple[str, int]] | None:
    """Return the steps of an expression, innermost first: each an operation on two numbers, and its value.

    `(16 - 3) * 2` has the steps `("16 - 3", 13)` and `("13 * 2", 26)`.

    Returns:
        None where there are no such steps: another operation or constant, or a value that is no integer.
    """
    tree = parse_program(expression)
    if isinstance(tree, str) or len(tree.body) != 1 or not isinstance(tree.body[0], ast.Expr):
        return None
    steps: list[tuple[str, int]] = []
    return None if _work_out(tree.body[0].value, steps) is None else steps


def _work_out(node: ast.expr, steps: list[tuple[str, int]]) -> int | None:
    if isinstance(node, ast.Constant):
        return node.value if type(node.value) is int else None
    if not isinstance(node, ast.BinOp) or type(node.op) not in _OPERATIONS:
        return None
    left, right = _work_out(node.left, steps), _work_out(node.right, steps)
    sign, apply = _OPERATIONS[type(node.op)]
    if left is None or right is None or (sign == "/" and right == 0):
        return None
    value = apply(Fraction(left), Fraction(right))
    if value.denominator != 1:
        return None
    steps.append((f"{left} {sign} {right}", int(value)))
    return int(value)
