"""How long a large ledger takes to look into: python -m benchmarks.inspect_ledger [--lines N] [--keep DIR]

It writes a run's directory with a ledger of so many lines, of proposals and eight attempts at each that is
accepted, with prompts of a few hundred characters and no two responses alike. Then it starts
`python -m recipe.inspect` on it: once to make the index, once for every view, and once more when the ledger
has grown by a step. Of each command it prints seconds, seconds of CPU time, which hold on a busy machine too,
and the peak of its memory.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

ROOT = Path(__file__).parent.parent
ATTEMPTS = 8
PROPOSALS_A_STEP = 192
NUM_TASKS = 5000
"""Tasks that are made; the ledger repeats them under other steps, with other responses."""

REFUSALS = (("wrong", "duplicate"), ("wrong", "operand-out-of-range"), ("malformed", "no-task"))

CONFIG = """\
pack: {_target_: tasks.arithmetic.ArithmeticPack, terse: false}
reward_profile: arithmetic_rich
azr: {}
algorithm:
  adv_estimator: trr_plus_plus
  use_kl_in_reward: false
  trr: {cells: role-kind, baseline: cell-mean, scale: std, statistics: sequence, proposer_share: 0.5}
trainer: {total_training_steps: 5000}
"""

ASK = (
    "Write one new task in the form of these. It has to be unlike all of them, and neither too easy nor too "
    "hard: a good solver should be right about half of the time. Numbers 0 to 49, with * 0 to 12.\n"
)
SOLVE = (
    "\nWork it out digit by digit if you have to, and then reply with one integer, in digits, on the last "
    "line of your response. Nothing may stand behind it."
)


class Piece(NamedTuple):
    """A line of the ledger in parts, between which stand the step, the index and a number of its own."""

    before_step: str
    before_index: str
    before_number: str
    end: str


class Measured(NamedTuple):
    """What a command took."""

    seconds: float
    cpu_s: float
    peak_mib: float


def make_task(rng: random.Random) -> list[Piece]:
    """The lines of one proposal and of the attempts at it."""
    a, op, b = rng.randrange(50), rng.choice("+-*"), rng.randrange(50)
    text = f"Calculate: {a} {op} {b} ="
    shown = "".join(
        f"Calculate: {rng.randrange(50)} {rng.choice('+-*')} {rng.randrange(50)} =\n" for _ in range(6)
    )
    thought = "".join(
        f"I look for numbers such as {rng.randrange(100)} and {rng.randrange(100)}. "
        for _ in range(rng.randrange(1, 6))
    )
    prompt = [{"role": "user", "content": ASK + shown}]
    if rng.random() < 0.3:
        outcome, reason = rng.choice(REFUSALS)
        facts = {"outcome": outcome, "reason": reason, "solve_rate": None, "reward": -0.5, "record": None}
        return [piece("propose", None, prompt, f"{thought}{text}", facts)]
    right = [rng.random() < 0.5 for _ in range(ATTEMPTS)]
    rate = sum(right) / ATTEMPTS
    record = {"a": a, "op": op, "b": b}
    facts = {"outcome": "correct", "reason": "", "solve_rate": rate, "reward": 1 - rate if rate else 0.0}
    lines = [piece("propose", None, prompt, f"{thought}{text}", facts | {"record": record})]
    prompt = [{"role": "user", "content": text + SOLVE}]
    for number, is_right in enumerate(right):
        working = " ".join(
            f"{rng.randrange(10)}+{rng.randrange(10)}={rng.randrange(20)}"
            for _ in range(rng.randrange(4, 20))
        )
        distance = 0 if is_right else rng.randrange(1, 9)
        facts = {
            "outcome": "correct" if is_right else "wrong",
            "reason": "" if is_right else "wrong-value",
            "solve_rate": None,
            "reward": 1.0 if is_right else -0.5,
            "record": record,
        }
        lines.append(piece("solve", number, prompt, working, facts, {"distance": distance}))
    return lines


def piece(
    role: str,
    attempt: int | None,
    prompt: list[dict[str, str]],
    response: str,
    facts: dict[str, object],
    measures: dict[str, int] | None = None,
) -> Piece:
    """A line with the ledger's fields in their order."""
    line = {"step": "@", "role": role, "kind": "deduction", "cell": f"{role}/deduction", "index": "@"}
    line |= {"attempt": attempt, "prompt": prompt, "response": f"@{response}"}
    line |= facts | {"measures": measures or {}, "features": {}}
    begin, before_index, before_number, end = json.dumps(line).split("@")
    # Step and index are numbers, without the marks of a string around them.
    return Piece(begin[:-1], before_index[1:-1], before_number[1:], f" {end}\n")


def ledger_lines(num_lines: int, first_step: int, rng: random.Random) -> Iterator[str]:
    """So many lines, steps one after the other."""
    tasks = [make_task(rng) for _ in range(NUM_TASKS)]
    written = request = 0
    while written < num_lines:
        step, index = first_step + request // PROPOSALS_A_STEP, request % PROPOSALS_A_STEP
        for before_step, before_index, before_number, end in rng.choice(tasks)[: num_lines - written]:
            yield f"{before_step}{step}{before_index}{index}{before_number}{written}{end}"
            written += 1
        request += 1


def append(ledger: Path, num_lines: int, first_step: int) -> None:
    """Write lines at the end of a ledger."""
    with ledger.open("a", encoding="utf-8") as file:
        file.writelines(ledger_lines(num_lines, first_step, random.Random(first_step)))


def measure(*words: str) -> Measured:
    """Run `python -m recipe.inspect` with these words to its end, with its output thrown away.

    Raises:
        subprocess.CalledProcessError: It failed.
    """
    command = [sys.executable, "-m", "recipe.inspect", *words]
    began = time.monotonic()
    child = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise subprocess.CalledProcessError(child.returncode, command)
    return Measured(time.monotonic() - began, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def step_of_last_line(ledger: Path) -> int:
    """The step that a ledger ends with."""
    with ledger.open("rb") as file:
        file.seek(-min(ledger.stat().st_size, 1 << 16), os.SEEK_END)
        return int(json.loads(file.read().splitlines()[-1])["step"])


def views(last_step: int) -> list[list[str]]:
    """The words of every view, and of conditions that read much."""
    return [
        ["summary"],
        ["proposals"],
        ["attempts"],
        ["rejections"],
        ["task", f"{last_step // 2}/17"],
        ["level"],
        ["diff", "1", str(last_step)],
        ["diff", f"1:{last_step // 2}", f"{last_step // 2}:{last_step}"],
        ["alarms"],
        ["proposals", "--text", "such as 77", "--solve-rate", "0.1:0.4", "--step", "10:"],
        ["attempts", "--prompt", "36 + 48", "--reason", "wrong-value"],
        ["proposals", "--json"],
    ]


def main() -> int:
    """Write, measure and print."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.inspect_ledger", description=__doc__.partition("\n")[0]
    )
    parser.add_argument("--lines", type=int, default=2_000_000, help="of the ledger (default: 2000000)")
    parser.add_argument("--keep", type=Path, help="a new directory to write the run to, which stays")
    arguments = parser.parse_args()
    with nullcontext(arguments.keep) if arguments.keep else TemporaryDirectory() as created:
        run = Path(created)
        run.mkdir(parents=True, exist_ok=True)
        (run / "config.yaml").write_text(CONFIG, encoding="utf-8")
        ledger = run / "ledger.jsonl"
        append(ledger, arguments.lines, first_step=1)
        size, last_step = ledger.stat().st_size, step_of_last_line(ledger)
        print(
            f"{arguments.lines:,} lines, {size / 1e6:,.0f} MB, {last_step} steps; {os.cpu_count()} cores, ",
            end="",
        )
        print(f"load {os.getloadavg()[0]:.1f}")
        print(f"{'seconds':>9}{'CPU':>9}{'MiB':>7}  command")
        report("index, and alarms", measure(str(run), "alarms"))
        for words in views(last_step):
            report(" ".join(words), measure(str(run), *words))
        append(ledger, 1000, last_step + 1)
        report("alarms, 1,000 lines later", measure(str(run), "alarms"))
        index = sum(file.stat().st_size for file in (run / "inspect").iterdir())
        print(f"the index has {index / 1e6:,.0f} MB")
    return 0


def report(name: str, found: Measured) -> None:
    """Print a line of the table."""
    print(f"{found.seconds:>9.2f}{found.cpu_s:>9.2f}{found.peak_mib:>7.0f}  {name}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
