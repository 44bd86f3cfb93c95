"""Expressions worked out step by step."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.math_word.stories import work_out

INTEGERS = st.integers(0, 99)
EXPRESSIONS = st.recursive(
    INTEGERS.map(str),
    lambda inner: st.tuples(inner, st.sampled_from("+-*"), inner).map(lambda t: f"({''.join(t)})"),
)


def test_steps_come_innermost_first() -> None:
    # (16 - 3) = 13, 13 * 2 = 26, 26 / 13 = 2.
    assert work_out("(16 - 3) * 2 / 13") == [("16 - 3", 13), ("13 * 2", 26), ("26 / 13", 2)]


@given(EXPRESSIONS)
def test_the_last_step_is_the_value(expression: str) -> None:
    steps = work_out(expression)
    assert steps is not None
    assert not steps or steps[-1][1] == eval(expression)


@pytest.mark.parametrize(
    "expression",
    [
        "7 / 2",
        "1 / 0",
        "2 ** 3",
        "10 ** 10 ** 10",
        "2.0 * 2",
        "f()",
        "x",
        "True + 1",
        "-3 + 4",
        "",
        "1; 2",
        "1 +",
    ],
)
def test_anything_but_plain_arithmetic_has_no_steps(expression: str) -> None:
    assert work_out(expression) is None
