"""How a view looks in a terminal: harmless text, tables that fit, and a pager for what is long."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TextIO

from rich.cells import cell_len
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

UNKNOWN = "-"
PATIENCE_S = 0.5
NARROW = 60
"""Columns below which a list says less of each entry."""

BLOCK_CHARACTERS = 4000
BLOCK_LINES = 60
"""Most that is shown of one text; `--json` has all of it."""

NAME, GOOD, BAD, POOR, QUIET, TITLE = "cyan", "green", "red", "yellow", "dim", "bold"
"""Styles by what they say."""

_HARMFUL = re.compile(r"[^\x20-\x7e]")


def visible(text: str, *, keeps_lines: bool = False) -> str:
    """A model's text for a terminal: what is not printed as itself is written as an escape, `\\x1b`.

    That is all that moves the cursor, colours, rings, joins or turns letters around. Where lines are kept
    their ends stay; everywhere else they are `\\n`.
    """

    def escape(match: re.Match[str]) -> str:
        character = match[0]
        if character.isprintable() or (keeps_lines and character == "\n"):
            return character
        return character.encode("unicode_escape").decode("ascii")

    return _HARMFUL.sub(escape, text)


def in_one_line(text: str, width: int) -> str:
    """The beginning of a model's text, in so many columns of a terminal."""
    # No character is narrower than a quarter of a column on average, unless it is made of marks.
    shown = Text(visible(text[: 4 * width]), no_wrap=True)
    is_cut = len(text) > 4 * width or cell_len(shown.plain) > width
    if not is_cut:
        return shown.plain
    shown.truncate(max(width - 1, 1))
    return f"{shown.plain}…"


def block(
    text: str, indent: int = 2, most_characters: int = BLOCK_CHARACTERS, most_lines: int = BLOCK_LINES
) -> RenderableType:
    """A model's text over several lines, cut where it is very long."""
    shown_text = "\n".join(text[:most_characters].split("\n")[:most_lines])
    num_left = len(text) - len(shown_text)
    shown = Text(visible(shown_text, keeps_lines=True))
    if not text:
        shown = Text("(empty)", QUIET)
    if num_left:
        shown.append(f"\n({num_left:,} more characters; --json has them)", QUIET)
    grid = Table.grid(padding=0)
    grid.add_column(width=indent)
    grid.add_column(overflow="fold")
    grid.add_row("", shown)
    return grid


def percent(share: float | None) -> str:
    """A share in percent; neither 0 nor 100 for one that is not."""
    if share is None:
        return UNKNOWN
    if 0 < share < 0.005:
        return "<1%"
    return ">99%" if 0.995 <= share < 1 else f"{100 * share:.0f}%"


def number(value: float | None, digits: int = 2) -> str:
    """A number with so many digits behind the point."""
    # What rounds to zero has no sign.
    return UNKNOWN if value is None else f"{round(value, digits) + 0.0:,.{digits}f}"


def count(value: int) -> str:
    """A whole number with its thousands apart."""
    return f"{value:,}"


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table: its head, and a cell for every row."""

    head: str
    cells: Sequence[str]
    rank: int = 0  # where there is no room for all, those of the highest ranks are left out
    is_text: bool = False  # left-aligned; numbers are right-aligned
    style: str = ""

    @property
    def width(self) -> int:
        """Columns of a terminal that it takes."""
        return max(map(cell_len, [self.head, *map(visible, self.cells)]))

    def cut(self, most: int) -> int:
        """What it takes where a text takes no more than `most`."""
        return min(self.width, most) if self.is_text else self.width


GAP = 2


def table(columns: Sequence[Column], width: int) -> Table:
    """A table of those columns that fit, in order; where not all do, texts are cut to half of the width."""
    fits = sum(column.width + GAP for column in columns) <= width + GAP
    rooms = {id(column): column.width if fits else column.cut(width // 2) for column in columns}
    left = width + GAP
    kept: list[Column] = []
    for column in sorted(columns, key=lambda column: column.rank):
        left -= rooms[id(column)] + GAP
        if left < 0 and kept:
            break
        kept.append(column)
    shown = [column for column in columns if column in kept]
    made = Table(box=None, padding=(0, GAP, 0, 0), pad_edge=False, header_style=QUIET)
    for column in shown:
        made.add_column(
            Text(column.head),
            justify="left" if column.is_text else "right",
            style=column.style,
            max_width=rooms[id(column)],
            no_wrap=True,
            overflow="ellipsis",
        )
    for cells in zip(*(column.cells for column in shown), strict=True):
        made.add_row(*(Text(visible(cell)) for cell in cells))
    return made


def note(text: str) -> Text:
    """A remark beside what was asked for."""
    return Text(visible(text), QUIET)


def title(text: str) -> Text:
    """A heading."""
    return Text(visible(text), TITLE)


def make_console(file: TextIO) -> Console:
    """A console that says how wide `file` is, and whether it has colours (NO_COLOR and TERM are heeded)."""
    return Console(file=file, highlight=False, markup=False, emoji=False, soft_wrap=False)


def show(parts: Iterable[RenderableType], console: Console) -> None:
    """Print, and page what is longer than the screen of a terminal."""
    with console.capture() as capture:
        for part in parts:
            console.print(part)
    text = capture.get()
    if console.color_system is None:  # what tables are filled up with says nothing
        text = "".join(f"{line.rstrip()}\n" for line in text.removesuffix("\n").split("\n"))
    if console.is_terminal and text.count("\n") >= console.height:
        _page(text)
    else:
        _write(text)


def _page(text: str) -> None:
    words = shlex.split(os.environ.get("PAGER") or "less -R")
    try:
        pager = subprocess.Popen(words, stdin=subprocess.PIPE, env=os.environ | {"LESSCHARSET": "utf-8"})
    except OSError:
        _write(text)
        return
    assert pager.stdin is not None
    try:
        pager.stdin.write(text.encode("utf-8", "backslashreplace"))
        pager.stdin.close()
    except BrokenPipeError:  # whoever read it has seen enough
        pass
    while pager.poll() is None:
        try:
            pager.wait()
        except KeyboardInterrupt:  # it is the pager's, which stays
            continue


def _write(text: str) -> None:
    encoding = sys.stdout.encoding or "utf-8"
    sys.stdout.write(text.encode(encoding, "backslashreplace").decode(encoding))
    sys.stdout.flush()


class Progress:
    """Says on a terminal what takes time, in one line that goes away again; nothing where there is none."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._num_shown = 0
        self._began = time.monotonic()

    def __call__(self, words: str) -> None:
        """Show these words in the place of the last, unless all of it may be over at once."""
        if self._file.isatty() and time.monotonic() - self._began > PATIENCE_S:
            self._file.write(f"\r{words.ljust(self._num_shown)}")
            self._file.flush()
            self._num_shown = len(words)

    def clear(self) -> None:
        """Take the line away."""
        if self._num_shown:
            self._file.write(f"\r{' ' * self._num_shown}\r")
            self._file.flush()
            self._num_shown = 0
