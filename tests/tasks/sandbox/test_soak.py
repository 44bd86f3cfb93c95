"""Twenty thousand programs, one in twenty hostile: nothing stays behind.

Run: pytest -m slow tests/tasks/sandbox/test_soak.py
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest

from tasks.sandbox import Call, CallStatus, Limits, Program
from tasks.sandbox.fork_server import ForkSandbox

HOSTILE = [
    "def f(x):\n while True: pass",
    "def f(x): return 'x' * 10 ** 6",
    "def f(x): return [0] * 10 ** 10",
    "def f(x):\n v = []\n while True: v.append(bytes(10 ** 7))",
    "import threading\ndef f(x): threading.Event().wait(9)",
    "import sys\nsys.exit(3)",
    "def f(x): return open('/etc/passwd')",
    "def f(x): " + "return " + "(" * 5000,
    "import sys\nsys.setrecursionlimit(10 ** 9)\ndef f(x): return sorted([1, 2], key=f)",
    "def f(x):\n for c in object.__subclasses__():\n  g = getattr(c.__init__, '__globals__', {})\n"
    "  if 'kill' in g: g['kill'](g['getppid'](), 9)",
    "def f(x):\n v = []\n v.append(v)\n return v",
    "def f(x): raise KeyboardInterrupt('x' * 10 ** 6)",
]
LIMITS = Limits(cpu_s=0.05, wall_s=0.5, memory_mb=128)
ORDINARY = Limits(cpu_s=2.0, wall_s=30.0)
NUM_PROGRAMS = 20_000


def shared_memory() -> set[str]:
    return {name for name in os.listdir("/dev/shm") if not name.startswith("pymp-")}


@pytest.mark.slow
def test_nothing_stays_behind(start_sandbox: Callable[..., ForkSandbox]) -> None:
    process = psutil.Process()
    before = {child.pid for child in process.children(recursive=True)}
    shared = shared_memory()
    rng = random.Random(0)
    with start_sandbox(2) as sandbox, ThreadPoolExecutor(2) as pool:

        def run(num_programs: int) -> None:
            """In portions, so that the programs themselves are not what memory is used for."""
            for start in range(0, num_programs, 200):
                numbers = range(start, start + 200)
                sources = [
                    rng.choice(HOSTILE) if n % 20 == 7 else f"def f(x): return [x + {n}] * 3" for n in numbers
                ]

                def run_one(n: int, source: str) -> list[Call]:
                    limits = LIMITS if n % 20 == 7 else ORDINARY
                    return sandbox.run(Program(source), ["1"], limits, hash_seed=n % 2)

                results = pool.map(run_one, numbers, sources)
                for n, source, (call,) in zip(numbers, sources, results, strict=True):
                    if n % 20 == 7:
                        assert call.status not in (CallStatus.OK, CallStatus.BACKEND_ERROR), (call, source)
                    else:
                        assert call.literal == str([1 + n] * 3), call

        run(1_000)
        memory, files = process.memory_info().rss, set(os.listdir("/proc/self/fd"))
        zygotes = sandbox.worker_pids()
        zygote_memory = {pid: psutil.Process(pid).memory_info().rss for pid in zygotes}
        run(NUM_PROGRAMS - 1_000)
        assert sandbox.worker_pids() == zygotes
        assert process.memory_info().rss - memory < 20 << 20
        assert set(os.listdir("/proc/self/fd")) == files
        for pid in zygotes:
            assert psutil.Process(pid).children(recursive=True) == []
            assert psutil.Process(pid).memory_info().rss - zygote_memory[pid] < 4 << 20
            assert len(os.listdir(f"/proc/{pid}/fd")) == 4
    assert {child.pid for child in process.children(recursive=True)} <= before
    assert shared_memory() == shared
