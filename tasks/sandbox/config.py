"""Configuration of the sandbox: the keys under `sandbox.` and what they may hold."""

from __future__ import annotations

import os
from dataclasses import dataclass
from urllib.parse import urlsplit

BACKENDS = ("fork", "wasm", "http")
MAX_DEFAULT_ZYGOTES = 8


@dataclass(frozen=True, slots=True)
class SandboxConfig:
    """How to run untrusted programs.

    Attributes:
        backend: "fork": processes of this machine behind kernel filters. "wasm": CPython compiled to
            WebAssembly, where those filters are not to be had. "http": a SandboxFusion server.
        num_zygotes: Programs that run at once on this machine; each may use one core. 0: one a core, 8 at
            most. For "fork" and "wasm".
        allow_unsafe: Go on without a system call filter where the kernel refuses one. For trusted programs
            only: they run with the rights of this process. For "fork" only.
        http_url: Address of the server's `/run_code`. For "http" only, and required there.
        http_max_concurrent: Requests in flight at once. For "http" only.

    Raises:
        ValueError: A key holds what it cannot hold.
    """

    backend: str = "fork"
    num_zygotes: int = 0
    allow_unsafe: bool = False
    http_url: str | None = None
    http_max_concurrent: int = 64

    def __post_init__(self) -> None:
        """Check every key."""
        if self.backend not in BACKENDS:
            raise ValueError(f"sandbox.backend must be one of {', '.join(BACKENDS)}; got {self.backend!r}")
        if not 0 <= self.num_zygotes <= 1024:
            raise ValueError(f"sandbox.num_zygotes must be from 0 to 1024; got {self.num_zygotes!r}")
        if not 1 <= self.http_max_concurrent <= 1024:
            raise ValueError(
                f"sandbox.http_max_concurrent must be from 1 to 1024; got {self.http_max_concurrent!r}"
            )
        if self.allow_unsafe and self.backend != "fork":
            raise ValueError(
                "sandbox.allow_unsafe is for sandbox.backend=fork; "
                f"sandbox.backend={self.backend} asks this kernel for no filter"
            )
        if self.backend == "http":
            self._check_http()
        elif self.http_url:
            raise ValueError(f"sandbox.http_url is for sandbox.backend=http; the backend is {self.backend!r}")

    def _check_http(self) -> None:
        parts = urlsplit(self.http_url or "")
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(
                "sandbox.http_url must be the address of a server's /run_code, such as "
                f"http://127.0.0.1:8080/run_code; got {self.http_url!r}"
            )

    def count_zygotes(self) -> int:
        """How many programs run at once on this machine, the default worked out."""
        return self.num_zygotes or min(os.cpu_count() or 1, MAX_DEFAULT_ZYGOTES)
