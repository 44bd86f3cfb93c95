"""Run programs in the sandbox of this process, and name in one word what went wrong.

The sandbox is opened at the first run, one a process and configuration, and shared by all packs in the
process: its workers take longer to start than a thousand programs take to run. It ends with the process.
"""

from __future__ import annotations

import asyncio
import builtins
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache, partial
from typing import ParamSpec, TypeVar

from tasks.contract import CheckBrokenError, PackUnavailableError
from tasks.kit.program import may_differ
from tasks.sandbox import (
    Call,
    CallStatus,
    Limits,
    Program,
    Sandbox,
    SandboxConfig,
    SandboxUnavailable,
    equal,
    open_sandbox,
    parse_literal,
)
from tasks.sandbox.contract import PROBE

BUILT_IN_ERRORS = {
    name: value
    for name, value in vars(builtins).items()
    if isinstance(value, type) and issubclass(value, BaseException)
}
"""The exception classes that every program has, by name; some have several, as `OSError` and `IOError`."""

NOT_DETERMINISTIC = "not-deterministic"
"""Slug of a program that gave two results for one input."""

_NOT_EXCEPTIONS = frozenset({"BaseException", "BaseExceptionGroup", "GeneratorExit", "KeyboardInterrupt"})

_FAULTS = {
    CallStatus.TIMEOUT: "times-out",
    CallStatus.MEMORY: "too-much-memory",
    CallStatus.OUTPUT_LIMIT: "output-too-big",
    CallStatus.UNSUPPORTED_RESULT: "output-not-a-literal",
    CallStatus.VIOLATION: "forbidden-system-call",
    CallStatus.CRASHED: "crashes",
    CallStatus.EXITED: "exits",
}

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")

_sandboxes: dict[SandboxConfig, Sandbox] = {}
_opening = threading.Lock()


class SandboxBroken(CheckBrokenError):
    """The sandbox gave no answer. Says nothing about the program, so it is no outcome of a response."""


def process_sandbox(config: SandboxConfig) -> Sandbox:
    """Return this process's sandbox for `config`, opened at the first call."""
    with _opening:
        if config not in _sandboxes:
            _sandboxes[config] = open_sandbox(config)
        return _sandboxes[config]


@cache
def _process_threads(config: SandboxConfig) -> ThreadPoolExecutor:
    """Threads that wait for the sandbox, as many as it runs programs; asyncio's own are 32 at most."""
    return ThreadPoolExecutor(config.count_concurrent(), "programs")


@dataclass(frozen=True)
class Runner:
    """Runs programs within limits of a call. Pickles; the sandbox itself stays behind.

    Whatever runs a program raises SandboxBroken if the sandbox itself fails.
    """

    config: SandboxConfig
    limits: Limits

    def run(self, program: str, inputs: Sequence[str], hash_seed: int = 0) -> list[Call]:
        """Call a program's `f` once for every input, and wait."""
        try:
            sandbox = process_sandbox(self.config)
        except SandboxUnavailable as error:
            raise SandboxBroken(f"no sandbox can be opened any more: {error}") from error
        calls = sandbox.run(Program(program), inputs, self.limits, hash_seed=hash_seed)
        for call in calls:
            if call.status is CallStatus.BACKEND_ERROR:
                raise SandboxBroken(f"the sandbox gave no answer about a program: {call.error}")
        return calls

    async def in_thread(
        self, work: Callable[Parameters, Result], *args: Parameters.args, **kwargs: Parameters.kwargs
    ) -> Result:
        """Do what runs programs beside the event loop, in one of as many threads as programs run at once."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(_process_threads(self.config), partial(work, *args, **kwargs))

    def check(self) -> None:
        """Run a program in a small sandbox of this configuration; PackUnavailableError if it does not run."""
        try:
            with open_sandbox(self.config.for_one_program()) as sandbox:
                (call,) = sandbox.run(PROBE, [""], self.limits)
        except SandboxUnavailable as error:
            raise PackUnavailableError(str(error)) from error
        if call.literal is None:
            raise PackUnavailableError(f"no program runs in the sandbox as the pack limits it: {call.error}")

    def repeat_fault(self, program: str, inputs: Sequence[str], first: Sequence[Call]) -> str:
        """Slug of why calls that `run` made are no ground for a task; "" if they are.

        They are made again under another hash seed, in reverse order, so that a value that depends on earlier
        calls shows as well; where sets, addresses or a lack of memory may play a part, under more of them.
        Half of the time of an attempt has to do, or on a busier day it could run out.
        """
        for again in self._run_again(program, inputs):
            if not all(map(_agree, first, again)):
                return NOT_DETERMINISTIC
            if any(call.cpu_ms > 500 * self.limits.cpu_s for call in [*first, *again]):
                return "too-slow"
        return ""

    def repeated(self, program: str, inputs: Sequence[str], first: Sequence[Call]) -> list[bool]:
        """Whether each of the calls that `run` made gives the same again, as in `repeat_fault`."""
        same = [True] * len(inputs)
        for again in self._run_again(program, inputs):
            same = [is_same and _agree(*pair) for is_same, *pair in zip(same, first, again, strict=True)]
        return same

    def _run_again(self, program: str, inputs: Sequence[str]) -> Iterator[list[Call]]:
        """Make the calls in reverse order, under one hash seed after the other."""
        num_seeds = self.config.count_hash_seeds() if may_differ(program, inputs) else 2
        for hash_seed in range(1, num_seeds):
            yield self.run(program, inputs[::-1], hash_seed)[::-1]


def fault(call: Call) -> str:
    """Slug of what went wrong with a call; "" if it returned a value."""
    if call.status is CallStatus.OK:
        return ""
    if call.status is not CallStatus.RAISED:
        return _FAULTS[call.status]
    error = error_class(call)
    if error == "RecursionError":
        return "recursion-limit"
    return "raises-base-exception" if error in _NOT_EXCEPTIONS else "raises"


def error_class(call: Call) -> str:
    """Name of the exception class that left the program; in part the program's own words."""
    return (call.error or "").split(":")[0].strip()


def _agree(first: Call, second: Call) -> bool:
    if first.status is not second.status:
        return False
    if first.literal is None or second.literal is None:
        return error_class(first) == error_class(second)
    return equal(parse_literal(first.literal), parse_literal(second.literal), strict=True)
