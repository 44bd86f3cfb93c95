"""Attacks by eating time, memory and output, and by breaking the interpreter. Each costs its limit, no more.

Run: pytest tests/tasks/sandbox/test_attacks_on_resources.py
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tasks.sandbox import Call, CallStatus, Limits, Program, Sandbox
from tasks.sandbox.wasm_runtime import WasmSandbox

Strike = Callable[..., Call]
RAISED, MEMORY, CRASHED, EXITED = CallStatus.RAISED, CallStatus.MEMORY, CallStatus.CRASHED, CallStatus.EXITED
TIMEOUT, OUTPUT, UNSUPPORTED = CallStatus.TIMEOUT, CallStatus.OUTPUT_LIMIT, CallStatus.UNSUPPORTED_RESULT
OK = CallStatus.OK

ENDLESS = {
    "loop": "def f(x):\n while True: pass",
    "loop_that_catches_all": "def f(x):\n while True:\n  try:\n   while True: pass\n"
    "  except BaseException: pass",
    "loop_at_import": "while True: pass\ndef f(x): return 1",
    "regular_expression": "import re\ndef f(x): return re.match('(a+)+$', 'a' * 40 + 'b') is None",
    "in_c": "def f(x): return sum(range(10 ** 12))",
    "big_power": "def f(x): return len(str(3 ** (10 ** 8) % 10)) ",
    "in_exception_text": "class E(Exception):\n def __str__(self):\n  while True: pass\ndef f(x): raise E()",
    "in_finalizer": "class D:\n def __del__(self):\n  while True: pass\ndef f(x): D()",
    "in_finally": "def f(x):\n try: return 1\n finally:\n  while True: pass",
    "shared_branches": "def f(x):\n x = [1]\n for _ in range(38): x = [x, x]\n return x",
    "page_faults": "def f(x):\n c = find('ctypes'); m = libc(); m.mmap.restype = c.c_void_p\n"
    " while True: m.munmap(c.c_void_p(m.mmap(0, 1 << 26, 3, 0x8022, -1, 0)), c.c_size_t(1 << 26))",
    "memory_given_back": "def f(x):\n while True: bytes(10 ** 8).strip()",
    "standard_input": "def f(x):\n os = find('os')\n while True: os.read(0, 65536)",
    "audit_hook": "def f(x):\n sys.addaudithook(lambda *_: [0 for _ in iter(int, 1)])\n return eval('[1]')",
    "profile_of_the_harness": "def f(x):\n def g(*_):\n  while True: pass\n sys.setprofile(g)",
    "generator_that_never_ends": "def f(x): return next(g())\n"
    "def g():\n try: yield 1\n finally:\n  while True: pass",
    "digits": "from decimal import *\ndef f(x):\n getcontext().prec = 10 ** 7\n return Decimal(2).sqrt()",
    "prints": "def f(x):\n while True: print('x' * 10000)",
    "prints_to_stderr": "def f(x):\n import sys\n while True: sys.stderr.write('x' * 10000)",
}


# One of them stands for all in the fast tests.
@pytest.mark.parametrize(
    "source",
    [
        pytest.param(ENDLESS[name], id=name, marks=[pytest.mark.slow] if name != "in_finally" else [])
        for name in ENDLESS
    ],
)
def test_an_endless_program_ends(strike: Strike, source: str) -> None:
    strike(source, TIMEOUT)


# Ways to be off the processor when the kernel's clock ticks, which is when its timers look at a process.
DODGES = {
    "sleep": "time.sleep(0.003)",
    "lock": "lock.acquire(timeout=0.003)",
    "event": "threading.Event().wait(0.003)",
    "sleep_by_libc": "libc().usleep(3000)",
    "old_sleep_by_number": "libc().syscall(35, b'\\0' * 8 + b'\\x40\\x42\\x0f' + b'\\0' * 5, 0)",
    "poll": "libc().poll(0, 0, 3)",
    "yield": "libc().sched_yield()",
    "futex": "libc().syscall(202, id(None), 0, 1, b'\\0' * 8 + b'\\x40\\x42\\x0f' + b'\\0' * 5, 0, 0)",
}


@pytest.mark.parametrize(
    "wait",
    [
        pytest.param(
            DODGES[name], id=name, marks=[pytest.mark.slow] if name not in ("sleep", "futex") else []
        )
        for name in DODGES
    ],
)
def test_work_between_ticks_counts(strike: Strike, wait: str) -> None:
    call = strike(
        "import threading, time\nlock = threading.Lock()\nlock.acquire()\ndef f(x):\n"
        " end = time.process_time() + 0.9\n while time.process_time() < end:\n"
        "  start = time.perf_counter()\n  while time.perf_counter() - start < 0.002: pass\n"
        f"  try: {wait}\n  except (ImportError, OSError): pass\n return x",
        TIMEOUT,
    )
    assert call.status is not TIMEOUT or "of CPU time" in (call.error or "")


WAITS = {
    "sleep": ("import time\ndef f(x): time.sleep(60)", {OK}),
    "lock_with_timeout": (
        "import threading\ndef f(x):\n lock = threading.Lock()\n lock.acquire()\n"
        " return lock.acquire(timeout=60)",
        {TIMEOUT},
    ),
    "deadlock": (
        "import threading\ndef f(x):\n lock = threading.Lock()\n lock.acquire()\n lock.acquire()",
        {TIMEOUT},
    ),
    "empty_queue": ("import queue\ndef f(x): return queue.Queue().get(timeout=60)", {TIMEOUT}),
    "condition": (
        "import threading\ndef f(x):\n with (c := threading.Condition()): return c.wait(60)",
        {TIMEOUT},
    ),
    "sleep_by_libc": ("def f(x): return libc().sleep(60)", {OK}),
    "pause": ("def f(x): return libc().pause()", {OK}),
    "signal": ("def f(x): return libc().sigsuspend(b'\\0' * 128)", {OK}),
    "poll": ("def f(x): return libc().poll(0, 0, 60000)", {OK}),
    "select": ("def f(x): return find('select').select([], [], [], 60)", {RAISED}),
    "own_socket": ("def f(x): return find('os').read(3, 9)", {OK}),
    "own_socket_as_a_socket": ("def f(x): return find('_socket').socket(-1, -1, -1, 3).recv(9)", {RAISED}),
    "standard_input": ("def f(x): return find('os').read(0, 9)", {OK}),
    "other_processes": ("def f(x): return find('os').wait()", {RAISED}),
    "other_thread": ("def f(x): return libc().vfork()", {OK}),
    "end_of_its_only_thread": ("def f(x): return libc().syscall(60, 0)", {EXITED}),
}


@pytest.mark.parametrize(("source", "statuses"), WAITS.values(), ids=WAITS.keys())
def test_no_wait_holds_a_slot(strike: Strike, source: str, statuses: set[CallStatus]) -> None:
    """What does not return at once ends by its CPU time, long before its time by the clock."""
    call = strike(source, *statuses, wall_s=60.0)
    assert call.status is not TIMEOUT or "of CPU time" in (call.error or "")


def test_sleepers_take_no_time_together(sandbox: Sandbox) -> None:
    """Sixteen calls that sleep for a minute each, where one run may take eight seconds by the clock."""
    if isinstance(sandbox, WasmSandbox):
        pytest.skip("no clock there")
    program = Program("import time\ndef f(x): return time.sleep(60)")
    calls = sandbox.run(program, [str(number) for number in range(16)], Limits(cpu_s=1.0, wall_s=2.0))
    assert [call.literal for call in calls] == ["None"] * 16


GREEDY = {
    "list": "def f(x): return len([0] * 10 ** 10)",
    "growing": "def f(x):\n items = []\n while True: items.append(bytes(10 ** 7))",
    "doubling_string": "def f(x):\n s = 'x'\n while True: s += s",
    "range_to_list": "def f(x): return len(list(range(10 ** 9)))",
    "repeated_catching": "def f(x):\n items = []\n for _ in range(300):\n"
    "  try: items.append(bytes(10 ** 7))\n"
    "  except MemoryError: pass\n return bytes(10 ** 9)",
    "by_libc": "def f(x):\n if libc().mmap(0, 1 << 34, 3, 34, -1, 0) == -1: raise MemoryError",
    "at_import": "items = [0] * 10 ** 10\ndef f(x): return 1",
}


@pytest.mark.parametrize("source", GREEDY.values(), ids=GREEDY.keys())
def test_memory_is_bounded(strike: Strike, source: str) -> None:
    strike(source, MEMORY, TIMEOUT, cpu_s=1.0)


RESULTS = {
    "long_string": ("def f(x): return 'x' * 10 ** 6", {OUTPUT}),
    "many_items": ("def f(x): return list(range(10 ** 5))", {OUTPUT}),
    "wide_characters": ("def f(x): return '\\U0001f600' * 30000", {OUTPUT}),
    "flood_of_the_private_socket": (
        "def f(x):\n os = find('os')\n while True: os.write(3, b'x' * 65536)",
        {OUTPUT, RAISED, TIMEOUT},
    ),
    "too_deep": ("def f(x):\n v = []\n for _ in range(60): v = [v]\n return v", {UNSUPPORTED}),
    "much_too_deep": ("def f(x):\n v = ()\n for _ in range(10 ** 5): v = (v,)\n return v", {UNSUPPORTED}),
    "contains_itself": ("def f(x):\n v = []\n v.append(v)\n return v", {UNSUPPORTED}),
    "long_integer": ("def f(x): return 10 ** 5000", {UNSUPPORTED}),
    "longer_integer": ("def f(x):\n sys.set_int_max_str_digits(0)\n return 10 ** 20000", {UNSUPPORTED}),
    "endless_generator": ("def f(x):\n while True: yield x", {UNSUPPORTED}),
    "long_error": ("def f(x): raise ValueError('x' * 10 ** 6)", {RAISED}),
    "error_of_odd_characters": ("def f(x): raise ValueError('\\ud800\\n\\x00\\x1b[2J' * 10)", {RAISED}),
}


@pytest.mark.parametrize(("source", "outcomes"), RESULTS.values(), ids=RESULTS.keys())
def test_output_is_bounded(strike: Strike, source: str, outcomes: set[CallStatus]) -> None:
    strike(source, *outcomes)


BREAKING = {
    "null_pointer": ("def f(x): return libc().strlen(0)", {CRASHED}),
    "deep_recursion": ("def f(x): return f(x)", {RAISED}),
    "deeper_recursion": (
        "sys.setrecursionlimit(10 ** 9)\ndef f(x): return sorted([1, 2], key=lambda _: f(x))",
        {CRASHED, MEMORY},
    ),
    "broken_bytecode": (
        "def f(x):\n def g(): return 1\n"
        " g.__code__ = g.__code__.replace(co_code=bytes([100, 200, 83, 0] * 9), co_stacksize=1)\n return g()",
        set(CallStatus) - {CallStatus.BACKEND_ERROR},  # it reads stray memory, so anything may come of it
    ),
    "exit_now": ("def f(x): find('os')._exit(0)", {EXITED}),
    "exit_now_with_code": ("def f(x): find('os')._exit(121)", {EXITED}),
    "exit_at_import": ("find('os')._exit(0)\ndef f(x): return 1", {EXITED}),
    "sys_exit": ("def f(x): sys.exit()", {EXITED}),
    "keyboard_interrupt": ("def f(x): raise KeyboardInterrupt", {RAISED}),
    "own_base_exception": ("class E(BaseException): pass\ndef f(x): raise E", {RAISED}),
    "raising_text": ("class E(Exception):\n def __str__(self): raise E\ndef f(x): raise E", {RAISED}),
    "brackets": ("def f(x): return " + "(" * 50_000, {RAISED}),
    "deep_brackets": ("def f(x): return " + "[" * 150 + "]" * 150, {UNSUPPORTED}),
    "operators": ("def f(x): return " + "-" * 50_000 + "1", {RAISED, MEMORY}),
    "long_sum": ("def f(x): return " + "+".join("1" * 20_000), {RAISED, CallStatus.OK}),
    "null_byte": ("def f(x): return 1\0", {RAISED}),
    "surrogate": ("def f(x): return '\ud800'", {RAISED}),
    "no_function": ("g = 1", {RAISED}),
    "not_a_function": ("f = 1", {RAISED}),
    "wrong_arguments": ("def f(): return 1", {RAISED}),
    "no_python": ("```python\ndef f(x): return 1\n```", {RAISED}),
}


@pytest.mark.parametrize(("source", "outcomes"), BREAKING.values(), ids=BREAKING.keys())
def test_a_broken_program_is_data(strike: Strike, source: str, outcomes: set[CallStatus]) -> None:
    strike(source, *outcomes)
