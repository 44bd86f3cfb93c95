"""Cut the part of a response that a grammar looks at, in bounded time.

A response is whatever a model wrote: empty, megabytes long, in any script. Every pack cuts it here first, so
that the regular expressions behind see a few thousand characters at most.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

TAIL_CHARS = 4096
"""Characters at the end, or at the beginning, of a response that are looked at."""


_CLOSING_LINE = re.compile(r"\\\]|\$\$|[`~]{3,9}|</answer>|\\end\{[a-z]{1,12}\*?\}|-{3,9}|\*{2,3}")
"""A line that ends a displayed formula, a fence or the like, below what stands in it."""


def tail(text: str) -> str:
    """Return the last `TAIL_CHARS` characters of `text`."""
    return text[-TAIL_CHARS:]


def first_line(text: str) -> str:
    """Return the first line of `text` that is not blank, stripped; "" if there is none.

    One that begins or ends behind the first `TAIL_CHARS` characters gives "".
    """
    line, end, _ = text[:TAIL_CHARS].lstrip().partition("\n")
    return line.strip() if end or len(text) <= TAIL_CHARS else ""


def last_line(text: str) -> str:
    """Return the last line of `text` that is not blank, stripped; "" if there is none.

    A last line that begins before the last `TAIL_CHARS` characters gives "": its beginning is out of sight,
    and half a line could read as an answer that the whole line is not.
    """
    seen = tail(text)
    stripped = seen.rstrip()
    start = stripped.rfind("\n") + 1
    if start == 0 and len(seen) < len(text):
        return ""
    return stripped[start:].strip()


def up_to_stop(text: str, stop: Sequence[str]) -> str:
    """Return `text` up to the end of the first of these stop strings in it; whole if there is none."""
    ends = [start + len(mark) for mark in stop if (start := text.find(mark)) >= 0]
    return text[: min(ends, default=len(text))]


def answer_line(response: str) -> str:
    """Return the line that holds a response's answer: its last, but for those that only close something."""
    lines = tail(response).rstrip().split("\n")
    while len(lines) > 1 and (not lines[-1].strip() or _CLOSING_LINE.fullmatch(lines[-1].strip())):
        lines.pop()
    if len(lines) == 1 and len(response) > TAIL_CHARS:
        return ""
    return lines[-1].strip().removesuffix(r"\]")
