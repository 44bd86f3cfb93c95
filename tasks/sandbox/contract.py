"""What a sandbox is: the types that its callers and its backends share.

A sandbox runs programs that a model wrote. What must be true of the answer (is it equal to the expected one,
is it deterministic) is decided by the caller, outside: expected values never enter a sandbox.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from types import TracebackType
from typing import Self

MAX_RESULT_BYTES = 1 << 20
MAX_DEPTH = 100


class SandboxUnavailable(RuntimeError):
    """No sandbox can be opened as configured. The text says why and what to do."""


class CallStatus(StrEnum):
    """What became of one call. All but BACKEND_ERROR are facts about the program."""

    OK = "ok"
    """The function returned a value that can be written as a literal."""
    RAISED = "raised"
    """An exception left the program, or the program does not compile or has no such function."""
    TIMEOUT = "timeout"
    """The program used up its CPU time or its wall-clock time."""
    MEMORY = "memory"
    """The program asked for more memory than it may have."""
    OUTPUT_LIMIT = "output-limit"
    """The result, written out, is longer than allowed."""
    UNSUPPORTED_RESULT = "unsupported-result"
    """The result is no literal: another type, not finite, nested too deeply, or contains itself."""
    VIOLATION = "violation"
    """The program tried what no honest program does (a socket, a signal, another program) and was killed."""
    CRASHED = "crashed"
    """A signal or a WebAssembly trap ended the program: a stack overflow in C, for one."""
    EXITED = "exited"
    """The program ended itself before it gave a result."""
    BACKEND_ERROR = "backend-error"
    """The sandbox failed, twice. Says nothing about the program: never make a reward of it."""


def _check(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise ValueError(f"limits.{name} must be from {low:g} to {high:g}; got {value!r}")


@dataclass(frozen=True, slots=True)
class Limits:
    """What one call may use.

    The inputs of one program share processes, so a process may run several calls; a call that dies in company
    is tried again on its own before it is judged. All processes of one `run` together get `JOB_BUDGET` times
    `cpu_s`; calls that are not reached by then are TIMEOUT.

    Attributes:
        cpu_s: CPU seconds. This is the limit that decides: it does not depend on the machine's load.
        wall_s: Seconds by the clock, against sleeping. At least `cpu_s`.
        memory_mb: Address space of the process in MiB, or memory of the WebAssembly instance; the bare
            interpreter needs about 25.
        result_bytes: Longest result, written out as UTF-8.
        depth: Deepest nesting of a result.

    Raises:
        ValueError: A limit is outside its range.
    """

    cpu_s: float = 1.0
    wall_s: float = 4.0
    memory_mb: int = 512
    result_bytes: int = 65_536
    depth: int = 40

    def __post_init__(self) -> None:
        _check("cpu_s", self.cpu_s, 0.01, 3600.0)
        _check("wall_s", self.wall_s, self.cpu_s, 4 * 3600.0)
        _check("memory_mb", self.memory_mb, 96, 1 << 20)
        _check("result_bytes", self.result_bytes, 64, MAX_RESULT_BYTES)
        _check("depth", self.depth, 1, MAX_DEPTH)


JOB_BUDGET = 4
"""CPU seconds of one `run`, as a multiple of `Limits.cpu_s`."""


@dataclass(frozen=True, slots=True)
class Program:
    """A program and the name of the function in it that is called.

    The program runs under the module name `__program__`, so its `if __name__ == "__main__"` part does not.
    """

    source: str
    entry: str = "f"


PROBE = Program("import sys\ndef f():\n    return '.'.join(map(str, sys.version_info[:3]))")
"""Returns the version of the Python that runs it."""


@dataclass(frozen=True, slots=True)
class Call:
    """What became of one program on one input.

    Attributes:
        status: Which of the things that can happen did.
        literal: The result in canonical form when `status` is OK (`tasks.sandbox.literals`), else None.
        error: One line for people when `status` is not OK, else None. Partly the program's own words.
        cpu_ms: CPU time in milliseconds of the process that ran this call, the calls before it included.
    """

    status: CallStatus
    literal: str | None
    error: str | None
    cpu_ms: int

    @property
    def outcome(self) -> CallStatus:
        """`status`, by the name that older packs read it by."""
        return self.status


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What stands between a program and the machine.

    Attributes:
        backend: One of `tasks.sandbox.config.BACKENDS`.
        python: Version of the interpreter that runs the programs.
        seccomp: Whether a system call filter is active. None: the backend uses none of this machine.
        landlock: ABI version of the Landlock domain, 0 without one. None: as above.
        uid: User that programs run as; None if unknown.
        selftest: Attack -> whether it was stopped; empty where none was made.
    """

    backend: str
    python: str
    seccomp: bool | None = None
    landlock: int | None = None
    uid: int | None = None
    selftest: dict[str, bool] = field(default_factory=dict)

    @property
    def unsafe(self) -> bool:
        """Whether programs run with this process's rights, because `sandbox.allow_unsafe` asked for it."""
        return self.seccomp is False

    def summary(self) -> str:
        """One line for logs."""
        seccomp = {True: "on", False: "off", None: "n/a"}[self.seccomp]
        landlock = {None: "n/a", 0: "off"}.get(self.landlock, f"abi{self.landlock}")
        return (
            f"{'UNSAFE ' if self.unsafe else ''}sandbox={self.backend} seccomp={seccomp} landlock={landlock} "
            f"uid={self.uid} python={self.python} selftest={sum(self.selftest.values())}/{len(self.selftest)}"
        )


class Sandbox(ABC):
    """Runs untrusted programs. All methods may be called from several threads at once."""

    _capabilities: Capabilities

    @abstractmethod
    def run(
        self, program: Program, inputs: Sequence[str], limits: Limits | None = None, *, hash_seed: int = 0
    ) -> list[Call]:
        """Call a program's function once for every input and wait for the results.

        The calls share a process where they can: what a program keeps in its globals, its next call sees.

        Args:
            program: The program.
            inputs: Argument lists as text, such as `"[1, 2], 'a'"`; literals only.
            limits: What each call may use; the default `Limits()` if not given.
            hash_seed: 0 or 1: in which of two interpreters with different hash seeds to run. A result that
                differs between the two is not deterministic.

        Returns:
            One call for every input, in their order.

        Raises:
            LiteralError: An input is no list of literals; nothing was run.
            RuntimeError: The sandbox is closed.
        """

    def capabilities(self) -> Capabilities:
        """What stands between a program and the machine, found out when the sandbox was opened."""
        return self._capabilities

    @abstractmethod
    def close(self) -> None:
        """End all processes. A second call does nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
