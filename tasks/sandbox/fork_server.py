"""The backend "fork": warm zygotes on this machine, one child a program, behind the kernel's filters.

A slot is a pair of zygotes that differ in their hash seed. All slots share the spare zygotes, which are
started when they are needed first: those of the other hash seeds, with all codecs.
"""

from __future__ import annotations

import contextlib
import json
import logging
import marshal
import math
import os
import platform
import signal
import socket
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from tasks.sandbox.calls import BackendFailure, OutOfMemoryKill, Try, last_line, max_reply_bytes, probe
from tasks.sandbox.contract import (
    NUM_HASH_SEEDS,
    PROBE,
    Call,
    CallStatus,
    Capabilities,
    Limits,
    Program,
    SandboxUnavailable,
)
from tasks.sandbox.guest.protocol import ATTACKS, NEEDS_CODECS, REPLY, REQUEST, SETUP_FAILED, Ending, Hello
from tasks.sandbox.seccomp import ARCHITECTURES, program_filter
from tasks.sandbox.slots import MARGIN_S, START_S, SlotSandbox, Worker, socket_pair

CHOICES = (
    "Untrusted code would run with your privileges. Choose one: "
    "(1) allow `seccomp` and `prctl` in the container's profile (those of Docker and Kubernetes do); "
    "(2) run them as WebAssembly, in another version of Python: `sandbox.backend=wasm` "
    "(pip install 'azr-verl[wasm]'); "
    "(3) run them on a server: `sandbox.backend=http sandbox.http_url=http://<host>:8080/run_code`; "
    "(4) for tests on trusted programs only: `sandbox.allow_unsafe=true`."
)

# Every shared library makes every fork some 15 us dearer. The standard library does without these: they only
# hasten what their Python twins do as well.
_LEFT_OUT = ("_opcode", "_queue", "_statistics", "_typing")

# The packages' own `__init__` would bring in the trusted side, so they are entered here as bare folders.
_BOOT = """
import sys, types
for name in {left_out!r}:
    sys.modules[name] = None
for name, folder in {packages!r}:
    package = sys.modules[name] = types.ModuleType(name)
    package.__path__ = [folder]
from tasks.sandbox.guest import zygote
zygote.main({control})
"""

_log = logging.getLogger(__name__)
_warned_of_landlock = threading.Event()

_OWN_SIGNALS = frozenset(
    {signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGSEGV, signal.SIGTRAP}
)
"""Those that a program can end by alone; the filter lets it send none."""

_MUCH_MEMORY_KIB = 64 << 10
"""No process holds as much whose program asks for little: an ordinary one has a third of it."""

_SAME_TIME_S = 0.001
"""What arrives so close together counts as one, or many small writes would fill this process's memory."""

_EXAMINED = Limits(wall_s=START_S, memory_mb=96)
"""Limits of the first program and of the self-test: no pack can ask for less memory."""


class _Written(NamedTuple):
    """What a child wrote, and when that arrived."""

    data: bytes
    arrivals: list[tuple[float, int]]  # when, by the monotonic clock, how much of it was there

    def until(self, time_s: float) -> bytes:
        """What was there at a time."""
        return self.data[: max((size for arrived, size in self.arrivals if arrived <= time_s), default=0)]


class Zygote(Worker):
    """A zygote and its control socket."""

    hello: Hello  # what it found out about itself; there once it is ready
    _channel: socket.socket

    def __init__(self, hash_seed: int, setup: bytes) -> None:
        """Start the process; `wait_until_ready` waits for it."""
        here = Path(__file__).resolve().parent
        packages = (("tasks", str(here.parent)), ("tasks.sandbox", str(here)))
        self._channel, theirs = socket_pair(socket.SOCK_SEQPACKET)
        with theirs:
            boot = _BOOT.format(left_out=_LEFT_OUT, packages=packages, control=theirs.fileno())
            # -s, -S, -P: no site-packages, no paths but the standard library's. -I would be stricter by one
            # thing, the environment, and then PYTHONHASHSEED would not count.
            command = [sys.executable, "-s", "-S", "-P", "-B", "-X", "utf8", "-W", "ignore", "-c", boot]
            # LD_BIND_NOW: symbols are looked up once, at the start, and not again in every child.
            super().__init__(command, {"PYTHONHASHSEED": str(hash_seed), "LD_BIND_NOW": "1"}, theirs)
        # A zygote that is dead already is found out by `wait_until_ready`, which can say why.
        with contextlib.suppress(OSError):
            self._channel.send(setup)

    def run(self, program: Program, inputs: list[str], limits: Limits, hash_seed: int) -> Try:
        request = program.source, program.entry, inputs, limits.result_bytes, limits.depth
        most = max_reply_bytes(len(inputs), limits)
        return _to_try(*self._exchange(0, limits, marshal.dumps(request), most), limits)

    def attack(self, number: int) -> bool:
        """Make an attack of the self-test, by its number from 1, in a child; true if it is stopped."""
        _, ending = self._exchange(number, _EXAMINED, b"", 4096)
        return ending.status != 0

    def _greet(self) -> None:
        self._channel.settimeout(START_S)
        message = self._channel.recv(4096)
        if not message:
            raise EOFError
        self.hello = Hello(*json.loads(message))

    def _exchange(
        self, number: int, limits: Limits, payload: bytes, most: int
    ) -> tuple[_Written | None, Ending]:
        """Have a child forked, for an attack or for 0 a program, send it the payload and wait for its end.

        Returns what it wrote, None if that is more than `most` bytes, and how it ended. That it could not be
        confined is a BackendFailure.
        """
        deadline = time.monotonic() + limits.wall_s + MARGIN_S
        header = REQUEST.pack(number, limits.wall_s, limits.cpu_s, limits.memory_mb << 20)
        ours, theirs = socket.socketpair()
        with ours:
            with theirs:
                self._channel.settimeout(MARGIN_S)
                socket.send_fds(self._channel, [header], [theirs.fileno()])
            # A child that is dead already shows in the zygote's reply.
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                ours.settimeout(limits.wall_s + MARGIN_S)
                ours.sendall(payload)
                ours.shutdown(socket.SHUT_WR)
            wrote = _receive(ours, most, deadline)
        self._channel.settimeout(_left(deadline))
        message = self._channel.recv(REPLY.size)
        if not message:
            raise ConnectionResetError("it is gone")
        ending = Ending._make(REPLY.unpack(message))
        if os.waitstatus_to_exitcode(ending.status) == -SETUP_FAILED:
            why = last_line(wrote.data) if wrote else ""
            raise BackendFailure(f"a process cannot be confined here: {why}")
        return wrote, ending


class ForkSandbox(SlotSandbox[Zygote]):
    """Runs programs in children of zygotes. See `Sandbox` for the methods."""

    workers_per_slot = 2
    num_spare = NUM_HASH_SEEDS - workers_per_slot

    def __init__(self, num_zygotes: int, allow_unsafe: bool = False, exposed: Sequence[str] = ()) -> None:
        """Start the zygotes and attack them.

        Args:
            num_zygotes: Programs that run at once, at least 1.
            allow_unsafe: Go on where the kernel refuses the filter.
            exposed: Modules to load besides, and then to hide none of those that a program has no business
                with: for the tests, which show that the kernel's layers hold alone.

        Raises:
            SandboxUnavailable: There is no filter for this machine, the kernel refuses a layer that must be
                there, an attack of the self-test got through, or no zygote starts.
        """
        self._allow_unsafe = allow_unsafe
        machine = platform.machine()
        if sys.platform != "linux" or machine not in ARCHITECTURES:
            known = " or ".join(ARCHITECTURES)
            raise SandboxUnavailable(
                f"sandbox.backend=fork needs Linux on {known}; this is {sys.platform} on {machine}. "
                "Use WebAssembly, `sandbox.backend=wasm` (pip install 'azr-verl[wasm]'), or a server, "
                "`sandbox.backend=http sandbox.http_url=http://<host>:8080/run_code`."
            )
        self._setup = {"filter": program_filter(machine).hex(), "exposed": [*exposed]}
        super().__init__(num_zygotes)

    def _start(self, number: int) -> Zygote:
        setup = self._setup | {"all_codecs": number >= self.workers_per_slot}
        # A hash seed of 0 would switch the randomisation off.
        return Zygote(number + 1, json.dumps(setup).encode())

    def _check_before_run(self, worker: Zygote) -> None:
        if worker.hello.seccomp_errno and not self._capabilities.unsafe:
            raise BackendFailure("the kernel refuses the seccomp filter that it took before")

    def _examine(self, worker: Zygote) -> Capabilities:
        hello = worker.hello
        unsafe = hello.seccomp_errno != 0
        if unsafe and not self._allow_unsafe:
            raise SandboxUnavailable(
                "this kernel or container refuses seccomp filters: prctl(PR_SET_SECCOMP) -> "
                f"{os.strerror(hello.seccomp_errno)} (errno {hello.seccomp_errno}). {CHOICES}"
            )
        if not hello.landlock and not _warned_of_landlock.is_set():
            _warned_of_landlock.set()
            _log.warning(
                "Landlock is not available here (errno %d); the seccomp filter holds without it, as the only "
                "wall instead of the first of two",
                hello.landlock_errno,
            )
        # Where no program runs, every attack is stopped.
        probe(lambda inputs: worker.run(PROBE, inputs, _EXAMINED, 0), _EXAMINED)
        selftest = {name: worker.attack(number) for number, name in enumerate(ATTACKS, 1)}
        passed = [name for name, stopped in selftest.items() if not stopped]
        if passed and not unsafe:
            raise SandboxUnavailable(
                f"the sandbox's filters are on, and still its self-test got through by: {', '.join(passed)}. "
                "Do not run untrusted programs here; please report this kernel and container."
            )
        return Capabilities("fork", hello.python, not unsafe, hello.landlock, hello.uid, selftest)


def _receive(private: socket.socket, most: int, deadline: float) -> _Written | None:
    """Read until the other end is closed; None if it is more than `most` bytes."""
    data, arrivals = bytearray(), [(0.0, 0)]
    while len(data) <= most:
        private.settimeout(_left(deadline))
        chunk = b""
        # The child may have died with part of the request unread.
        with contextlib.suppress(ConnectionResetError):
            chunk = private.recv(1 << 16)
        if not chunk:
            return _Written(bytes(data), arrivals)
        data += chunk
        now = time.monotonic()
        if now - arrivals[-1][0] < _SAME_TIME_S:
            arrivals.pop()
        arrivals.append((now, len(data)))
    return None


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError("it is late")
    return left


def _to_try(wrote: _Written | None, ending: Ending, limits: Limits) -> Try:
    """Say what became of a program; BackendFailure if no program can bring it about."""
    code, data = os.waitstatus_to_exitcode(ending.status), wrote.data if wrote else b""

    def ended(status: CallStatus, error: str, written: bytes = data) -> Try:
        return Try(Call(status, None, error, math.ceil(1000 * ending.cpu_s)), written)

    if -code == signal.SIGSYS:
        return ended(CallStatus.VIOLATION, "forbidden system call")
    if ending.cpu_s > limits.cpu_s:
        in_time = wrote.until(ending.within_s) if wrote else b""
        return ended(CallStatus.TIMEOUT, f"more than {limits.cpu_s:g} s of CPU time", in_time)
    if ending.late:
        return ended(CallStatus.TIMEOUT, f"more than {limits.wall_s:g} s by the clock")
    if -code in _OWN_SIGNALS:
        return ended(CallStatus.CRASHED, f"signal {signal.Signals(-code).name}")
    if -code == signal.SIGKILL and ending.peak_kib > _MUCH_MEMORY_KIB:
        held = f"{ending.peak_kib >> 10} MiB"
        raise OutOfMemoryKill(ended(CallStatus.MEMORY, f"killed from outside while it held {held}"))
    if code < 0:
        raise BackendFailure(f"something outside ended the child by signal {-code}")
    if wrote is None:
        return ended(CallStatus.OUTPUT_LIMIT, "more output than allowed")
    made = ended(CallStatus.EXITED, f"exit status {code}" if code else "the process ended without a result")
    return made._replace(needs_codecs=code == NEEDS_CODECS)
