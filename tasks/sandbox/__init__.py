"""Run programs that a model wrote, on this machine behind kernel filters, in WebAssembly, or on a server.

`open_sandbox(SandboxConfig())` gives a `Sandbox`; docs/sandbox.md says what it guarantees and what not.
"""

from tasks.sandbox.contract import (
    Call,
    CallStatus,
    Capabilities,
    Limits,
    Program,
    Sandbox,
    SandboxConfig,
    SandboxUnavailable,
)
from tasks.sandbox.fork_server import ForkSandbox
from tasks.sandbox.http_client import HttpSandbox
from tasks.sandbox.literals import (
    LiteralError,
    equal,
    parse_arguments,
    parse_literal,
    render,
    render_arguments,
)
from tasks.sandbox.wasm_runtime import WasmSandbox

__all__ = [
    "Call", "CallStatus", "Capabilities", "Limits", "LiteralError", "Outcome", "Program", "Sandbox",
    "SandboxConfig", "SandboxUnavailable", "equal", "open_sandbox", "parse_arguments", "parse_literal",
    "render", "render_arguments",
]  # fmt: skip

Outcome = CallStatus
"""`CallStatus`, by the name that older packs import it by."""


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
