"""Held-out results of finished runs, side by side: `python -m recipe.compare RUN RUN ...`.

A run is named by its directory. What is compared stands in its `summary.json`: accuracy before and after with
its 95 % interval, overall and by kind, and the difference of the two with an interval of its own.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from recipe.run.files import SUMMARY
from recipe.selfplay.intervals import newcombe, wilson
from recipe.selfplay.metrics import ALL_KINDS

NOT_MEASURED = "-"


class Measured(NamedTuple):
    """One evaluation: `correct` of `total` held-out tasks."""

    correct: int
    total: int

    def __str__(self) -> str:
        """Accuracy in percent, its 95 % interval, and of how many tasks."""
        low, high = wilson(*self)
        return f"{self.correct / self.total:.1%} [{100 * low:.1f}, {100 * high:.1f}] n={self.total}"


class Result(NamedTuple):
    """What a run's summary says: evaluations by kind and for `ALL_KINDS`, empty if there was none."""

    steps: int
    before: Mapping[str, Measured]  # the first step
    after: Mapping[str, Measured]  # the last evaluation


class SummaryError(ValueError):
    """A run's summary cannot be compared; the message names the file."""


def read_result(run: Path) -> Result:
    """Read the summary in a run's directory.

    Raises:
        SummaryError: It is missing, or is no summary of a run.
    """
    path = run / SUMMARY
    if not path.is_file():
        raise SummaryError(f"{path} must exist: a run writes it when it ends. Name directories of such runs.")
    try:
        summary = json.loads(path.read_text(encoding="utf-8"))
        before, after = (measured_by_kind(summary["held_out"][name]) for name in ("before", "after"))
        return Result(summary["steps"], before, after)
    except (ValueError, TypeError, KeyError) as error:
        raise SummaryError(f"{path} must be the summary of a run; {type(error).__name__}: {error}") from error


def measured_by_kind(numbers: Mapping[str, Any] | None) -> dict[str, Measured]:
    """An evaluation as `held_out_of` gives it, whose accuracy is a number of correct answers over n."""
    found = {} if numbers is None else {ALL_KINDS: numbers, **numbers["by_kind"]}
    return {kind: Measured(round(of["accuracy"] * of["n"]), of["n"]) for kind, of in found.items()}


def compare(runs: Mapping[str, Result]) -> list[str]:
    """The lines of a table with one column a run, in the order of `runs`, and three rows a kind."""
    kinds = dict.fromkeys(kind for run in runs.values() for kind in (*run.before, *run.after))
    rows = [["", "", *runs], ["steps", "", *(str(run.steps) for run in runs.values())]]
    for kind in kinds:
        columns = [_cells(run.before.get(kind), run.after.get(kind)) for run in runs.values()]
        names = (kind, "", ""), ("before", "after", "change")
        rows += map(list, zip(*names, *columns, strict=True))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]


def _cells(before: Measured | None, after: Measured | None) -> tuple[str, str, str]:
    """One run's before, after and change."""
    change = NOT_MEASURED
    if before is not None and after is not None:
        low, high = newcombe(*before, *after)
        difference = after.correct / after.total - before.correct / before.total
        change = f"{100 * difference:+.1f} [{100 * low:+.1f}, {100 * high:+.1f}]"
    return str(before or NOT_MEASURED), str(after or NOT_MEASURED), change


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table; exit status 2 and one line if a summary cannot be read."""
    parser = argparse.ArgumentParser(
        prog="python -m recipe.compare",
        description="Held-out accuracy before and after in percent, the change in points; 95 % intervals.",
    )
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="directory of a finished run")
    runs: list[Path] = parser.parse_args(arguments).runs
    try:
        results = {str(run): read_result(run) for run in runs}
    except SummaryError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    print("\n".join(compare(results)))


if __name__ == "__main__":
    main()
