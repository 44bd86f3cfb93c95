"""Look at the sandbox of this machine, or run one program in it.

python -m tasks.sandbox                               which layers are active, the self-test, and a program
python -m tasks.sandbox FILE --input '[1, 2], "a"'    call FILE's function, once for every --input
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tasks.sandbox import (
    CallStatus,
    Limits,
    Program,
    Sandbox,
    SandboxConfig,
    SandboxUnavailable,
    open_sandbox,
)
from tasks.sandbox.contract import BACKENDS, PROBE


def main() -> int:
    """Run the command; 0 if all went well, 1 if a call did not, 2 if there is no sandbox."""
    parser = argparse.ArgumentParser("python -m tasks.sandbox", description="Look at the sandbox, or use it.")
    parser.add_argument("file", nargs="?", type=Path, help="program to run; without one, show the layers")
    parser.add_argument("--input", action="append", dest="inputs", help="an argument list; may be repeated")
    parser.add_argument("--entry", default="f", help="function to call (default: f)")
    parser.add_argument("--cpu-s", type=float, default=1.0, help="CPU seconds a call (default: 1)")
    parser.add_argument("--memory-mb", type=int, default=512, help="address space in MiB (default: 512)")
    parser.add_argument("--backend", choices=BACKENDS, default="fork")
    parser.add_argument("--http-url", help="the server's /run_code, for --backend http")
    parser.add_argument("--allow-unsafe", action="store_true", help="go on without a system call filter")
    given = parser.parse_args()
    try:
        config = SandboxConfig(given.backend, allow_unsafe=given.allow_unsafe, http_url=given.http_url)
        limits = Limits(cpu_s=given.cpu_s, wall_s=4 * given.cpu_s, memory_mb=given.memory_mb)
        with open_sandbox(config.for_one_program()) as sandbox:
            if given.file is None:
                return _show(sandbox, limits)
            program = Program(given.file.read_text(encoding="utf-8"), given.entry)
            return _run(sandbox, program, given.inputs or [""], limits)
    except (SandboxUnavailable, ValueError, OSError) as error:
        print(error, file=sys.stderr)
        return 2


def _show(sandbox: Sandbox, limits: Limits) -> int:
    found = sandbox.capabilities()
    print(found.summary())
    for attack, stopped in found.selftest.items():
        print(f"  {attack:8s}{'stopped' if stopped else 'GOT THROUGH'}")
    # Where no program runs, every attack is stopped.
    (call,) = sandbox.run(PROBE, [""], limits)
    print(f"  program {'runs' if call.literal else call.error}")
    return 0 if call.literal and all(found.selftest.values()) else 1


def _run(sandbox: Sandbox, program: Program, inputs: list[str], limits: Limits) -> int:
    calls = sandbox.run(program, inputs, limits)
    for text, call in zip(inputs, calls, strict=True):
        said = call.literal if call.status is CallStatus.OK else f"{call.status}: {call.error}"
        print(f"{program.entry}({text}) -> {said}   [{call.cpu_ms} ms]")
    return 0 if all(call.status is CallStatus.OK for call in calls) else 1


if __name__ == "__main__":
    sys.exit(main())
