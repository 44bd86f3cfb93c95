"""From configuration to an open sandbox."""

from __future__ import annotations

from tasks.sandbox.config import SandboxConfig
from tasks.sandbox.contract import Sandbox
from tasks.sandbox.fork_server import ForkSandbox
from tasks.sandbox.http_client import HttpSandbox
from tasks.sandbox.wasm_runtime import WasmSandbox


def open_sandbox(config: SandboxConfig) -> Sandbox:
    """Open the sandbox that `config` describes; the caller closes it.

    Raises:
        SandboxUnavailable: It cannot be had here. The text says why and what to do.
    """
    if config.backend == "http":
        assert config.http_url is not None
        return HttpSandbox(config.http_url, config.http_max_concurrent)
    if config.backend == "wasm":
        return WasmSandbox(config.count_zygotes())
    return ForkSandbox(config.count_zygotes(), allow_unsafe=config.allow_unsafe)
