r"""Read the answers of MATH, which are LaTeX, where they are one rational number.

`\frac{14}{3}`, `1\frac45`, `10,\!080`, `\$18.90`, `10\%`, `90^\circ`, `15\text{ cm}^2` and `x=5` are. A root,
a vector, a number in another base or with a letter makes no problem of this pack.
"""

from __future__ import annotations

import re
from fractions import Fraction

from tasks.kit.numbers import NumberError, read_number
from tasks.kit.payload import Payload, read_str

_BOX = r"\boxed{"
_SPACING = re.compile(r"\\[!,;:]\s*")
_SPACE = re.compile(r"\\ |~")
_COMMA = "{,}"  # without the space that LaTeX sets behind one
_NUMBER = re.compile(
    r"""
    (?: [a-zA-Z] \s* = \s* )? (?P<sign>-?) \s* (?:\\?\$)? \s*
    (?: (?P<whole>[0-9]*) \s* \\[dt]?frac \s*
        (?: \{ \s* (?P<above>-?[0-9]+) \s* \} | (?P<above_digit>[0-9]) ) \s*
        (?: \{ \s* (?P<below>[0-9]+) \s* \} | (?P<below_digit>[0-9]) )
      # A comma that parts no thousands parts two numbers.
      | (?P<plain> (?= \.?[0-9] ) (?: [0-9]{1,3} (?: ,[0-9]{3} )+ | [0-9]* ) (?: \.[0-9]* )? (?: /[0-9]+ )? )
    )
    \s* (?P<percent> (?:\\?%)? )
    \s* (?: \^ \{? \\circ \}? | \\(?:text|textrm|mbox|mathrm) \{ (?P<unit>[^{}]*) \} (?: \^ \{? [23] \}? )? )?
    """,
    re.VERBOSE,
)


def read_latex_number(row: Payload) -> str:
    """The number that a row's `answer`, or else the last box of its `solution`, gives, in canonical form.

    Raises:
        ValueError: It gives none.
    """
    text = read_str(row, "answer") if row.get("answer") is not None else _last_box(read_str(row, "solution"))
    text = _SPACE.sub(" ", _SPACING.sub("", text.replace(_COMMA, ",")))
    found = _NUMBER.fullmatch(text.strip().strip("$"))
    if found is None:
        raise ValueError("must have one rational number for an answer")
    part = found.groupdict(default="")
    number = part["plain"]
    if not number:
        above, below = part["above"] or part["above_digit"], part["below"] or part["below_digit"]
        if int(below) == 0 or (part["whole"] and int(above) < 0):
            raise ValueError("must have one rational number for an answer")
        number = str(int(part["whole"] or 0) + Fraction(int(above), int(below)))
    try:
        # The unit as well: `5 million` is another number.
        return read_number(f"{part['sign']}{number}{part['percent']} {part['unit']}")
    except NumberError as error:
        raise ValueError(f"must have one rational number for an answer; {error}") from error


def _last_box(solution: str) -> str:
    r"""What the last `\boxed{...}` of a text holds."""
    _, box, rest = solution.rpartition(_BOX)
    depth = 1
    for end, char in enumerate(rest if box else ""):
        depth += {"{": 1, "}": -1}.get(char, 0)
        if depth == 0:
            return rest[:end]
    raise ValueError("must have an answer, or a solution that boxes one")
