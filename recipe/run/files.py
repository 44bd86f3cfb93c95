"""The files that a run leaves in its directory, and the summary that is made from them.

config.yaml      the resolved configuration, as it was asked for
metrics.jsonl    one line a step: verl's metrics and ours
ledger.jsonl     one line a proposal or attempt
tensorboard/     the metrics again, as event files
summary.json     the held-out result before and after
checkpoints/     verl's folders, with self-play's state in each
log.txt          what verl, vLLM and Ray print
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from recipe.run import checkpoint
from recipe.selfplay.ledger import JsonLinesFile, LedgerLine
from recipe.selfplay.metrics import ALL_KINDS, HELD_OUT

CONFIG = "config.yaml"
METRICS = "metrics.jsonl"
LEDGER = "ledger.jsonl"
LOG = "log.txt"
SUMMARY = "summary.json"
TENSORBOARD = "tensorboard"

INTERVAL_FIELDS = ("accuracy", "low", "high", "n", "format_rate")


class RunFiles:
    """The trainer's side of a run's directory: ledger, metrics, and the end of each checkpoint.

    It has the methods of one of verl's loggers, `log` and `finish`.

    Args:
        folder: The run's directory, which exists.
    """

    def __init__(self, folder: Path) -> None:
        self._ledger = JsonLinesFile(folder / LEDGER)
        self._metrics = JsonLinesFile(folder / METRICS)
        self._unfinished: tuple[Path, str, int, str] | None = None

    def append_ledger(self, lines: Sequence[LedgerLine]) -> None:
        """Append a step's lines to the ledger."""
        self._ledger.append(line.to_json() for line in lines)

    def truncate(self, ledger_bytes: int, metrics_bytes: int) -> None:
        """Drop what was written after the checkpoint that the run resumes from."""
        self._ledger.truncate(ledger_bytes)
        self._metrics.truncate(metrics_bytes)

    def finish_checkpoint_with_metrics(self, folder: Path, pack: str, step: int, state_sha256: str) -> None:
        """Declare the checkpoint in `folder` finished as soon as its step's metrics are written.

        verl saves a step's checkpoint before it logs the step. A checkpoint that counted at once would make
        a run that is killed in between lose that step's metrics.
        """
        self._unfinished = (folder, pack, step, state_sha256)

    def log(self, data: Mapping[str, Any], step: int) -> None:
        """Append the metrics of a step; finish its checkpoint."""
        values = {name: _plain(value) for name, value in sorted(data.items())}
        self._metrics.append([{"step": step, "time": time.time(), **values}])
        if self._unfinished is not None:
            folder, pack, checkpoint_step, digest = self._unfinished
            self._ledger.sync()
            self._metrics.sync()
            manifest = checkpoint.Manifest(
                format=checkpoint.FORMAT,
                pack=pack,
                step=checkpoint_step,
                state_sha256=digest,
                ledger_bytes=self._ledger.num_bytes,
                metrics_bytes=self._metrics.num_bytes,
            )
            checkpoint.write_manifest(folder, manifest)
            self._unfinished = None

    def finish(self) -> None:
        """Close the files."""
        self._ledger.close()
        self._metrics.close()


def _plain(value: Any) -> float | str | None:
    """A metric as a JSON value: numpy and torch scalars as floats, NaN and infinity as null."""
    if isinstance(value, str):
        return value
    number = float(value)
    return number if math.isfinite(number) else None


def held_out_of(line: Mapping[str, Any]) -> dict[str, Any] | None:
    """The held-out result in a line of metrics; None if the step was not validated.

    Returns:
        `accuracy`, `low`, `high`, `n` and `format_rate` in all, and the same `by_kind`; with
        `azr.held_out_samples=k` there is `mean_at_k` as well.
    """
    by_kind: dict[str, dict[str, float]] = {}
    for name, value in line.items():
        if name.startswith(f"{HELD_OUT}/"):
            kind, field = name.removeprefix(f"{HELD_OUT}/").split("/")
            by_kind.setdefault(kind, {})[field] = value
    if not by_kind:
        return None
    ordered = {
        kind: {name: found[name] for name in (*INTERVAL_FIELDS, *sorted(found.keys() - {*INTERVAL_FIELDS}))}
        for kind, found in by_kind.items()
    }
    for found in ordered.values():
        found["n"] = int(found["n"])
    return {**ordered.pop(ALL_KINDS), "by_kind": dict(sorted(ordered.items()))}


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The lines of a metrics file; a last line that is still being written is left out."""
    if not path.exists():
        return []
    *lines, _ = path.read_bytes().split(b"\n")
    return [json.loads(line) for line in lines]


def changed_settings(before: Mapping[str, Any], now: Mapping[str, Any], prefix: str = "") -> list[str]:
    """What differs between two resolved configurations: `key: old -> new`, by key."""
    lines = []
    for key in sorted(before.keys() | now.keys()):
        old, new = before.get(key), now.get(key)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            lines += changed_settings(old, new, f"{prefix}{key}.")
        elif old != new:
            lines.append(f"{prefix}{key}: {old} -> {new}")
    return lines


def make_summary(
    lines: Sequence[Mapping[str, Any]],
    seconds: float,
    command: str,
    commit: str | None,
    versions: Mapping[str, str],
) -> dict[str, Any]:
    """The result of a run.

    Args:
        lines: All lines of its metrics file.
        seconds: Wall-clock time of the command.
        command: The command that was typed.
        commit: The checkout that it ran from; None if it ran from none.
        versions: Versions of the packages that matter.
    """
    before = [found for line in lines if line["step"] == 0 and (found := held_out_of(line)) is not None]
    after = [found for line in lines if line["step"] > 0 and (found := held_out_of(line)) is not None]
    return {
        "held_out": {
            "before": before[0] if before else None,
            "after": after[-1] if after else None,
        },
        "seconds": round(seconds, 1),
        "steps": max((line["step"] for line in lines), default=0),
        "command": command,
        "commit": commit,
        "versions": dict(versions),
    }
