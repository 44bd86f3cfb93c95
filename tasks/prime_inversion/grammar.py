"""Read congruences and answers out of a response.

What counts, behind any thinking, is the last box; without a box, the last display formula if the response
ends with one; without that, the last line that is not blank. The tables in
tests/tasks/prime_inversion/test_grammar.py say what is read and what is not.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from tasks.kit.notation import plain
from tasks.kit.numbers import NumberError, read_integer, read_number
from tasks.kit.parsing import answer_line, tail
from tasks.kit.response import THINK_END

BOX = r"\boxed{"

# All of these are for a text that `plain` has made plain.
SPACE = r"[ \t\r\n]*"
SLOT = r"([0-9]{1,6}|[a-z])"
CONGRUENCE = re.compile(SPACE.join(["", SLOT, r"\*", SLOT, "=", "1", r"\(", "mod", SLOT, r"\)", ""]))
STATED_MODULUS = re.compile(r"\(?[ ]?\b[Mm]od(?:ulo)?[ ]{1,3}([0-9]{1,6}|[a-z])\b[ ]{0,3}\)?")
# All of a class, as in `39 + 43k`
MULTIPLES = re.compile(r"(?<=[0-9])[ ]?[-+][ ]?([0-9]{1,6})[ ]?[*]?[ ]?[a-z]\b")
# A letter by itself, not the last factor of a product.
UNKNOWN = re.compile(r"(?<![-+/*] )(?<![0-9a-z)][-+/*])(?<![^ (,;:*$])([a-z])\Z")

# Between two boxes of which only one can be the answer, up to the last
ONE_OF_TWO = re.compile(
    r"\}[\s$.]{0,9}(?:\\text\{)?\s{0,9}(?:[,;|&]|\b(?:or|and)\b)"
    r"(?:[\s$,;}]|\b(?:or|and|maybe|[a-z][ ]?=)){0,9}\Z"
)


@dataclass(frozen=True, slots=True)
class Congruence:
    """x * y = 1 (mod p) as it was written: each slot holds a number or the letter of an unknown."""

    x: int | str
    y: int | str
    p: int | str


def read_congruences(response: str) -> list[Congruence]:
    """Read the proposed congruences, separated by commas; none of them if any part is none."""
    found = [CONGRUENCE.fullmatch(part) for part in plain(_content(response)).split(",")]
    congruences = [Congruence(*map(_slot, each.groups())) for each in found if each]
    return congruences if len(congruences) == len(found) else []


def read_answer(response: str, letter: str, modulus: int | None) -> int | None:
    """Read an answer such as `2`, `x=2` or `x = 2 (mod 7)`, among any words but no other number.

    None if there is none, if it is for another letter, or if it is stated for another modulus.
    """
    text = plain(_content(response))
    stated = [*STATED_MODULUS.findall(text), *MULTIPLES.findall(text)]
    if any(each != str(modulus) for each in stated):
        return None
    text = MULTIPLES.sub("", STATED_MODULUS.sub("", text))
    *statements, _ = text.split("=")
    # The congruence of the task itself has an equals sign too, and says nothing new. Of a chain such as
    # `y = 32^{-1} = 39` the first counts.
    statement = next((each for each in reversed(statements) if re.search("[A-Za-z]", each)), "")
    unknown = UNKNOWN.search(" ".join(statement.split()))
    if statements and (unknown is None or unknown[1] != letter):
        return None
    try:
        return read_integer(read_number(text))
    except NumberError:
        return None


def _slot(text: str) -> int | str:
    return int(text) if text.isdigit() else text


def _content(response: str) -> str:
    """Return the part of a response that counts, or "" if its box is not closed."""
    response = response.rpartition(THINK_END)[2]
    seen = tail(response).rstrip()
    start = seen.rfind(BOX)
    if start >= 0:
        if ONE_OF_TWO.search(seen, 0, start):
            return ""
        return _inside_braces(seen[start + len(BOX) :])
    opening = seen.rfind(r"\[")
    if seen.endswith(r"\]") and opening >= 0:
        return seen[opening + 2 : -2]
    return answer_line(response).removesuffix(".").strip("$")


def _inside_braces(text: str) -> str:
    """Return `text` up to the brace that closes the box, without further pairs of braces around it."""
    depth = 1
    for index, character in enumerate(text):
        depth += {"{": 1, "}": -1}.get(character, 0)
        if depth == 0:
            content = text[:index].strip()
            while content.startswith("{") and content.endswith("}"):
                content = content[1:-1].strip()
            return content
    return ""
