"""The files that a run leaves in its directory.

config.yaml        the resolved configuration, as it was asked for
metrics.jsonl      one line a step: verl's metrics and ours
evaluations.jsonl  one line an evaluation: what became of each held-out task
ledger.jsonl       one line a proposal or attempt
tensorboard/       the metrics again, as event files; where asked for also wandb/, swanlog/, trackio/, mlruns/
summary.json       the held-out result before and after
checkpoints/       verl's folders, with self-play's state in each
log.txt            what verl, vLLM and Ray print
"""

from __future__ import annotations

import json
import math
import os
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from recipe.run import checkpoint

CONFIG = "config.yaml"
METRICS = "metrics.jsonl"
EVALUATIONS = "evaluations.jsonl"
LEDGER = "ledger.jsonl"
LOG = "log.txt"
SUMMARY = "summary.json"
TENSORBOARD = "tensorboard"

PROBE_BYTES = 1 << 20
"""More than is left over when a write fails because the disk is full: it fills it to the last block first."""

LINE_ENDS = {ord(end): f"\\u{ord(end):04x}" for end in "\x85\u2028\u2029"}
"""Characters that `str.splitlines` takes for the end of a line and JSON does not, as JSON escapes."""


def logger_folders(run_dir: Path) -> dict[str, str]:
    """Where verl's loggers write, by the environment variable that each reads: into the run's directory."""
    return {
        "TENSORBOARD_DIR": str(run_dir / TENSORBOARD),
        "WANDB_DIR": str(run_dir),
        "SWANLAB_LOG_DIR": str(run_dir / "swanlog"),
        "TRACKIO_DIR": str(run_dir / "trackio"),
        "VERL_FILE_LOGGER_ROOT": str(run_dir),
    }


def mlflow_store(run_dir: Path) -> dict[str, str]:
    """Where MLflow keeps everything in the run's directory, by its environment variables.

    A file store, which MLflow 3 wants to be asked for: a database would hold the metrics alone, and artifacts
    would go into the working directory.
    """
    return {"MLFLOW_TRACKING_URI": (run_dir / "mlruns").as_uri(), "MLFLOW_ALLOW_FILE_STORE": "true"}


class JsonLinesFile:
    """An append-only file of JSON lines that knows its length and can be cut back to an earlier one."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = path.open("ab")

    @property
    def num_bytes(self) -> int:
        """Length of the file, all appended lines included."""
        return self._file.tell()

    def append(self, lines: Iterable[Mapping[str, Any]]) -> None:
        """Append one line for each dictionary and hand them to the operating system."""
        for line in lines:
            text = json.dumps(line, ensure_ascii=False).translate(LINE_ENDS)
            self._file.write(text.encode("utf-8", "backslashreplace") + b"\n")
        self._file.flush()

    def truncate(self, num_bytes: int) -> None:
        """Cut the file back to its first `num_bytes` bytes.

        Raises:
            ValueError: The file is shorter than that: lines that a checkpoint counts on are gone.
        """
        if num_bytes > self.num_bytes:
            raise ValueError(
                f"{self.path} must be at least {num_bytes} bytes long to resume from this checkpoint; "
                f"it has {self.num_bytes}. Restore the file, or start a new run in another directory."
            )
        self._file.truncate(num_bytes)
        self._file.seek(num_bytes)

    def sync(self) -> int:
        """Wait until everything appended is on disk; the file's length."""
        os.fsync(self._file.fileno())
        return self.num_bytes

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class Unfinished(NamedTuple):
    """A checkpoint that verl has written, of a step without metrics yet."""

    folder: Path
    pack: str
    step: int
    take_state: Callable[[], Mapping[str, Any]]  # self-play's state


class RunFiles:
    """The trainer's side of a run's directory: ledger, metrics, evaluations, and the end of each checkpoint.

    It has the methods of one of verl's loggers, `log` and `finish`.
    """

    def __init__(self, folder: Path) -> None:
        self.ledger = JsonLinesFile(folder / LEDGER)
        self.evaluations = JsonLinesFile(folder / EVALUATIONS)
        self.metrics = JsonLinesFile(folder / METRICS)
        self._unfinished: Unfinished | None = None

    def truncate(self, ledger_bytes: int, metrics_bytes: int) -> None:
        """Drop what was written after the checkpoint that the run resumes from.

        Evaluations stay: whoever reads them (`read_evaluations`) sees by their steps that the run went back.
        """
        self.ledger.truncate(ledger_bytes)
        self.metrics.truncate(metrics_bytes)

    def finish_checkpoint_with_metrics(
        self, folder: Path, pack: str, step: int, take_state: Callable[[], Mapping[str, Any]]
    ) -> None:
        """Put self-play's state into the checkpoint in `folder`, and declare it finished, as soon as its
        step's metrics are written.

        verl saves a step's checkpoint before it logs the step. A checkpoint that counted at once would make
        a run that is killed in between lose that step's metrics. And what alarms remember is not whole before
        the step's evaluation.
        """
        self._unfinished = Unfinished(folder, pack, step, take_state)

    def log(self, data: Mapping[str, Any], step: int) -> None:
        """Append the metrics of a step; finish its checkpoint."""
        values = {name: _plain(value) for name, value in sorted(data.items())}
        self.metrics.append([{"step": step, "time": time.time(), **values}])
        if self._unfinished is not None:
            self._finish(self._unfinished)
            self._unfinished = None

    def _finish(self, unfinished: Unfinished) -> None:
        self.evaluations.sync()
        manifest = checkpoint.Manifest(
            checkpoint.FORMAT,
            unfinished.pack,
            unfinished.step,
            state_sha256=checkpoint.write_state(unfinished.folder, unfinished.take_state()),
            ledger_bytes=self.ledger.sync(),
            metrics_bytes=self.metrics.sync(),
        )
        checkpoint.write_manifest(unfinished.folder, manifest)

    def finish(self) -> None:
        """Close the files."""
        self.ledger.close()
        self.evaluations.close()
        self.metrics.close()


def _plain(value: Any) -> float | str | None:
    """A metric as a JSON value: numpy and torch scalars as floats, NaN and infinity as null."""
    if isinstance(value, str):
        return value
    number = float(value)
    return number if math.isfinite(number) else None


def check_writable(folder: Path) -> None:
    """Write `PROBE_BYTES` into `folder` and take them away again.

    A full disk shows itself in many ways: torch's writer says `basic_ios::clear: iostream error`, and Ray
    hands that on. So what a failed run reports is what the operating system says to a plain write.

    Raises:
        OSError: The folder is missing, may not be written to, or its disk is full or over quota.
    """
    with tempfile.TemporaryFile(dir=folder) as file:
        file.write(bytes(PROBE_BYTES))
        file.flush()
        os.fsync(file.fileno())  # network file systems find out as late as this


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The lines of a metrics file; a last line that is still being written is left out."""
    if not path.exists():
        return []
    *lines, _ = path.read_bytes().split(b"\n")
    return [json.loads(line) for line in lines]


class GrowingFile:
    """JSON lines of a file that another process appends to, and cuts back when it is resumed.

    Attributes:
        num_damaged: Lines so far that are no JSON objects, and were skipped.
    """

    def __init__(self, path: Path, tail_bytes: int | None = None) -> None:
        """Of what is there by now read all, or at most the last `tail_bytes`."""
        self.num_damaged = 0
        self._path = path
        size = path.stat().st_size if path.exists() else 0
        num_left_out = 0 if tail_bytes is None else max(size - tail_bytes, 0)
        # From the last byte of these on: it ends a line, or is inside of one that is left out too
        self._begins_inside = num_left_out > 0
        self._offset = max(num_left_out - 1, 0)

    def new_lines(self) -> tuple[Iterator[dict[str, Any]], bool]:
        """The objects that came since those that were read last, and whether the file was cut back before
        them: then they are all that it has.

        They are read as they are asked for. A last line without its end is still being written, and left for
        the next call.
        """
        if not self._path.exists():
            return iter(()), False
        was_cut = self._path.stat().st_size < self._offset
        if was_cut:
            self._offset, self._begins_inside = 0, False
        return self._read(), was_cut

    def _read(self) -> Iterator[dict[str, Any]]:
        with self._path.open("rb") as file:
            file.seek(self._offset)
            for line in file:
                if not line.endswith(b"\n"):
                    return
                self._offset += len(line)
                if self._begins_inside:
                    self._begins_inside = False
                    continue
                try:
                    value = json.loads(line)
                except ValueError:
                    value = None
                if isinstance(value, dict):
                    yield value
                else:
                    self.num_damaged += 1


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
