"""Take rights away from a process, for good: the kernel layers of the sandbox.

Each function is one layer and fails by OSError where the kernel refuses it; who calls decides what then.
Linux only. Standard library only, and no shell, no library beyond libc.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import signal
import struct

NOBODY = 65_534
STACK_BYTES = 8 << 20
"""What Linux gives a process unless told otherwise."""

_PR_SET_PDEATHSIG = 1
_PR_SET_DUMPABLE = 4
_PR_SET_SECCOMP = 22
_PR_SET_CHILD_SUBREAPER = 36
_PR_SET_NO_NEW_PRIVS = 38
_SECCOMP_MODE_FILTER = 2
# The numbers of these two are the same on every architecture.
_LANDLOCK_CREATE_RULESET = 444
_LANDLOCK_RESTRICT_SELF = 446
_LANDLOCK_VERSION_FLAG = 1

_RAISED = (
    resource.RLIMIT_AS, resource.RLIMIT_CPU, resource.RLIMIT_DATA, resource.RLIMIT_NOFILE,
    resource.RLIMIT_NPROC,
)  # fmt: skip
"""Limits that an interpreter could not start under, or fork, if they were low."""

_libc = ctypes.CDLL(None, use_errno=True)
_prctl = _libc.prctl


def _arguments(option: int, first: int, second: int = 0) -> tuple[int | ctypes.c_ulong, ...]:
    """Arguments of `prctl`, converted once: converting them in each child touches 25 pages more."""
    return option, ctypes.c_ulong(first), ctypes.c_ulong(second), ctypes.c_ulong(0), ctypes.c_ulong(0)


_DIE_WITH_PARENT = _arguments(_PR_SET_PDEATHSIG, signal.SIGKILL)


class SeccompFilter:
    """A system call filter, laid out in memory once so that a forked child only has to name it."""

    def __init__(self, code: bytes) -> None:
        """Keep the BPF program `code`, 8 bytes an instruction."""
        self._code = ctypes.create_string_buffer(code, len(code))
        # `struct sock_fprog`: how many instructions, and where.
        program = struct.pack("HP", len(code) // 8, ctypes.addressof(self._code))
        self._program = ctypes.create_string_buffer(program, len(program))
        self._install = _arguments(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.addressof(self._program))

    def install(self) -> None:
        """Put the filter on this process; there is no way back."""
        _check(_prctl(*self._install))


def forbid_new_privileges() -> None:
    """No set-uid program can give rights back; both filters below demand this first."""
    _check(_prctl(*_arguments(_PR_SET_NO_NEW_PRIVS, 1)))


def confine_zygote() -> int:
    """Set all that a zygote and its children share but the filters; return the user that it now is."""
    # Let the kernel end it before any other when memory runs out; a help, not a wall. A container may have no
    # /proc, or one that cannot be written.
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
        file.write("1000")
    # It is the parent of what a child leaves behind, so that no process escapes by losing its parent.
    _check(_prctl(*_arguments(_PR_SET_CHILD_SUBREAPER, 1)))
    uid = drop_user()
    forbid_new_privileges()
    # Nobody of the same user may trace it or read its memory, and it leaves no core file.
    _check(_prctl(*_arguments(_PR_SET_DUMPABLE, 0)))
    limit("RLIMIT_CORE", 0)
    limit("RLIMIT_FSIZE", 0)
    limit("RLIMIT_NOFILE", 16)
    # How deep a recursion in C may go is then the same, whoever started this process.
    limit("RLIMIT_STACK", STACK_BYTES)
    return uid


def reset_inherited() -> None:
    """Undo what this process has from the one that started it: signals ignored or blocked, and soft limits.

    Else no child could be waited for where SIGCHLD is ignored, none could end by `protocol.SETUP_FAILED`,
    and a zygote would end by a limit that is meant for other processes.
    """
    # Python has set these two at its start, whatever they were, so that writing fails by an error.
    for number in signal.valid_signals() - {signal.SIGPIPE, signal.SIGXFSZ, signal.SIGKILL, signal.SIGSTOP}:
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    for kind in _RAISED:
        most = resource.getrlimit(kind)[1]
        resource.setrlimit(kind, (most, most))


def fork() -> int:
    """Fork; OSError with the reason where no process may be started."""
    try:
        return os.fork()
    except BlockingIOError as error:
        most = resource.getrlimit(resource.RLIMIT_NPROC)[1]
        allowed = "any number" if most == resource.RLIM_INFINITY else f"{most} at most"
        raise OSError(
            f"no process can be started: user {os.geteuid()} may have {allowed} (ulimit -Hu), and the cgroup "
            "as many as its pids.max says"
        ) from error


def limit(name: str, value: int) -> None:
    """Set a limit of this process, such as "RLIMIT_AS", for good; OSError where it may not be so high."""
    number = getattr(resource, name)
    try:
        resource.setrlimit(number, (value, value))
    except (OSError, ValueError) as error:
        most = resource.getrlimit(number)[1]
        raise OSError(f"{name} has to be {value}; here it can be {most} at most (ulimit -H)") from error


def drop_user() -> int:
    """Become nobody if this is root and root may; return the user that this process now is."""
    if os.geteuid() == 0:
        # Root of a container may lack the right to change users, or have no such user (EINVAL). The filters
        # hold all the same.
        with contextlib.suppress(OSError):
            os.setgroups([])
            os.setresgid(NOBODY, NOBODY, NOBODY)
            os.setresuid(NOBODY, NOBODY, NOBODY)
    return os.geteuid()


def enter_landlock() -> int:
    """Enter a Landlock domain that allows nothing: no file, no TCP port, no signal or socket to the outside.

    Returns the ABI version, at least 1; OSError where the kernel has no Landlock.
    """
    abi = _check(_libc.syscall(_LANDLOCK_CREATE_RULESET, None, ctypes.c_size_t(0), _LANDLOCK_VERSION_FLAG))
    rights = (1 << 13) - 1  # all file rights of ABI 1
    rights |= 1 << 13 if abi >= 2 else 0  # REFER
    rights |= 1 << 14 if abi >= 3 else 0  # TRUNCATE
    rights |= 1 << 15 if abi >= 5 else 0  # IOCTL_DEV
    ruleset = struct.pack("Q", rights)
    # An older kernel takes a shorter structure.
    ruleset += struct.pack("Q", 0b11) if abi >= 4 else b""  # TCP: bind and connect
    ruleset += struct.pack("Q", 0b11) if abi >= 6 else b""  # scopes: abstract sockets and signals
    handle = _check(_libc.syscall(_LANDLOCK_CREATE_RULESET, ruleset, ctypes.c_size_t(len(ruleset)), 0))
    _check(_libc.syscall(_LANDLOCK_RESTRICT_SELF, handle, 0))
    os.close(handle)
    return abi


def confine_child(zygote: int, cpu_s: float, memory_bytes: int, seccomp: SeccompFilter | None) -> None:
    """Confine a forked child, which from here on can only compute, and read and write its descriptor 3.

    After an OSError the caller must not go on.

    Args:
        zygote: Process id of the parent, which ends this process when its CPU time is used up.
        cpu_s: That time.
        memory_bytes: Largest address space.
        seccomp: The system call filter; None only where an unsafe sandbox was asked for.
    """
    _check(_prctl(*_DIE_WITH_PARENT))
    if os.getppid() != zygote:
        # It died before the line above, and its death signal will never come.
        os._exit(1)
    limit("RLIMIT_NPROC", 0)
    limit("RLIMIT_AS", memory_bytes)
    limit("RLIMIT_DATA", memory_bytes)
    # Behind the zygote, in case: whole seconds only, and counted by ticks.
    limit("RLIMIT_CPU", int(cpu_s) + 2)
    if seccomp is not None:
        seccomp.install()


def _check(result: int) -> int:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result
