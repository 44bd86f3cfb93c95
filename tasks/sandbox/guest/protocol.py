"""What a zygote and its supervisor say to each other on the control socket, known to both sides."""

from __future__ import annotations

import signal
import struct
from typing import NamedTuple

REQUEST = struct.Struct("=BddQ")
"""Which attack of the self-test to make (0: none, run a program), wall s, CPU s, memory in bytes."""

REPLY = struct.Struct("=iBddQ")
"""The fields of `Ending`."""

SETUP_FAILED = signal.SIGUSR1
"""How a child ends that could not be confined, after it wrote the reason to its private socket. A program
cannot end so: the filter forbids all signals."""

NEEDS_CODECS = 77
"""Exit status of a child whose program asks for a codec that its zygote has not loaded.

A program can end so too: then it is run again in a zygote with all codecs, and no more than that.
"""

ATTACKS = ("open", "socket", "fork", "kill", "exec", "env")
"""The self-test; a request names an attack by its number, from 1."""


class Ending(NamedTuple):
    """How a child ended."""

    status: int  # as `os.wait` reports it
    late: bool  # whether its time by the clock ran out
    cpu_s: float  # CPU time that it used, by the scheduler's account
    within_s: float  # until then, by the monotonic clock, it had surely not used more than it may
    peak_kib: int  # the most memory that it held


class Hello(NamedTuple):
    """What a zygote found out about itself: its first message, as a JSON list."""

    python: str  # version of its interpreter
    uid: int  # user that it runs as
    landlock: int  # ABI version of its Landlock domain, 0 without one
    landlock_errno: int  # why there is none; 0 if there is one
    seccomp_errno: int  # why the kernel refused the filter; 0 if it took it
