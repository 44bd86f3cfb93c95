"""What a zygote and its supervisor say to each other on the control socket, known to both sides."""

from __future__ import annotations

import signal
import struct

REQUEST = struct.Struct("=BIIQ")
"""Which attack of the self-test to make (0: none, run a program), wall ms, CPU ms, memory in bytes."""

REPLY = struct.Struct("=iBI")
"""Wait status of the child, whether the wall clock ran out, CPU ms."""

SETUP_FAILED = signal.SIGUSR1
"""How a child ends that could not be confined. A program cannot end so: the filter forbids all signals."""

ATTACKS = ("open", "socket", "fork", "kill", "exec", "env")
"""The self-test; a request names an attack by its number, from 1."""
