"""The backend "wasm": CPython compiled to WebAssembly, for machines without the kernel's filters.

A slot is a process of its own that runs one program at a time, each in a new copy of a frozen interpreter.
That interpreter is another version than the trainer's, and slower; no kernel feature is needed.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from tasks.sandbox.contract import (
    Call,
    Capabilities,
    Job,
    Limits,
    Program,
    Sandbox,
    SandboxUnavailable,
)
from tasks.sandbox.jobs import BackendFailure, canonical_inputs, run_job
from tasks.sandbox.replies import Attempt
from tasks.sandbox.wasm_image import NUM_IMAGES, ensure_images
from tasks.sandbox.wasm_process import WasmProcess

NUM_TRIES = 2

_log = logging.getLogger(__name__)


PROBE = Program("import sys\ndef f():\n    return '.'.join(map(str, sys.version_info[:3]))")


class _Slot:
    """A process; None where one has to be started anew."""

    def __init__(self, process: WasmProcess) -> None:
        self.process: WasmProcess | None = process


class WasmSandbox(Sandbox):
    """Runs programs in copies of a frozen interpreter. See `Sandbox` for the methods."""

    def __init__(self, num_slots: int, *, cache_dir: Path | None = None) -> None:
        """Build the images if need be, start the processes and run a program.

        Args:
            num_slots: Programs that run at once, at least 1.
            cache_dir: Folder of the images; the user's cache folder if not given.

        Raises:
            SandboxUnavailable: A package of the extra is missing, the images cannot be built, or a process
                runs no program.
        """
        self._images = ensure_images(cache_dir)
        self._lock = threading.Lock()
        self._live: set[WasmProcess] = set()
        self._closed = False
        self._free: queue.SimpleQueue[_Slot] = queue.SimpleQueue()
        try:
            # All are started before the first is waited for.
            processes = [self._spawn() for _ in range(num_slots)]
            for process in processes:
                process.wait_until_ready()
            self._capabilities = self._examine(processes[0])
        except BackendFailure as failure:
            self._end_processes()
            raise SandboxUnavailable(f"sandbox.backend=wasm cannot start: {failure}") from failure
        for process in processes:
            self._free.put(_Slot(process))
        self._threads = ThreadPoolExecutor(num_slots, thread_name_prefix="sandbox-wasm")
        _log.info(self._capabilities.summary())

    def run(
        self, program: Program, inputs: Sequence[str], limits: Limits | None = None, *, hash_seed: int = 0
    ) -> list[Call]:
        """Run a program; see `Sandbox.run`."""
        job = Job(program, tuple(canonical_inputs(inputs)), limits or Limits(), hash_seed)
        _check_hash_seed(job)
        return self._run(job)

    def run_many(self, jobs: Sequence[Job]) -> list[list[Call]]:
        """Run jobs side by side; see `Sandbox.run_many`."""
        for job in jobs:
            _check_hash_seed(job)
        ready = [replace(job, inputs=tuple(canonical_inputs(job.inputs))) for job in jobs]
        if self._closed:
            raise RuntimeError("the sandbox is closed")
        return list(self._threads.map(self._run, ready))

    def capabilities(self) -> Capabilities:
        """What was found out at the start; see `Sandbox.capabilities`."""
        return self._capabilities

    def close(self) -> None:
        """End all processes. A `run` that is waiting or under way raises RuntimeError."""
        with self._lock:
            self._closed = True
        self._end_processes()
        self._threads.shutdown(wait=True)

    def worker_pids(self) -> list[int]:
        """Process ids of the processes that are running, for monitoring and tests."""
        with self._lock:
            return sorted(process.pid for process in self._live)

    def _run(self, job: Job) -> list[Call]:
        """Run a job whose inputs are canonical, in the next free slot."""
        slot = self._free.get()
        try:
            return run_job(lambda rest: self._attempt(slot, job, rest), job.inputs, job.limits)
        finally:
            self._free.put(slot)

    def _attempt(self, slot: _Slot, job: Job, inputs: list[str]) -> Attempt:
        """Run inputs in one instance; on a failure of the machinery once more, in a new process."""
        for tries_left in reversed(range(NUM_TRIES)):
            try:
                return self._process(slot).run(job.hash_seed, job.program, inputs, job.limits)
            except BackendFailure as failure:
                self._discard(slot)
                if not tries_left:
                    raise
                _log.warning("a program is run again in a new process: %s", failure)
        raise AssertionError("the loop above returns or raises")

    def _process(self, slot: _Slot) -> WasmProcess:
        """The process of a slot, started if there is none."""
        process = slot.process
        if process is None:
            process = slot.process = self._spawn()
            process.wait_until_ready()
        return process

    def _spawn(self) -> WasmProcess:
        with self._lock:
            if self._closed:
                raise RuntimeError("the sandbox is closed")
            process = WasmProcess(self._images)
            self._live.add(process)
            return process

    def _discard(self, slot: _Slot) -> None:
        process = slot.process
        slot.process = None
        if process is not None:
            process.kill()
            with self._lock:
                self._live.discard(process)

    def _end_processes(self) -> None:
        with self._lock:
            processes, self._live = self._live, set()
        for process in processes:
            process.kill()

    def _examine(self, process: WasmProcess) -> Capabilities:
        """Find out the interpreter's version by running a program.

        There is no self-test: the component can call `emit` and nothing else, or it would not have been
        instantiated.
        """
        attempt = process.run(0, PROBE, [""], Limits(cpu_s=10.0, wall_s=60.0))
        reply = attempt.replies.get(0)
        if reply is None:
            raise BackendFailure(f"the first program did not run: {attempt.ending.error}")
        return Capabilities("wasm", reply.text.strip("'"), None, None, None, {}, False)


def _check_hash_seed(job: Job) -> None:
    if not 0 <= job.hash_seed < NUM_IMAGES:
        raise ValueError(f"hash_seed must be 0 or 1; got {job.hash_seed!r}")
