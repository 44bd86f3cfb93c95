"""The dashboard of a run: what it reads of files that grow, and what it shows of them."""

from __future__ import annotations

import io
import json
import os
import re
import time
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from recipe.run.files import CONFIG, LEDGER, METRICS, SUMMARY
from recipe.watch import Watched, dashboard, main, time_left_s, watch

HOSTILE = "\x1b[2J\x07<script>alert(1)</script>[bold]\n" + "x" * 1_000_000


def metrics(step: int, at_s: float = 0.0, **values: float) -> dict[str, Any]:
    return {"step": step, "time": at_s, **values}


def proposal(
    step: int, response: str, *, reason: str = "", solve_rate: float | None = None
) -> dict[str, Any]:
    record = None if reason else {"terms": "123"}
    facts = {"record": record, "reason": reason, "solve_rate": solve_rate}
    return {"step": step, "role": "propose", "kind": "deduction", "response": response, **facts}


def write(path: Path, *lines: dict[str, Any]) -> None:
    with path.open("a") as file:
        file.writelines(json.dumps(line) + "\n" for line in lines)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A run of 40 steps that has just been started."""
    (tmp_path / CONFIG).write_text("trainer:\n  total_training_steps: 40\n")
    for name in (METRICS, LEDGER):
        (tmp_path / name).touch()
    return tmp_path


def shown(folder: Path, width: int = 80) -> str:
    run = Watched.of(folder)
    run.read()
    console = Console(file=io.StringIO(), width=width, color_system=None)
    console.print(dashboard(run, width))
    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()
    assert max(map(len, text.splitlines())) <= width
    return text


def test_time_left_by_hand() -> None:
    """Steps 1 to 4 come after 10, 30 and 10 s: the median 10, and 6 steps are left of 10."""
    lines = [metrics(0, 0), metrics(1, 100), metrics(2, 110), metrics(3, 140), metrics(4, 150)]
    assert time_left_s(lines, 10) == 60
    assert time_left_s(lines[:2], 10) is None


@pytest.mark.parametrize("width", [80, 40])
def test_dashboard_shows_a_run_in_its_middle(folder: Path, width: int) -> None:
    now = time.time()
    held_out = {f"azr/held_out/all/{name}": 0.5 for name in ("accuracy", "low", "high", "format_rate")}
    cell = {"num_responses": 96.0, "acceptance_rate": 0.75, "format_rate": 1.0, "reward": 0.25}
    cell["reason/surplus"] = 0.125
    of_cell = {f"azr/propose/deduction/{name}": value for name, value in cell.items()}
    times = {"timing_s/step": 10.0, "timing_s/gen": 6.0, "timing_s/update_actor": 3.0}
    times |= {"timing_s/gen_propose": 0.75, "timing_s/ref": 0.0}
    write(folder / METRICS, metrics(0, now - 60, **held_out, **{"azr/held_out/all/n": 100.0}))
    write(folder / METRICS, metrics(1, now - 50), metrics(2, now - 40, **of_cell, **times))
    write(
        folder / LEDGER,
        proposal(2, "1+2+3=", solve_rate=0.5),
        proposal(2, HOSTILE, reason="no-task"),
        proposal(2, "7+7+7=", reason="surplus"),
        {"step": 2, "role": "alarm", "alarm": "duplicates", "sentence": "Most proposals repeat."},
    )
    text = shown(folder, width)
    for words in (
        "step 2/40",
        "6 min 20 s left",
        "50.0%",
        "75%",
        "+0.25",
        "sampling",
        "6.0",
        "1+2+3=",
        "no-task",
    ):
        assert words in text.replace("\n│ ", " "), words
    assert re.search(r"sampling of proposals +0\.8", text) and re.search(r"the rest +0\.2", text)
    assert "reference log-probs" not in text
    assert "duplicates" in text and "Most proposals repeat." in text
    assert "\x1b" not in text and "\x07" not in text and r"\x1b[2J\x07<s" in text
    assert ("surplus" in text and "12%" in text) == (width == 80)
    assert "7+7+7=" not in text  # valid, and one more than the step wanted: nothing is wrong with it


def test_a_run_that_only_begins_is_shown(folder: Path) -> None:
    assert "step 0/40  starting" in shown(folder)
    write(folder / LEDGER, proposal(0, "1+2+3="))
    assert "step 0/40  seeding" in shown(folder)


def test_a_run_is_finished_once_its_summary_is_its_last_word(folder: Path) -> None:
    (folder / SUMMARY).write_text("{}")
    os.utime(folder / SUMMARY, (1, 1))  # of an earlier command with fewer steps
    write(folder / METRICS, metrics(1, 0.0))
    assert "1/40  finished" not in shown(folder)
    os.utime(folder / SUMMARY, (time.time() + 1,) * 2)
    assert "1/40  finished" in shown(folder)


def test_silence_is_said(folder: Path) -> None:
    write(folder / METRICS, metrics(1, 0.0))
    for name in (METRICS, LEDGER):
        os.utime(folder / name, (time.time() - 7200,) * 2)
    assert "nothing written for 2 h 00 min" in shown(folder)


def test_a_live_terminal_ends_with_the_run(folder: Path) -> None:
    write(folder / METRICS, metrics(40, 0.0))
    (folder / SUMMARY).write_text("{}")
    os.utime(folder / SUMMARY, (time.time() + 1,) * 2)
    console = Console(file=io.StringIO(), width=80, force_terminal=True)
    watch(folder, console, once=False, interval_s=0.01)
    assert isinstance(console.file, io.StringIO)
    assert "step 40/40" in console.file.getvalue()


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (None, "must be a run's directory; it has no config.yaml"),
        ("trainer: {}", "must be the configuration of a run"),
        ("{", "must be the configuration of a run"),
    ],
)
def test_what_is_no_run_is_said_in_one_line(
    tmp_path: Path, config: str | None, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    if config is not None:
        (tmp_path / CONFIG).write_text(config)
    assert main([str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1
