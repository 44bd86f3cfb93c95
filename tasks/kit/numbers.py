"""Read the number that an answer gives, by a grammar that is linear in the text."""

from __future__ import annotations

import re
import unicodedata

from tasks.kit.parsing import tail

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

# Around a number that means another one than its digits: `minus 5`, `- 5`, `-$ 5`, `1 million`.
_MINUS_WORDS = ("minus", "negative")
_BETWEEN = " \t\r\n\\$\u20ac\u00a3"
_SCALE = re.compile(r"[\s-]*(?:hundred|thousand|million|billion|trillion)(?:s|ths?)?\b", re.IGNORECASE)


class NumberError(ValueError):
    """No number could be read; the text is the reason, a slug."""


def read_number(text: str) -> str:
    """Return the one number that a text gives, among any words, in canonical form.

    Canonical are `1234`, `-0.5`, `1/2` and `50%`: no thousands separators, currency signs or leading zeros.

    Raises:
        NumberError: `answer-too-big`, `no-number`, `not-a-number` or `several-numbers`.
    """
    text = text.strip().replace("\N{MINUS SIGN}", "-")
    if len(text) > MAX_ANSWER_CHARS:
        raise NumberError("answer-too-big")
    # A digit of any script, or a number by itself as one half is; not a letter.
    if any(unicodedata.category(char) in ("Nd", "No") for char in _NUMBER.sub("", text)):
        raise NumberError("not-a-number")
    found = list(_NUMBER.finditer(text))
    if len(found) != 1:
        raise NumberError("several-numbers" if found else "no-number")
    return _canonical(found[0], text)


def read_last_number(text: str) -> str:
    """Return the last number in the last 4,096 characters of a text, in canonical form.

    Raises:
        NumberError: `no-number`; or `not-a-number` if it is too long, or means another one (`1 million`).
    """
    seen = tail(text).replace("\N{MINUS SIGN}", "-")
    if len(seen) < len(text):
        # The first word may be the end of a longer one.
        seen = re.sub(r"^\S+", "", seen)
    found = list(_NUMBER.finditer(seen))
    if not found:
        raise NumberError("no-number")
    return _canonical(found[-1], seen)


def _canonical(found: re.Match[str], text: str) -> str:
    if len(found[0]) > MAX_NUMBER_CHARS or _means_another(text, found):
        raise NumberError("not-a-number")
    groups = found.groupdict(default="")
    sign = "-" if groups["sign"] == "-" else ""
    digits = groups["grouped"].replace(",", "") or groups["numerator"] or groups["whole"] or groups["integer"]
    part = groups["grouped_part"] or groups["part"]
    denominator = f"/{groups['denominator']}" if groups["denominator"] else ""
    percent = "%" if groups["percent"] else ""
    return f"{sign}{digits.lstrip('0') or '0'}{part}{denominator}{percent}"


def _means_another(text: str, found: re.Match[str]) -> bool:
    """Whether a sign in words or apart, or a word behind, makes another number of what was found."""
    before = text[: found.start()]
    stripped = before.rstrip(_BETWEEN)
    is_apart = stripped.endswith("-") and stripped != before
    behind = text[found.end() :].lstrip()[:1]
    return (
        is_apart
        or stripped.lower().endswith(_MINUS_WORDS)
        or bool(_SCALE.match(text, found.end()))
        or (bool(behind) and unicodedata.category(behind) == "No")
    )
