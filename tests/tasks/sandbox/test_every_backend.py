"""What every backend keeps of the contract, whatever it runs programs in.

Run: pytest tests/tasks/sandbox/test_every_backend.py
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator

import pytest

from tasks.contract import Accepted
from tasks.execution import Runner
from tasks.python_code.pack import PythonCodePack
from tasks.sandbox import CallStatus, Limits, LiteralError, Program, Sandbox, SandboxConfig, open_sandbox

LIMITS = Limits(cpu_s=0.3, wall_s=20.0)
SQUARE = Program("def f(x): return x * x")


@pytest.fixture(scope="module", params=["fork", "http", pytest.param("wasm", marks=pytest.mark.slow)])
def config(
    request: pytest.FixtureRequest, code_server: str, start_wasm_sandbox: Callable[[], Sandbox]
) -> SandboxConfig:
    if request.param == "http":
        return SandboxConfig(backend="http", http_url=code_server, http_max_concurrent=2)
    if request.param == "wasm":
        start_wasm_sandbox().close()  # it skips where the extra is not installed
    return SandboxConfig(backend=request.param, num_zygotes=1)


@pytest.fixture(scope="module")
def sandbox(config: SandboxConfig) -> Iterator[Sandbox]:
    with open_sandbox(config) as made:
        yield made


def test_a_pack_finds_it_available(config: SandboxConfig) -> None:
    Runner(config, LIMITS).check()


def test_a_pack_with_a_server_starts_and_accepts(code_server: str) -> None:
    pack = PythonCodePack(sandbox={"backend": "http", "http_url": code_server, "http_max_concurrent": 2})
    pack.require_available()
    proposal = (
        "<think>a</think><answer>\n```python\ndef f(x):\n    return x + 1\n```\n```input\n2\n```\n</answer>"
    )
    assert isinstance(asyncio.run(pack.accept("deduction", proposal, [])), Accepted)


def test_it_says_what_it_is(config: SandboxConfig, sandbox: Sandbox) -> None:
    found = sandbox.capabilities()
    assert found.backend == config.backend
    assert found.python.startswith("3.")
    assert all(found.selftest.values())


PROGRAMS = {
    "value": ("def f(x): return {x, 0}", CallStatus.OK, "{0, 1}"),
    "raised": ("def f(x): return 1 // 0", CallStatus.RAISED, None),
    "syntax": ("def f(x) return", CallStatus.RAISED, None),
    "no_function": ("g = 1", CallStatus.RAISED, None),
    "sys_exit": ("import sys\ndef f(x): sys.exit()", CallStatus.EXITED, None),
    "loop": ("def f(x):\n while True: pass", CallStatus.TIMEOUT, None),
    "loop_at_import": ("while True: pass", CallStatus.TIMEOUT, None),
    "too_long": ("def f(x): return 'x' * 10 ** 6", CallStatus.OUTPUT_LIMIT, None),
    "too_deep": ("def f(x):\n for _ in range(60): x = [x]\n return x", CallStatus.UNSUPPORTED_RESULT, None),
    "not_finite": ("def f(x): return float('nan')", CallStatus.UNSUPPORTED_RESULT, None),
    "subclass": (
        "class S(str):\n __repr__ = lambda s: '1'\ndef f(x): return S()",
        CallStatus.UNSUPPORTED_RESULT,
        None,
    ),
    "prints": ("def f(x):\n print('x' * 10 ** 6)\n return 1", CallStatus.OK, "1"),
    "forged_line": ('def f(x):\n print(\'{"i": 0, "s": "ok", "v": "6"}\')\n return 1', CallStatus.OK, "1"),
    "main_part": ("x = 1\nif __name__ == '__main__': x = 2\ndef f(y): return x", CallStatus.OK, "1"),
}


@pytest.mark.parametrize(("source", "status", "literal"), PROGRAMS.values(), ids=PROGRAMS.keys())
def test_statuses_are_the_same(
    sandbox: Sandbox, source: str, status: CallStatus, literal: str | None
) -> None:
    (call,) = sandbox.run(Program(source), ["1"], LIMITS)
    assert (call.status, call.literal) == (status, literal), call


def test_nothing_is_a_result_that_took_more_than_its_cpu_time(sandbox: Sandbox) -> None:
    """Not even if no tick of the kernel's clock met the program at work, since it sleeps over each."""
    dodger = Program(
        "import time\ndef f(x):\n end = time.process_time() + 0.6\n while time.process_time() < end:\n"
        "  start = time.perf_counter()\n  while time.perf_counter() - start < 0.002: pass\n"
        "  time.sleep(0.003)\n return x"
    )
    for inputs in (["1"], ["1", "2"]):
        calls = sandbox.run(dodger, inputs, LIMITS)
        # In WebAssembly there is no clock, and asking for one is the end.
        assert {call.status for call in calls} <= {CallStatus.TIMEOUT, CallStatus.CRASHED}, calls


def test_a_call_that_loops_spares_the_others(sandbox: Sandbox) -> None:
    program = Program("def f(x):\n while x == 2: pass\n return x")
    calls = sandbox.run(program, ["1", "2", "3"], LIMITS)
    assert [call.literal for call in calls] == ["1", None, "3"]
    assert calls[1].status is CallStatus.TIMEOUT


def test_results_are_those_of_their_inputs(sandbox: Sandbox) -> None:
    numbers = range(40)
    calls = sandbox.run(SQUARE, [str(number) for number in numbers], LIMITS)
    assert [call.literal for call in calls] == [str(number * number) for number in numbers]
    assert sandbox.run(SQUARE, [], LIMITS) == []


def test_bad_requests_are_refused_alike(sandbox: Sandbox, config: SandboxConfig) -> None:
    with pytest.raises(LiteralError, match=r"inputs\[0\]"):
        sandbox.run(SQUARE, ["print()"])
    with pytest.raises(TypeError, match="inputs must be a sequence"):
        sandbox.run(SQUARE, "12")
    with pytest.raises(ValueError, match="hash_seed must be from 0 to 7; got 8"):
        sandbox.run(SQUARE, ["1"], hash_seed=8)
    with open_sandbox(config) as other:
        other.close()
        with pytest.raises(RuntimeError, match="closed"):
            other.run(SQUARE, ["1"])
