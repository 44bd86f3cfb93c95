"""Look into a run: `python -m recipe.inspect RUN [VIEW] [options]`.

Without a view: how the run is doing. docs/inspect.md shows each.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NoReturn

from recipe.inspect import InspectError
from recipe.inspect.by_level import ByLevel, tasks_by_level
from recipe.inspect.diff import Diff, compare_steps
from recipe.inspect.entries import read_name
from recipe.inspect.filters import Filters, Steps, read_rates, read_steps
from recipe.inspect.index import Index, damaged_lines, ledger_notes, open_index
from recipe.inspect.listing import Alarms, Listing, list_alarms, list_responses
from recipe.inspect.numbers import MOST_STRETCHES
from recipe.inspect.printing import Progress, make_console, note, show, visible
from recipe.inspect.rejections import Rejections, count_reasons
from recipe.inspect.replay import Replay, replay
from recipe.inspect.run import open_run
from recipe.inspect.summary import Summary, summarize
from recipe.inspect.task import Task, read_task
from tasks.contract import Outcome, Role

VIEWS = {
    "summary": "how the run is doing: what is shown without a view",
    "proposals": "proposals, the newest first",
    "attempts": "attempts, the newest first",
    "rejections": "how many responses were refused or not right for which reason, with an example each",
    "task": "STEP/INDEX: one task from its prompt to its reward, item by item",
    "level": "tasks by step and level: proposed, accepted, solved",
    "diff": "STEP STEP: what changed between two steps, or two stretches A:B",
    "alarms": "the alarms of the run, the newest first",
    "replay": "azr.alarms.NAME=VALUE ...: the alarms it would have with these thresholds",
}

View = Summary | Listing | Rejections | Task | ByLevel | Diff | Alarms | Replay

MOST_LISTED = 1000
"""Damaged lines that are named with `--json`."""


class Parser(argparse.ArgumentParser):
    """What is wrong with a command line is one line, without the usage before it."""

    def error(self, message: str) -> NoReturn:
        """End the command."""
        print(f"error: {message}; --help says more", file=sys.stderr)
        sys.exit(2)


def read_arguments(words: Sequence[str]) -> argparse.Namespace:
    """The command line; what is wrong with it ends the command with status 2."""
    views = "\n".join(f"  {name:<11} {says}" for name, says in VIEWS.items())
    parser = Parser(
        prog="python -m recipe.inspect",
        description=f"Look into a run, finished or going on.\n\nviews:\n{views}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("run", type=Path, metavar="RUN", help="directory of the run")
    parser.add_argument("view", nargs="?", choices=VIEWS, default="summary", metavar="VIEW", help="see above")
    parser.add_argument("of", nargs="*", metavar="...", help="what task, diff and replay are about")
    only = parser.add_argument_group("which responses; conditions combine")
    only.add_argument("--role", choices=[role.value for role in Role], help="who responded")
    only.add_argument("--kind", help="of task")
    only.add_argument("--outcome", choices=[outcome.value for outcome in Outcome])
    only.add_argument("--reason", help="why it was refused or not right, as rejections lists them")
    only.add_argument("--step", type=_typed(read_steps), metavar="A or A:B", help="steps; 0 is the seeding")
    only.add_argument(
        "--solve-rate", type=_typed(read_rates), metavar="LOW:HIGH", help="of the proposal, from 0 to 1"
    )
    only.add_argument("--text", type=_typed(_text), metavar="SUBSTRING", help="in the response")
    only.add_argument(
        "--prompt", type=_typed(_text), metavar="SUBSTRING", help="in the prompt: a reference, say"
    )
    parser.add_argument("--limit", type=_typed(_count), default=20, help="most entries (default: 20)")
    parser.add_argument("--json", action="store_true", help="one JSON document, for programs")
    return parser.parse_intermixed_args(words)


def _typed(read: Callable[[str], Any]) -> Callable[[str], Any]:
    """A reader of argparse, which says of a ValueError what it says itself."""

    def typed(text: str) -> Any:
        try:
            return read(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from error

    return typed


def _count(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) < 1 << 31:
        raise ValueError(f"must be a whole number from 1; got {text!r}")
    return int(text)


def _text(text: str) -> str:
    if not text or text != text.encode("utf-8", "replace").decode():
        raise ValueError(f"must be a text that can be written as UTF-8, and not empty; got {text!r}")
    return text


def read_view(index: Index, asked: argparse.Namespace, width: int) -> View:
    """What was asked for.

    Raises:
        InspectError: It makes no sense for this run.
    """
    filters = Filters(
        asked.role,
        asked.kind,
        asked.outcome,
        asked.reason,
        asked.step,
        asked.solve_rate,
        asked.text,
        asked.prompt,
    )
    filters.check(index)
    num_wanted = {"task": 1, "diff": 2, "replay": len(asked.of)}.get(asked.view, 0)
    if len(asked.of) != num_wanted:
        raise InspectError(f"{asked.view} takes {_WANTED[num_wanted]}; got {' '.join(asked.of) or 'nothing'}")
    match asked.view:
        case "proposals" | "attempts":
            role = Role.PROPOSE if asked.view == "proposals" else Role.SOLVE
            if asked.role not in (None, role):
                raise InspectError(f"{asked.view} are of --role {role}; got {asked.role}")
            return list_responses(index, role, filters, asked.limit)
        case "rejections":
            return count_reasons(index, filters, asked.limit)
        case "task":
            if filters.are_given:
                raise InspectError("task shows one task, and takes none of the conditions")
            return read_task(index, read_name(asked.of[0]))
        case "level":
            return tasks_by_level(index, filters, _num_stretches(asked, width))
        case "diff":
            if filters.steps is not None:
                raise InspectError("diff takes the steps behind its name: diff 1:5 36:40, without --step")
            before, after = map(_read_side, asked.of)
            return compare_steps(index, before, after, filters, asked.limit)
        case "alarms":
            return list_alarms(index, filters, asked.limit)
        case "replay":
            if filters.are_given:
                raise InspectError("replay judges all steps, and takes none of the conditions")
            return replay(index, asked.of)
        case _:
            return summarize(index, filters)


_WANTED = ["nothing behind its name", "one task, STEP/INDEX", "two steps, or two stretches A:B"]


def _read_side(text: str) -> Steps:
    try:
        return read_steps(text)
    except ValueError as error:
        raise InspectError(f"diff takes two steps; one {error}") from error


def _num_stretches(asked: argparse.Namespace, width: int) -> int:
    """As many columns of steps as fit beside the levels' names."""
    return MOST_STRETCHES if asked.json else min(max((width - 14) // 12, 1), MOST_STRETCHES)


def require_responses(index: Index, view: str) -> None:
    """InspectError if there is nothing to look at."""
    responses = index.row("SELECT count(*) AS n FROM lines")["n"]
    alarms = index.row("SELECT count(*) AS n FROM alarms")["n"]
    if responses or (alarms and view == "alarms"):
        return
    notes = "; ".join(ledger_notes(index))
    raise InspectError(
        f"{index.run.ledger} must hold a response, and has none yet{f'; {notes}' if notes else ''}"
    )


def document(index: Index, name: str, view: View) -> dict[str, Any]:
    """What `--json` prints."""
    return {
        "run": str(index.run.folder),
        "view": name,
        "ledger": {
            "lines": index.state.num_lines,
            "num_damaged": index.row("SELECT count(*) AS n FROM damaged")["n"],
            "damaged": damaged_lines(index, MOST_LISTED),
            "partial_bytes": index.partial_bytes,
            "pack_fault": index.state.pack_fault,
        },
        "result": asdict(view),
    }


def main(words: Sequence[str]) -> int:
    """Print a view; the exit status, which is 2 for what cannot be looked at."""
    asked = read_arguments(words)
    console = make_console(sys.stdout)
    progress = Progress(sys.stderr)
    try:
        run = open_run(asked.run)
        with open_index(run, progress) as index:
            progress.clear()
            require_responses(index, asked.view)
            view = read_view(index, asked, console.width)
            found, notes = document(index, asked.view, view), ledger_notes(index)
    except InspectError as error:
        progress.clear()
        print(f"error: {visible(str(error))}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        progress.clear()
        print("interrupted; the index is as it was", file=sys.stderr)
        return 130
    # The index is closed: who reads on in the pager keeps nobody from writing to it.
    try:
        if asked.json:
            # ASCII alone: no text of a model reaches a terminal as it is.
            print(json.dumps(found, allow_nan=False).replace("\x7f", "\\u007f"))
        else:
            show([*map(note, notes), *view.parts(console.width)], console)
    except BrokenPipeError:  # `| head` has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
