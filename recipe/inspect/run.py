"""A run's directory as it is looked at: what the run was asked, and where its ledger is."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from recipe.inspect import InspectError
from recipe.run import checkpoint
from recipe.run.files import CONFIG, LEDGER, METRICS, read_metrics
from recipe.selfplay.config import AzrConfig
from recipe.selfplay.plan import StepPlan
from rewards.profile import Profile, load_profile
from rewards.propose import find_shape
from tasks.contract import TaskPack
from tasks.guard import GuardedPack, PackError, short_error
from tasks.registry import load_pack


@dataclass(frozen=True, slots=True)
class Run:
    """A run, finished or going on. What it was asked is what it was asked when it was started last."""

    folder: Path
    config: DictConfig
    azr: AzrConfig

    @property
    def ledger(self) -> Path:
        """The ledger's file."""
        return self.folder / LEDGER

    @property
    def pack_name(self) -> str:
        """The pack's name, or its package's where the configuration has a class."""
        parts = str(OmegaConf.select(self.config, "pack._target_", default="?")).split(".")
        return parts[-2] if len(parts) > 1 and parts[-1][:1].isupper() else parts[-1]

    @property
    def total_steps(self) -> int | None:
        """Steps that the run is to have; None if its configuration does not say."""
        steps = OmegaConf.select(self.config, "trainer.total_training_steps")
        return None if steps is None else int(steps)

    @property
    def plan(self) -> StepPlan:
        """What a step trains on. How many kinds there are is the pack's to say, and of no account here."""
        return StepPlan.of(self.azr, num_kinds=1)

    def profile(self) -> Profile:
        """The prices of outcomes.

        Raises:
            InspectError: The configuration names none that is known here.
        """
        learnability = self.azr.learnability
        try:
            shape = find_shape(learnability.shape, learnability.low, learnability.high)
            return load_profile(str(self.config.reward_profile), shape)
        except (ValueError, OmegaConfBaseException) as error:
            raise InspectError(f"{self.folder / CONFIG}: {error}") from error

    def pack(self) -> TaskPack:
        """The run's own pack.

        Raises:
            InspectError: It cannot be imported or built here.
        """
        try:
            return GuardedPack(load_pack(OmegaConf.select(self.config, "pack", default="")))
        except Exception as error:  # the boundary to code that others wrote, which may not be installed here
            words = str(error) if isinstance(error, PackError | ValueError) else short_error(error)
            raise InspectError(f"the run's pack cannot be built here: {' '.join(words.split())}") from error

    def metrics(self) -> list[dict[str, Any]]:
        """The lines of its metrics.

        Raises:
            InspectError: The file is none of metrics.
        """
        path = self.folder / METRICS
        try:
            lines = read_metrics(path)
        except (ValueError, OSError) as error:  # no JSON, no text, or not readable
            words = " ".join(str(error).split())
            raise InspectError(f"{path} must be what a run wrote, and cannot be read: {words}") from error
        if not all(isinstance(line, dict) and isinstance(line.get("step"), int) for line in lines):
            raise InspectError(f"{path} must be what a run wrote; a line of it has no step")
        return lines

    def last_finished_step(self) -> int:
        """The last step that is known to stand in the ledger as a whole; 0 before the first."""
        with suppress(InspectError):  # a damaged file of metrics does not say
            # A step's metrics are written behind all of its lines.
            return max((line["step"] for line in self.metrics()), default=0)
        return 0


def open_run(folder: Path) -> Run:
    """The run in a directory.

    Raises:
        InspectError: There is none, it has no ledger yet, or it is of another version of this program.
    """
    file = folder / CONFIG
    if not file.is_file():
        raise InspectError(f"RUN must be the directory of a run, with its {CONFIG}; got {folder}")
    try:
        config = OmegaConf.load(file)
    except (OSError, UnicodeDecodeError, yaml.YAMLError, OmegaConfBaseException) as error:
        raise InspectError(f"{file} must be what a run wrote; {short_error(error)}") from error
    if not isinstance(config, DictConfig):
        raise InspectError(f"{file} must be what a run wrote; it holds no keys")
    run = Run(folder, config, _read_azr(file, config))
    _require_this_version(run)
    if not run.ledger.is_file():
        raise InspectError(f"{folder} has no {LEDGER} yet; a run writes one with its first responses")
    return run


def _read_azr(file: Path, config: DictConfig) -> AzrConfig:
    try:
        azr = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(AzrConfig), config.get("azr") or {}))
    except OmegaConfBaseException as error:
        words = " ".join(str(error).splitlines()[:1])
        raise InspectError(
            f"{file} must have the keys of this version under azr: {words}. Look at the run with the version "
            "that wrote it."
        ) from error
    assert isinstance(azr, AzrConfig)
    return azr


def _require_this_version(run: Run) -> None:
    """InspectError if its newest checkpoint is of another format; a damaged one does not say."""
    given = OmegaConf.select(run.config, "trainer.default_local_dir")
    then = OmegaConf.select(run.config, "run.dir")
    checkpoints = Path(str(given or run.folder / "checkpoints"))
    if then is not None and checkpoints.is_relative_to(str(then)):  # the directory may have been moved since
        checkpoints = run.folder / checkpoints.relative_to(str(then))
    manifests = sorted(checkpoints.glob("global_step_*/azr/manifest.json"), key=_step_of_manifest)
    for path in manifests[-1:]:
        with suppress(checkpoint.CheckpointError):
            found = checkpoint.read_format(path)
            if found != checkpoint.FORMAT:
                raise InspectError(
                    f"{run.folder} must be a run of checkpoint format {checkpoint.FORMAT}; got {found}. Look "
                    "at it with the version that wrote it."
                )


def _step_of_manifest(path: Path) -> int:
    return checkpoint.step_of(path.parent.parent)
