"""How much memory a run takes, process by process, beside what `recipe.doctor` estimates for it:

python -m benchmarks.memory python -m recipe.main_azr experiment=demo trainer.total_training_steps=3

It starts the command and samples it and all its descendants until it ends. Of every process it takes the
proportional set size (PSS): a page that several processes map is shared out among them, so the sum over
processes is the memory that the run takes, shared memory included. The sum's peak is printed as one line of
JSON, with what every sort of process had of it at that moment. Linux only.
"""

from __future__ import annotations

import argparse
import itertools
import json
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path

import psutil

GIB = 2**30
INTERVAL_S = 1.0
"""Reading one process takes milliseconds, and a run has about twenty."""


def name_of(process: psutil.Process) -> str:
    """What sort of process it is: Ray and vLLM write it into the command line; else it is the program."""
    command = process.cmdline()
    if not command:
        return process.name()
    title = command[0].partition(" ")[0]
    if title.startswith(("ray::", "VLLM::")):
        return title.partition(".")[0].partition("(")[0]
    modules = [after for before, after in itertools.pairwise(command) if before == "-m"]
    scripts = [Path(part).name for part in command[1:] if part.endswith(".py")]
    return (modules + scripts + [Path(title).name])[0]


def sample(root: psutil.Process) -> dict[str, list[int]]:
    """PSS in bytes of every process of the tree that is still there, by sort of process."""
    found: dict[str, list[int]] = defaultdict(list)
    for process in [root, *root.children(recursive=True)]:
        try:
            found[name_of(process)].append(process.memory_full_info().pss)
        except psutil.NoSuchProcess:
            continue
    return found


def measure(command: list[str]) -> dict[str, object]:
    """Run the command to its end; its peak of memory, and how it ended."""
    started = time.monotonic()
    peak: dict[str, list[int]] = {}
    child = subprocess.Popen(command, stdout=sys.stderr)
    root = psutil.Process(child.pid)
    while child.poll() is None:
        try:
            found = sample(root)
        except psutil.NoSuchProcess:
            break
        if total(found) > total(peak):
            peak = found
        time.sleep(INTERVAL_S)
    return {
        "peak_gib": round(total(peak) / GIB, 3),
        "by_process": {name: [round(pss / GIB, 3) for pss in each] for name, each in sorted(peak.items())},
        "seconds": round(time.monotonic() - started, 1),
        "exit_status": child.wait(),
    }


def total(found: dict[str, list[int]]) -> int:
    """Bytes of all processes."""
    return sum(map(sum, found.values()))


def main() -> int:
    """Measure; the exit status is the command's."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.memory", description=__doc__.partition("\n")[0]
    )
    parser.add_argument("command", nargs=argparse.REMAINDER, help="the run to measure")
    result = measure(parser.parse_args().command)
    print(json.dumps(result))
    return int(str(result["exit_status"]))


if __name__ == "__main__":
    sys.exit(main())
