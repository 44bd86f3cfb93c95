"""Run one program on many inputs, and read what its processes wrote and how they ended.

The same for every backend: a backend only runs some of the inputs in one process and says how that ended. The
process that runs the program also writes the results, one JSON line each, so a program can forge them, and no
line is believed beyond its form. All that a forged line gains is another result of the program's own call,
which it could have returned as well.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from itertools import takewhile
from typing import NamedTuple

from tasks.sandbox.contract import JOB_BUDGET, NUM_HASH_SEEDS, Call, CallStatus, Limits
from tasks.sandbox.literals import LiteralError, parse_arguments, parse_literal, render, render_arguments

MAX_INPUTS_PER_PROCESS = 16
MAX_ERROR_CHARS = 300
WHOLE_PROGRAM = -1
"""Index of the lines about the program itself: that it is loaded, or why it could not be."""

_WRITTEN = {
    "loaded": None,
    "ok": CallStatus.OK,
    "raised": CallStatus.RAISED,
    "memory": CallStatus.MEMORY,
    "exited": CallStatus.EXITED,
    "unsupported": CallStatus.UNSUPPORTED_RESULT,
    "output": CallStatus.OUTPUT_LIMIT,
}
"""What `tasks/sandbox/guest/harness.py` writes as a line's second field. None: the program is loaded."""


class BackendFailure(Exception):
    """The machinery failed, not the program: worth another try elsewhere, and never a verdict."""


class Try(NamedTuple):
    """What one process did."""

    ending: Call  # what became of a call without a line, as the kernel, the runtime or the server reports it
    written: bytes  # its lines; if it had too little time, those that it wrote while it had some
    needs_codecs: bool = False  # it ended since it needs a codec that not every interpreter has loaded


class OutOfMemoryKill(BackendFailure):
    """Something outside killed a process that held much memory.

    That may have been the machine's fault; of a program to which it happens again it is what became of it, or
    one could choose it over a worse end.
    """

    def __init__(self, made: Try) -> None:
        """Keep what the process did, with MEMORY for its ending."""
        super().__init__(made.ending.error)
        self.made = made


class Reply(NamedTuple):
    """One line, read."""

    status: CallStatus | None  # of the call that it is about; None: the program is loaded
    text: str


def check_hash_seed(hash_seed: int) -> None:
    """Refuse what is none of the seeds, by a ValueError."""
    if hash_seed not in range(NUM_HASH_SEEDS):
        raise ValueError(f"hash_seed must be from 0 to {NUM_HASH_SEEDS - 1}; got {hash_seed!r}")


def canonical_inputs(inputs: Sequence[str]) -> list[str]:
    """Read argument lists and write them anew, so that what enters a sandbox is literals and nothing else.

    Raises:
        TypeError: `inputs` is one string, whose characters would be taken for inputs.
        LiteralError: One is no list of literals; the text names its index.
    """
    if isinstance(inputs, str):
        raise TypeError(f"inputs must be a sequence of argument lists; got the string {inputs[:80]!r}")
    canonical = []
    for index, text in enumerate(inputs):
        try:
            canonical.append(render_arguments(parse_arguments(text)))
        except LiteralError as error:
            raise LiteralError(f"inputs[{index}]: {error}") from None
    return canonical


def run_calls(try_inputs: Callable[[list[str]], Try], inputs: Sequence[str], limits: Limits) -> list[Call]:
    """Run a program on canonical inputs.

    Where a process dies, the calls before keep their results and the one it died in is tried again, first in
    a new process, so that its verdict does not depend on the company it had. `try_inputs` runs the program on
    some of the inputs in one process.
    """
    calls: list[Call] = []
    spent = 0.0
    while len(calls) < len(inputs):
        rest = list(inputs[len(calls) : len(calls) + MAX_INPUTS_PER_PROCESS])
        if spent >= JOB_BUDGET:
            not_run = Call(CallStatus.TIMEOUT, None, "not run: the program used up its budget", 0)
            return calls + [not_run] * (len(inputs) - len(calls))
        started = time.monotonic()
        try:
            made = try_inputs(rest)
        except BackendFailure as failure:
            failed = Call(CallStatus.BACKEND_ERROR, None, str(failure), 0)
            return calls + [failed] * (len(inputs) - len(calls))
        if made.ending.status is CallStatus.VIOLATION:
            # What such a program returned elsewhere is worth nothing either.
            return [made.ending] * len(inputs)
        elapsed_s = time.monotonic() - started
        spent += max(made.ending.cpu_ms / 1000 / limits.cpu_s, elapsed_s / limits.wall_s)
        calls += _judge(made, len(rest), limits)
    return calls


def probe(try_inputs: Callable[[list[str]], Try], limits: Limits) -> str:
    """Run `PROBE`, as in `run_calls`, and return the version of Python; BackendFailure if it does not run."""
    (call,) = run_calls(try_inputs, [""], limits)
    if call.literal is None:
        raise BackendFailure(f"the first program did not run: {call.error}")
    return call.literal.strip("'")


def _judge(made: Try, num_inputs: int, limits: Limits) -> list[Call]:
    """The verdicts that one process allows: at least one, from the first input on."""
    cpu_ms, is_late = made.ending.cpu_ms, made.ending.status is CallStatus.TIMEOUT
    if is_late:
        if num_inputs == 1:
            # Whatever it wrote: nothing is a result that took longer than it may.
            return [made.ending]
        # What counts was written in time.
        cpu_ms = min(cpu_ms, int(1000 * limits.cpu_s))
    replies = read_replies(made.written, num_inputs)
    whole = replies.get(WHOLE_PROGRAM)
    if whole is not None and whole.status is not None:
        return [_to_call(whole, limits, cpu_ms)] * num_inputs
    found = takewhile(replies.__contains__, range(num_inputs))
    calls = [_to_call(replies[index], limits, cpu_ms) for index in found]
    # If it died before the first result: where it was never loaded, it would do so on every input.
    return calls or [made.ending] * (num_inputs if whole is None else 1)


def _to_call(reply: Reply, limits: Limits, cpu_ms: int) -> Call:
    """Turn a line about one call into what became of it; the literal is rebuilt and written anew."""
    if reply.status is not CallStatus.OK:
        # That a program is loaded, said of a call, is forged; it is as good as no result.
        return Call(reply.status or CallStatus.EXITED, None, to_line(reply.text), cpu_ms)
    if len(reply.text.encode("utf-8", "surrogatepass")) > limits.result_bytes:
        return Call(CallStatus.OUTPUT_LIMIT, None, "result too long", cpu_ms)
    try:
        value = parse_literal(reply.text, max_bytes=limits.result_bytes, max_depth=limits.depth)
    except LiteralError as error:
        return Call(CallStatus.UNSUPPORTED_RESULT, None, str(error), cpu_ms)
    return Call(CallStatus.OK, render(value), None, cpu_ms)


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
        if type(index) is int and isinstance(text, str) and isinstance(status, str) and status in _WRITTEN:
            replies.setdefault(index, Reply(_WRITTEN[status], text))
    return replies


def to_line(text: str) -> str:
    """Make one printable, encodable line of a program's words."""
    line = " ".join(text[:MAX_ERROR_CHARS].split())
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in line)


def last_line(stderr: bytes) -> str:
    """What a process of ours said last, which tells more than that it failed; "" if it said nothing."""
    said = stderr[-500:].decode("utf-8", "replace").strip().splitlines()
    return said[-1].strip() if said else ""
