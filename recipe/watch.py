"""A terminal dashboard of a run that goes on, or has ended: `python -m recipe.watch RUN [--once]`.

It reads the run's files as they grow and writes nothing. Ctrl-C ends it; the run goes on.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from rich.bar import Bar
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.panel import Panel
from rich.table import Table
from rich.text import Text
from yaml import YAMLError

from recipe.inspect.printing import in_one_line
from recipe.run.files import CONFIG, LEDGER, LOG, METRICS, SUMMARY, GrowingFile
from recipe.selfplay.metrics import ALL_KINDS, held_out_of
from recipe.selfplay.types import ALARM_ROLE, Refusal
from tasks.contract import Role

TAIL_BYTES = 1 << 20
"""What is read of a long ledger's end at first: a few hundred responses."""

NUM_SHOWN = 3
"""Proposals that are shown of those accepted, and of those refused; as many alarms."""

SILENT_S = 300.0
"""Seconds without a word after which a run that has not ended is said to be silent."""

NARROW = 70
"""Columns of a terminal below which what matters less is left out."""

RECENT_STEPS = 10
"""Steps whose median time says how long the others will take."""

LEAST_S = 0.05
"""Seconds below which a phase is not shown."""

PHASES = {
    "gen": "sampling",
    "gen_propose": "sampling of proposals",
    "old_log_prob": "log-probs",
    "ref": "reference log-probs",
    "values": "values",
    "update_critic": "critic update",
    "update_actor": "update",
    "update_weights": "weight sync",
    "save_checkpoint": "checkpoint",
}
"""verl's timers that do not overlap, and what they are called here."""


class WatchError(ValueError):
    """There is no run to look at; the message is one line that names the folder."""


@dataclass
class Watched:
    """What is known of a run so far."""

    folder: Path
    total_steps: int
    metrics: list[dict[str, Any]] = field(default_factory=list)
    accepted: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=NUM_SHOWN))
    refused: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=NUM_SHOWN))
    alarms: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=NUM_SHOWN))
    step: int = 0  # the last one in the ledger
    is_finished: bool = False
    written_at: float = 0.0  # when the run wrote last, in seconds of the clock
    num_damaged: int = 0

    def __post_init__(self) -> None:
        self._metrics_file = GrowingFile(self.folder / METRICS)
        self._ledger_file = GrowingFile(self.folder / LEDGER, TAIL_BYTES)

    @staticmethod
    def of(folder: Path) -> Watched:
        """The run in this folder.

        Raises:
            WatchError: There is none, or its configuration cannot be read.
        """
        path = folder / CONFIG
        if not path.is_file():
            raise WatchError(f"{folder} must be a run's directory; it has no {CONFIG}")
        try:
            config = OmegaConf.load(path)
            total_steps = int(config.trainer.total_training_steps)
        except (OmegaConfBaseException, YAMLError, AttributeError, TypeError, ValueError) as error:
            said = " ".join(str(error).split())
            raise WatchError(f"{path} must be the configuration of a run; {said}") from error
        return Watched(folder, total_steps)

    def read(self) -> None:
        """Take in what the run has written since the last time."""
        lines, was_cut = self._metrics_file.new_lines()
        self.metrics = [*(() if was_cut else self.metrics), *lines]
        lines, was_cut = self._ledger_file.new_lines()
        if was_cut:
            for shown in (self.accepted, self.refused, self.alarms):
                shown.clear()
        for line in lines:
            self.step = int(line.get("step", self.step))
            if line.get("role") == ALARM_ROLE:
                self.alarms.append(line)
            elif line.get("role") == Role.PROPOSE and line.get("record") is not None:
                self.accepted.append(line)
            elif line.get("role") == Role.PROPOSE and line.get("reason") != Refusal.SURPLUS:
                self.refused.append(line)
        self.num_damaged = self._metrics_file.num_damaged + self._ledger_file.num_damaged
        written = [_written_at(self.folder / name) for name in (METRICS, LEDGER, LOG)]
        self.written_at = max(written)
        # That of an earlier command is older than what a resumed run has written since
        self.is_finished = _written_at(self.folder / SUMMARY) > written[0]


def _written_at(path: Path) -> float:
    return path.stat().st_mtime if path.exists() else 0.0


def time_left_s(metrics: Sequence[Mapping[str, Any]], total_steps: int) -> float | None:
    """Seconds until the last step, as the last steps went: with their evaluations and checkpoints.

    None before there are two steps, or after a resume that lies between them alone.
    """
    steps = [line for line in metrics if line["step"] > 0]
    times = [
        (line["time"] - before["time"]) / (line["step"] - before["step"])
        for before, line in pairwise(steps)
        if line["step"] > before["step"]
    ][-RECENT_STEPS:]
    return median(times) * (total_steps - steps[-1]["step"]) if times else None


def dashboard(run: Watched, width: int) -> RenderableType:
    """The whole of it, for a terminal of this many columns."""
    parts: list[RenderableType] = [_header(run), _alarms(run)]
    if run.metrics:
        parts.append(_accuracies(run.metrics, width))
        if run.metrics[-1]["step"] > 0:
            parts.append(_cells(run.metrics[-1], width))
        parts.append(_phases(run.metrics[-1], width))
    if run.accepted:
        parts.append(_proposals("Accepted last", "solved", run.accepted, width))
    if run.refused:
        parts.append(_proposals("Refused last", "reason", run.refused, width))
    return Group(*parts)


def _header(run: Watched) -> RenderableType:
    done = run.metrics[-1]["step"] if run.metrics else 0
    text = Text(f"step {done}/{run.total_steps}", style="bold")
    silent_s = time.time() - run.written_at
    if run.is_finished:
        text.append("  finished", style="green")
    elif silent_s > SILENT_S:
        text.append(f"  nothing written for {_duration(silent_s)}", style="yellow")
    elif not run.metrics:
        text.append("  seeding" if run.accepted or run.refused else "  starting")
    elif (left := time_left_s(run.metrics, run.total_steps)) is not None:
        text.append(f"  {_duration(left)} left")
    if run.num_damaged:
        text.append(f"  {run.num_damaged} damaged lines skipped", style="yellow")
    bar = Bar(max(run.total_steps, 1), 0, done)
    return Panel(Group(text, bar), title=escape(in_one_line(str(run.folder), 200)), title_align="left")


def _duration(seconds: float) -> str:
    minutes, hours = int(seconds // 60) % 60, int(seconds // 3600)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {int(seconds) % 60:02d} s"


def _accuracies(metrics: Sequence[Mapping[str, Any]], width: int) -> RenderableType:
    """Held-out accuracy: the first evaluation and the last ones, with their intervals."""
    found = [(line["step"], held) for line in metrics if (held := held_out_of(line)) is not None]
    header = ["step", "greedy", "95 %", "sampled", "well-formed"]
    table = _table("Held-out accuracy", header[: None if width >= NARROW else 4])
    for step, held in [*found[:1], *found[1:][-3:]]:
        sampled = next((f"{held[name]:.1%}" for name in held if name.startswith("mean_at_")), "-")
        interval = f"{100 * held['low']:.0f} to {100 * held['high']:.0f}"
        row = (str(step), f"{held['accuracy']:.1%}", interval, sampled, f"{held['format_rate']:.1%}")
        table.add_row(*row[: len(table.columns)])
    return table


def _cells(line: Mapping[str, Any], width: int) -> RenderableType:
    """The last step by role and kind."""
    header = ["", "right", "reward", "responses", "well-formed", "tokens", "surplus"]
    table = _table(f"Step {line['step']}", header[: None if width >= NARROW else 3])
    for name in sorted(name for name in line if name.endswith("/num_responses")):
        prefix, role, kind, _ = name.split("/")
        if kind == ALL_KINDS:
            continue
        of_cell = f"{prefix}/{role}/{kind}"
        right = line.get(f"{of_cell}/{'acceptance_rate' if role == Role.PROPOSE else 'accuracy'}")
        row = (
            f"{role} {kind}",
            _number(right, "{:.0%}") + (" accepted" if role == Role.PROPOSE else ""),
            _number(line.get(f"{of_cell}/reward"), "{:+.2f}"),
            f"{line[name]:.0f}",
            _number(line.get(f"{of_cell}/format_rate"), "{:.0%}"),
            _number(line.get(f"{of_cell}/response_tokens"), "{:.0f}"),
            _number(line.get(f"{of_cell}/reason/{Refusal.SURPLUS}"), "{:.0%}"),
        )
        table.add_row(*row[: len(table.columns)])
    return table


def _phases(line: Mapping[str, Any], width: int) -> RenderableType:
    """Where the last step's time went; what no timer has is the rest."""
    whole = line.get("timing_s/step")
    if whole is None:
        return Text("")
    table = _table(f"Time of step {line['step']}: {whole:.1f} s", ["", "s", ""])
    known = {name: line[f"timing_s/{phase}"] for phase, name in PHASES.items() if f"timing_s/{phase}" in line}
    for name, seconds in {**known, "the rest": max(0.0, whole - sum(known.values()))}.items():
        if seconds >= LEAST_S:
            table.add_row(name, f"{seconds:.1f}", Bar(whole, 0, seconds, width=max(5, min(40, width - 35))))
    return table


def _proposals(title: str, beside: str, lines: Sequence[Mapping[str, Any]], width: int) -> RenderableType:
    header = ["step", beside, "proposal", "kind"]
    table = _table(title, header[: None if width >= NARROW else 3])
    for line in reversed(lines):
        why = line.get("reason") or _number(line.get("solve_rate"), "{:.0%}")
        response = in_one_line(
            str(line.get("response")), max(10, width - 26 if width < NARROW else width - 40)
        )
        words = (str(line.get("step")), why, response, str(line.get("kind")))
        table.add_row(*map(Text, words[: len(table.columns)]))
    return table


def _alarms(run: Watched) -> RenderableType:
    if not run.alarms:
        return Text("No alarms." if run.metrics else "", style="green")
    table = _table("Alarms", ["step", "alarm", ""])
    table.columns[2].no_wrap = False
    for line in reversed(run.alarms):
        said = in_one_line(str(line.get("sentence")), 400)
        table.add_row(Text(str(line.get("step"))), Text(str(line.get("alarm")), style="bold red"), Text(said))
    return table


def _table(title: str, columns: Sequence[str]) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="ellipsis", no_wrap=True)
    return table


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else form.format(value)


def watch(folder: Path, console: Console, *, once: bool, interval_s: float) -> None:
    """Show the run until it has ended, or a single time.

    Raises:
        WatchError: There is no run in the folder.
    """
    run = Watched.of(folder)
    run.read()
    if once or run.is_finished or not console.is_terminal:
        console.print(dashboard(run, console.width))
        return
    with Live(dashboard(run, console.width), console=console, auto_refresh=False, screen=True) as live:
        while not run.is_finished:
            time.sleep(interval_s)
            run.read()
            live.update(dashboard(run, console.width), refresh=True)
    console.print(dashboard(run, console.width))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; its exit status, 2 for what is no run."""
    parser = argparse.ArgumentParser(
        prog="python -m recipe.watch",
        description="A dashboard of a run that goes on: step, time left, accuracy, cells, proposals, alarms.",
    )
    parser.add_argument("run", type=Path, metavar="RUN", help="directory of a run")
    parser.add_argument("--once", action="store_true", help="print it once and end")
    parser.add_argument("--interval", type=float, default=1.0, metavar="S", help="seconds between looks")
    options = parser.parse_args(arguments)
    if options.interval <= 0:
        parser.error(f"--interval must be above 0; got {options.interval:g}")
    try:
        watch(options.run, Console(), once=options.once, interval_s=options.interval)
    except WatchError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        pass
    return 0


if __name__ == "__main__":
    sys.exit(main())
