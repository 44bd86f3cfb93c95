"""The bar, drawn into a buffer."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from recipe.run import progress
from recipe.run.progress import progress_bar


class Terminal(io.StringIO):
    """A terminal of 80 columns that keeps what it was sent."""

    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def poll_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "POLL_INTERVAL_S", 0.001)


def write(path: Path, *steps: int, **numbers: float) -> None:
    """Append lines of metrics."""
    with path.open("a") as file:
        for step in steps:
            file.write(json.dumps({"step": step, **numbers}) + "\n")


def status(lines: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """The first number of the file, and how many lines there are."""
    return {"right": f"{lines[0].get('right', 0.0):.1%}", "lines": str(len(lines))}


def wait_for(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.002)


def last_drawn(terminal: io.StringIO) -> str:
    return terminal.getvalue().strip().split("\r")[-1].strip()


def test_bar_shows_step_total_and_status(tmp_path: Path) -> None:
    path, terminal = tmp_path / "metrics.jsonl", io.StringIO()
    with progress_bar(path, 60, terminal, status):
        write(path, 0, right=0.375)
        write(path, 1, 2)
    assert last_drawn(terminal).startswith("step 2/60 |")
    assert "right=37.5%, lines=3" in last_drawn(terminal)


def test_news_stand_above_the_bar_once(tmp_path: Path) -> None:
    path, terminal = tmp_path / "metrics.jsonl", io.StringIO()
    told = iter([["alarm duplicates: 97%"], [], ["alarm length: 5.0", "alarm memory: 2.0"]])
    with progress_bar(path, 60, terminal, status, lambda: next(told)):
        for step in (1, 2, 3):
            write(path, step)
            wait_for(lambda step=step: f"step {step}/60" in terminal.getvalue())  # type: ignore[misc]
    lines = [line.split("\r")[-1] for line in terminal.getvalue().split("\n")]
    assert lines[:3] == ["alarm duplicates: 97%", "alarm length: 5.0", "alarm memory: 2.0"]
    assert last_drawn(terminal).startswith("step 3/60 |")


def test_bar_says_that_the_run_is_starting(tmp_path: Path) -> None:
    terminal = io.StringIO()
    with progress_bar(tmp_path / "metrics.jsonl", 60, terminal, status):
        pass
    assert "starting 0/60" in terminal.getvalue()


def test_bar_writes_little_where_every_character_stays(tmp_path: Path) -> None:
    path, terminal = tmp_path / "metrics.jsonl", io.StringIO()
    with progress_bar(path, 60, terminal, status):
        write(path, 1)
        wait_for(lambda: "step 1/60" in terminal.getvalue())
        length = len(terminal.getvalue())
        time.sleep(0.1)  # a hundred looks at a file in which nothing happens
        assert len(terminal.getvalue()) == length
    # At the start, when the clock is set, with the step, and at the end.
    assert terminal.getvalue().count("/60") <= 5
    assert len(terminal.getvalue()) < 500


def test_bar_on_a_terminal_shows_that_time_passes(tmp_path: Path) -> None:
    path, terminal = tmp_path / "metrics.jsonl", Terminal()
    with progress_bar(path, 60, terminal, status):
        length = len(terminal.getvalue())
        wait_for(lambda: len(terminal.getvalue()) > length)


def test_bar_goes_on_when_a_resumed_run_cuts_its_metrics(tmp_path: Path) -> None:
    # An earlier process got to step 3 and had no checkpoint, so its trainer starts again from nothing.
    path, terminal = tmp_path / "metrics.jsonl", Terminal()
    write(path, 1, 2, 3)
    with progress_bar(path, 60, terminal, status):
        assert "step" not in last_drawn(terminal)
        path.write_bytes(b"")
        drawn = terminal.getvalue().count("\r")  # once a look, and the look after next sees an empty file
        wait_for(lambda: terminal.getvalue().count("\r") > drawn + 1)
        write(path, 1)
        wait_for(lambda: "step 1/60" in terminal.getvalue())
        write(path, 2)
        wait_for(lambda: "step 2/60" in terminal.getvalue())


def test_time_left_counts_from_the_first_new_step(tmp_path: Path) -> None:
    path, terminal = tmp_path / "metrics.jsonl", io.StringIO()
    write(path, *range(1, 51))
    with progress_bar(path, 60, terminal, status) as bar:
        time.sleep(0.05)  # the engines start
        assert "step" not in last_drawn(terminal)
        write(path, 51)
        wait_for(lambda: "step 51/60" in terminal.getvalue())
        assert bar.initial == 51
