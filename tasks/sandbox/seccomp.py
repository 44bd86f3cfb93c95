"""The system call filter of the sandbox, put together from lists of names.

The filter is assembled here rather than shipped as bytes of a generator: a list of names can be reviewed, and
the same few lines build the container-like filters that the tests run the sandbox under. A call is found by
halving, because the kernel tries a filter on every call that exists when it is installed, once a program.
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
CLOCK_OF_A_PROCESS = 0x80000000
"""The sign bit: a clock below 0 tells the CPU time of another process, or belongs to a device."""

ALL_BUT_DONTNEED = 0xFFFFFFFF & ~0x4
"""An allocator says of memory that it needs it no more. Other advice merges pages with those of other
processes, which shows what is in them by the time that it takes, waits for a disk, or has a thread of the
kernel work.
"""

_LOAD = 0x20  # BPF_LD | BPF_W | BPF_ABS: one word of `struct seccomp_data`
_JUMP_EQUAL = 0x15
_JUMP_GREATER_EQUAL = 0x35
_JUMP_ANY_BIT = 0x45
_RETURN = 0x06

_OFFSET_NUMBER = 0
_OFFSET_ARCHITECTURE = 4
_OFFSET_ARGUMENTS = 16  # 8 bytes each; the low half comes first, as both architectures are little-endian

_Instruction = tuple[int, int, int, int]
"""As in `struct sock_filter`: code, how many instructions to skip if true and if false, value."""

X32_BIT = 0x40000000
"""x86_64 only: the same calls under other numbers, a way around any filter that forgets it."""

# System calls by their numbers on x86_64 and aarch64, which tests/tasks/sandbox/test_seccomp.py compares with
# the kernel's headers. First what CPython needs to compute, and no more: nothing here opens, creates, waits,
# sends a signal, returns from one (which could block the others) or names a process.
ALLOWED = {
    "read": (0, 63), "write": (1, 64), "close": (3, 57), "lseek": (8, 62), "fstat": (5, 80),
    "munmap": (11, 215), "mremap": (25, 216), "brk": (12, 214),
    "gettimeofday": (96, 169), "getpid": (39, 172), "gettid": (186, 178), "exit": (60, 93),
    "exit_group": (231, 94),
}  # fmt: skip

ALLOWED_WITHOUT = {
    "mmap": (2, PROT_EXEC),
    "mprotect": (2, PROT_EXEC),
    "clock_gettime": (0, CLOCK_OF_A_PROCESS),
    "madvise": (2, ALL_BUT_DONTNEED),
}
"""Allowed unless the argument of this number, from 0, has one of these bits."""

NEVER_WAITS = {"clock_nanosleep": 0, "futex": errno.EINTR}
"""Not carried out, and answered with this error number; 0 is success.

Sleeping returns at once, and waiting for a lock is asking for it again and again. So a program cannot hold a
slot without using CPU time, nor work between two ticks of the kernel's clock and sleep over each, and no two
programs can wake each other through a page that they share.
"""

# No honest program gets here, so trying is worth a verdict of its own. All else fails with EPERM, like `open`
# of a missing right: a program may ask and go on.
KILLED = {
    "kill": (62, 129), "tkill": (200, 130), "tgkill": (234, 131), "rt_sigqueueinfo": (129, 138),
    "rt_tgsigqueueinfo": (297, 240), "pidfd_send_signal": (424, 424), "pidfd_getfd": (438, 438),
    "execve": (59, 221), "execveat": (322, 281), "ptrace": (101, 117), "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271), "socket": (41, 198), "socketpair": (53, 199), "connect": (42, 203),
    "bpf": (321, 280), "io_uring_setup": (425, 425), "userfaultfd": (323, 282), "perf_event_open": (298, 241),
    "unshare": (272, 97), "setns": (308, 268), "mount": (165, 40), "pivot_root": (155, 41),
    "chroot": (161, 51), "keyctl": (250, 219), "add_key": (248, 217), "request_key": (249, 218),
}  # fmt: skip


def refuse(code: int = errno.EPERM) -> int:
    """The action "fail with this error number"."""
    return 0x00050000 | code


@dataclass(frozen=True, slots=True)
class Architecture:
    """System calls of one machine."""

    audit: int  # how the kernel names the architecture in `struct seccomp_data`
    numbers: Mapping[str, int]  # of each system call


# Those of the two tables above.
_OTHERS = {
    "mmap": (9, 222), "mprotect": (10, 226), "clock_gettime": (228, 113), "clock_nanosleep": (230, 115),
    "futex": (202, 98), "madvise": (28, 233),
}  # fmt: skip
_NUMBERS = {**ALLOWED, **_OTHERS, **KILLED}
ARCHITECTURES = {
    "x86_64": Architecture(0xC000003E, {name: number for name, (number, _) in _NUMBERS.items()}),
    "aarch64": Architecture(0xC00000B7, {name: number for name, (_, number) in _NUMBERS.items()}),
}


def program_filter(machine: str) -> bytes:
    """The filter that a sandboxed program runs under on a `platform.machine()`; KeyError if there is none."""
    answers = {name: refuse(code) for name, code in NEVER_WAITS.items()}
    actions = dict.fromkeys(ALLOWED, ALLOW) | dict.fromkeys(KILLED, KILL) | answers
    return assemble(ARCHITECTURES[machine], actions, refuse(), ALLOWED_WITHOUT)


def assemble(
    architecture: Architecture,
    actions: Mapping[str, int],
    default: int,
    allowed_without: Mapping[str, tuple[int, int]] | None = None,
) -> bytes:
    """Put a filter together: a classic BPF program, 8 bytes an instruction.

    Args:
        architecture: The machine; calls under another machine's numbering are killed.
        actions: System call -> action.
        default: Action for all others.
        allowed_without: System call -> an argument's number, from 0, and bits: allowed while the argument has
            none of them, else `default`.
    """
    otherwise = [(_RETURN, 0, 0, default)]
    then = {architecture.numbers[name]: [(_RETURN, 0, 0, action)] for name, action in actions.items()}
    for name, (argument, bits) in (allowed_without or {}).items():
        then[architecture.numbers[name]] = [
            (_LOAD, 0, 0, _OFFSET_ARGUMENTS + 8 * argument),
            (_JUMP_ANY_BIT, 0, 1, bits),
            *otherwise,
            (_RETURN, 0, 0, ALLOW),
        ]
    # From which number on which instructions hold.
    ranges = [(0, otherwise)]
    for number in sorted({*then, *(each + 1 for each in then)}):
        if (instructions := then.get(number, otherwise)) != ranges[-1][1]:
            ranges.append((number, instructions))
    program = [
        (_LOAD, 0, 0, _OFFSET_ARCHITECTURE),
        (_JUMP_EQUAL, 1, 0, architecture.audit),
        (_RETURN, 0, 0, KILL),
        (_LOAD, 0, 0, _OFFSET_NUMBER),
        # On aarch64 there are no such numbers, and the test does no harm.
        (_JUMP_GREATER_EQUAL, 0, 1, X32_BIT),
        (_RETURN, 0, 0, KILL),
        *_choose(ranges),
    ]
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in program)


def _choose(ranges: Sequence[tuple[int, list[_Instruction]]]) -> list[_Instruction]:
    """Go on with the instructions of the range that the loaded number is in."""
    if len(ranges) == 1:
        return ranges[0][1]
    middle = len(ranges) // 2
    below, above = _choose(ranges[:middle]), _choose(ranges[middle:])
    return [(_JUMP_GREATER_EQUAL, len(below), 0, ranges[middle][0]), *below, *above]
