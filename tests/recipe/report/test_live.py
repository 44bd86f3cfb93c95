"""The page of a run that goes on is written beside it, never in its way."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from recipe.report import live
from recipe.report.live import kept_page, write_last

SLOW_WRITER = """
import os, sys, time
from pathlib import Path
log = Path(sys.argv[1]) / "log"
with log.open("a") as file:
    print("begin", file=file, flush=True)
    time.sleep(0.5)
    print("end at", os.getpriority(os.PRIO_PROCESS, 0), file=file)
"""


@pytest.fixture
def is_seen_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "POLL_INTERVAL_S", 0.02)


def slow_writer(run: Path) -> list[str]:
    return [sys.executable, "-c", SLOW_WRITER, str(run)]


def evaluate(run: Path) -> None:
    """One line more in the run's evaluations."""
    with (run / "evaluations.jsonl").open("a") as file:
        file.write("{}\n")


def wait_for(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def lines_of(run: Path) -> list[str]:
    log = run / "log"
    return log.read_text().splitlines() if log.exists() else []


def test_one_page_is_written_at_a_time(tmp_path: Path, is_seen_soon: None) -> None:
    evaluate(tmp_path)
    with kept_page(tmp_path, slow_writer):
        time.sleep(0.2)
        assert lines_of(tmp_path) == []  # that of an earlier process
        evaluate(tmp_path)
        wait_for(lambda: len(lines_of(tmp_path)) == 1)
        evaluate(tmp_path)
        evaluate(tmp_path)
        wait_for(lambda: len(lines_of(tmp_path)) == 4)
    assert lines_of(tmp_path) == ["begin", "end at 19"] * 2


def test_the_end_of_a_run_waits_for_no_page(tmp_path: Path, is_seen_soon: None) -> None:
    with kept_page(tmp_path, slow_writer):
        evaluate(tmp_path)
        wait_for(lambda: len(lines_of(tmp_path)) == 1)
    time.sleep(0.7)
    assert lines_of(tmp_path) == ["begin"]


def test_page_that_cannot_be_written_is_a_sentence(tmp_path: Path) -> None:
    said = write_last(tmp_path)
    assert said.startswith("report.html was not written: RUN must be the directory of a run")
    assert "\n" not in said


@pytest.mark.slow
def test_page_is_there_after_an_evaluation_and_at_the_end(
    make_run: Callable[..., Path], is_seen_soon: None
) -> None:
    run = make_run()
    page = run / "report.html"
    evaluations = (run / "evaluations.jsonl").read_text()
    (run / "evaluations.jsonl").unlink()
    with kept_page(run):
        (run / "evaluations.jsonl").write_text(evaluations)
        wait_for(page.exists)
    page.unlink()
    assert write_last(run) == ""
    assert page.exists()
