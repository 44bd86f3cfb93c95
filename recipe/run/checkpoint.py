"""Self-play's part of a checkpoint, and which checkpoint a run may resume from.

A checkpoint is verl's folder `global_step_<n>`. Beside verl's files it holds `azr/state.json`, all of
self-play's state, and `azr/manifest.json`, which is written last: a folder without a manifest was never
finished and is never resumed from. Both are written aside, synced and renamed.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, cast

FORMAT = 5
"""Version of the manifest and the state. A checkpoint of another version is refused."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a finished checkpoint says of itself."""

    format: int  # `FORMAT` of the code that wrote it
    pack: str
    step: int  # the last that it holds
    state_sha256: str  # digest of `state.json`
    ledger_bytes: int = 0  # length of the ledger then
    metrics_bytes: int = 0


class CheckpointError(ValueError):
    """A checkpoint cannot be resumed from; the message says why and what to do."""


def write_state(folder: Path, state: Mapping[str, Any]) -> str:
    """Write self-play's state into verl's checkpoint `folder`; return its digest."""
    content = json.dumps(state, ensure_ascii=True)
    write_atomically(folder / "azr" / "state.json", content)
    return hashlib.sha256(content.encode()).hexdigest()


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Declare the checkpoint in `folder` finished."""
    write_atomically(folder / "azr" / "manifest.json", json.dumps(asdict(manifest), indent=1))


def read_manifest(folder: Path) -> Manifest | None:
    """The manifest of the checkpoint in `folder`; None if it was never finished.

    Raises:
        CheckpointError: The checkpoint is of another format version, or the manifest is damaged.
    """
    path = folder / "azr" / "manifest.json"
    if not path.exists():
        return None
    values = _read_object(path, "format")
    if values["format"] != FORMAT:
        raise CheckpointError(
            f"{folder} must be of checkpoint format {FORMAT}; got {values['format']}. "
            "Resume it with the version that wrote it, or start a new run with another run.dir."
        )
    # By name, so that a manifest without a length does not read as one of 0: the ledger would be cut to it.
    return Manifest(**{part.name: values[part.name] for part in fields(Manifest)})


def read_format(manifest: Path) -> object:
    """The format version that a manifest's file names; CheckpointError if it is damaged."""
    return _read_object(manifest, "format")["format"]


def read_state(folder: Path, manifest: Manifest) -> dict[str, Any]:
    """Self-play's state from the checkpoint in `folder`.

    Raises:
        CheckpointError: The file is not the one that the manifest names.
    """
    content = (folder / "azr" / "state.json").read_bytes()
    if hashlib.sha256(content).hexdigest() != manifest.state_sha256:
        raise CheckpointError(
            f"{folder}/azr/state.json must have the digest that its manifest names; it was changed. "
            "Remove the folder to resume from an earlier checkpoint."
        )
    return cast(dict[str, Any], json.loads(content))


def is_finished(folder: Path) -> bool:
    """Whether the checkpoint in `folder`, of whichever format, was written to its end."""
    return (folder / "azr" / "manifest.json").exists()


def num_workers(folder: Path) -> int | None:
    """The number of workers whose shards a checkpoint has, as verl 0.9.1 notes it; None if it does not."""
    layout = folder / "actor" / "fsdp_config.json"
    return int(_read_object(layout, "world_size")["world_size"]) if layout.is_file() else None


def _read_object(path: Path, needed: str) -> dict[str, Any]:
    try:
        values: Any = json.loads(path.read_text())
    except ValueError:  # no JSON, or no text
        values = None
    if not isinstance(values, dict) or needed not in values:
        raise CheckpointError(
            f"{path} must hold a JSON object with {needed}, and is damaged. Remove the checkpoint "
            "that it is in to go on from an earlier one."
        )
    return values


def finished(checkpoints: Path) -> dict[int, Path]:
    """The finished checkpoints in the run's folder of checkpoints, by step, the newest last."""
    return {
        step_of(folder): folder
        for folder in sorted(checkpoints.glob("global_step_*"), key=step_of)
        # verl removes the weights of old checkpoints, and leaves the rest of the folder.
        if step_of(folder) >= 0 and is_finished(folder) and (folder / "actor").is_dir()
    }


def latest_checkpoint(checkpoints: Path) -> Path | None:
    """The newest finished checkpoint in the run's folder of checkpoints; None if there is none."""
    return next(reversed(finished(checkpoints).values()), None)


def discard_after(checkpoints: Path, step: int) -> None:
    """Declare the checkpoints after `step` unfinished: a run that goes on from there writes them anew.

    Without it a run that is killed while it writes over one of them would leave a folder whose manifest is of
    an earlier run and whose weights are of both.
    """
    for path in checkpoints.glob("global_step_*/azr/manifest.json"):
        if step_of(path.parent.parent) > step:
            path.unlink()


def make_room(checkpoints: Path, keep: int | None, best: int | None = None) -> None:
    """Remove weights before one more checkpoint is written, so that at most `keep` have theirs, and that of
    the step `best`.

    verl forgets at every start which checkpoints it has written, so those from before a resume would stay.
    Kept are the newest finished ones, at least one, and what is newer; with `keep=None`, all.
    """
    steps = list(finished(checkpoints))
    if keep is not None and steps:
        oldest_kept = steps[-max(keep - 1, 1) :][0]
        for actor in list(checkpoints.glob("global_step_*/actor")):
            step = step_of(actor.parent)
            if 0 <= step < oldest_kept and step != best:
                shutil.rmtree(actor)


def best_of(steps: Iterable[int], accuracies: Mapping[int, float]) -> int | None:
    """Which of these steps has the best accuracy, the first of equals; None if none was evaluated."""
    return max(
        (step for step in sorted(steps) if step in accuracies), key=accuracies.__getitem__, default=None
    )


def step_of(folder: Path) -> int:
    """The step that a checkpoint's folder is named after; -1 for a folder that verl did not name."""
    name = folder.name.removeprefix("global_step_")
    return int(name) if name.isdecimal() else -1


def check_pack(folder: Path, manifest: Manifest, pack: str) -> None:
    """Refuse, by a `CheckpointError`, to resume one pack's run from another pack's checkpoint."""
    if manifest.pack != pack:
        raise CheckpointError(
            f"pack must be {manifest.pack!r} to resume from {folder}; got {pack!r}. "
            "Start a new run with another run.dir, or resume with the pack that the checkpoint was made with."
        )


def write_atomically(path: Path, content: str) -> None:
    """Write a whole file in the place of `path`: whatever cuts it short leaves the old one as it was."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_suffix(".writing")
    with aside.open("wb") as file:
        file.write(content.encode())
        file.flush()
        os.fsync(file.fileno())
    aside.rename(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)  # the rename itself
    finally:
        os.close(folder)
