"""What a run is to be started with, as the rules look at it."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

from omegaconf import DictConfig

from recipe.config import finalize
from recipe.preflight import PreflightError, machine
from recipe.preflight.gguf_file import find_gguf
from recipe.preflight.machine import Gpu
from recipe.preflight.memory import fill_bucket
from recipe.preflight.model import (
    ModelConfig,
    ModelShape,
    fill_context,
    find_config,
    find_tokenizer,
    shape_of,
)
from recipe.selfplay.plan import StepPlan
from tasks.contract import PackUnavailableError, TaskPack
from tasks.guard import GuardedPack, PackError
from tasks.registry import load_pack
from tasks.sandbox import Capabilities, SandboxConfig, SandboxUnavailable, open_sandbox

REFUSALS = (ValueError, OverflowError, OSError, PackUnavailableError, PackError)
"""What a mistake in the configuration, or in what it names, is raised as."""


@dataclass(frozen=True, slots=True)
class Node:
    """A node of a Ray cluster: its slots, and the files that it was asked for and does not see."""

    address: str
    cpus: int
    gpus: int
    unseen: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True)
class Cluster:
    """The nodes that are alive, and for each key of the configuration a file in the folder that it names."""

    nodes: tuple[Node, ...]
    marks: Mapping[str, Path]


Survey = Callable[[str, Sequence[Path]], tuple[Node, ...]]
"""Asks the cluster at an address for its nodes and, where there are several, each of them for these files.

`PreflightError` if none lets us in. `recipe/engine/cluster.py` has the one that asks Ray."""


def fill(config: DictConfig, num_kinds: int, model: ModelConfig | None) -> None:
    """Fill in what follows from the rest of the configuration, from the pack and from the model."""
    finalize(config, num_kinds)
    fill_bucket(config, model)
    fill_context(config, model)


@dataclass
class Setup:
    """A configuration, and what it names. Whatever takes time is looked at once, when a rule asks for it.

    A property raises one of `REFUSALS` where it cannot be had; the message says what to do.
    """

    config: DictConfig
    survey: Survey
    gpu_gib: float | None = None  # memory of a GPU that is not here, where the run is for such a machine

    @property
    def plan(self) -> StepPlan:
        """What follows from `azr.*` for a step of all kinds of the pack."""
        return StepPlan.of(self.config.azr, len(self.pack.kinds))

    @property
    def pack(self) -> TaskPack:
        """The pack, held to its contract and available here."""
        if isinstance(self._pack, Exception):
            raise self._pack
        return self._pack

    @cached_property
    def _pack(self) -> TaskPack | Exception:
        """A pack that cannot be had is not waited for again."""
        try:
            pack = GuardedPack(load_pack(self.config.pack), self.config.azr.pack_deadline_s)
            pack.require_available()
        except REFUSALS as error:
            return error
        return pack

    @property
    def filled(self) -> DictConfig:
        """The configuration as the run has it once it is checked."""
        config = copy.deepcopy(self.config)
        fill(config, len(self.pack.kinds), self.model_config)
        return config

    @cached_property
    def model_config(self) -> ModelConfig | None:
        """What the model's config.json says; None where it is nowhere on this machine."""
        path = self.config.actor_rollout_ref.model.path
        return None if path is None else find_config(path)

    @cached_property
    def shape(self) -> ModelShape | None:
        """The model's sizes; None where they are not known."""
        try:
            return None if self.model_config is None else shape_of(self.model_config)
        except PreflightError:  # another rule says so
            return None

    @cached_property
    def tokenizer(self) -> Any | None:
        """The model's tokenizer, with the run's chat template; None where it is not known."""
        model = self.config.actor_rollout_ref.model
        tokenizer = None if model.path is None else find_tokenizer(model.get("tokenizer_path") or model.path)
        if tokenizer is not None and model.custom_chat_template is not None:
            tokenizer.chat_template = model.custom_chat_template
        return tokenizer if tokenizer is not None and tokenizer.chat_template else None

    @cached_property
    def gpus(self) -> list[Gpu]:
        """The GPUs of this machine."""
        return machine.find_gpus()

    @property
    def is_for_here(self) -> bool:
        """Whether the run is for this machine."""
        return self.gpu_gib is None

    @property
    def card_gib(self) -> float | None:
        """What was given for a GPU, or memory of the smallest one here; None if that is not known."""
        return min((gpu.total_gib for gpu in self.gpus), default=None) if self.is_for_here else self.gpu_gib

    @cached_property
    def sandbox(self) -> Capabilities:
        """The layers around untrusted programs, for a pack that runs any."""
        try:
            with open_sandbox(SandboxConfig(**self.config.pack.sandbox).for_one_program()) as opened:
                return opened.capabilities()
        except (SandboxUnavailable, ValueError) as error:
            if isinstance(self._pack, Exception):  # the same, by the keys of the configuration
                raise self._pack from error
            raise PreflightError(" ".join(str(error).split())) from error

    @cached_property
    def cluster(self) -> Cluster:
        """The Ray cluster that the run is to join, and whether its nodes see the run's folders.

        A file is left in each for a moment, or in the nearest above it that is there: its name is one that no
        node has asked for before, as network file systems remember what was not there.
        """
        folders = machine.folders(self.config)
        path = self.config.actor_rollout_ref.model.path
        if path is not None and Path(path).expanduser().is_dir() and find_gguf(path) is None:
            folders["actor_rollout_ref.model.path"] = Path(path).expanduser()
        marks: dict[str, Path] = {}
        with ExitStack() as stack:
            for key, folder in folders.items():
                there = machine.nearest(folder)
                try:
                    marks[key] = Path(stack.enter_context(NamedTemporaryFile(prefix="seen-", dir=there)).name)
                except OSError:  # it cannot be written to, and a model need not be
                    marks[key] = there
            return Cluster(self.survey(self.config.ray_kwargs.ray_init.address, tuple(marks.values())), marks)
