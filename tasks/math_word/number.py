"""Compare two numbers that answers gave.

The library math-verify gets numbers that `tasks/kit/numbers.py` read, never text: it reads expressions by
evaluating them, so `10**10**10` would not come to an end, and its time limits are signals, which work in a
main thread only.
"""

from __future__ import annotations

import logging
from fractions import Fraction
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import sympy


def equal(left: str, right: str) -> bool:
    """Whether two canonical numbers are the same to math-verify.

    Integers and fractions are compared exactly, decimals after rounding to six places. If only one of the two
    is a percentage, `50%` is both 50 and 0.5.
    """
    # Half a second, and the whole of sympy: only processes that judge need it.
    from math_verify import verify

    # It warns once a process that it runs without its own time limit; numbers of a few digits need none.
    logging.getLogger("math_verify").setLevel(logging.ERROR)
    one_is_percentage = left.endswith("%") != right.endswith("%")
    values = [_values(text, one_is_percentage) for text in (left, right)]
    return bool(verify(*values, timeout_seconds=None, raise_on_error=True))


def _values(text: str, as_both: bool) -> list[sympy.Number]:
    """The values that a canonical number may stand for."""
    import sympy

    number = text.removesuffix("%")
    value = sympy.Float(number) if "." in number else sympy.Rational(Fraction(number))
    return [value, value / 100] if as_both and number != text else [value]
