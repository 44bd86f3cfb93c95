"""The bar, drawn into a buffer."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from recipe.run import progress
from recipe.run.progress import ProgressBar, status
from recipe.selfplay import metrics
from recipe.selfplay.ledger import LedgerLine
from tasks.contract import Outcome, Role

HELD_OUT = metrics.held_out_metrics(["a"] * 8, [1.0] * 3 + [0.0] * 5, [1.0] * 8)


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


def wait_for(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.002)


def last_drawn(terminal: io.StringIO) -> str:
    return terminal.getvalue().strip().split("\r")[-1].strip()


# ------------------------------ status ------------------------------


@pytest.mark.parametrize(
    ("lines", "shown"),
    [
        ([{"step": 1}], {}),
        ([{"step": 0, **HELD_OUT}], {"held-out": "37.5%"}),
        ([{"step": 1, metrics.ACCEPTANCE_RATE: 0.256}], {"accepted": "26%"}),
        (
            [{"step": 0, **HELD_OUT}, {"step": 1, metrics.ACCEPTANCE_RATE: 1.0}],
            {"held-out": "37.5%", "accepted": "100%"},
        ),
        ([{"step": 1, metrics.ACCEPTANCE_RATE: 0.5}, {"step": 2}], {}),
    ],
)
def test_status_is_the_newest_held_out_result_and_the_last_steps_acceptance(
    lines: list[Mapping[str, Any]], shown: dict[str, str]
) -> None:
    assert status(lines) == shown


def test_status_shows_the_later_of_two_held_out_results() -> None:
    better = metrics.held_out_metrics(["a"], [1.0], [1.0])
    assert status([{"step": 0, **HELD_OUT}, {"step": 9, **better}]) == {"held-out": "100.0%"}


def test_status_reads_the_name_that_step_metrics_writes() -> None:
    line = LedgerLine(1, Role.PROPOSE, "a", 0, None, [], "", Outcome.CORRECT, "", None, None, None)
    assert status([metrics.step_metrics([line], ["a"], 1)]) == {"accepted": "100%"}


# ------------------------------ the bar ------------------------------


def test_bar_shows_step_total_and_status(tmp_path: Path) -> None:
    path, terminal = tmp_path / "metrics.jsonl", io.StringIO()
    with ProgressBar(path, 60, terminal):
        write(path, 0, **HELD_OUT)
        write(path, 1, 2, **{metrics.ACCEPTANCE_RATE: 0.25})
    assert last_drawn(terminal).startswith("step 2/60 |")
    assert "held-out=37.5%, accepted=25%" in last_drawn(terminal)


def test_bar_says_that_the_run_is_starting(tmp_path: Path) -> None:
    terminal = io.StringIO()
    with ProgressBar(tmp_path / "metrics.jsonl", 60, terminal):
        pass
    assert "starting 0/60" in terminal.getvalue()


def test_bar_writes_little_where_every_character_stays(tmp_path: Path) -> None:
    path, terminal = tmp_path / "metrics.jsonl", io.StringIO()
    with ProgressBar(path, 60, terminal):
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
    with ProgressBar(path, 60, terminal):
        length = len(terminal.getvalue())
        wait_for(lambda: len(terminal.getvalue()) > length)


def test_bar_goes_on_when_a_resumed_run_cuts_its_metrics(tmp_path: Path) -> None:
    # An earlier process got to step 3 and had no checkpoint, so its trainer starts again from nothing.
    path, terminal = tmp_path / "metrics.jsonl", io.StringIO()
    write(path, 1, 2, 3)
    with ProgressBar(path, 60, terminal) as bar:
        assert "step" not in last_drawn(terminal)
        path.write_bytes(b"")
        wait_for(lambda: bar._num_lines == 0)
        write(path, 1)
        wait_for(lambda: "step 1/60" in terminal.getvalue())
        write(path, 2)
        wait_for(lambda: "step 2/60" in terminal.getvalue())
        assert bar._thread.is_alive()


def test_time_left_counts_from_the_first_new_step(tmp_path: Path) -> None:
    path, terminal = tmp_path / "metrics.jsonl", io.StringIO()
    write(path, *range(1, 51))
    with ProgressBar(path, 60, terminal) as bar:
        time.sleep(0.05)  # the engines start
        assert "step" not in last_drawn(terminal)
        write(path, 51)
        wait_for(lambda: "step 51/60" in terminal.getvalue())
        assert bar._bar.initial == 51
