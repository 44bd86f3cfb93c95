"""Attacks by eating time, memory and output, and by breaking the interpreter. Each costs its limit, no more.

Run: pytest tests/tasks/sandbox/test_attacks_on_resources.py
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tasks.sandbox import Call, CallStatus

Strike = Callable[..., Call]
RAISED, MEMORY, CRASHED, EXITED = CallStatus.RAISED, CallStatus.MEMORY, CallStatus.CRASHED, CallStatus.EXITED
TIMEOUT, OUTPUT, UNSUPPORTED = CallStatus.TIMEOUT, CallStatus.OUTPUT_LIMIT, CallStatus.UNSUPPORTED_RESULT

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


def test_sleeping_ends_by_the_wall_clock(strike: Strike) -> None:
    call = strike("import time\ndef f(x): time.sleep(60)", TIMEOUT, wall_s=0.5)
    assert call.status is not TIMEOUT or "by the clock" in (call.error or "")


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
