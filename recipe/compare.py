"""Held-out results of runs, task by task: `python -m recipe.compare RUN RUN ...`.

A run is named by its directory, and that of a live run will do. For each there is a table: accuracy before
training and at the last evaluation, and the change. Runs behind the first have their difference from the
first as well, both at their last evaluations. Changes and differences are between answers to the same task.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean

from recipe.run.evaluations import MISSING, Evaluation, EvaluationsError, read_evaluations
from recipe.selfplay.intervals import paired_over_tasks, wilson
from recipe.selfplay.metrics import ALL_KINDS, GROUP_MARK

NOT_MEASURED = "-"
HEADER = ("", "", "tasks", "before", "after", "change")


class CompareError(ValueError):
    """These runs cannot be compared; the message is one line that names them."""


def compare(runs: Sequence[tuple[str, Mapping[int, Evaluation]]]) -> list[str]:
    """The lines of a table for each run: its name and its evaluations by step.

    Raises:
        CompareError: A run has no evaluation, or its last one is of other tasks than the first run's.
    """
    lasts = []
    for name, evaluations in runs:
        if not evaluations:
            raise CompareError(f"{name} must have been evaluated; its first evaluation is yet to come")
        lasts.append(evaluations[max(evaluations)])
        if lasts[-1].held_out != lasts[0].held_out:
            raise CompareError(
                f"{name} must have been asked the same held-out tasks as {runs[0][0]}; it was asked others. "
                "Give runs of one held-out set and one data.val_max_samples."
            )
    lines: list[str] = []
    for number, (name, evaluations) in enumerate(runs):
        title = f"{name}: last evaluated after step {lasts[number].step}"
        if missing := lasts[number].greedy.count(MISSING):
            title += f", {missing} of {len(lasts[number].greedy)} tasks without a response"
        if number > 0:
            title += f"; difference from {runs[0][0]}"
        first = lasts[0] if number > 0 else None
        lines += [*([""] if lines else []), title, *_table(evaluations.get(0), lasts[number], first)]
    return lines


def _table(before: Evaluation | None, last: Evaluation, first: Evaluation | None) -> list[str]:
    """One run's table. `first` is the last evaluation of the run to be compared with, if it is another."""
    if before is not None and before.held_out != last.held_out:  # the set was changed on resuming
        before = None
    after = last if last.step > 0 else None
    rows = [[*HEADER, *(["difference"] if first else [])]]
    for group, items in items_by_group(last).items():
        for sampled in (False, True) if last.num_samples else (False,):
            row = ["" if sampled else group, f"mean@{last.num_samples}" if sampled else "greedy"]
            row += [str(len(items)), share(before, items, sampled), share(after, items, sampled)]
            row.append(difference(before, after, items, sampled))
            rows.append([*row, *([difference(first, last, items, sampled)] if first else [])])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]


def items_by_group(evaluation: Evaluation) -> dict[str, list[int]]:
    """The items of each group, after those of `ALL_KINDS`."""
    found: dict[str, list[int]] = {}
    for item, joined in enumerate(evaluation.groups):
        for name in {ALL_KINDS, *joined.split(GROUP_MARK)}:
            found.setdefault(name, []).append(item)
    return {name: found[name] for name in (ALL_KINDS, *sorted(found.keys() - {ALL_KINDS}))}


def share(evaluation: Evaluation | None, items: Sequence[int], sampled: bool) -> str:
    """Accuracy on these items in percent; of greedy answers with Wilson's interval."""
    scores = [score for score in _scores(evaluation, items, sampled) if score is not None]
    if not scores:
        return NOT_MEASURED
    return f"{fmean(scores):.1%}" if sampled else percent(round(sum(scores)), len(scores))


def percent(correct: int, total: int) -> str:
    """A share in percent with its 95 % interval."""
    low, high = wilson(correct, total)
    return f"{correct / total:.1%} [{100 * low:.1f}, {100 * high:.1f}]"


def difference(
    first: Evaluation | None, second: Evaluation | None, items: Sequence[int], sampled: bool
) -> str:
    """Second less first in points, over the items that have a score in both, with its 95 % interval."""
    if first is None or second is None:
        return NOT_MEASURED
    scores = zip(_scores(first, items, sampled), _scores(second, items, sampled), strict=True)
    differences = [new - old for old, new in scores if old is not None and new is not None]
    if not differences:
        return NOT_MEASURED
    low, high = paired_over_tasks(differences)
    return f"{100 * fmean(differences):+.1f} [{100 * low:+.1f}, {100 * high:+.1f}]"


def _scores(evaluation: Evaluation | None, items: Sequence[int], sampled: bool) -> list[float | None]:
    if evaluation is None:
        return []
    scores = evaluation.sampled_scores() if sampled else evaluation.greedy_scores()
    return [scores[item] for item in items]


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the tables; exit status 2 and one line for what cannot be compared."""
    parser = argparse.ArgumentParser(
        prog="python -m recipe.compare",
        description="Held-out accuracy in percent, differences in points and by task; 95 % intervals.",
    )
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="directory of a run")
    runs: list[Path] = parser.parse_args(arguments).runs
    try:
        lines = compare([(str(run), read_evaluations(run)) for run in runs])
    except (CompareError, EvaluationsError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    print("\n".join(lines))


if __name__ == "__main__":
    main()
