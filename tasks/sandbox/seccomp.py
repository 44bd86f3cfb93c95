"""The system call filter of the sandbox, put together from two lists of names.

The filter is assembled here rather than shipped as bytes of a generator: a list of names can be reviewed, and
the same few lines build the container-like filters that the tests run the sandbox under. It checks one name
after the other; the kernel compiles it and remembers which calls are always allowed, so a smarter order would
gain nothing measurable.
"""

from __future__ import annotations

import errno
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

ALLOW = 0x7FFF0000
KILL = 0x80000000
"""End the whole process with SIGSYS."""

PROT_EXEC = 0x4

_LOAD = 0x20  # BPF_LD | BPF_W | BPF_ABS: one word of `struct seccomp_data`
_JUMP_EQUAL = 0x15
_JUMP_GREATER_EQUAL = 0x35
_JUMP_ANY_BIT = 0x45
_RETURN = 0x06

_OFFSET_NUMBER = 0
_OFFSET_ARCHITECTURE = 4
_OFFSET_THIRD_ARGUMENT = 16 + 2 * 8  # low half; both architectures are little-endian

X32_BIT = 0x40000000
"""x86_64 only: the same calls under other numbers, a way around any filter that forgets it."""


def refuse(code: int = errno.EPERM) -> int:
    """The action "fail with this error number"."""
    return 0x00050000 | code


@dataclass(frozen=True, slots=True)
class Architecture:
    """System calls of one machine."""

    audit: int  # how the kernel names the architecture in `struct seccomp_data`
    numbers: Mapping[str, int]  # of each system call


# What CPython needs to compute, and no more. Nothing here opens, creates, sends a signal or names a process.
ALLOWED = (
    "read", "write", "close", "lseek", "fstat",
    "munmap", "mremap", "madvise", "brk", "futex",
    "clock_gettime", "gettimeofday", "clock_nanosleep", "nanosleep", "sched_yield", "restart_syscall",
    "getpid", "gettid", "rt_sigreturn", "exit", "exit_group",
)  # fmt: skip

# Allowed unless the memory is to be executable.
NOT_EXECUTABLE = ("mmap", "mprotect")

# No honest program gets here, so trying is worth a verdict of its own. All else fails with EPERM, like `open`
# of a missing right: a program may ask and go on.
KILLED = (
    "kill", "tkill", "tgkill", "rt_sigqueueinfo", "rt_tgsigqueueinfo", "pidfd_send_signal", "pidfd_getfd",
    "execve", "execveat", "ptrace", "process_vm_readv", "process_vm_writev",
    "socket", "socketpair", "connect", "bpf", "io_uring_setup", "userfaultfd", "perf_event_open",
    "unshare", "setns", "mount", "pivot_root", "chroot", "keyctl", "add_key", "request_key",
)  # fmt: skip

# name: (x86_64, aarch64). tests/tasks/sandbox/test_seccomp.py compares them with the kernel's headers.
_NUMBERS = {
    "add_key": (248, 217), "bpf": (321, 280), "brk": (12, 214), "chroot": (161, 51), "clone": (56, 220),
    "clock_gettime": (228, 113), "clock_nanosleep": (230, 115), "clone3": (435, 435), "close": (3, 57),
    "connect": (42, 203), "execve": (59, 221), "execveat": (322, 281), "exit": (60, 93),
    "exit_group": (231, 94), "fstat": (5, 80), "futex": (202, 98), "getpid": (39, 172), "gettid": (186, 178),
    "gettimeofday": (96, 169), "io_uring_setup": (425, 425), "keyctl": (250, 219), "kill": (62, 129),
    "landlock_create_ruleset": (444, 444), "lseek": (8, 62), "madvise": (28, 233), "mmap": (9, 222),
    "mount": (165, 40), "mprotect": (10, 226), "mremap": (25, 216), "munmap": (11, 215),
    "nanosleep": (35, 101), "perf_event_open": (298, 241), "pidfd_getfd": (438, 438),
    "pidfd_send_signal": (424, 424), "pivot_root": (155, 41), "prctl": (157, 167),
    "process_vm_readv": (310, 270), "process_vm_writev": (311, 271), "ptrace": (101, 117), "read": (0, 63),
    "request_key": (249, 218), "restart_syscall": (219, 128), "rt_sigqueueinfo": (129, 138),
    "rt_sigreturn": (15, 139), "rt_tgsigqueueinfo": (297, 240), "sched_yield": (24, 124),
    "seccomp": (317, 277), "setns": (308, 268), "socket": (41, 198), "socketpair": (53, 199),
    "tgkill": (234, 131), "tkill": (200, 130), "unshare": (272, 97), "userfaultfd": (323, 282),
    "write": (1, 64),
}  # fmt: skip

ARCHITECTURES = {
    "x86_64": Architecture(0xC000003E, {name: numbers[0] for name, numbers in _NUMBERS.items()}),
    "aarch64": Architecture(0xC00000B7, {name: numbers[1] for name, numbers in _NUMBERS.items()}),
}


def program_filter(machine: str) -> bytes:
    """The filter that a sandboxed program runs under on a `platform.machine()`; KeyError if there is none."""
    actions = dict.fromkeys(ALLOWED, ALLOW) | dict.fromkeys(KILLED, KILL)
    return assemble(ARCHITECTURES[machine], actions, refuse(), not_executable=NOT_EXECUTABLE)


def assemble(
    architecture: Architecture, actions: Mapping[str, int], default: int, not_executable: Sequence[str] = ()
) -> bytes:
    """Put a filter together.

    Args:
        architecture: The machine; calls under another machine's numbering are killed.
        actions: System call -> action.
        default: Action for all others.
        not_executable: Calls that are allowed while their third argument has no PROT_EXEC, else `default`.

    Returns:
        A classic BPF program, 8 bytes an instruction.
    """
    code = [
        _instruction(_LOAD, _OFFSET_ARCHITECTURE),
        _instruction(_JUMP_EQUAL, architecture.audit, if_true=1),
        _instruction(_RETURN, KILL),
        _instruction(_LOAD, _OFFSET_NUMBER),
        # On aarch64 there are no such numbers, and the test does no harm.
        _instruction(_JUMP_GREATER_EQUAL, X32_BIT, if_false=1),
        _instruction(_RETURN, KILL),
    ]
    for name, action in actions.items():
        code += [
            _instruction(_JUMP_EQUAL, architecture.numbers[name], if_false=1),
            _instruction(_RETURN, action),
        ]
    for name in not_executable:
        code += [
            _instruction(_JUMP_EQUAL, architecture.numbers[name], if_false=4),
            _instruction(_LOAD, _OFFSET_THIRD_ARGUMENT),
            _instruction(_JUMP_ANY_BIT, PROT_EXEC, if_false=1),
            _instruction(_RETURN, default),
            _instruction(_RETURN, ALLOW),
        ]
    return b"".join([*code, _instruction(_RETURN, default)])


def _instruction(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    """One BPF instruction; the jumps say how many instructions to skip."""
    return struct.pack("=HBBI", code, if_true, if_false, value)
