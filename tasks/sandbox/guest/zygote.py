"""The warm interpreter that forks one child a program.

It is started by exec, never by fork from the trainer: nothing of the trainer's memory, threads, files or
environment is in it. Program text and results travel over a socket pair of their own whose far end is handed
to the child, so that no byte a model wrote ever enters this process, and nothing of one program is left for
the next one. A request is a header and that socket; the answer is how the kernel says the child ended.
"""

from __future__ import annotations

# `_socket` is what `socket` wraps; the wrapper would load two more libraries.
import _socket
import codecs
import encodings.aliases
import gc
import importlib
import json
import marshal
import os
import signal
import struct
import sys
import time
from collections.abc import Callable
from typing import NoReturn

from tasks.sandbox.guest import confine, harness
from tasks.sandbox.guest.addresses import fill_gaps
from tasks.sandbox.guest.modules import LIBRARY_CODECS, PRELOAD, hide_modules, import_codecs
from tasks.sandbox.guest.protocol import NEEDS_CODECS, REPLY, REQUEST, SETUP_FAILED, Ending, Hello

CONTROL = 3
"""The control socket in the zygote; in a child, its private socket takes this number."""

MAX_HANDED_OVER = 8

TICK_S = 0.01
"""The longest time after which the kernel brings the CPU time of a running process up to date."""

_CPU_TIME_OF_A_PROCESS = 2
"""The low bits of the clock that reads it, CPUCLOCK_SCHED; the others are the process id, inverted."""


def main(control: int) -> None:
    """Serve requests from the descriptor `control` until its other end is closed."""
    confine.reset_inherited()
    if control != CONTROL:
        os.dup2(control, CONTROL)
    os.closerange(CONTROL + 1, 256)
    channel = _socket.socket(-1, -1, -1, CONTROL)
    options = json.loads(channel.recv(1 << 16))
    python = ".".join(map(str, sys.version_info[:3]))
    preload([*options["exposed"], *PRELOAD], frozenset() if options["all_codecs"] else LIBRARY_CODECS)
    uid = confine.confine_zygote()
    landlock, landlock_errno = 0, 0
    try:
        landlock = confine.enter_landlock()
    except OSError as error:
        landlock_errno = error.errno or -1
    seccomp = confine.SeccompFilter(bytes.fromhex(options["filter"]))
    seccomp_errno = _errno_of(seccomp.install)
    harness.prepare()
    os.environ.clear()
    if not options["exposed"]:
        hide_modules({*PRELOAD})
    channel.send(json.dumps(Hello(python, uid, landlock, landlock_errno, seccomp_errno)).encode())
    # Errors of the start went to a pipe that the supervisor closes now.
    os.dup2(1, 2)
    kept = fill_gaps(os.urandom(1)[0])
    # What is here now is here in every child: never look at it again, or each child copies its pages.
    gc.collect()
    gc.freeze()
    serve(channel, None if seccomp_errno else seccomp)
    del kept


def preload(modules: list[str], left_out: frozenset[str]) -> None:
    """Import all that a program may import, and codecs: once confined, a process can open no file.

    A child whose program names a codec that is left out ends with NEEDS_CODECS: a LookupError would be
    another result than Python's.
    """
    register = os.register_at_fork
    # `random` and `threading` have every child reseed and rebuild locks: 160 page faults for nothing, since
    # a child has one thread, and unseeded random numbers must differ between zygotes only.
    os.register_at_fork = lambda **_: None
    for name in modules:
        importlib.import_module(name)
    import_codecs(left_out)
    os.register_at_fork = register
    aliases = encodings.aliases.aliases

    def end_if_left_out(encoding: str) -> None:
        name = encodings.normalize_encoding(encoding)
        if left_out & {name, aliases.get(name), aliases.get(name.replace(".", "_"))}:
            os._exit(NEEDS_CODECS)

    # The first that is asked: Python's own search would look for a file.
    codecs.unregister(encodings.search_function)
    codecs.register(end_if_left_out)
    codecs.register(encodings.search_function)


def serve(channel: _socket.socket, seccomp: confine.SeccompFilter | None) -> None:
    """Answer one request after the other; leave when the supervisor closes its end."""
    # Waiting for a child is one call then: its end is a signal that stays pending until it is asked for.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
    zygote = os.getpid()
    space = _socket.CMSG_SPACE(MAX_HANDED_OVER * 4)
    while True:
        header, ancillary, _, _ = channel.recvmsg(REQUEST.size, space)
        if not header:
            os._exit(0)
        (private,) = struct.unpack("=i", ancillary[0][2])
        number, wall_s, cpu_s, memory_bytes = REQUEST.unpack(header)
        started = time.monotonic()
        pid = confine.fork()
        if pid == 0:
            os.dup2(private, CONTROL)
            os.closerange(CONTROL + 1, 16)
            _confine_or_end(zygote, cpu_s, memory_bytes, seccomp)
            _act(_ACTIONS[number])
        os.close(private)
        channel.send(REPLY.pack(*_wait(pid, started, wall_s, cpu_s)))


def _confine_or_end(
    zygote: int, cpu_s: float, memory_bytes: int, seccomp: confine.SeccompFilter | None
) -> None:
    """Confine this child; if that fails, for whatever reason, it writes the reason down and ends."""
    confined = False
    try:
        confine.confine_child(zygote, cpu_s, memory_bytes, seccomp)
        confined = True
    except OSError as error:
        os.write(CONTROL, str(error).encode())
    finally:
        if not confined:
            os.kill(os.getpid(), SETUP_FAILED)
            os._exit(1)


def _act(action: Callable[[], object]) -> NoReturn:
    """End this process after an action: status 0 if it came to its end, 1 if it was refused."""
    code = 1
    try:
        action()
        code = 0
    finally:
        os._exit(code)


def _run_request() -> None:
    """Read the request from the private socket and write the results to it."""
    read, write = os.read, os.write
    chunks = []
    while chunk := read(CONTROL, 1 << 16):
        chunks.append(chunk)
    # From our own supervisor, which runs this very interpreter. JSON would touch 40 pages more.
    source, entry, inputs, result_bytes, depth = marshal.loads(b"".join(chunks))

    def emit(line: bytes) -> None:
        while line:
            line = line[write(CONTROL, line) :]

    harness.run_program(source, entry, inputs, result_bytes, depth, emit)


def _wait(pid: int, started: float, wall_s: float, cpu_s: float) -> Ending:
    """Wait for a child that was forked at `started`, and kill it when its time is over.

    No timer of the kernel measures its CPU time: they count ticks, which a program can sleep over, and act by
    signals, which it can block or inherit blocked. What is read here is the scheduler's own account. A child
    has one thread, so it uses no more CPU time than passes by the clock, and need not be looked at before.
    """
    clock = ~pid << 3 | _CPU_TIME_OF_A_PROCESS
    deadline, within_s = started + wall_s, started + cpu_s
    while True:
        # A pending signal may be that of an earlier child; then there is nothing to collect yet.
        signal.sigtimedwait({signal.SIGCHLD}, max(min(deadline, within_s) - time.monotonic(), TICK_S))
        done, status, usage = os.wait4(pid, os.WNOHANG)
        now, late = time.monotonic(), False
        if not done:
            used_s, late = time.clock_gettime(clock), now >= deadline
            if used_s <= cpu_s and not late:
                within_s = max(within_s, now + cpu_s - used_s - TICK_S)
                continue
            os.kill(pid, signal.SIGKILL)
            _, status, usage = os.wait4(pid, 0)
        return Ending(status, late, usage.ru_utime + usage.ru_stime, within_s, usage.ru_maxrss)


def _errno_of(action: Callable[[], None]) -> int:
    """The error number of an action, tried in a child that ends with it; 0 if it works."""
    pid = confine.fork()
    if pid == 0:
        code = 0
        try:
            action()
        except OSError as error:
            code = error.errno or 255
        finally:
            os._exit(code)
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status) if os.WIFEXITED(status) else 255


def _read_environment() -> None:
    if os.environ:
        return
    os.close(os.open("/proc/self/environ", os.O_RDONLY))


# By the first field of a request; the attacks in the order of `protocol.ATTACKS`.
_ACTIONS: tuple[Callable[[], object], ...] = (
    _run_request,
    lambda: os.open("/", os.O_RDONLY),
    lambda: _socket.socket(_socket.AF_INET, _socket.SOCK_STREAM),
    os.fork,
    lambda: os.kill(os.getppid(), 0),
    lambda: os.execv(sys.executable, [sys.executable, "-c", ""]),
    _read_environment,
)
