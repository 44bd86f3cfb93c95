"""Read the number that an answer gives, and compare two of them.

What a model wrote is only read by the grammar below, which is linear in the text. The library math-verify
gets numbers, never text: it reads expressions by evaluating them, so `10**10**10` would not come to an end,
and its time limits are signals, which work in a main thread only.
"""

from __future__ import annotations

import logging
import re
from fractions import Fraction
from typing import TYPE_CHECKING

from tasks.parsing import tail

if TYPE_CHECKING:
    import sympy

MAX_ANSWER_CHARS = 200
MAX_NUMBER_CHARS = 40

# A number touches no letter and is no part of a longer one. A minus behind a digit is an operator. Digits are
# ASCII: `\d` and `int` would take those of every script.
_NUMBER = re.compile(
    r"""
    (?: (?<![\w.,/+-]) (?P<sign>[-+]?) (?:\\?[$\u20ac\u00a3])? | (?<=[0-9][-+]) )
    (?: (?P<grouped>[0-9]{1,3}(?:,[0-9]{3})+) (?P<grouped_part>\.[0-9]+)?
      | (?P<numerator>[0-9]+) / 0*(?P<denominator>[1-9][0-9]*)
      | (?P<whole>[0-9]*) (?P<part>\.[0-9]+)
      | (?P<integer>[0-9]+)
    )
    (?! \w | [/.,][0-9] )
    (?P<percent>\s?\\?(?:%|per\s?cent\b))?
    """,
    re.VERBOSE,
)


class NumberError(ValueError):
    """No number could be read; the text is the reason, a slug."""


def read_number(text: str) -> str:
    """Return the one number that a text gives, among any words, in canonical form.

    Canonical are `1234`, `-0.5`, `1/2` and `50%`: no thousands separators, currency signs or leading zeros.

    Raises:
        NumberError: `answer-too-big`, `no-number`, `not-a-number` or `several-numbers`.
    """
    text = text.strip()
    if len(text) > MAX_ANSWER_CHARS:
        raise NumberError("answer-too-big")
    text = _with_ascii_minus(text)
    if any(char.isdigit() for char in _NUMBER.sub("", text)):
        raise NumberError("not-a-number")
    found = list(_NUMBER.finditer(text))
    if len(found) != 1:
        raise NumberError("several-numbers" if found else "no-number")
    return _canonical(found[0])


def read_last_number(text: str) -> str:
    """Return the last number in the last 4,096 characters of a text, in canonical form.

    Raises:
        NumberError: `no-number`, or `not-a-number` if it is too long.
    """
    seen = tail(text)
    if len(seen) < len(text):
        # The first word may be the end of a longer one.
        seen = re.sub(r"^\S+", "", seen)
    found = list(_NUMBER.finditer(_with_ascii_minus(seen)))
    if not found:
        raise NumberError("no-number")
    return _canonical(found[-1])


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


def _canonical(found: re.Match[str]) -> str:
    if len(found[0]) > MAX_NUMBER_CHARS:
        raise NumberError("not-a-number")
    groups = found.groupdict(default="")
    sign = "-" if groups["sign"] == "-" else ""
    digits = groups["grouped"].replace(",", "") or groups["numerator"] or groups["whole"] or groups["integer"]
    part = groups["grouped_part"] or groups["part"]
    denominator = f"/{groups['denominator']}" if groups["denominator"] else ""
    percent = "%" if groups["percent"] else ""
    return f"{sign}{digits.lstrip('0') or '0'}{part}{denominator}{percent}"


def _values(text: str, as_both: bool) -> list[sympy.Number]:
    """The values that a canonical number may stand for."""
    import sympy

    number = text.removesuffix("%")
    value = sympy.Float(number) if "." in number else sympy.Rational(Fraction(number))
    return [value, value / 100] if as_both and number != text else [value]


def _with_ascii_minus(text: str) -> str:
    return text.replace("\N{MINUS SIGN}", "-")
