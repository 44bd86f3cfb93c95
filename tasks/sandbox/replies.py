"""Read what a sandboxed process wrote: one JSON line a result, none of it believed beyond its form.

The process that runs the program also writes these lines, so a program can forge them. All it can reach that
way is a different result of its own call, which it could have returned as well.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from enum import StrEnum

from tasks.sandbox.contract import Call, CallStatus, Limits
from tasks.sandbox.literals import LiteralError, parse_literal, render

MAX_ERROR_CHARS = 300
WHOLE_PROGRAM = -1
"""Index of the lines about the program itself: that it is loaded, or why it could not be."""


class Status(StrEnum):
    """The second field of a line (`tasks/sandbox/guest/harness.py` writes them)."""

    LOADED = "loaded"
    OK = "ok"
    RAISED = "raised"
    MEMORY = "memory"
    EXITED = "exited"
    UNSUPPORTED = "unsupported"
    OUTPUT = "output"


_STATUSES = {
    Status.RAISED: CallStatus.RAISED,
    Status.MEMORY: CallStatus.MEMORY,
    Status.EXITED: CallStatus.EXITED,
    Status.UNSUPPORTED: CallStatus.UNSUPPORTED_RESULT,
    Status.OUTPUT: CallStatus.OUTPUT_LIMIT,
}


@dataclass(frozen=True, slots=True)
class Reply:
    """One line, read: a status and its text."""

    status: Status
    text: str


@dataclass(frozen=True, slots=True)
class Ending:
    """How a process ended, as the kernel or the server tells it. None: it ran to its end.

    Attributes:
        status: What ended the process early, None if nothing did.
        error: One line for people.
        cpu_ms: CPU time of the process.
    """

    status: CallStatus | None
    error: str
    cpu_ms: int


@dataclass(frozen=True, slots=True)
class Try:
    """What one process did: its lines by index, and its ending."""

    ending: Ending
    replies: dict[int, Reply] = field(default_factory=dict)


def max_reply_bytes(num_inputs: int, limits: Limits) -> int:
    """The most bytes that an honest process writes for so many inputs."""
    # JSON doubles a quote or a backslash; control characters were escaped by `repr` before.
    return (num_inputs + 1) * (2 * limits.result_bytes + 2 * MAX_ERROR_CHARS + 256)


def read_replies(data: bytes, num_inputs: int) -> dict[int, Reply]:
    """Read lines; the first one of an index counts, and what is no line of ours is passed over.

    No more lines are looked at than an honest process writes: one a call, and two about the program. To read
    a million forged ones would take this process longer than it took the program to write them.
    """
    replies: dict[int, Reply] = {}
    most = num_inputs + 2
    for line in data.split(b"\n", most)[:most]:
        try:
            fields = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if not isinstance(fields, dict):
            continue
        index, status, text = fields.get("i"), fields.get("s"), fields.get("v")
        if type(index) is int and isinstance(text, str) and status in list(Status):
            replies.setdefault(index, Reply(Status(status), text))
    return replies


def to_call(reply: Reply, limits: Limits, cpu_ms: int) -> Call:
    """Turn a line about one call into what became of it; the literal is rebuilt and written anew."""
    if reply.status is not Status.OK:
        # A LOADED with the index of a call is forged; it is as good as no result.
        status = _STATUSES.get(reply.status, CallStatus.EXITED)
        return Call(status, None, to_line(reply.text), cpu_ms)
    if len(reply.text.encode("utf-8", "surrogatepass")) > limits.result_bytes:
        return Call(CallStatus.OUTPUT_LIMIT, None, "result too long", cpu_ms)
    try:
        value = parse_literal(reply.text, max_bytes=limits.result_bytes, max_depth=limits.depth)
    except LiteralError as error:
        return Call(CallStatus.UNSUPPORTED_RESULT, None, str(error), cpu_ms)
    return Call(CallStatus.OK, render(value), None, cpu_ms)


def to_line(text: str) -> str:
    """Make one printable, encodable line of a program's words."""
    line = " ".join(text[:MAX_ERROR_CHARS].split())
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in line)
