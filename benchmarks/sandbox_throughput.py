"""How fast the sandbox is, beside what it replaces: python -m benchmarks.sandbox_throughput

All ratios come from one run on one machine, in rounds that take turns, and are medians over the rounds:

- one program, one input: the sandbox against a fresh interpreter for each program (`python -I -S`), on
  programs of the sort that models write, and on one-line functions, where less of the time is the program's;
- one program, 16 inputs: evaluations a second against one input a program;
- two zygotes against one (on a machine with at least two free cores);
- 2 % of the programs loop for ever: the sandbox with its default limit of 1 s of CPU time against one reused
  worker process with a limit of 10 s, the usual executor of self-play code.

It takes about a minute, most of it the worker's.

With `--wasm`, only the backend "wasm" is measured, against a fresh interpreter for each program.
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
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection

import psutil

from tasks.sandbox import Program, Sandbox
from tasks.sandbox.fork_server import ForkSandbox
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


def rate(count: int, action: Callable[[], object]) -> float:
    """How many a second, if `action` does `count` of them."""
    started = time.perf_counter()
    action()
    return count / (time.perf_counter() - started)


def cpu_rate(count: int, action: Callable[[], object], pids: list[int]) -> float:
    """How many a second of CPU time, that of the processes `pids` and of all children included."""

    def spent_s() -> float:
        own = psutil.Process().cpu_times()
        zygotes = [psutil.Process(pid).cpu_times() for pid in pids]
        return sum(
            times.user + times.system + times.children_user + times.children_system
            for times in (own, *zygotes)
        )

    before = spent_s()
    action()
    return count / (spent_s() - before)


def run_sandbox(sandbox: Sandbox, programs: list[Program], num_inputs: int) -> None:
    """One program after the other."""
    inputs = [str(number) for number in range(num_inputs)]
    for program in programs:
        calls = sandbox.run(program, inputs)
        assert all(call.literal is not None for call in calls), (program, calls)


def run_side_by_side(sandbox: Sandbox, programs: list[Program]) -> None:
    """Two programs at once, or one after the other where there is one slot."""
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda program: sandbox.run(program, ["7"]), programs))


def run_fresh(programs: list[Program]) -> None:
    """A new interpreter for each program."""
    for program in programs:
        request = json.dumps([program.source, "7"])
        subprocess.run(
            [sys.executable, "-I", "-S", "-c", FRESH], input=request.encode(), capture_output=True, check=True
        )


def work(channel: Connection) -> None:
    """The reused worker: run what comes, in this very process."""
    while True:
        source, text = channel.recv()
        names: dict[str, object] = {}
        exec(source, names)
        channel.send(repr(eval(f"f({text})", names)))


def run_reused_worker(programs: list[Program]) -> None:
    """One worker for all programs; it is replaced when a program is late."""
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


def measure_wasm() -> None:
    """Measure the backend "wasm" and print."""
    programs = make_programs(NUM_PROGRAMS)
    few, fresh = programs[: NUM_PROGRAMS // 3], programs[:NUM_FRESH]
    rates: dict[str, list[float]] = {"wasm": [], "fresh": [], "wasm CPU": [], "fresh CPU": [], "sixteen": []}
    with WasmSandbox(1) as sandbox:
        print(sandbox.capabilities().summary())
        pids = sandbox.worker_pids()
        for _ in range(NUM_ROUNDS):
            rates["wasm"].append(rate(NUM_PROGRAMS, lambda: run_sandbox(sandbox, programs, 1)))
            rates["fresh"].append(rate(NUM_FRESH, lambda: run_fresh(fresh)))
            rates["wasm CPU"].append(cpu_rate(NUM_PROGRAMS, lambda: run_sandbox(sandbox, programs, 1), pids))
            rates["fresh CPU"].append(cpu_rate(NUM_FRESH, lambda: run_fresh(fresh), []))
            rates["sixteen"].append(
                cpu_rate(len(few) * NUM_INPUTS, lambda: run_sandbox(sandbox, few, NUM_INPUTS), pids)
            )
    median = {name: statistics.median(values) for name, values in rates.items()}
    for text, fast, slow in (
        ("one input a program, against a fresh interpreter", "wasm", "fresh"),
        ("the same, by CPU time (holds on a busy machine too)", "wasm CPU", "fresh CPU"),
        ("16 inputs a program, against one input, by CPU time", "sixteen", "wasm CPU"),
    ):
        ratio = median[fast] / median[slow]
        print(f"{text:53s}{median[fast]:9.1f}/s {median[slow]:9.1f}/s {ratio:6.1f}x")


def measure_fork() -> None:
    """Measure the backend "fork" and print."""
    programs, short = make_programs(NUM_PROGRAMS), make_programs(NUM_PROGRAMS, [ONE_LINE])
    rates: dict[str, list[float]] = defaultdict(list)
    with ForkSandbox(1) as one, ForkSandbox(2) as two:
        print(one.capabilities().summary())
        run_side_by_side(two, programs[:20])
        few = programs[: NUM_PROGRAMS // 3]
        for _ in range(NUM_ROUNDS):
            rates["sandbox"].append(rate(len(programs), lambda: run_sandbox(one, programs, 1)))
            rates["fresh"].append(rate(NUM_FRESH, lambda: run_fresh(programs[:NUM_FRESH])))
            rates["short"].append(rate(len(short), lambda: run_sandbox(one, short, 1)))
            rates["fresh short"].append(rate(NUM_FRESH, lambda: run_fresh(short[:NUM_FRESH])))
            zygotes = one.worker_pids()
            rates["sandbox CPU"].append(
                cpu_rate(len(programs), lambda: run_sandbox(one, programs, 1), zygotes)
            )
            rates["fresh CPU"].append(cpu_rate(NUM_FRESH, lambda: run_fresh(programs[:NUM_FRESH]), []))
            rates["sixteen"].append(rate(len(few) * NUM_INPUTS, lambda: run_sandbox(one, few, NUM_INPUTS)))
            rates["one zygote"].append(rate(len(programs), lambda: run_side_by_side(one, programs)))
            rates["two zygotes"].append(rate(len(programs), lambda: run_side_by_side(two, programs)))
        rates["loops"].append(rate(NUM_WITH_LOOPS, lambda: run_side_by_side(one, with_loops())))
    rates["worker"].append(rate(NUM_WITH_LOOPS, lambda: run_reused_worker(with_loops())))
    median = {name: statistics.median(values) for name, values in rates.items()}
    rows = [
        ("one input a program, against a fresh interpreter", "sandbox", "fresh", 8.0),
        ("the same, on one-line functions", "short", "fresh short", 8.0),
        ("the first, by CPU time (holds on a busy machine too)", "sandbox CPU", "fresh CPU", 8.0),
        ("16 inputs a program, against one input", "sixteen", "sandbox", 12.0),
        ("two zygotes, against one", "two zygotes", "one zygote", 1.6),
        (f"{NUM_LOOPS} of {NUM_WITH_LOOPS} loop, against one reused worker", "loops", "worker", 8.0),
    ]
    for text, fast, slow, target in rows:
        ratio = median[fast] / median[slow]
        print(f"{text:53s}{median[fast]:9.1f}/s {median[slow]:9.1f}/s {ratio:6.1f}x (target {target:g}x)")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Measure how fast the sandbox is.")
    parser.add_argument("--wasm", action="store_true", help="measure the backend wasm instead of fork")
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, Python {sys.version.split()[0]}")
    if parser.parse_args().wasm:
        measure_wasm()
    else:
        measure_fork()


if __name__ == "__main__":
    main()
