"""One page about runs: `python -m recipe.report RUN [RUN ...] [--out FILE]`.

RUN is the directory of a run, finished or going on, or the folder of a study. The page is one HTML file that
a browser opens from disk; it fetches nothing. docs/report.md shows it.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from recipe.inspect import InspectError
from recipe.report import REPORT, ReportError
from recipe.report.contents import read_contents
from recipe.report.page import html_of
from recipe.run.checkpoint import write_atomically


def read_arguments(words: Sequence[str]) -> argparse.Namespace:
    """The command line; what is wrong with it ends the command with status 2."""
    parser = argparse.ArgumentParser(
        prog="python -m recipe.report",
        description="Write one HTML file about runs: charts, and every task with its reward explained.",
    )
    parser.add_argument(
        "runs", nargs="+", type=Path, metavar="RUN", help="directory of a run, or folder of a study"
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="FILE",
        help=f"the page (default: {REPORT} in RUN, or here if there are several); missing folders are made",
    )
    return parser.parse_args(words)


def write_report(folders: Sequence[Path], out: Path) -> None:
    """Write the page of these runs; folders of `out` that are missing are made.

    Raises:
        ReportError: One is no run, they cannot be compared, or `out` is a folder.
        InspectError: The same, by the ledger's index.
        OSError: The page cannot be written.
    """
    if out.is_dir():
        raise ReportError(f"--out must name a file; {out} is a folder")
    write_atomically(out, html_of(read_contents(folders)))


def main(words: Sequence[str]) -> int:
    """Write the page and say where it is; the exit status, 2 for what is refused."""
    asked = read_arguments(words)
    out = asked.out or (asked.runs[0] / REPORT if len(asked.runs) == 1 else Path(REPORT))
    try:
        write_report(asked.runs, out)
    except (ReportError, InspectError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"error: {out} cannot be written: {error.strerror}", file=sys.stderr)
        return 2
    print(out)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
