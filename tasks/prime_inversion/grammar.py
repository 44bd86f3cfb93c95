"""Read congruences and answers out of a response.

What counts is the last box; without a box, the last display formula if the response ends with one; without
that, the last line that is not blank. The tables in tests/tasks/prime_inversion/test_grammar.py say what is
read and what is not.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from tasks.kit.parsing import last_line, tail

BOX = r"\boxed{"

SPACE = r"[ \t\r\n]*"
SLOT = r"([0-9]{1,6}|[a-z])"
TIMES = r"(?:\*|\\times|\\cdot)"
EQUALS = "(?:=|\N{IDENTICAL TO}|\\\\equiv)"
MODULO = (
    "(?:"
    + (r"\(" + SPACE + "mod" + SPACE + SLOT + SPACE + r"\)")
    + "|"
    + (r"\\pmod" + SPACE + r"\{{1,2}" + SPACE + SLOT + SPACE + r"\}{1,2}")
    + ")"
)

CONGRUENCE = re.compile(
    SPACE + SLOT + SPACE + TIMES + SPACE + SLOT + SPACE + EQUALS + SPACE + "1" + SPACE + MODULO + SPACE
)
ANSWER = re.compile(rf"{SPACE}(?:([a-z]){SPACE}{EQUALS}{SPACE})?(-?[0-9]{{1,9}}){SPACE}")


@dataclass(frozen=True, slots=True)
class Congruence:
    """x * y = 1 (mod p) as it was written: each slot holds a number or the letter of an unknown."""

    x: int | str
    y: int | str
    p: int | str


def read_congruences(response: str) -> list[Congruence]:
    """Read the proposed congruences, separated by commas; none of them if any part is none."""
    found = [CONGRUENCE.fullmatch(part) for part in _content(response).split(",")]
    # Of the two ways to write a modulus only one has a group.
    congruences = [Congruence(*(_slot(text) for text in each.groups() if text)) for each in found if each]
    return congruences if len(congruences) == len(found) else []


def read_answer(response: str, letter: str) -> int | None:
    """Read an answer such as `2` or `x=2`; None if there is none, or if it is for another letter."""
    found = ANSWER.fullmatch(_content(response))
    if found is None or found[1] not in (None, letter):
        return None
    return int(found[2])


def _slot(text: str) -> int | str:
    return int(text) if text.isdigit() else text


def _content(response: str) -> str:
    """Return the part of a response that counts, or "" if its box is not closed."""
    seen = tail(response).rstrip()
    start = seen.rfind(BOX)
    if start >= 0:
        return _inside_braces(seen[start + len(BOX) :])
    opening = seen.rfind(r"\[")
    if seen.endswith(r"\]") and opening >= 0:
        return seen[opening + 2 : -2]
    return last_line(response).removesuffix(".").strip("$")


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
