"""Programs on this machine in slots: what the backends share that keep processes of their own.

A slot is a few warm processes that run one program at a time. A program that loops holds one slot for its CPU
limit and delays nothing in the others. A process that fails is replaced, and what it ran is tried once more.

Spare processes, one slot for all, are for what few programs need. They are started at their first use.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import queue
import signal
import socket
import struct
import subprocess
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from multiprocessing.connection import Connection
from typing import Generic, TypeVar

from tasks.sandbox.calls import (
    BackendFailure,
    OutOfMemoryKill,
    Try,
    canonical_inputs,
    check_hash_seed,
    last_line,
    run_calls,
)
from tasks.sandbox.contract import Call, Capabilities, Limits, Program, Sandbox, SandboxUnavailable

START_S = 60.0
MARGIN_S = 10.0
"""Beyond the wall-clock limit, which the process itself keeps: one that is later than that is broken."""

BREAKS = (OSError, EOFError, struct.error)
"""What a process that is dead, late or broken shows as."""

_log = logging.getLogger(__name__)


def socket_pair(kind: socket.SocketKind) -> tuple[socket.socket, socket.socket]:
    """This end of a channel, and the one for a process to be started.

    The latter is no standard stream's number, which a socket gets where those were closed when this process
    was started: the new process has its own streams there.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, kind)
    with theirs:
        return ours, socket.socket(fileno=fcntl.fcntl(theirs, fcntl.F_DUPFD_CLOEXEC, 3))


class Worker(ABC):
    """A process of a slot, seen from outside. Not thread-safe: one caller at a time."""

    _channel: socket.socket | Connection
    """This end of the channel to it."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], theirs: socket.socket) -> None:
        """Start the process, with its end of the channel; `wait_until_ready` waits until it serves."""
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            pass_fds=[theirs.fileno()],
            env=environment,
            cwd="/",
            # A process group of its own: killing it takes the children along, and a signal to the trainer's
            # group, from a terminal for one, does not reach it.
            start_new_session=True,
        )
        self.pid = self._process.pid

    def wait_until_ready(self) -> None:
        """Wait until it serves; if it does not start, it has been killed, and that is a BackendFailure."""
        assert self._process.stderr is not None
        with self._process.stderr as stderr:
            try:
                self._greet()
            except (OSError, EOFError) as error:
                self._end()
                # It is gone, so this ends.
                words = last_line(stderr.read()) or str(error) or "it said nothing"
                raise BackendFailure(f"a process did not start: {words}") from error

    def kill(self) -> None:
        """End it and what it started; a second call does nothing."""
        self._end()
        if self._process.stderr is not None:
            self._process.stderr.close()

    def _end(self) -> None:
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        self._channel.close()

    @abstractmethod
    def run(self, program: Program, inputs: list[str], limits: Limits, hash_seed: int) -> Try:
        """Run a program on canonical inputs; one of `BREAKS` if the process is dead, late or broken.

        Whatever is raised, it is of no use any more: its next answer could be the one to this request.
        """

    @abstractmethod
    def _greet(self) -> None:
        """Wait for the first message, at most `START_S`; OSError or EOFError if there is none."""


W = TypeVar("W", bound=Worker)


class SlotSandbox(Sandbox, Generic[W]):
    """Runs programs in slots. See `Sandbox` for the methods."""

    workers_per_slot: int
    """Processes of a slot: one for each of the first hash seeds, or one that knows them all."""

    num_spare = 0
    """Processes for further hash seeds, which can do whatever those of a slot can, and more."""

    def __init__(self, num_slots: int) -> None:
        """Start the processes for `num_slots` programs at once, at least 1, and examine one.

        SandboxUnavailable if one does not start, or `_examine` finds that it will not do.
        """
        self._lock = threading.Lock()
        self._live: set[W] = set()
        self._closed = False
        # None where a process has to be started anew.
        self._free: queue.SimpleQueue[list[W | None]] = queue.SimpleQueue()
        self._spare: queue.SimpleQueue[list[W | None]] = queue.SimpleQueue()
        self._spare.put([None] * (self.workers_per_slot + self.num_spare))
        try:
            # All are started before the first is waited for.
            slots = [
                [self._spawn(number) for number in range(self.workers_per_slot)] for _ in range(num_slots)
            ]
            for slot in slots:
                for worker in slot:
                    worker.wait_until_ready()
            self._capabilities = self._examine(slots[0][0])
        except (SandboxUnavailable, BackendFailure, *BREAKS) as failure:
            self.close()
            if isinstance(failure, SandboxUnavailable):
                raise
            words = str(failure) or type(failure).__name__
            raise SandboxUnavailable(f"the sandbox cannot start: {words}") from failure
        for slot in slots:
            self._free.put([*slot])
        _log.log(logging.WARNING if self._capabilities.unsafe else logging.INFO, self._capabilities.summary())

    @abstractmethod
    def _start(self, number: int) -> W:
        """Start a process, the one of this number in its slot, without waiting for it."""

    @abstractmethod
    def _examine(self, worker: W) -> Capabilities:
        """Find out what protects this machine; SandboxUnavailable if not enough does."""

    def _check_before_run(self, worker: W) -> None:
        """Refuse a process that is not what `_examine` found, by a BackendFailure."""

    def run(
        self, program: Program, inputs: Sequence[str], limits: Limits | None = None, *, hash_seed: int = 0
    ) -> list[Call]:
        check_hash_seed(hash_seed)
        self._check_open()
        canonical, bounds = canonical_inputs(inputs), limits or Limits()
        number = hash_seed % (self.workers_per_slot + self.num_spare)
        with self._slot_of(number) as slot:

            def try_inputs(rest: list[str]) -> Try:
                return self._try(slot, number, lambda worker: worker.run(program, rest, bounds, hash_seed))

            return run_calls(try_inputs, canonical, bounds)

    def close(self) -> None:
        """End all processes. A `run` that is waiting or under way raises RuntimeError."""
        with self._lock:
            self._closed = True
            workers, self._live = self._live, set()
        for worker in workers:
            worker.kill()

    def worker_pids(self) -> list[int]:
        """Process ids of the processes that are running, for monitoring."""
        with self._lock:
            return sorted(worker.pid for worker in self._live)

    def _check_open(self) -> None:
        if self._closed:
            raise RuntimeError("the sandbox is closed")

    @contextlib.contextmanager
    def _slot_of(self, number: int) -> Iterator[list[W | None]]:
        """Wait for a slot that has a process of this number, and hold it."""
        slots = self._free if number < self.workers_per_slot else self._spare
        slot = slots.get()
        try:
            yield slot
        finally:
            slots.put(slot)

    def _try(self, slot: list[W | None], number: int, run: Callable[[W], Try]) -> Try:
        """Run inputs in one process; on a failure of the machinery once more, in a new one."""
        try:
            made = self._run_in(slot, number, run)
        except BackendFailure as failure:
            _log.warning("a program is run again in a new process: %s", failure)
            try:
                made = self._run_in(slot, number, run)
            except OutOfMemoryKill as again:
                made = again.made
        if not made.needs_codecs or number >= self.workers_per_slot:
            return made
        number += self.workers_per_slot
        with self._slot_of(number) as spare:
            return self._try(spare, number, run)

    def _run_in(self, slot: list[W | None], number: int, run: Callable[[W], Try]) -> Try:
        """Run inputs in the process of a slot that has this number; if that breaks off, it is killed."""
        worker = slot[number]
        try:
            if worker is None:
                worker = slot[number] = self._spawn(number)
                worker.wait_until_ready()
            self._check_before_run(worker)
            return run(worker)
        except BaseException as error:
            slot[number] = None
            if worker is not None:
                worker.kill()
                with self._lock:
                    self._live.discard(worker)
            if isinstance(error, BREAKS):
                raise BackendFailure(f"a process failed: {str(error) or type(error).__name__}") from error
            raise

    def _spawn(self, number: int) -> W:
        with self._lock:
            self._check_open()
            worker = self._start(number)
            self._live.add(worker)
            return worker
