"""Run one program on many inputs: which of them share a process, and what a dead process says about each.

The same for every backend. A backend only has to run some inputs in one process and tell how it ended.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from tasks.sandbox.contract import JOB_BUDGET, Call, CallStatus, Limits
from tasks.sandbox.literals import LiteralError, parse_arguments, render_arguments
from tasks.sandbox.replies import WHOLE_PROGRAM, Status, Try, to_call

MAX_INPUTS_PER_PROCESS = 16

Attempts = Callable[[list[str]], Try]
"""Runs one program on these inputs in one process."""


class BackendFailure(Exception):
    """The machinery failed, not the program: worth another try elsewhere, and never a verdict."""


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


def run_job(attempt: Attempts, inputs: Sequence[str], limits: Limits) -> list[Call]:
    """Run a program on canonical inputs; one call for each, in their order.

    Where a process dies, the calls before keep their results and the one it died in is tried again, first in
    a new process, so that its verdict does not depend on the company it had.
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
            made = attempt(rest)
        except BackendFailure as failure:
            failed = Call(CallStatus.BACKEND_ERROR, None, str(failure), 0)
            return calls + [failed] * (len(inputs) - len(calls))
        if made.ending.status is CallStatus.VIOLATION:
            # What such a program returned elsewhere is worth nothing either.
            return [_ended(made)] * len(inputs)
        elapsed_s = time.monotonic() - started
        spent += max(made.ending.cpu_ms / 1000 / limits.cpu_s, elapsed_s / limits.wall_s)
        calls += _judge(made, len(rest), limits)
    return calls


def _judge(made: Try, num_inputs: int, limits: Limits) -> list[Call]:
    """The verdicts that one process allows: at least one, from the first input on."""
    cpu_ms = made.ending.cpu_ms
    whole = made.replies.get(WHOLE_PROGRAM)
    if whole is not None and whole.status is not Status.LOADED:
        return [to_call(whole, limits, cpu_ms)] * num_inputs
    calls: list[Call] = []
    for index in range(num_inputs):
        reply = made.replies.get(index)
        if reply is None:
            break
        calls.append(to_call(reply, limits, cpu_ms))
    if calls:
        return calls
    # It died before the first result; if it was never loaded, it would do so on every input.
    return [_ended(made)] * (num_inputs if whole is None else 1)


def _ended(made: Try) -> Call:
    ending = made.ending
    return Call(ending.status or CallStatus.EXITED, None, ending.error, ending.cpu_ms)
