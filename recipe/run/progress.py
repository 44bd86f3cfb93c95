"""What a person sees while a run goes on: one bar, fed from the run's metrics file."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

from tqdm import tqdm

from recipe.run.files import held_out_of, read_metrics
from recipe.selfplay.metrics import ACCEPTANCE_RATE

POLL_INTERVAL_S = 1.0


class ProgressBar:
    """A bar with the step, held-out accuracy, acceptance rate and time left, drawn by a thread of its own.

    The trainer is another process, perhaps on another node; its metrics file is what both can see.

    Args:
        metrics: The run's metrics file.
        total_steps: Steps of the run.
        terminal: Where to draw.
    """

    def __init__(self, metrics: Path, total_steps: int, terminal: TextIO) -> None:
        self._metrics = metrics
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
        if size == self._size:
            if self._redraw_idle:
                self._bar.refresh()
            return
        self._size = size
        lines = read_metrics(self._metrics)
        if len(lines) <= self._num_lines:
            self._num_lines = len(lines)
            if self._redraw_idle:
                self._bar.refresh()
            return
        if not self._moves:
            self._moves = True
            # Time left counts from here: starting the engines says nothing about the length of a step.
            self._bar.initial = lines[-1]["step"]
            self._bar.reset()
        self._num_lines = len(lines)
        self._bar.n = lines[-1]["step"]
        self._bar.set_description_str("step", refresh=False)
        self._bar.set_postfix(status(lines), refresh=False)
        self._bar.refresh()


def status(lines: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """The numbers beside the bar: held-out accuracy, and the acceptance rate of the last step."""
    shown: dict[str, str] = {}
    held_out = [found for line in lines if (found := held_out_of(line)) is not None]
    if held_out:
        shown["held-out"] = f"{held_out[-1]['accuracy']:.1%}"
    accepted = lines[-1].get(ACCEPTANCE_RATE)
    if accepted is not None:
        shown["accepted"] = f"{accepted:.0%}"
    return shown
