"""Start a study's runs, each a process of its own, and end them cleanly when the study is stopped."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from recipe.run.files import LOG
from recipe.study import StudyError
from recipe.study.arms import Run
from recipe.study.record import EARLIER

POLL_INTERVAL_S = 0.2

Command = Callable[[Run], Sequence[str]]
"""The command that makes a run, and goes on with one that was begun."""


class RunFailed(StudyError):
    """A run ended with another status than 0."""


@dataclass(frozen=True, slots=True)
class Started:
    """A run that goes on."""

    run: Run
    output: Path  # what it says to its terminal
    at_s: float  # of the monotonic clock


def run_all(runs: Sequence[Run], command: Command, jobs: int, finish: Callable[[Run], None]) -> None:
    """Run them in order, `jobs` at a time; `finish` each that ended well.

    Raises:
        RunFailed: A run did. Others that go on are interrupted, as they are by a KeyboardInterrupt: they
            go on from their last checkpoints when they are started again.
    """
    waiting = deque(enumerate(runs, 1))
    live: dict[subprocess.Popen[bytes], Started] = {}
    # A shell's background commands ignore SIGINT, and so would their children.
    before = {number: signal.signal(number, signal.default_int_handler) for number in ENDED_BY}
    try:
        while waiting or live:
            while waiting and len(live) < jobs:
                number, run = waiting.popleft()
                output = run.folder.with_name(f"{run.name}.out")
                print(f"[{number}/{len(runs)}] {run.name}: what it says is in {output}", flush=True)
                live[_start(command(run), output)] = Started(run, output, time.monotonic())
            time.sleep(POLL_INTERVAL_S)
            for process in [each for each in live if each.poll() is not None]:
                if process.returncode != 0:
                    raise RunFailed(_failure(live[process], process.returncode))
                started = live.pop(process)
                finish(started.run)
                print(f"{started.run.name}: {(time.monotonic() - started.at_s) / 60:.1f} min", flush=True)
    finally:
        _interrupt(live)
        for number, handler in before.items():
            signal.signal(number, handler)


ENDED_BY = (signal.SIGINT, signal.SIGTERM)


def _start(words: Sequence[str], output: Path) -> subprocess.Popen[bytes]:
    output.parent.mkdir(parents=True, exist_ok=True)
    with output.open("wb") as file:
        # In a group of its own: a terminal's Ctrl-C reaches it once, by way of the study.
        return subprocess.Popen(words, stdout=file, stderr=subprocess.STDOUT, process_group=0)


def _interrupt(live: Mapping[subprocess.Popen[bytes], Started]) -> None:
    """End these runs as a Ctrl-C does, and wait for it; a second one kills them."""
    _signal(live, signal.SIGINT)
    try:
        for process in live:
            process.wait()
    except KeyboardInterrupt:
        _signal(live, signal.SIGKILL)
        raise
    finally:
        for started in live.values():
            if started.run.folder.is_dir():
                with (started.run.folder / EARLIER).open("a", encoding="utf-8") as file:
                    file.write(f"{time.monotonic() - started.at_s:.3f}\n")


def _signal(processes: Iterable[subprocess.Popen[bytes]], number: signal.Signals) -> None:
    """As a terminal does, tell the processes that a run started as well: it waits for them at its end."""
    for process in processes:
        if process.poll() is None:
            os.killpg(process.pid, number)


def _failure(started: Started, status: int) -> str:
    """What a failed run said last, and where more is."""
    said = started.output.read_text(encoding="utf-8", errors="replace").replace("\r", "\n").splitlines()
    lines = [line.strip() for line in said if line.strip()]
    # A line behind it says where the log is.
    errors = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
    last = (errors or lines or [f"it ended with status {status}"])[-1]
    log = started.run.folder / LOG
    return f"{started.run.name} failed: {last}; more in {log if log.exists() else started.output}"
