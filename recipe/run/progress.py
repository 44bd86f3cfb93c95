"""What a person sees while a run goes on: one bar, fed from the run's metrics file."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

from tqdm import tqdm

from recipe.run.files import read_metrics

POLL_INTERVAL_S = 1.0

Status = Callable[[Sequence[Mapping[str, Any]]], dict[str, str]]
"""The numbers beside the bar, by name, from all lines of the metrics file."""


class ProgressBar:
    """A bar with the step, the numbers of `status` and the time left, drawn by a thread of its own.

    The trainer is another process, perhaps on another node; its metrics file is what both can see.
    """

    def __init__(self, metrics: Path, total_steps: int, terminal: TextIO, status: Status) -> None:
        self._metrics = metrics
        self._status = status
        self._stop = threading.Event()
        # Lines of an earlier process of the run; its trainer may still cut some off.
        self._num_lines = len(read_metrics(metrics))
        self._size = -1
        self._moves = False
        self._bar = tqdm(
            total=total_steps,
            file=terminal,
            unit="step",
            dynamic_ncols=True,
            bar_format="{desc} {n_fmt}/{total_fmt} |{bar}| {elapsed}<{remaining}{postfix}",
            desc="starting",
        )
        # A file or a pipe keeps every redraw, so there the bar is drawn when it has moved only.
        self._redraw_idle = terminal.isatty()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> ProgressBar:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stop.set()
        self._thread.join()
        self._draw()
        self._bar.close()

    def _watch(self) -> None:
        while not self._stop.wait(POLL_INTERVAL_S):
            self._draw()

    def _draw(self) -> None:
        size = self._metrics.stat().st_size if self._metrics.exists() else 0
        if size != self._size:
            self._size, before = size, self._num_lines
            lines = read_metrics(self._metrics)
            self._num_lines = len(lines)
            if len(lines) > before:
                self._move(lines)
                return
        if self._redraw_idle:
            self._bar.refresh()

    def _move(self, lines: Sequence[Mapping[str, Any]]) -> None:
        if not self._moves:
            self._moves = True
            # Time left counts from here: starting the engines says nothing about the length of a step.
            self._bar.initial = lines[-1]["step"]
            self._bar.reset()
        self._bar.n = lines[-1]["step"]
        self._bar.set_description_str("step", refresh=False)
        self._bar.set_postfix(self._status(lines), refresh=False)
        self._bar.refresh()
