"""Programs on this machine in slots: what the backends share that keep processes of their own.

A slot is a few warm processes that run one program at a time. A program that loops holds one slot for its CPU
limit and delays nothing in the others. A process that fails is replaced, and what it ran is tried once more.
"""

from __future__ import annotations

import logging
import queue
import threading
from abc import abstractmethod
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Generic, Protocol, TypeVar

from tasks.sandbox.contract import Call, Capabilities, Job, Limits, Program, Sandbox, SandboxUnavailable
from tasks.sandbox.jobs import BackendFailure, canonical_inputs, run_job
from tasks.sandbox.replies import Try

NUM_TRIES = 2
NUM_HASH_SEEDS = 2

_log = logging.getLogger(__name__)


class Worker(Protocol):
    """A process of a slot."""

    @property
    def pid(self) -> int:
        """Process id."""
        ...

    def wait_until_ready(self) -> None:
        """Wait until it serves.

        Raises:
            BackendFailure: It did not start.
        """
        ...

    def kill(self) -> None:
        """End it and what it started; a second call does nothing."""
        ...


W = TypeVar("W", bound=Worker)


class SlotSandbox(Sandbox, Generic[W]):
    """Runs programs in slots. See `Sandbox` for the methods."""

    workers_per_slot: int
    """Processes of a slot; a backend's own business which of them runs a job."""

    def __init__(self, num_slots: int) -> None:
        """Start the processes and examine one.

        Args:
            num_slots: Programs that run at once, at least 1.

        Raises:
            SandboxUnavailable: No process starts, or `_examine` finds that it will not do.
        """
        self._lock = threading.Lock()
        self._live: set[W] = set()
        self._closed = False
        # None where a process has to be started anew.
        self._free: queue.SimpleQueue[list[W | None]] = queue.SimpleQueue()
        try:
            # All are started before the first is waited for.
            slots = [
                [self._spawn(number) for number in range(self.workers_per_slot)] for _ in range(num_slots)
            ]
            for slot in slots:
                for worker in slot:
                    worker.wait_until_ready()
            self._capabilities = self._examine(slots[0][0])
        except BackendFailure as failure:
            self._end_workers()
            raise SandboxUnavailable(f"the sandbox cannot start: {failure}") from failure
        except SandboxUnavailable:
            self._end_workers()
            raise
        for slot in slots:
            self._free.put(list(slot))
        self._threads = ThreadPoolExecutor(num_slots, thread_name_prefix="sandbox")
        _log.log(logging.WARNING if self._capabilities.unsafe else logging.INFO, self._capabilities.summary())

    @abstractmethod
    def _start(self, number: int) -> W:
        """Start a process, the one of this number in its slot, without waiting for it."""

    @abstractmethod
    def _examine(self, worker: W) -> Capabilities:
        """Say what protects this machine.

        Raises:
            SandboxUnavailable: Not enough.
            BackendFailure: The process failed.
        """

    @abstractmethod
    def _place(self, job: Job) -> int:
        """The number of the process in a slot that runs a job."""

    @abstractmethod
    def _attempt_in(self, worker: W, job: Job, inputs: list[str]) -> Try:
        """Run a job's program on some of its inputs.

        Raises:
            BackendFailure: The process failed. It has been killed.
        """

    def run(
        self, program: Program, inputs: Sequence[str], limits: Limits | None = None, *, hash_seed: int = 0
    ) -> list[Call]:
        """Run a program; see `Sandbox.run`."""
        _check_hash_seed(hash_seed)
        self._check_open()
        return self._run(Job(program, tuple(canonical_inputs(inputs)), limits or Limits(), hash_seed))

    def run_many(self, jobs: Sequence[Job]) -> list[list[Call]]:
        """Run jobs side by side; see `Sandbox.run_many`."""
        for job in jobs:
            _check_hash_seed(job.hash_seed)
        ready = [replace(job, inputs=tuple(canonical_inputs(job.inputs))) for job in jobs]
        self._check_open()
        return list(self._threads.map(self._run, ready))

    def capabilities(self) -> Capabilities:
        """What was found out at the start; see `Sandbox.capabilities`."""
        return self._capabilities

    def close(self) -> None:
        """End all processes. A `run` that is waiting or under way raises RuntimeError."""
        with self._lock:
            self._closed = True
        self._end_workers()
        self._threads.shutdown(wait=True)

    def worker_pids(self) -> list[int]:
        """Process ids of the processes that are running, for monitoring and tests."""
        with self._lock:
            return sorted(worker.pid for worker in self._live)

    def _check_open(self) -> None:
        if self._closed:
            raise RuntimeError("the sandbox is closed")

    def _run(self, job: Job) -> list[Call]:
        """Run a job whose inputs are canonical, in the next free slot."""
        slot = self._free.get()
        try:
            return run_job(lambda rest: self._attempt(slot, job, rest), job.inputs, job.limits)
        finally:
            self._free.put(slot)

    def _attempt(self, slot: list[W | None], job: Job, inputs: list[str]) -> Try:
        """Run inputs in one process; on a failure of the machinery once more, in a new one."""
        number = self._place(job)
        for tries_left in reversed(range(NUM_TRIES)):
            try:
                worker = slot[number]
                if worker is None:
                    worker = slot[number] = self._spawn(number)
                    worker.wait_until_ready()
                return self._attempt_in(worker, job, inputs)
            except BackendFailure as failure:
                self._discard(slot, number)
                if not tries_left:
                    raise
                _log.warning("a program is run again in a new process: %s", failure)
        raise AssertionError("the loop above returns or raises")

    def _spawn(self, number: int) -> W:
        with self._lock:
            self._check_open()
            worker = self._start(number)
            self._live.add(worker)
            return worker

    def _discard(self, slot: list[W | None], number: int) -> None:
        worker = slot[number]
        slot[number] = None
        if worker is not None:
            worker.kill()
            with self._lock:
                self._live.discard(worker)

    def _end_workers(self) -> None:
        with self._lock:
            workers, self._live = self._live, set()
        for worker in workers:
            worker.kill()


def _check_hash_seed(hash_seed: int) -> None:
    if hash_seed not in range(NUM_HASH_SEEDS):
        raise ValueError(f"hash_seed must be 0 or 1; got {hash_seed!r}")
