"""The fork backend as a service: many callers, dying zygotes, limits that hold, nothing left behind."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest

from tasks.sandbox import CallStatus, Limits, LiteralError, Program, SandboxConfig, open_sandbox
from tasks.sandbox.fork_server import ForkSandbox

Start = Callable[..., ForkSandbox]
SQUARE = Program("def f(x): return x * x")
LIMITS = Limits(cpu_s=0.3, wall_s=20.0)


def busy(seconds: float) -> Program:
    return Program(
        f"import time\ndef f(x):\n end = time.process_time() + {seconds}\n"
        " while time.process_time() < end: pass\n return x"
    )


def test_open_sandbox_gives_what_the_configuration_says() -> None:
    with open_sandbox(SandboxConfig(num_zygotes=1)) as sandbox:
        found = sandbox.capabilities()
        assert found.backend == "fork"
        assert found.seccomp is True
        assert not found.unsafe
        assert found.selftest == dict.fromkeys(("open", "socket", "fork", "kill", "exec", "env"), True)
        assert [call.literal for call in sandbox.run(SQUARE, ["3", "-4", "1j"])] == ["9", "16", "(-1+0j)"]


def test_calls_of_one_run_share_globals_and_runs_do_not(start_sandbox: Start) -> None:
    counter = Program("n = 0\ndef f():\n global n\n n += 1\n return n")
    with start_sandbox() as sandbox:
        for _ in range(2):
            assert [call.literal for call in sandbox.run(counter, ["", "", ""])] == ["1", "2", "3"]


def test_a_call_that_dies_spares_the_others(start_sandbox: Start) -> None:
    program = Program("def f(x):\n while x == 2: pass\n return x")
    with start_sandbox() as sandbox:
        calls = sandbox.run(program, ["1", "2", "3"], LIMITS)
        assert [call.literal for call in calls] == ["1", None, "3"]
        assert calls[1].status is CallStatus.TIMEOUT
        assert calls[0].cpu_ms <= 300 <= calls[1].cpu_ms


def test_each_call_has_its_own_cpu_time_even_if_all_together_have_more(start_sandbox: Start) -> None:
    with start_sandbox() as sandbox:
        calls = sandbox.run(busy(0.1), [str(number) for number in range(6)], LIMITS)
        assert [call.literal for call in calls] == [str(number) for number in range(6)]


def test_what_programs_need_is_loaded(start_sandbox: Start) -> None:
    source = (
        "import datetime, decimal, heapq, json, re, statistics, string, typing, unicodedata\n"
        "from collections import Counter, deque\nfrom dataclasses import dataclass\nfrom enum import Enum\n"
        "from functools import lru_cache\nfrom itertools import permutations\n"
        "@dataclass(order=True)\nclass P:\n    x: int\n    y: 'int' = 2\n"
        "class C(Enum):\n    A = 1\n"
        "def f(x):\n"
        "    day = datetime.datetime.strptime('2024-02-29', '%Y-%m-%d').strftime('%A')\n"
        "    codes = ['x'.encode(c) for c in ('utf-16', 'latin-1', 'ascii', 'utf-32', 'cp1252')]\n"
        "    return (day, b'x'.hex(), sorted([P(2), P(1)])[0].x, C.A.name, len(codes),\n"
        "            statistics.median([1, 2, 3]), unicodedata.name('a'), json.loads('[1]'), "
        "str(decimal.Decimal('1.5')))"
    )
    with start_sandbox() as sandbox:
        (call,) = sandbox.run(Program(source), ["1"])
    assert call.literal == ("('Thursday', '78', 1, 'A', 5, 2, 'LATIN SMALL LETTER A', [1], '1.5')")


def test_a_loop_holds_one_slot_only(start_sandbox: Start) -> None:
    """While one slot runs to its CPU limit, the other one answers one program after the other."""
    loop = Program("def f(x):\n while True: pass")
    with start_sandbox(2) as sandbox, ThreadPoolExecutor(1) as pool:
        pending = pool.submit(sandbox.run, loop, ["1"], Limits(cpu_s=1.0, wall_s=20.0))
        answered = 0
        while not pending.done():
            assert sandbox.run(SQUARE, ["3"])[0].literal == "9"
            answered += 1
        assert pending.result()[0].status is CallStatus.TIMEOUT
    assert answered >= 20


def test_many_threads_get_their_own_answers(start_sandbox: Start) -> None:
    with start_sandbox(2) as sandbox, ThreadPoolExecutor(8) as pool:
        pending = [pool.submit(sandbox.run, SQUARE, [str(n), str(n + 1)], hash_seed=n % 2) for n in range(60)]
        for n, calls in enumerate(future.result() for future in pending):
            assert [call.literal for call in calls] == [str(n * n), str((n + 1) ** 2)]


@pytest.mark.slow
@pytest.mark.parametrize("everyone", [False, True], ids=["one", "all"])
def test_killed_zygotes_cost_no_answer(start_sandbox: Start, everyone: bool) -> None:
    with start_sandbox(2) as sandbox, ThreadPoolExecutor(2) as pool:
        pending = [pool.submit(sandbox.run, busy(0.02), [str(n)], hash_seed=n % 2) for n in range(40)]
        for _ in range(3):
            time.sleep(0.15)
            pids = sandbox.worker_pids()
            for pid in pids if everyone else pids[:1]:
                os.kill(pid, signal.SIGKILL)
        results = [future.result(timeout=120) for future in pending]
        # A program whose second try was hit as well has no verdict; it is answered all the same.
        for n, calls in enumerate(results):
            assert len(calls) == 1
            assert calls[0].literal == str(n) or calls[0].status is CallStatus.BACKEND_ERROR
        assert sum(calls[0].literal is not None for calls in results) >= 30
        assert sandbox.run(SQUARE, ["5"])[0].literal == "25"


KILLS = {
    "killed": ("", signal.SIGKILL, CallStatus.BACKEND_ERROR),
    "terminated": ("", signal.SIGTERM, CallStatus.BACKEND_ERROR),
    "killed_with_much_memory": ("held = b'x' * (100 << 20)\n", signal.SIGKILL, CallStatus.MEMORY),
}


@pytest.mark.parametrize(("first", "kind", "status"), KILLS.values(), ids=KILLS.keys())
def test_a_death_from_outside_says_something_of_a_program_only_if_it_held_much_memory(
    start_sandbox: Start, first: str, kind: signal.Signals, status: CallStatus
) -> None:
    """It is killed in its second process too. Were it no verdict, a program could escape a bad one by it."""
    stop, kills = threading.Event(), 0
    with start_sandbox() as sandbox:

        def killer() -> None:
            nonlocal kills
            while not stop.wait(0.01):
                for pid in sandbox.worker_pids():
                    with contextlib.suppress(psutil.NoSuchProcess):  # gone, as it should be
                        for child in psutil.Process(pid).children():
                            if not first or child.memory_info().rss > 90 << 20:
                                child.send_signal(kind)
                                kills += 1

        thread = threading.Thread(target=killer)
        thread.start()
        try:
            (call,) = sandbox.run(Program(first + busy(2.0).source), ["1"], Limits(cpu_s=4.0, wall_s=60.0))
        finally:
            stop.set()
            thread.join()
        assert call.status is status, call
        assert kills >= 2
        assert sandbox.run(SQUARE, ["5"])[0].literal == "25"


def test_a_program_costs_little_cpu_time(start_sandbox: Start) -> None:
    """CPU time, not wall-clock time: the machine may be busy. 150 programs a second a core is the floor."""
    with start_sandbox() as sandbox:
        zygotes = [psutil.Process(pid) for pid in sandbox.worker_pids()]
        sandbox.run(SQUARE, ["1"])

        def spent_s() -> float:
            return time.process_time() + sum(sum(zygote.cpu_times()[:4]) for zygote in zygotes)

        before = spent_s()
        for number in range(150):
            sandbox.run(SQUARE, [str(number)])
        assert spent_s() - before < 1.0


def test_close_ends_everything_and_answers_who_waits(start_sandbox: Start) -> None:
    before = set(psutil.Process().children(recursive=True))
    sandbox = start_sandbox(1)
    with ThreadPoolExecutor(2) as pool:
        waiting = [
            pool.submit(sandbox.run, busy(30), ["1"], Limits(cpu_s=40.0, wall_s=40.0)) for _ in range(2)
        ]
        time.sleep(0.3)
        sandbox.close()
        sandbox.close()
        for future in waiting:
            with pytest.raises(RuntimeError, match="closed"):
                future.result(timeout=20)
    with pytest.raises(RuntimeError, match="closed"):
        sandbox.run(SQUARE, ["1"])
    assert set(psutil.Process().children(recursive=True)) <= before


def test_bad_input_runs_nothing(start_sandbox: Start) -> None:
    with start_sandbox() as sandbox:
        with pytest.raises(LiteralError, match=r"inputs\[0\]"):
            sandbox.run(SQUARE, ["print()", "1"])
        with pytest.raises(ValueError, match="hash_seed"):
            sandbox.run(SQUARE, ["1"], hash_seed=8)
        with pytest.raises(TypeError, match=r"inputs must be a sequence .* got the string '12'"):
            sandbox.run(SQUARE, "12")
        assert sandbox.run(SQUARE, []) == []


@pytest.mark.parametrize("error", [KeyboardInterrupt(), TimeoutError()], ids=["interrupted", "late"])
def test_next_program_does_not_get_the_ending_of_an_exchange_that_broke_off(
    start_sandbox: Start, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    sandbox = start_sandbox(1)

    def break_off(*args: object) -> None:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr("tasks.sandbox.fork_server._receive", break_off)
        if isinstance(error, KeyboardInterrupt):
            with pytest.raises(KeyboardInterrupt):
                sandbox.run(Program("def f(x): return 'old'"), ["1"])
        else:
            (call,) = sandbox.run(Program("def f(x): return 'old'"), ["1"])
            assert call.status is CallStatus.BACKEND_ERROR
            assert call.error == "a process failed: TimeoutError"
    (call,) = sandbox.run(busy(60), ["1"], LIMITS)
    assert call.status is CallStatus.TIMEOUT
