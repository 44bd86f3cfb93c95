"""What a person sees while a run goes on: one bar, fed from the run's metrics file, and news above it.

The trainer is another process, perhaps on another node; its files are what both can see.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from tqdm import tqdm

from recipe.run.files import read_metrics

POLL_INTERVAL_S = 1.0

Status = Callable[[Sequence[Mapping[str, Any]]], dict[str, str]]
"""The numbers beside the bar, by name, from all lines of the metrics file."""


News = Callable[[], Sequence[str]]
"""What is to be said of the steps since the last call: lines that stay above the bar."""


@contextmanager
def progress_bar(
    metrics: Path, total_steps: int, terminal: TextIO, status: Status, news: News = tuple
) -> Iterator[tqdm]:
    """Show the step, the numbers of `status` and the time left, from a thread, until the block ends.

    `news` is asked whenever the file has a line more.
    """
    bar = tqdm(
        total=total_steps,
        file=terminal,
        unit="step",
        dynamic_ncols=True,
        bar_format="{desc} {n_fmt}/{total_fmt} |{bar}| {elapsed}<{remaining}{postfix}",
        desc="starting",
    )
    # Lines of an earlier process of the run; its trainer may still cut some off.
    num_lines = len(read_metrics(metrics))
    ended = threading.Event()
    watched = bar, metrics, num_lines, status, news, ended
    watch = threading.Thread(target=_watch, args=watched, daemon=True)
    watch.start()
    try:
        yield bar
    finally:
        ended.set()
        watch.join()
        bar.close()


def _watch(
    bar: tqdm, metrics: Path, num_lines: int, status: Status, news: News, ended: threading.Event
) -> None:
    """Move the bar whenever the file has a line more, and a last time when the run has ended."""
    size, is_last, has_moved = -1, False, False
    while not is_last:
        is_last = ended.wait(POLL_INTERVAL_S)
        before, size = size, metrics.stat().st_size if metrics.exists() else 0
        lines = read_metrics(metrics) if size != before else []
        if len(lines) > num_lines:
            if not has_moved:
                has_moved = True
                # Time left counts from here: starting the engines says nothing about the length of a step.
                bar.initial = lines[-1]["step"]
                bar.reset()
            bar.n = lines[-1]["step"]
            bar.set_description_str("step", refresh=False)
            bar.set_postfix(status(lines), refresh=False)
            for line in news():
                bar.write(line, file=bar.fp)
            bar.refresh()
        elif bar.fp.isatty():  # a file or a pipe would keep every redraw
            bar.refresh()
        if size != before:
            num_lines = len(lines)
