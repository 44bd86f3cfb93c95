"""Configuration of the sandbox: the keys under `sandbox.` and what they may hold."""

from __future__ import annotations

import os
from dataclasses import dataclass
from urllib.parse import urlsplit

BACKENDS = ("fork", "wasm", "http")
MAX_DEFAULT_ZYGOTES = 8
MAX_CONCURRENT = 1024


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
        _check_count("num_zygotes", self.num_zygotes, 0)
        _check_count("http_max_concurrent", self.http_max_concurrent, 1)
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

    def count_concurrent(self) -> int:
        """How many programs run at once, wherever they run: more callers than that would only wait."""
        return self.http_max_concurrent if self.backend == "http" else self.count_zygotes()


def _check_count(key: str, value: object, smallest: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not smallest <= value <= MAX_CONCURRENT:
        raise ValueError(f"sandbox.{key} must be from {smallest} to {MAX_CONCURRENT}; got {value!r}")


def _is_address(url: str) -> bool:
    parts = urlsplit(url)
    try:
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is none
        return False
