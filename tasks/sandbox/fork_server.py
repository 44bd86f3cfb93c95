"""The backend "fork": warm zygotes on this machine, one child a program, behind the kernel's filters.

A slot is a pair of zygotes that differ in their hash seed, and runs one program at a time. A program that
loops holds one slot for its CPU limit and delays nothing in the others.
"""

from __future__ import annotations

import logging
import os
import platform
import queue
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from tasks.sandbox.contract import (
    Call,
    Capabilities,
    Job,
    Limits,
    Program,
    Sandbox,
    SandboxUnavailable,
)
from tasks.sandbox.guest.protocol import ATTACKS
from tasks.sandbox.jobs import BackendFailure, canonical_inputs, run_job
from tasks.sandbox.replies import Attempt
from tasks.sandbox.seccomp import ARCHITECTURES, program_filter
from tasks.sandbox.zygote_process import Hello, ZygoteOptions, ZygoteProcess

NUM_TRIES = 2
HASH_SEEDS = (1, 2)

CHOICES = (
    "Untrusted code would run with your privileges. Choose one: "
    "(1) allow `seccomp` and `prctl` in the container's profile (those of Docker and Kubernetes do); "
    "(2) run them as WebAssembly, in another version of Python: `sandbox.backend=wasm` "
    "(pip install 'azr-verl[wasm]'); "
    "(3) run them on a server: `sandbox.backend=http sandbox.http_url=http://<host>:8080/run_code`; "
    "(4) for tests on trusted programs only: `sandbox.allow_unsafe=true`."
)

_log = logging.getLogger(__name__)
_warned_of_landlock = threading.Event()


class _Slot:
    """Two zygotes, by hash seed; None where one has to be started anew."""

    def __init__(self, zygotes: list[ZygoteProcess]) -> None:
        self.zygotes: list[ZygoteProcess | None] = list(zygotes)


class ForkSandbox(Sandbox):
    """Runs programs in children of zygotes. See `Sandbox` for the methods."""

    def __init__(
        self, num_zygotes: int, *, allow_unsafe: bool = False, options: ZygoteOptions | None = None
    ) -> None:
        """Start the zygotes and attack them.

        Args:
            num_zygotes: Programs that run at once, at least 1.
            allow_unsafe: Go on where the kernel refuses the filter.
            options: How to start a zygote; what programs may import, for one.

        Raises:
            SandboxUnavailable: The kernel refuses a layer that must be there, an attack of the self-test got
                through, or no zygote starts.
        """
        self._allow_unsafe = allow_unsafe
        self._options = options or ZygoteOptions(_filter())
        self._lock = threading.Lock()
        self._live: set[ZygoteProcess] = set()
        self._closed = False
        self._free: queue.SimpleQueue[_Slot] = queue.SimpleQueue()
        try:
            # All are started before the first is waited for: they import side by side.
            slots = [[self._spawn(seed) for seed in HASH_SEEDS] for _ in range(num_zygotes)]
            hellos = [zygote.hello() for slot in slots for zygote in slot]
            self._capabilities = self._examine(hellos[0], slots[0][0])
        except BackendFailure as failure:
            self._end_zygotes()
            raise SandboxUnavailable(f"the sandbox cannot start: {failure}") from failure
        except SandboxUnavailable:
            self._end_zygotes()
            raise
        for slot in slots:
            self._free.put(_Slot(slot))
        self._threads = ThreadPoolExecutor(num_zygotes, thread_name_prefix="sandbox")
        _log.log(logging.WARNING if self._capabilities.unsafe else logging.INFO, self._capabilities.summary())

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
        """End all zygotes. A `run` that is waiting or under way raises RuntimeError."""
        with self._lock:
            self._closed = True
        self._end_zygotes()
        self._threads.shutdown(wait=True)

    def zygote_pids(self) -> list[int]:
        """Process ids of the zygotes that are running, for monitoring and tests."""
        with self._lock:
            return sorted(zygote.pid for zygote in self._live)

    def _run(self, job: Job) -> list[Call]:
        """Run a job whose inputs are canonical, in the next free slot."""
        slot = self._free.get()
        try:
            return run_job(lambda rest: self._attempt(slot, job, rest), job.inputs, job.limits)
        finally:
            self._free.put(slot)

    def _attempt(self, slot: _Slot, job: Job, inputs: list[str]) -> Attempt:
        """Run inputs in one child; on a failure of the machinery once more, in a new zygote."""
        for tries_left in reversed(range(NUM_TRIES)):
            try:
                return self._zygote(slot, job.hash_seed).run(job.program, inputs, job.limits)
            except BackendFailure as failure:
                self._discard(slot, job.hash_seed)
                if not tries_left:
                    raise
                _log.warning("a program is run again in a new zygote: %s", failure)
        raise AssertionError("the loop above returns or raises")

    def _zygote(self, slot: _Slot, hash_seed: int) -> ZygoteProcess:
        """The zygote of a slot, started if there is none."""
        zygote = slot.zygotes[hash_seed]
        if zygote is None:
            zygote = self._spawn(HASH_SEEDS[hash_seed])
            slot.zygotes[hash_seed] = zygote
            if zygote.hello().seccomp_errno and not self._capabilities.unsafe:
                raise BackendFailure("the kernel refuses the seccomp filter that it took before")
        return zygote

    def _spawn(self, hash_seed: int) -> ZygoteProcess:
        with self._lock:
            if self._closed:
                raise RuntimeError("the sandbox is closed")
            zygote = ZygoteProcess(hash_seed, self._options)
            self._live.add(zygote)
            return zygote

    def _discard(self, slot: _Slot, hash_seed: int) -> None:
        zygote = slot.zygotes[hash_seed]
        slot.zygotes[hash_seed] = None
        if zygote is not None:
            zygote.kill()
            with self._lock:
                self._live.discard(zygote)

    def _end_zygotes(self) -> None:
        with self._lock:
            zygotes, self._live = self._live, set()
        for zygote in zygotes:
            zygote.kill()

    def _examine(self, hello: Hello, zygote: ZygoteProcess) -> Capabilities:
        """Say what protects this machine, and refuse to go on where that is not enough."""
        unsafe = hello.seccomp_errno != 0
        if unsafe and not self._allow_unsafe:
            code = hello.seccomp_errno
            raise SandboxUnavailable(
                "this kernel or container refuses seccomp filters: prctl(PR_SET_SECCOMP) -> "
                f"{os.strerror(code)} (errno {code}). {CHOICES}"
            )
        if not hello.landlock and not _warned_of_landlock.is_set():
            _warned_of_landlock.set()
            _log.warning(
                "Landlock is not available here (errno %d); the seccomp filter holds without it, as the only "
                "wall instead of the first of two",
                hello.landlock_errno,
            )
        selftest = {name: zygote.attack(number) for number, name in enumerate(ATTACKS, 1)}
        passed = [name for name, stopped in selftest.items() if not stopped]
        if passed and not unsafe:
            raise SandboxUnavailable(
                f"the sandbox's filters are on, and still its self-test got through by: {', '.join(passed)}. "
                "Do not run untrusted programs here; please report this kernel and container."
            )
        return Capabilities("fork", hello.python, not unsafe, hello.landlock, hello.uid, selftest, unsafe)


def _check_hash_seed(job: Job) -> None:
    if not 0 <= job.hash_seed < len(HASH_SEEDS):
        raise ValueError(f"hash_seed must be 0 or 1; got {job.hash_seed!r}")


def _filter() -> bytes:
    """The filter for this machine.

    Raises:
        SandboxUnavailable: There is none.
    """
    machine = platform.machine()
    if sys.platform != "linux" or machine not in ARCHITECTURES:
        known = " or ".join(ARCHITECTURES)
        raise SandboxUnavailable(
            f"sandbox.backend=fork needs Linux on {known}; this is {sys.platform} on {machine}. "
            "Use WebAssembly, `sandbox.backend=wasm` (pip install 'azr-verl[wasm]'), or a server, "
            "`sandbox.backend=http sandbox.http_url=http://<host>:8080/run_code`."
        )
    return program_filter(machine)
