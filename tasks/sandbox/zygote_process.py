"""One zygote, seen from outside: start it, have it run one program at a time, end it."""

from __future__ import annotations

import array
import contextlib
import json
import marshal
import os
import signal
import socket
import struct
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from tasks.sandbox.contract import CallStatus, Limits, Program
from tasks.sandbox.guest.modules import PRELOAD
from tasks.sandbox.guest.protocol import REPLY, REQUEST, SETUP_FAILED
from tasks.sandbox.jobs import BackendFailure
from tasks.sandbox.replies import Ending, Try, max_reply_bytes, read_replies

START_S = 60.0
MARGIN_S = 10.0
"""Beyond the wall-clock limit, which the zygote keeps: who is later than that is broken."""

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


@dataclass(frozen=True, slots=True)
class ZygoteOptions:
    """What a zygote is started with.

    Attributes:
        seccomp: The filter of its children, as a BPF program.
        preload: Modules that programs can import.
        guards: Hide the modules that a program has no business with. The tests turn this off and preload
            those modules too, to show that the kernel's layers hold alone.
    """

    seccomp: bytes
    preload: tuple[str, ...] = PRELOAD
    guards: bool = True


@dataclass(frozen=True, slots=True)
class Hello:
    """What a zygote found out about itself.

    Attributes:
        python: Version of its interpreter.
        uid: User that it runs as.
        landlock: ABI version of its Landlock domain, 0 without one.
        landlock_errno: Why there is none; 0 if there is one.
        seccomp_errno: Why the kernel refused the filter; 0 if it took it.
    """

    python: str
    uid: int
    landlock: int
    landlock_errno: int
    seccomp_errno: int


class ZygoteProcess:
    """A zygote and its control socket. Not thread-safe: one caller at a time.

    Attributes:
        hello: What it found out about itself; there once it is ready.
    """

    hello: Hello

    def __init__(self, hash_seed: int, options: ZygoteOptions) -> None:
        """Start the process; `wait_until_ready` waits for it."""
        here = Path(__file__).resolve().parent
        packages = (("tasks", str(here.parent)), ("tasks.sandbox", str(here)))
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            boot = _BOOT.format(left_out=_LEFT_OUT, packages=packages, control=theirs.fileno())
            # -s, -S, -P: no site-packages, no paths but the standard library's. -I would be stricter by one
            # thing, the environment, and then PYTHONHASHSEED would not count.
            self._process = subprocess.Popen(
                [sys.executable, "-s", "-S", "-P", "-B", "-X", "utf8", "-W", "ignore", "-c", boot],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                pass_fds=[theirs.fileno()],
                # Symbols are looked up once, at the start, and not again in every child.
                env={"PYTHONHASHSEED": str(hash_seed), "LD_BIND_NOW": "1"},
                cwd="/",
                # A process group of its own: killing it takes the children along.
                start_new_session=True,
            )
        self._control = ours
        setup = {"filter": options.seccomp.hex(), "preload": options.preload, "guards": options.guards}
        self._send_setup(json.dumps(setup).encode())

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    def _send_setup(self, setup: bytes) -> None:
        # A zygote that is dead already is found out by `wait_until_ready`, which can say why.
        with contextlib.suppress(OSError):
            self._control.send(setup)

    def wait_until_ready(self) -> None:
        """Wait until the zygote serves and has said `hello`.

        Raises:
            BackendFailure: It did not start.
        """
        assert self._process.stderr is not None
        try:
            self._control.settimeout(START_S)
            message = self._control.recv(4096)
        except OSError as error:
            self.kill()
            raise BackendFailure(f"the zygote did not start: {error}") from error
        if not message:
            # It is gone, so this ends.
            words = self._process.stderr.read()[-500:].decode("utf-8", "replace").strip()
            self.kill()
            raise BackendFailure(f"the zygote did not start: {words.splitlines()[-1:] or 'it said nothing'}")
        self._process.stderr.close()
        self.hello = Hello(**json.loads(message))

    def run(self, program: Program, inputs: list[str], limits: Limits) -> Try:
        """Run a program on canonical inputs in one child.

        Raises:
            BackendFailure: The zygote is dead, late or could not confine the child. It has been killed.
        """
        header = REQUEST.pack(
            0, round(limits.wall_s * 1000), round(limits.cpu_s * 1000), limits.memory_mb << 20
        )
        request = program.source, program.entry, inputs, limits.result_bytes, limits.depth
        most = max_reply_bytes(len(inputs), limits)
        data, overflow, reply = self._exchange(header, marshal.dumps(request), most, limits.wall_s)
        return Try(_to_ending(reply, overflow, limits), {} if overflow else read_replies(data, len(inputs)))

    def attack(self, number: int) -> bool:
        """Make one attack of the self-test in a confined child, by its number from 1: whether it was stopped.

        Raises:
            BackendFailure: The zygote is dead or late.
        """
        _, _, reply = self._exchange(REQUEST.pack(number, 5000, 1000, 512 << 20), b"", 4096, 5.0)
        return reply.status != 0

    def kill(self) -> None:
        """End the zygote and all its children; a second call does nothing."""
        self._control.close()
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        if self._process.stderr is not None:
            self._process.stderr.close()

    def _exchange(
        self, header: bytes, payload: bytes, most: int, wall_s: float
    ) -> tuple[bytes, bool, _Reply]:
        """Send a request; what the child wrote, whether that was too much, and how the child ended.

        Raises:
            BackendFailure: The zygote is dead or late. It has been killed.
        """
        try:
            with contextlib.ExitStack() as unless_done:
                # Interrupted halfway, its next answer would be the one to this request.
                unless_done.callback(self.kill)
                answer = self._send_and_receive(header, payload, most, wall_s)
                unless_done.pop_all()
        except (OSError, struct.error) as error:
            raise BackendFailure(f"the zygote failed: {str(error) or type(error).__name__}") from error
        return answer

    def _send_and_receive(
        self, header: bytes, payload: bytes, most: int, wall_s: float
    ) -> tuple[bytes, bool, _Reply]:
        deadline = time.monotonic() + wall_s + MARGIN_S
        ours, theirs = socket.socketpair()
        with ours:
            with theirs:
                handle = array.array("i", [theirs.fileno()])
                self._control.settimeout(MARGIN_S)
                self._control.sendmsg([header], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, handle)])
            # A child that is dead already shows in the zygote's reply.
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                ours.settimeout(wall_s + MARGIN_S)
                ours.sendall(payload)
                ours.shutdown(socket.SHUT_WR)
            data, overflow = _receive(ours, most, deadline)
        self._control.settimeout(_left(deadline))
        message = self._control.recv(REPLY.size)
        if not message:
            raise ConnectionResetError("it is gone")
        return data, overflow, _Reply(*REPLY.unpack(message))


@dataclass(frozen=True, slots=True)
class _Reply:
    """How a child ended: wait status, whether the wall clock ran out, CPU milliseconds."""

    status: int
    timed_out: int
    cpu_ms: int


def _receive(private: socket.socket, most: int, deadline: float) -> tuple[bytes, bool]:
    """Read until the other end is closed, or until it is more than `most` bytes."""
    chunks: list[bytes] = []
    size = 0
    while size <= most:
        private.settimeout(_left(deadline))
        try:
            chunk = private.recv(1 << 16)
        except ConnectionResetError:
            # The child died with part of the request unread.
            return b"".join(chunks), False
        if not chunk:
            return b"".join(chunks), False
        chunks.append(chunk)
        size += len(chunk)
    return b"", True


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError("it is late")
    return left


def _to_ending(reply: _Reply, overflow: bool, limits: Limits) -> Ending:
    """Say what a wait status means.

    Raises:
        BackendFailure: It is nothing that the program could have brought about.
    """
    code = os.waitstatus_to_exitcode(reply.status)
    number = -code if code < 0 else 0
    if number == SETUP_FAILED:
        raise BackendFailure("the kernel refused to confine the child")
    if number == signal.SIGSYS:
        return Ending(CallStatus.VIOLATION, "forbidden system call", reply.cpu_ms)
    if reply.timed_out:
        return Ending(CallStatus.TIMEOUT, f"more than {limits.wall_s:g} s by the clock", reply.cpu_ms)
    if number in (signal.SIGPROF, signal.SIGXCPU) or (
        number == signal.SIGKILL and reply.cpu_ms >= limits.cpu_s * 1000
    ):
        return Ending(CallStatus.TIMEOUT, f"more than {limits.cpu_s:g} s of CPU time", reply.cpu_ms)
    if number == signal.SIGKILL:
        raise BackendFailure("something outside killed the child; the machine may be out of memory")
    if number:
        return Ending(CallStatus.CRASHED, f"signal {signal.Signals(number).name}", reply.cpu_ms)
    if overflow:
        return Ending(CallStatus.OUTPUT_LIMIT, "more output than allowed", reply.cpu_ms)
    if code:
        return Ending(CallStatus.EXITED, f"exit status {code}", reply.cpu_ms)
    return Ending(None, "the process ended without a result", reply.cpu_ms)
