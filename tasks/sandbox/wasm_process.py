"""One process of the backend "wasm", seen from outside: start it, run one program at a time, end it."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import threading
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path

from tasks.sandbox.contract import CallStatus, Limits, Program
from tasks.sandbox.jobs import BackendFailure
from tasks.sandbox.replies import Ending, Try, max_reply_bytes, read_replies
from tasks.sandbox.wasm_image import worker_command, worker_environment

START_S = 60.0
MARGIN_S = 10.0
"""Beyond the wall-clock limit, which the process keeps: who is later than that is broken."""


class WasmProcess:
    """A process that holds the images. Not thread-safe: one caller at a time."""

    def __init__(self, images: Sequence[Path]) -> None:
        """Start the process; `wait_until_ready` waits until it serves."""
        ours, theirs = socket.socketpair()
        with theirs:
            arguments = ["-m", "tasks.sandbox.wasm_worker", str(theirs.fileno()), *map(str, images)]
            self._process = subprocess.Popen(
                [*worker_command(), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                pass_fds=[theirs.fileno()],
                env=worker_environment(),
                cwd="/",
                # A signal to the trainer's group, from a terminal for one, is not for this process.
                start_new_session=True,
            )
        self._channel = Connection(ours.detach())

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    def wait_until_ready(self) -> None:
        """Wait until the process serves.

        Raises:
            BackendFailure: It did not start.
        """
        assert self._process.stderr is not None
        try:
            self._exchange(None, START_S)
        except BackendFailure as failure:
            # It is gone, so this ends.
            said = self._process.stderr.read()[-500:].decode("utf-8", "replace").strip().splitlines()
            raise BackendFailure(f"it did not start: {said[-1].strip() if said else failure}") from failure
        finally:
            self._process.stderr.close()

    def run(self, image: int, program: Program, inputs: list[str], limits: Limits) -> Try:
        """Run a program on canonical inputs in a new instance of an image.

        Raises:
            BackendFailure: The process is dead or late. It has been killed.
        """
        payload = program.source, program.entry, inputs, limits.result_bytes, limits.depth
        request = {
            "image": image,
            "payload": json.dumps(payload),
            "cpu_s": limits.cpu_s,
            "wall_s": limits.wall_s,
            "memory_mb": limits.memory_mb,
            "max_output_bytes": max_reply_bytes(len(inputs), limits),
        }
        answer = json.loads(self._exchange(json.dumps(request).encode(), limits.wall_s + MARGIN_S))
        ending = _to_ending(answer["ending"], answer["words"], answer["cpu_ms"], limits)
        overflow = ending.status is CallStatus.OUTPUT_LIMIT
        return Try(ending, {} if overflow else read_replies(answer["lines"].encode(), len(inputs)))

    def kill(self) -> None:
        """End the process; a second call does nothing."""
        self._process.kill()
        self._process.wait()
        self._channel.close()

    def _exchange(self, request: bytes | None, time_s: float) -> bytes:
        """Send a request, if there is one, and wait for the next message.

        Raises:
            BackendFailure: The process is dead or late. It has been killed.
        """
        watchdog = threading.Timer(time_s, self._process.kill)
        try:
            with contextlib.ExitStack() as unless_done:
                # Interrupted halfway, its next answer would be the one to this request.
                unless_done.callback(self.kill)
                watchdog.start()
                if request is not None:
                    self._channel.send_bytes(request)
                answer = self._channel.recv_bytes()
                unless_done.pop_all()
        except (OSError, EOFError) as error:
            # EOFError has no words.
            raise BackendFailure(f"the process failed: {str(error) or 'it is gone'}") from error
        finally:
            watchdog.cancel()
        return answer


def _to_ending(ending: str, words: str, cpu_ms: int, limits: Limits) -> Ending:
    """Say what the process's account of a run means."""
    if ending == "cpu":
        return Ending(CallStatus.TIMEOUT, f"more than {limits.cpu_s:g} s of CPU time", cpu_ms)
    if ending == "wall":
        return Ending(CallStatus.TIMEOUT, f"more than {limits.wall_s:g} s by the clock", cpu_ms)
    if ending == "output":
        return Ending(CallStatus.OUTPUT_LIMIT, "more output than allowed", cpu_ms)
    if ending == "exit":
        return Ending(CallStatus.EXITED, "the program ended itself", cpu_ms)
    if ending == "trap":
        return Ending(CallStatus.CRASHED, words, cpu_ms)
    return Ending(None, "the program ended without a result", cpu_ms)
