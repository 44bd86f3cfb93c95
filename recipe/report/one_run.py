"""What the page has of one run: its header, the rows of its charts, and its responses."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from recipe.inspect.filters import Steps, Where
from recipe.inspect.index import Index, ledger_notes, open_index
from recipe.inspect.numbers import read_numbers
from recipe.inspect.run import Run, open_run
from recipe.report import ReportError, ledger, tables
from recipe.report.page import RunPart, Tile
from recipe.report.responses import read_responses
from recipe.report.tables import Table
from recipe.run.files import SUMMARY
from recipe.selfplay.metrics import ALL_KINDS, held_out_of
from tasks.contract import Role

LAST_STEPS = 5
"""Steps whose mean says how the run does now."""

RESPONSES = "responses"

MISSING = {
    "accuracy": "The run has not been evaluated on held-out tasks yet.",
    "rewards": "No response has been trained on yet.",
    "advantages": "The metrics have no advantages yet.",
    "proposals": "No training step has a proposal.",
    "attempts": "No training step has an attempt.",
    "solve-rates": "No proposal of a training step has been attempted.",
    "proposed-levels": "The run's pack has no levels of difficulty, or no task was accepted yet.",
    "solved-levels": "The run's pack has no levels of difficulty, or none was attempted yet.",
    "frontier": "The run's pack has no levels of difficulty, or no task was accepted yet.",
    "structures": "No proposal has been accepted yet.",
    "repeats": "No training step has a proposal.",
    "lengths": "The metrics have no lengths yet.",
    "clipped": "The metrics have no lengths yet.",
    "phases": "The metrics have no times yet.",
    "buffer": "The metrics have no buffer yet.",
    RESPONSES: "The ledger has no response yet.",
}
"""By chart, why nothing is drawn, and why there are no tasks; charts of the same data share a sentence."""

SAME_DATA = {
    "accuracy-ends": "accuracy",
    "accuracy-groups": "accuracy",
    "learnable": "solve-rates",
}

OF_LEDGER: Mapping[str, Callable[[Index], Table]] = {
    "rewards": ledger.rewards,
    "proposals": partial(ledger.statuses, role=Role.PROPOSE),
    "attempts": partial(ledger.statuses, role=Role.SOLVE),
    "solve-rates": ledger.solve_rates,
    "learnable": ledger.learnable,
    "proposed-levels": ledger.proposed_levels,
    "solved-levels": ledger.solved_levels,
    "frontier": ledger.frontier,
    "structures": ledger.structures,
    "repeats": ledger.repeats,
}


@dataclass(frozen=True, slots=True)
class RunRead:
    """A run, as the page shows it."""

    part: RunPart
    seed: int
    notes: list[str]  # what of the ledger is not in the page


def read_run(folder: Path, name: str, share_of_page: float = 1.0) -> RunRead:
    """A run's part of the page; `share_of_page` is that of the room for responses.

    Raises:
        InspectError: There is no run, or its ledger cannot be indexed.
        ReportError: A file of its results is damaged.
    """
    run = open_run(folder)
    metrics = run.metrics()
    summary = read_summary(folder / SUMMARY)
    found = tables_of_metrics(metrics)
    with open_index(run) as index:
        found |= {chart: rows_of(index) for chart, rows_of in OF_LEDGER.items()}
        alarms = ledger.alarms(index)
        responses = read_responses(index, share_of_page)
        part = RunPart(
            name=name,
            facts=facts(run, metrics, summary),
            tiles=[*accuracy_tiles(metrics), *ledger_tiles(index, len(alarms))],
            tables=found,
            missing={
                name: MISSING[SAME_DATA.get(name, name)]
                for name in (*SAME_DATA, *MISSING)
                if not (responses["step"] if name == RESPONSES else found[name])
            },
            alarms=alarms,
            responses=responses if responses["step"] else None,
        )
        return RunRead(part, run.azr.seed, [f"{name}: {note}." for note in ledger_notes(index)])


def read_summary(path: Path) -> dict[str, Any]:
    """The run's result, empty while there is none; ReportError for a file that is none."""
    if not path.exists():
        return {}
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:  # no JSON, no text, or not readable
        words = " ".join(str(error).split())
        raise ReportError(f"{path} must be what a run wrote, and cannot be read: {words}") from error
    if not isinstance(values, dict):
        raise ReportError(f"{path} must be what a run wrote, and cannot be read: it holds no object")
    return values


def tables_of_metrics(metrics: Sequence[Mapping[str, Any]]) -> dict[str, Table]:
    """The rows of the charts that need no ledger."""
    accuracy = tables.accuracy(metrics)
    groups = {row["group"] for row in accuracy}
    return {
        "accuracy": [row for row in accuracy if row["group"] == ALL_KINDS],
        "accuracy-ends": tables.ends(accuracy) if len(groups) > 1 else [],
        "accuracy-groups": [row for row in accuracy if row["group"] != ALL_KINDS],
        "advantages": tables.by_role_and_kind(metrics, "advantage_magnitude"),
        "lengths": tables.by_role_and_kind(metrics, "response_tokens"),
        "clipped": tables.clipped(metrics),
        "phases": tables.phase_times(metrics),
        "seconds": tables.step_seconds(metrics),
        "buffer": tables.buffer_sizes(metrics),
    }


def facts(
    run: Run, metrics: Sequence[Mapping[str, Any]], summary: Mapping[str, Any]
) -> list[tuple[str, str]]:
    """The run's header."""
    config = run.config
    command = re.sub(r"^\S*/", "", str(summary.get("command", "")))  # of the interpreter its name
    last = max((line["step"] for line in metrics), default=0)
    times = [line["time"] for line in metrics if isinstance(line.get("time"), float)]
    experiment = re.search(r"(?:^|\s)['\"]?experiment=([\w/.-]+)", command)
    found = {
        "experiment": experiment[1] if experiment else "",
        "model": str(OmegaConf.select(config, "actor_rollout_ref.model.path", default="")),
        "pack": run.pack_name,
        "rewards": str(config.get("reward_profile", "")),
        "seed": str(run.azr.seed),
        "steps": f"{last} of {run.total_steps}" + ("" if summary else ", no result yet"),
        "time": " to ".join(_moment(time) for time in dict.fromkeys((times[0], times[-1]))) if times else "",
        "command": command or _WHEN_IT_ENDS,
        "commit": str(summary.get("commit") or ("not of a checkout" if summary else _WHEN_IT_ENDS)),
        "machine": machine(summary.get("hardware") or {}),
        "versions": ", ".join(
            f"{name} {version}" for name, version in (summary.get("versions") or {}).items()
        ),
        "directory": str(run.folder),
    }
    return [(name, value) for name, value in found.items() if value]


_WHEN_IT_ENDS = "written when the run ends"


def machine(hardware: Mapping[str, Any]) -> str:
    """A machine in words (`recipe.preflight.machine.hardware`); "" if nothing is known of it."""
    if not hardware:
        return ""
    gpus = ", ".join(hardware["gpus"]) or "no GPU"
    return f"{hardware['cores']} cores of {hardware['cpu']}, {hardware['memory_gib']} GiB, {gpus}"


def _moment(time: float) -> str:
    return datetime.fromtimestamp(time, UTC).strftime("%Y-%m-%d %H:%M UTC")


def accuracy_tiles(metrics: Sequence[Mapping[str, Any]]) -> list[Tile]:
    """Held-out accuracy, of the base model and now."""
    found = [(line["step"], held_out) for line in metrics if (held_out := held_out_of(line)) is not None]
    if not found:
        return []
    (first, base), (last, now) = found[0], found[-1]
    interval = f"95 % {now['low']:.1%} to {now['high']:.1%}, n={now['n']}"
    shown = [f"{one['accuracy']:.1%}" for one in (base, now)]
    before = "base" if first == 0 else f"step {first}"
    tiles = [
        Tile(
            " → ".join(shown if last > first else shown[-1:]),
            f"held-out, greedy: {before}, step {last} ({interval})",
        )
    ]
    for name in (name for name in now if name.startswith(tables.MEAN_AT)):
        shares = [f"{one[name]:.1%}" for one in (base, now) if name in one]
        k = name.removeprefix(tables.MEAN_AT)
        tiles.append(Tile(" → ".join(shares if last > first else shares[-1:]), f"held-out, mean@{k}"))
    return tiles


def ledger_tiles(index: Index, num_alarms: int) -> list[Tile]:
    """What the last steps did."""
    counted = index.row("SELECT count(*) AS n, coalesce(max(step), 0) AS last FROM lines")
    tiles = [Tile(f"{counted['n']:,}", "responses in the ledger")]
    if counted["last"]:
        steps = Steps(max(1, counted["last"] - LAST_STEPS + 1), counted["last"])
        (numbers,) = read_numbers(index, [steps], Where("true", {}))
        when = f"steps {steps}"
        shares = {
            f"accepted, of proposals of {when}": numbers.share(numbers.accepted),
            f"surplus, of proposals of {when}": numbers.share(numbers.surplus) if numbers.surplus else None,
            f"learnable, of attempted tasks of {when}": numbers.learnable_share,
            f"right, of attempts of {when}": numbers.accuracy,
        }
        tiles += [Tile(f"{share:.0%}", name) for name, share in shares.items() if share is not None]
    return [*tiles, Tile(str(num_alarms), "alarms")]
