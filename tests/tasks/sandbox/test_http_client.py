"""The http backend against servers that run programs, and against servers that do not.

The good server is that of `processes/code_server.py`.
"""

from __future__ import annotations

import json
import runpy
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tasks.sandbox import (
    CallStatus,
    Limits,
    LiteralError,
    Program,
    SandboxConfig,
    SandboxUnavailable,
    http_client,
    open_sandbox,
)

SERVER = runpy.run_path(str(Path(__file__).with_name("processes") / "code_server.py"))
run_code, good, serve = SERVER["run_code"], SERVER["good"], SERVER["serve"]
SQUARE = Program("def f(x): return x * x")
LIMITS = Limits(cpu_s=0.3, wall_s=5.0)
Answer = Callable[[dict[str, Any]], "tuple[int, bytes]"]


def config(url: str, **given: Any) -> SandboxConfig:
    return SandboxConfig(backend="http", http_url=url, **given)


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_client, "PAUSES_S", (0.0, 0.0))
    monkeypatch.setattr(http_client, "MARGIN_S", 1.0)


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with serve(good) as address:
        yield address


def test_programs_run_and_say_where(url: str) -> None:
    with open_sandbox(config(url)) as sandbox:
        assert sandbox.capabilities().summary().startswith("sandbox=http seccomp=n/a landlock=n/a")
        assert [call.literal for call in sandbox.run(SQUARE, ["3", "1j", "True"])] == ["9", "(-1+0j)", "1"]
        with pytest.raises(LiteralError):
            sandbox.run(SQUARE, ["print()"])
        with pytest.raises(ValueError, match=r"limits\.result_bytes"):
            sandbox.run(SQUARE, ["1"], Limits(result_bytes=100_000))
    with pytest.raises(RuntimeError, match="closed"):
        sandbox.run(SQUARE, ["1"])


def test_the_command_uses_it(url: str) -> None:
    argv = [sys.executable, "-m", "tasks.sandbox", "--backend", "http", "--http-url", url]
    done = subprocess.run(argv, capture_output=True, text=True, cwd=Path(__file__).parents[3])
    assert done.stdout.startswith("sandbox=http"), done.stderr


ENDINGS = {
    "sleep": ("import time\ndef f(x): time.sleep(60)", CallStatus.TIMEOUT),
    "exit": ("import os\ndef f(x): os._exit(3)", CallStatus.EXITED),
    "quiet_exit": ("import os\ndef f(x): os._exit(0)", CallStatus.EXITED),
    "crash": ("import os\ndef f(x): os.abort()", CallStatus.CRASHED),
    "loop_with_the_timer_ignored": (
        "import signal\nsignal.signal(signal.SIGPROF, signal.SIG_IGN)\ndef f(x):\n while True: pass",
        CallStatus.TIMEOUT,
    ),
    "work_with_the_timer_ignored": (
        "import signal, time\nfor kind in (signal.SIGPROF, signal.SIGXCPU):\n"
        " signal.signal(kind, signal.SIG_IGN)\n signal.pthread_sigmask(signal.SIG_BLOCK, [kind])\n"
        "def f(x):\n while time.process_time() < 0.6: pass",
        CallStatus.TIMEOUT,
    ),
}


@pytest.mark.parametrize(("source", "status"), ENDINGS.values(), ids=ENDINGS.keys())
def test_what_a_server_lets_programs_do_ends_as_it_says(url: str, source: str, status: CallStatus) -> None:
    with open_sandbox(config(url)) as sandbox:
        wall_s = 20.0 if source.startswith("import signal, time") else 1.5
        (call,) = sandbox.run(Program(source), ["1"], Limits(cpu_s=0.3, wall_s=wall_s))
        assert call.status is status, call


NO_TIMES = [None, "1", float("nan"), float("inf"), float("-inf"), -1.0, 1e308, 10**400]


@pytest.mark.parametrize("seconds", NO_TIMES, ids=[str(seconds)[:8] for seconds in NO_TIMES])
def test_a_time_that_is_none_costs_no_answer(seconds: object) -> None:
    def answer(request: dict[str, Any]) -> tuple[int, bytes]:
        account = run_code(request)
        account["run_result"]["execution_time"] = seconds
        return 200, json.dumps(account).encode()

    with serve(answer) as address, open_sandbox(config(address)) as sandbox:
        (call,) = sandbox.run(SQUARE, ["3"], LIMITS)
    assert call.literal == "9"
    assert 0 <= call.cpu_ms <= 300


def test_a_server_that_cannot_start_our_harness_says_why() -> None:
    def answer(request: dict[str, Any]) -> tuple[int, bytes]:
        return good({**request, "code": "raise MemoryError('no room')"})

    with (
        serve(answer) as address,
        pytest.raises(SandboxUnavailable, match="did not start on the server: MemoryError: no room"),
    ):
        open_sandbox(config(address))


def test_results_that_exceed_one_answer_are_asked_for_again(url: str) -> None:
    program = Program("def f(x): return '\"' * 30000 + str(x)")
    with open_sandbox(config(url)) as sandbox:
        calls = sandbox.run(program, [str(n) for n in range(10)], Limits(wall_s=10.0))
    assert [(call.literal or "")[-3:] for call in calls] == [f"\"{n}'" for n in range(10)]


def test_requests_in_flight_are_capped(url: str) -> None:
    most, now, lock = 0, 0, threading.Lock()

    def counting(request: dict[str, Any]) -> tuple[int, bytes]:
        nonlocal most, now
        with lock:
            now += 1
            most = max(most, now)
        try:
            return good(request)
        finally:
            with lock:
                now -= 1

    with (
        serve(counting) as address,
        open_sandbox(config(address, http_max_concurrent=2)) as sandbox,
        ThreadPoolExecutor(6) as pool,
    ):
        waiting = [pool.submit(sandbox.run, SQUARE, [str(n)]) for n in range(8)]
        assert [future.result()[0].literal for future in waiting] == [str(n * n) for n in range(8)]
    assert most == 2


BAD_ANSWERS: dict[str, Answer] = {
    "gateway_timeout": lambda request: (504, b"{}"),
    "no_json": lambda request: (200, b"<html>"),
    "no_object": lambda request: (200, b"[]"),
    "sandbox_error": lambda request: (
        200,
        json.dumps({**run_code(request), "status": "SandboxError"}).encode(),
    ),
    "no_run": lambda request: (200, b'{"status": "Success", "run_result": null}'),
    "unknown_status": lambda request: (
        200,
        b'{"status": "Success", "run_result": {"status": "Odd", "return_code": 0, "stdout": ""}}',
    ),
    "nothing_ran": lambda request: (
        200,
        b'{"status": "Success", "run_result": {"status": "Finished", "return_code": 0, "stdout": "hello"}}',
    ),
}


def stall(request: dict[str, Any]) -> tuple[int, bytes]:
    time.sleep(3.0)
    return 200, b"{}"


@pytest.mark.parametrize(
    "bad",
    [*BAD_ANSWERS.values(), stall],
    ids=[*BAD_ANSWERS, "stall"],
)
def test_a_failing_server_is_never_a_verdict(bad: Answer) -> None:
    answers: list[Answer] = [good]

    def answer(request: dict[str, Any]) -> tuple[int, bytes]:
        return answers[-1](request)

    with serve(answer) as address, open_sandbox(config(address)) as sandbox:
        answers.append(bad)
        (call,) = sandbox.run(SQUARE, ["3"], Limits(cpu_s=0.3, wall_s=0.5))
        assert call.status is CallStatus.BACKEND_ERROR, call
        answers.append(good)
        assert sandbox.run(SQUARE, ["3"], LIMITS)[0].literal == "9"


def test_a_request_is_tried_again() -> None:
    failures = [504, 504]

    def answer(request: dict[str, Any]) -> tuple[int, bytes]:
        return (failures.pop(), b"") if failures else good(request)

    with serve(answer) as address, open_sandbox(config(address)) as sandbox:
        assert sandbox.run(SQUARE, ["3"], LIMITS)[0].literal == "9"


def test_a_server_that_is_not_there_is_an_error_at_once() -> None:
    with pytest.raises(
        SandboxUnavailable, match=r"^the server at http://127\.0\.0\.1:1/run_code does not run"
    ):
        open_sandbox(config("http://127.0.0.1:1/run_code"))
