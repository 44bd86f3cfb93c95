"""The page of a run that goes on: written anew after each evaluation, and once more when the run has ended.

The launcher does it, by processes of their own at the lowest priority, one at a time: whatever becomes of
them, training neither waits nor fails. It loads nothing that makes the page.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from recipe.report import REPORT
from recipe.run.files import EVALUATIONS

POLL_INTERVAL_S = 2.0
LOWEST = 19
"""The greatest niceness, which is the lowest priority."""

DEADLINE_S = 600.0
"""Seconds that the last page may take: a run does not end for want of it."""


Command = Callable[[Path], Sequence[str]]
"""The command that writes a run's page."""


def command_of(run: Path) -> list[str]:
    """That of this program."""
    return [sys.executable, "-m", "recipe.report", str(run)]


def environment() -> dict[str, str]:
    """What its process finds: the modules that this one finds, in its order."""
    return os.environ | {"PYTHONPATH": os.pathsep.join(os.path.abspath(path) for path in sys.path)}


@contextmanager
def kept_page(run: Path, command: Command = command_of) -> Iterator[None]:
    """Write the page of a run whenever it has been evaluated, from a thread, until the block ends.

    What the processes print goes where this one's output goes.
    """
    ended = threading.Event()
    seen = _size(run / EVALUATIONS)  # the page of an earlier process of the run has them
    thread = threading.Thread(target=_keep, args=(run, command(run), seen, ended), daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _keep(run: Path, words: Sequence[str], seen: int, ended: threading.Event) -> None:
    writing: subprocess.Popen[bytes] | None = None
    while not ended.wait(POLL_INTERVAL_S):
        if writing is not None and writing.poll() is None:
            continue
        if (size := _size(run / EVALUATIONS)) != seen:
            seen = size
            writing = start_behind(words)
    if writing is not None:
        writing.kill()  # of a page that the last one takes the place of
        writing.wait()


def start_behind(words: Sequence[str]) -> subprocess.Popen[bytes]:
    """Start a process that has what nobody else wants of the processor; it finds the modules of this one."""
    # In a session of its own, which `yield_processor` sets behind all others
    process = subprocess.Popen(words, env=environment(), start_new_session=True)
    yield_processor(process.pid)
    return process


def yield_processor(pid: int) -> None:
    """Leave a process and its session what nobody else wants of the processor.

    Where the kernel shares the processor between sessions first (autogroup, sched(7)), niceness counts within
    one, and a session has a niceness too.
    """
    with suppress(OSError):  # it has ended already
        os.setpriority(os.PRIO_PROCESS, pid, LOWEST)
    with suppress(OSError):  # the kernel shares between processes alone
        Path(f"/proc/{pid}/autogroup").write_text(str(LOWEST), encoding="utf-8")


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def write_last(run: Path) -> str:
    """Write the page of a run that has ended; a sentence why that failed, "" if it did not.

    This is the boundary between a run and its page: nothing that goes wrong with the page is raised.
    """
    try:
        done = subprocess.run(
            command_of(run),
            env=environment(),
            capture_output=True,
            text=True,
            timeout=DEADLINE_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"{REPORT} was not written: {error}"
    if done.returncode == 0:
        return ""
    said = (done.stderr.strip().splitlines() or [f"its process ended with status {done.returncode}"])[-1]
    return f"{REPORT} was not written: {said.removeprefix('error: ')}"
