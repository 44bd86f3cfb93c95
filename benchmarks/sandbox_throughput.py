"""How fast the sandbox is, beside what it replaces: python -m benchmarks.sandbox_throughput

All ratios come from one run on one machine, in rounds that take turns, and are medians over the rounds. Each
is given by wall clock, and by CPU time, which holds on a busy machine too:

- one program, one input: the sandbox against a fresh interpreter for each program (`python -I -S`), on
  programs of the sort that models write, and on one-line functions, where less of the time is the program's;
- one program, 16 inputs: evaluations a second against one input a program;
- two slots against one (on a machine with at least two free cores);
- 2 % of the programs loop for ever: the sandbox with its default limit of 1 s of CPU time against one reused
  worker process with a limit of 10 s, the usual executor of self-play code.

It takes about a minute, most of it the worker's. With `--wasm`, the backend "wasm" is measured, not "fork".
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

import psutil

from tasks.sandbox import Program, Sandbox
from tasks.sandbox.fork_server import ForkSandbox
from tasks.sandbox.slots import SlotSandbox
from tasks.sandbox.wasm_runtime import WasmSandbox

NUM_ROUNDS = 5
NUM_PROGRAMS = 150
NUM_FRESH = 30
NUM_INPUTS = 16
NUM_WITH_LOOPS = 100
NUM_LOOPS = 2
WORKER_LIMIT_S = 10.0

TEMPLATES = [
    "def f(x):\n    a, b = 0, 1\n    for _ in range(x % 20 + {n}):\n        a, b = b, a + b\n    return a",
    "def f(x):\n    words = ('spam eggs ham ' * (x % 3 + 1)).split()\n"
    "    return {{w: words.count(w) + {n} for w in words}}",
    "from collections import Counter\n\ndef f(x):\n    return sorted(Counter(str(x * {n} + 12345)).items())",
    "def f(x):\n    primes = [p for p in range(2, 60) if all(p % d for d in range(2, p))]\n"
    "    return primes[x % 9 : x % 9 + {n} % 5]",
    "import math\n\nclass Point:\n    def __init__(self, a, b):\n        self.a, self.b = a, b\n\n"
    "    def norm(self):\n"
    "        return round(math.hypot(self.a, self.b), 6)\n\ndef f(x):\n"
    "    return [Point(x, i).norm() for i in range({n} % 9)]",
    "def f(x):\n    def walk(n):\n        return [n] if n <= 1 else walk(n // 2 if n % 2 == 0 else 3 * n "
    "+ 1) + [n]\n    return walk(x % 30 + {n} % 7 + 1)",
    "import re\n\ndef f(x):\n    return re.sub('[aeiou]', '*', 'the quick brown fox' * (x % 3 + 1)) + "
    "str({n})",
    "def f(x):\n    grid = [[(i * j + x) % {n} for i in range(6)] for j in range(6)]\n"
    "    return [max(row) for row in zip(*grid)]",
]  # fmt: skip
ONE_LINE = "def f(x):\n    return [x + {n}] * 3"
LOOP = Program("def f(x):\n    while True:\n        pass")

ROWS = [
    ("one input a program, against a fresh interpreter", "sandbox", "fresh", 8.0),
    ("the same, on one-line functions", "short", "fresh short", 8.0),
    ("16 inputs a program, against one input", "sixteen", "sandbox", 12.0),
    ("two slots, against one", "two slots", "one slot", 1.6),
    (f"{NUM_LOOPS} of {NUM_WITH_LOOPS} loop, against one reused worker", "loops", "worker", 8.0),
]
"""What is compared, the rate that is to be higher and the other, and how many times higher."""

FRESH = """
import json, sys
source, text = json.load(sys.stdin)
names = {}
exec(source, names)
print(repr(eval("names['f'](" + text + ")")))
"""


def make_programs(num_programs: int, templates: Sequence[str] = TEMPLATES) -> list[Program]:
    """Distinct programs, of the size that models write."""
    return [Program(templates[n % len(templates)].format(n=n + 1)) for n in range(num_programs)]


def with_loops() -> list[Program]:
    """Programs of which some never end."""
    programs = make_programs(NUM_WITH_LOOPS)
    for number in range(NUM_LOOPS):
        programs[(number + 1) * NUM_WITH_LOOPS // (NUM_LOOPS + 1)] = LOOP
    return programs


def run_sandbox(sandbox: Sandbox, programs: list[Program], num_inputs: int = 1) -> int:
    """One program after the other; the number of calls."""
    inputs = [str(number) for number in range(num_inputs)]
    for program in programs:
        calls = sandbox.run(program, inputs)
        assert all(call.literal is not None for call in calls), (program, calls)
    return len(programs) * num_inputs


def run_side_by_side(sandbox: Sandbox, programs: list[Program]) -> int:
    """Two programs at once, or one after the other where there is one slot; the number of calls."""
    with ThreadPoolExecutor(2) as pool:
        return len(list(pool.map(lambda program: sandbox.run(program, ["7"]), programs)))


def run_fresh(programs: list[Program]) -> int:
    """A new interpreter for each program; the number of calls."""
    for program in programs:
        request = json.dumps([program.source, "7"])
        subprocess.run(
            [sys.executable, "-I", "-S", "-c", FRESH], input=request.encode(), capture_output=True, check=True
        )
    return len(programs)


def work(channel: Connection) -> None:
    """The reused worker: run what comes, in this very process."""
    while True:
        source, text = channel.recv()
        names: dict[str, object] = {}
        exec(source, names)
        channel.send(repr(eval(f"f({text})", names)))


def run_reused_worker(programs: list[Program]) -> int:
    """One worker for all programs, replaced when a program is late; the number of calls."""
    context = multiprocessing.get_context("fork")

    def start() -> tuple[multiprocessing.process.BaseProcess, Connection]:
        ours, theirs = context.Pipe()
        worker = context.Process(target=work, args=(theirs,), daemon=True)
        worker.start()
        return worker, ours

    worker, channel = start()
    for program in programs:
        channel.send((program.source, "7"))
        if channel.poll(WORKER_LIMIT_S):
            channel.recv()
        else:
            worker.kill()
            worker.join()
            worker, channel = start()
    worker.kill()
    worker.join()
    return len(programs)


class Rate(NamedTuple):
    """Calls a second."""

    wall: float
    cpu: float  # CPU time of this process, the sandbox's and all of their children


def rate(action: Callable[[], int], sandboxes: Sequence[SlotSandbox[Any]]) -> Rate:
    """Measure an action that makes calls and says how many."""

    def cpu_s() -> float:
        pids = [os.getpid(), *(pid for sandbox in sandboxes for pid in sandbox.worker_pids())]
        return sum(sum(psutil.Process(pid).cpu_times()[:4]) for pid in pids)  # user, system, children's

    started, started_cpu = time.perf_counter(), cpu_s()
    count = action()
    return Rate(count / (time.perf_counter() - started), count / (cpu_s() - started_cpu))


def measure(backend: type[SlotSandbox[Any]]) -> dict[str, Rate]:
    """Rates by name: those of `ROWS`."""
    programs, short = make_programs(NUM_PROGRAMS), make_programs(NUM_PROGRAMS, [ONE_LINE])
    loops = with_loops()
    with backend(1) as one, backend(2) as two:
        print(one.capabilities().summary())
        run_side_by_side(two, programs[:20])
        actions: dict[str, Callable[[], int]] = {
            "sandbox": partial(run_sandbox, one, programs),
            "fresh": partial(run_fresh, programs[:NUM_FRESH]),
            "short": partial(run_sandbox, one, short),
            "fresh short": partial(run_fresh, short[:NUM_FRESH]),
            "sixteen": partial(run_sandbox, one, programs[: NUM_PROGRAMS // 3], NUM_INPUTS),
            "one slot": partial(run_side_by_side, one, programs),
            "two slots": partial(run_side_by_side, two, programs),
        }
        rounds = [{name: rate(do, [one, two]) for name, do in actions.items()} for _ in range(NUM_ROUNDS)]
        rates = {}
        for name in actions:
            walls, cpus = zip(*(each[name] for each in rounds), strict=True)
            rates[name] = Rate(statistics.median(walls), statistics.median(cpus))
        rates["loops"] = rate(partial(run_side_by_side, one, loops), [one, two])
    rates["worker"] = rate(partial(run_reused_worker, loops), [])
    return rates


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Measure how fast the sandbox is.")
    parser.add_argument("--wasm", action="store_true", help="measure the backend wasm instead of fork")
    backend = WasmSandbox if parser.parse_args().wasm else ForkSandbox
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, Python {sys.version.split()[0]}")
    rates = measure(backend)
    for text, fast, slow, target in ROWS:
        ours, theirs = rates[fast], rates[slow]
        by_wall = f"{ours.wall:9.1f}/s {theirs.wall:9.1f}/s {ours.wall / theirs.wall:6.1f}x"
        by_cpu = f"{ours.cpu:.1f}/s {theirs.cpu:.1f}/s {ours.cpu / theirs.cpu:.1f}x"
        print(f"{text:50s}{by_wall} (fork should have {target:g}x), by CPU time {by_cpu}")


if __name__ == "__main__":
    main()
