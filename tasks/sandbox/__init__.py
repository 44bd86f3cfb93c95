"""Run programs that a model wrote, on this machine behind kernel filters, in WebAssembly, or on a server.

`open_sandbox(SandboxConfig())` gives a `Sandbox`; docs/sandbox.md says what it guarantees and what not.
"""

from tasks.sandbox.config import SandboxConfig
from tasks.sandbox.contract import (
    Call,
    CallStatus,
    Capabilities,
    Job,
    Limits,
    Program,
    Sandbox,
    SandboxUnavailable,
)
from tasks.sandbox.literals import (
    LiteralError,
    equal,
    parse_arguments,
    parse_literal,
    render,
    render_arguments,
)
from tasks.sandbox.opening import open_sandbox

Outcome = CallStatus
"""`CallStatus`, by the name that older packs import it by."""

__all__ = [
    "Call",
    "CallStatus",
    "Capabilities",
    "Job",
    "Limits",
    "LiteralError",
    "Outcome",
    "Program",
    "Sandbox",
    "SandboxConfig",
    "SandboxUnavailable",
    "equal",
    "open_sandbox",
    "parse_arguments",
    "parse_literal",
    "render",
    "render_arguments",
]
