"""What a run pays for what it says of itself: python -m benchmarks.report_cost RUN [--repetitions N]

RUN is the directory of a run with two evaluations or more; it is only read. In a copy of it, this does again
what the run did in its steps, in this process: write the ledger's lines and the metrics, judge the alarms.
Then what it did at its last evaluation: write the evaluation's line, and start the process that makes the
page, which finds the ledger's index and the page as they were at the evaluation before.

It prints wall time and CPU time, medians of the repetitions with the least and the most. Shares are of CPU
time, which holds on a busy machine too: of the run's median step, or of the median time between its
evaluations, on one core. Nobody waits for the page's process, which has the lowest priority.
"""

from __future__ import annotations

import argparse
import itertools
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from recipe.inspect import InspectError
from recipe.inspect.index import FOLDER, open_index
from recipe.inspect.run import Run, open_run
from recipe.report.live import command_of, start_behind
from recipe.run.files import CONFIG, EVALUATIONS, LEDGER, METRICS, SUMMARY, GrowingFile, JsonLinesFile
from recipe.selfplay.alarms import Alarms
from recipe.selfplay.metrics import held_out_of, num_failed_of
from recipe.selfplay.types import ALARM_ROLE, LedgerLine
from tasks.contract import Outcome, Role

REPETITIONS = 5
STEP, INTERVAL = "step", "interval"

Line = dict[str, Any]


class Told(NamedTuple):
    """What a run has written.

    Attributes:
        ledger: Its responses by step, as it had them.
        metrics: Its lines by step.
        evaluations: Its lines.
    """

    ledger: dict[int, list[LedgerLine]]
    metrics: dict[int, Line]
    evaluations: list[Line]

    @property
    def steps(self) -> list[int]:
        """The finished training steps."""
        return [step for step in self.metrics if step > 0]

    @property
    def evaluated(self) -> list[int]:
        """The steps with an evaluation, 0 for that before training."""
        return [step for step, line in self.metrics.items() if held_out_of(line) is not None]

    @property
    def step_s(self) -> float:
        """Median seconds of a step."""
        return statistics.median(self.metrics[step]["timing_s/step"] for step in self.steps)

    @property
    def interval_s(self) -> float:
        """Median seconds from one evaluation to the next."""
        times = [self.metrics[step]["time"] for step in self.evaluated]
        return statistics.median(later - earlier for earlier, later in itertools.pairwise(times))

    @property
    def interval_steps(self) -> float:
        """Median steps from one evaluation to the next."""
        return statistics.median(later - earlier for earlier, later in itertools.pairwise(self.evaluated))


def read_told(run: Path) -> Told:
    """What is in a run's files.

    Raises:
        ValueError: It has no two evaluations.
    """
    ledger: dict[int, list[LedgerLine]] = defaultdict(list)
    for line in read_file(run / LEDGER):
        if line["role"] != ALARM_ROLE:
            words = {"role": Role(line["role"]), "outcome": Outcome(line["outcome"])}
            ledger[line["step"]].append(LedgerLine(**line | words))
    metrics = {line["step"]: line for line in read_file(run / METRICS)}
    told = Told(ledger, metrics, list(read_file(run / EVALUATIONS)))
    if len(told.evaluated) < 2:
        raise ValueError(
            f"{run} must be the directory of a run with two evaluations; it has {told.evaluated}"
        )
    return told


def read_file(path: Path) -> Iterator[Line]:
    """The lines of a file."""
    lines, _ = GrowingFile(path).new_lines()
    return lines


def write_until(folder: Path, told: Told, step: int) -> None:
    """Bring a run's files to where they were when the evaluation after a step was written."""
    kept = {
        LEDGER: [line.to_json() for at, lines in told.ledger.items() if at <= step for line in lines],
        METRICS: [line for at, line in told.metrics.items() if at <= step],
        EVALUATIONS: [line for line in told.evaluations if line["step"] <= step],
    }
    for name, lines in kept.items():
        (folder / name).unlink(missing_ok=True)
        with written(folder / name) as file:
            file.append(lines)


@contextmanager
def written(path: Path) -> Iterator[JsonLinesFile]:
    """A file to append to."""
    file = JsonLinesFile(path)
    try:
        yield file
    finally:
        file.close()


class Cost(NamedTuple):
    """What something took, in seconds."""

    wall: float
    cpu: float

    def plus(self, other: Cost, share: float = 1.0) -> Cost:
        """This, and a share of another."""
        return Cost(self.wall + share * other.wall, self.cpu + share * other.cpu)


NOTHING = Cost(0.0, 0.0)


def cost_of(work: Callable[..., object], *values: object) -> Cost:
    """What a call took of this process."""
    began, cpu = time.perf_counter(), time.process_time()
    work(*values)
    return Cost(time.perf_counter() - began, time.process_time() - cpu)


def cost_of_steps(folder: Path, told: Told, alarms: Alarms) -> dict[str, Cost]:
    """What is written, to a new folder, and judged in a step: the mean over the run's steps."""
    folder.mkdir()
    costs = dict.fromkeys(("ledger", "metrics", "alarms"), NOTHING)
    alarms.remember(told.ledger[0])
    with written(folder / LEDGER) as ledger, written(folder / METRICS) as metrics:
        for step in told.steps:
            lines, line = told.ledger[step], told.metrics[step]
            numbers = {name: value for name, value in line.items() if value is not None}
            num_failed = num_failed_of(numbers)
            parts = {
                "ledger": cost_of(lambda lines: ledger.append(one.to_json() for one in lines), lines),
                "metrics": cost_of(metrics.append, [line]),
                "alarms": cost_of(alarms.look, step, lines, num_failed, numbers),
            }
            costs = {name: cost.plus(parts[name], 1 / len(told.steps)) for name, cost in costs.items()}
    return costs


def cost_of_page(run: Path) -> tuple[Cost, Cost]:
    """Write the page as a run has it written after an evaluation: what its start took, and the process.

    Raises:
        ValueError: It was not written.
    """
    # What the process prints is no part of the table.
    words = ["sh", "-c", 'exec "$0" "$@" >/dev/null', *command_of(run)]
    began = time.perf_counter()
    started: list[subprocess.Popen[bytes]] = []
    start = cost_of(lambda: started.append(start_behind(words)))
    (process,) = started
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise ValueError(f"the page of {run} could not be written")
    return start, Cost(time.perf_counter() - began, usage.ru_utime + usage.ru_stime)


def make_index(run: Path) -> None:
    """Make the index of a run's ledger."""
    with open_index(open_run(run)):
        pass


def measure(source: Run, told: Told, folder: Path) -> dict[str, Cost]:
    """One repetition, in an empty folder: costs by row of the table."""
    run = folder / "run"
    run.mkdir()
    for name in (CONFIG, SUMMARY):
        if (source.folder / name).exists():
            shutil.copy(source.folder / name, run / name)
    *_, before, last = told.evaluated
    write_until(run, told, before)
    _, first = cost_of_page(run)
    write_until(run, told, last)
    start, page = cost_of_page(run)
    with written(folder / EVALUATIONS) as file:
        evaluation = cost_of(file.append, told.evaluations[-1:])
    shutil.rmtree(run / FOLDER)
    index = cost_of(make_index, run)
    steps = cost_of_steps(folder / "steps", told, Alarms(source.azr.alarms, source.pack()))
    waited = steps["ledger"].plus(steps["metrics"]).plus(steps["alarms"])
    waited = waited.plus(evaluation, 1 / told.interval_steps)
    return steps | {
        "evaluation": evaluation,
        "waited": waited,
        "start": start,
        "page": page,
        "first page": first,
        "index": index,
        "all": waited.plus(start, 1 / told.interval_steps).plus(page, 1 / told.interval_steps),
    }


ROWS = {
    "ledger": ("trainer: a step's lines of the ledger", STEP),
    "metrics": ("trainer: its line of metrics", STEP),
    "alarms": ("trainer: the alarms judge it", STEP),
    "evaluation": ("trainer: an evaluation's line", INTERVAL),
    "waited": ("trainer: all of it", STEP),
    "start": ("launcher: a page's process is started", INTERVAL),
    "page": ("behind: the page", INTERVAL),
    "first page": ("behind: the first page", INTERVAL),
    "index": ("of a page: the ledger's index, made anew", INTERVAL),
    "all": ("all of it", STEP),
}
"""What is measured, and what its share is of."""


def table(told: Told, found: Sequence[dict[str, Cost]]) -> Iterator[str]:
    """The lines of the table."""
    whole = {STEP: told.step_s, INTERVAL: told.interval_s}
    yield f"{'milliseconds':<40}{'wall':>9}{'(least, most)':>21}{'CPU':>9}{'(least, most)':>19}  share of"
    for name, (what, of) in ROWS.items():
        wall, cpu = ([1000 * getattr(one[name], kind) for one in found] for kind in ("wall", "cpu"))
        share = statistics.median(cpu) / whole[of] / 1000
        yield f"{what:<40}{_spread(wall, 21)}{_spread(cpu, 19)}{share:>8.2%} {of}"


def _spread(values: Sequence[float], width: int) -> str:
    ends = f"({min(values):,.1f}, {max(values):,.1f})"
    return f"{statistics.median(values):>9,.1f}{ends:>{width}}"


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.report_cost", description=__doc__.partition("\n")[0]
    )
    parser.add_argument("run", type=Path, metavar="RUN", help="directory of a run with two evaluations")
    parser.add_argument("--repetitions", type=int, default=REPETITIONS, help=f"default: {REPETITIONS}")
    asked = parser.parse_args()
    try:
        run = open_run(asked.run)
        told = read_told(asked.run)
        num_lines = sum(map(len, told.ledger.values()))
        print(f"{len(told.steps)} steps, {num_lines:,} responses, {asked.repetitions} repetitions; ", end="")
        print(f"median step {told.step_s:.1f} s, between evaluations {told.interval_s:.0f} s and ", end="")
        print(f"{told.interval_steps:g} steps; {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
        found = []
        for _ in range(asked.repetitions):
            with TemporaryDirectory() as folder:
                found.append(measure(run, told, Path(folder)))
    except (ValueError, InspectError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print("\n".join(table(told, found)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
