"""What a sandbox is and how it is configured: the types that its callers and its backends share.

A sandbox runs programs that a model wrote. What must be true of the answer (is it equal to the expected one,
is it deterministic) is decided by the caller, outside: expected values never enter a sandbox.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Self
from urllib.parse import urlsplit

BACKENDS = ("fork", "wasm", "http")
MAX_DEFAULT_ZYGOTES = 8
MAX_CONCURRENT = 1024
MAX_RESULT_BYTES = 65_536
"""Reading the sixteen results of a process, all as long as this, takes the trusted side about a second."""

NUM_HASH_SEEDS = 8
"""A choice between two that hangs on a set's order is the same under all of them once in 128 times."""

NUM_WASM_HASH_SEEDS = 2  # each is an image of 37 MB that takes half a minute to build
MAX_DEPTH = 100


class SandboxUnavailable(RuntimeError):
    """No sandbox can be opened as configured. The text says why and what to do."""


@dataclass(frozen=True, slots=True)
class SandboxConfig:
    """How to run untrusted programs; a key that holds what it cannot hold is a ValueError."""

    # "fork": processes of this machine behind kernel filters. "wasm": CPython compiled to WebAssembly, where
    # those filters are not to be had. "http": a SandboxFusion server.
    backend: str = "fork"
    # "fork" and "wasm": programs that run at once here; each may use one core. 0: one a core, 8 at most.
    num_zygotes: int = 0
    # "fork": go on without a system call filter where the kernel refuses one. For trusted programs only: they
    # run with the rights of this process.
    allow_unsafe: bool = False
    http_url: str | None = None  # "http", and required there: address of the server's `/run_code`
    http_max_concurrent: int = 64  # "http": requests in flight at once

    def __post_init__(self) -> None:
        if self.backend not in BACKENDS:
            raise ValueError(f"sandbox.backend must be one of {', '.join(BACKENDS)}; got {self.backend!r}")
        for key, smallest in (("num_zygotes", 0), ("http_max_concurrent", 1)):
            if type(count := getattr(self, key)) is not int or not smallest <= count <= MAX_CONCURRENT:
                raise ValueError(f"sandbox.{key} must be from {smallest} to {MAX_CONCURRENT}; got {count!r}")
        # A string from the environment, "false" say, would count as true.
        if not isinstance(self.allow_unsafe, bool):
            raise ValueError(f"sandbox.allow_unsafe must be true or false; got {self.allow_unsafe!r}")
        if self.num_zygotes and self.backend == "http":
            raise ValueError(
                "sandbox.num_zygotes is for programs on this machine; with sandbox.backend=http set "
                "sandbox.http_max_concurrent"
            )
        if self.allow_unsafe and self.backend != "fork":
            raise ValueError(
                "sandbox.allow_unsafe is for sandbox.backend=fork; "
                f"sandbox.backend={self.backend} asks this kernel for no filter"
            )
        if self.http_url and self.backend != "http":
            raise ValueError(f"sandbox.http_url is for sandbox.backend=http; the backend is {self.backend!r}")
        if self.backend == "http" and not _is_address(self.http_url or ""):
            raise ValueError(
                "sandbox.http_url must be the address of a server's /run_code, such as "
                f"http://127.0.0.1:8080/run_code; got {self.http_url!r}"
            )

    def count_zygotes(self) -> int:
        """How many programs run at once on this machine, the default worked out."""
        return self.num_zygotes or min(os.cpu_count() or 1, MAX_DEFAULT_ZYGOTES)

    def for_one_program(self) -> Self:
        """The same sandbox for one program at once, to try it out."""
        if self.backend == "http":
            return replace(self, http_max_concurrent=1)
        return replace(self, num_zygotes=1)

    def count_hash_seeds(self) -> int:
        """In how many interpreters with different hash seeds programs can run."""
        return NUM_WASM_HASH_SEEDS if self.backend == "wasm" else NUM_HASH_SEEDS

    def count_concurrent(self) -> int:
        """How many programs run at once, wherever they run: more callers than that would only wait."""
        return self.http_max_concurrent if self.backend == "http" else self.count_zygotes()


def _is_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port or an IPv6 address that is none
        return False


class CallStatus(StrEnum):
    """What became of one call. All but BACKEND_ERROR are facts about the program."""

    OK = "ok"  # the function returned a value that can be written as a literal
    RAISED = "raised"  # an exception left the program, or it does not compile or has no such function
    TIMEOUT = "timeout"  # it used up its CPU time or its wall-clock time
    MEMORY = "memory"  # it asked for more memory than it may have, or than the machine had
    OUTPUT_LIMIT = "output-limit"  # the result, written out, is longer than allowed
    UNSUPPORTED_RESULT = "unsupported-result"  # no literal: another type, not finite, too deep, or cyclic
    VIOLATION = "violation"  # killed for what no honest program tries: a socket, a signal, another program
    CRASHED = "crashed"  # a signal or a WebAssembly trap ended it: a stack overflow in C, for one
    EXITED = "exited"  # it ended itself before it gave a result
    BACKEND_ERROR = "backend-error"  # the sandbox failed, twice; never make a reward of it


@dataclass(frozen=True, slots=True)
class Limits:
    """What one call may use.

    The inputs of one program share processes, so a process may run several calls; a call that dies in company
    is tried again on its own before it is judged. All processes of one `run` together get `JOB_BUDGET` times
    `cpu_s`; calls that are not reached by then are TIMEOUT. A limit outside its range is a ValueError.
    """

    cpu_s: float = 1.0  # CPU seconds: the limit that decides, as it does not depend on the machine's load
    wall_s: float = 4.0  # seconds by the clock, for a machine that gives it no time; at least `cpu_s`
    memory_mb: int = 512  # address space in MiB, or memory of the WebAssembly instance; at least 96
    result_bytes: int = 65_536  # longest result, written out as UTF-8
    depth: int = 40  # deepest nesting of a result

    def __post_init__(self) -> None:
        ranges = {
            "cpu_s": (0.01, 3600.0),
            "wall_s": (self.cpu_s, 4 * 3600.0),
            "memory_mb": (96, 1 << 20),
            "result_bytes": (64, MAX_RESULT_BYTES),
            "depth": (1, MAX_DEPTH),
        }
        for name, (low, high) in ranges.items():
            if not low <= (value := getattr(self, name)) <= high:
                raise ValueError(f"limits.{name} must be from {low:g} to {high:g}; got {value!r}")


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
    """What became of one program on one input."""

    status: CallStatus
    literal: str | None  # the result in canonical form (`tasks.sandbox.literals`) if OK, else None
    error: str | None  # one line for people if not OK, else None; partly the program's own words
    cpu_ms: int  # CPU time in ms of the process that ran this call, and others; "http": its time by the clock

    @property
    def outcome(self) -> CallStatus:
        """`status`, by the name that older packs read it by."""
        return self.status


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What stands between a program and the machine."""

    backend: str  # one of `BACKENDS`
    python: str  # version of the interpreter that runs the programs
    seccomp: bool | None = None  # whether a filter is active; None: the backend uses none of this machine
    landlock: int | None = None  # ABI version of the Landlock domain, 0 without one; None: as above
    uid: int | None = None  # user that programs run as; None if unknown
    selftest: dict[str, bool] = field(default_factory=dict)  # attack -> stopped; empty where none was made

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
            program: What to run.
            inputs: Argument lists as text, such as `"[1, 2], 'a'"`; literals only.
            limits: For each call; the default `Limits()` if not given.
            hash_seed: 0 to `NUM_HASH_SEEDS` - 1: in which of the interpreters with different hash seeds to
                run. A result that differs between two of them is not deterministic. The first two are always
                at hand, for every program that runs at once; the others are started at their first use, one
                of each. With "wasm" there are two in all.

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

    def __exit__(self, *_: object) -> None:
        self.close()
