"""The run's folders: they can be written to, and hold nothing that the run would spoil."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from recipe.preflight import machine, slots
from recipe.preflight.rules.register import rule
from recipe.preflight.setup import Setup
from recipe.run import checkpoint
from recipe.run.files import CONFIG, SUMMARY, changed_settings, check_writable
from recipe.selfplay.config import ElicitConfig


@rule(here=True)
def writable(setup: Setup) -> Iterator[str]:
    """The folders that the run writes to can be made and written to."""
    trainer = setup.config.trainer
    dumps = {f"trainer.{name}": trainer.get(name) for name in ("rollout_data_dir", "validation_data_dir")}
    of_dumps = {key: Path(str(folder)) for key, folder in dumps.items() if folder}
    for key, folder in (machine.folders(setup.config) | of_dumps).items():
        if (fault := unwritable(folder)) is not None:
            yield f"{key} must be writable; {folder} is not: {fault}"


def unwritable(folder: Path) -> str | None:
    """What keeps a folder from being made and written to; None if nothing does."""
    try:
        check_writable(machine.nearest(folder))
    except OSError as error:
        return error.strerror or str(error)
    return None


@rule()
def resuming(setup: Setup) -> Iterator[str]:
    """A run goes on from its own checkpoint, and never over another's result."""
    trainer = setup.config.trainer
    checkpoints, mode = Path(trainer.default_local_dir), trainer.resume_mode
    latest = checkpoint.latest_checkpoint(checkpoints)
    if mode != "resume_path" and trainer.resume_from_path is not None:
        yield f"trainer.resume_from_path is read with trainer.resume_mode=resume_path alone; got {mode}"
    if mode == "disable" and latest is not None:
        yield f"trainer.resume_mode=disable would write over the run with {latest}; give another run.dir"
    elif mode == "resume_path":
        yield from _other_checkpoint(trainer.resume_from_path, checkpoints)
    elif latest is not None and trainer.val_only and setup.config.azr.elicit != asdict(ElicitConfig()):
        yield f"run.dir must be another with azr.elicit, whose result is of no training run; it has {latest}"
    elif (
        latest is None
        and (summary := Path(setup.config.run.dir) / SUMMARY).exists()
        and not is_finished(setup.config)
    ):
        yield (
            "run.dir must not hold the result of a run without checkpoints, which a new run would write "
            f"over; {summary} exists. Give another run.dir."
        )
    begin = resumed_from(setup)
    if begin is not None and (manifest := checkpoint.read_manifest(begin)) is not None:
        checkpoint.check_pack(begin, manifest, setup.pack.name)


@rule()
def same_result(setup: Setup) -> Iterator[str]:
    """A run that has all its steps does not stand for one of other settings."""
    if is_finished(setup.config) and (refusal := other_result(setup.filled)) is not None:
        yield refusal


def is_finished(config: DictConfig) -> bool:
    """Whether its summary stands and its newest checkpoint is its last step; an evaluation has none."""
    trainer = config.trainer
    newest = max(checkpoint.finished(Path(trainer.default_local_dir)), default=None)
    done = newest is None if trainer.val_only else (newest or 0) >= trainer.total_training_steps
    return bool(trainer.resume_mode == "auto" and done and (Path(config.run.dir) / SUMMARY).exists())


def finished_part(config: DictConfig) -> str:
    """What a finished run has already, in words."""
    steps = "evaluation" if config.trainer.val_only else f"{config.trainer.total_training_steps} steps"
    return f"{config.run.dir} has its {steps} already"


def other_result(config: DictConfig) -> str | None:
    """What is to be said of a finished run whose settings were others; None if they were these."""
    if not (changed := changes(config)):
        return None
    return (
        f"{finished_part(config)}, of another configuration ({'; '.join(changed[:5])}). Give another run.dir."
    )


def changes(config: DictConfig) -> list[str]:
    """What a run goes on with that it was not begun with: its numbers would be of two settings.

    `config` is the run's, filled in.
    """
    if not (saved := Path(config.run.dir) / CONFIG).exists():
        return []
    before: Any = OmegaConf.to_container(OmegaConf.load(saved))
    now: Any = OmegaConf.to_container(config, resolve=True)
    for side in (before, now):
        side["ray_kwargs"]["ray_init"].pop("address", None)  # a requeued job's head may be another node
    return changed_settings(before, now)


@rule()
def resumed_tasks(setup: Setup) -> Iterator[str]:
    """A resumed run practises on its buffer: tasks of its kinds, none of them held out by now."""
    begin = resumed_from(setup)
    state = None if begin is None else begin / "azr" / "state.json"
    if state is None or not state.is_file():
        return
    buffer, pack = json.loads(state.read_text())["buffer"], setup.pack
    if list(buffer) != (kinds := [spec.name for spec in pack.kinds]):
        yield f"the pack's kinds must be those of {begin}, {', '.join(buffer)}; got {', '.join(kinds)}"
    held_out = {pack.task_key(record) for record in pack.held_out()}
    if shared := sum(entry["key"] in held_out for entries in buffer.values() for entry in entries):
        yield (
            f"the pack must hold out no task of the buffer in {begin}; {shared} are. Give the held-out set "
            "that the run was started with, or start a new one"
        )


def resumed_from(setup: Setup) -> Path | None:
    """The checkpoint that the run would go on from; None for a new run."""
    trainer = setup.config.trainer
    if trainer.resume_mode == "resume_path":
        return Path(trainer.resume_from_path or "")
    return (
        checkpoint.latest_checkpoint(Path(trainer.default_local_dir))
        if trainer.resume_mode == "auto"
        else None
    )


def _other_checkpoint(given: str | None, checkpoints: Path) -> Iterator[str]:
    """What keeps a run with these checkpoints from being resumed from another than its newest."""
    path = Path(given or "")
    if given is None or not checkpoint.is_finished(path):
        got = "null" if given is None else given
        yield f"trainer.resume_from_path must be a finished checkpoint of this recipe; got {got}"
    # The ledger and the metrics of its run are cut back to where the checkpoint was made.
    elif path.absolute().parent != checkpoints.absolute():
        yield (
            f"trainer.resume_from_path must be a checkpoint of this run, under {checkpoints}; got "
            f"{path}. Copy that run's directory and give it as run.dir."
        )
    elif not (path / "actor").is_dir():
        yield (
            f"trainer.resume_from_path must be a checkpoint with weights; {path} has none any more: a run "
            "keeps those of its newest trainer.max_actor_ckpt_to_keep"
        )


@rule()
def as_many_workers(setup: Setup) -> Iterator[str]:
    """A checkpoint has one shard a worker, and verl 0.9.1 loads it into as many."""
    if (begin := resumed_from(setup)) is None or (wrote := checkpoint.num_workers(begin)) is None:
        return
    if (workers := slots.num_workers(setup.config)) != wrote:
        yield (
            f"trainer.nnodes * trainer.n_gpus_per_node must make {wrote}, the number of workers that wrote "
            f"{begin}; got {workers}. To go on with another number, start a new run from what "
            "`python -m recipe.export` makes of the checkpoint."
        )
