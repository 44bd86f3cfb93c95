"""The `azr` node of the configuration, typed, and how the whole is composed on top of verl's.

Hydra checks names and types against these classes before anything starts; rules across fields are in
`recipe/preflight/rules.py`. The values, each with its reason, are in `conf/azr.yaml`.
"""

from __future__ import annotations

import importlib.util
import itertools
import math
import re
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from hydra.plugins.search_path_plugin import SearchPathPlugin
from omegaconf import DictConfig, OmegaConf

from tasks.registry import installed_conf_folders

CONF = Path(__file__).parent.parent / "conf"
GPU_INSTALL = "pip install --no-deps -r requirements/gpu.lock && pip install --no-deps -e ."
"""What README.md gives for a machine with NVIDIA GPUs."""

TINY_MODEL = "tiny"
"""What `actor_rollout_ref.model.path` says for the tiny model that this project warms up itself."""

ROLLOUT_DTYPES = {
    "bfloat16": "bfloat16",
    "float16": "float16",
    "half": "float16",
    "float32": "float32",
    "float": "float32",
}
"""What `actor_rollout_ref.rollout.dtype` may be: names that vLLM has for number types, with torch's."""

AGENT_LOOPS = CONF / "agent_loops.yaml"


class SolveOn(StrEnum):
    """Where the solver's training samples come from (`azr.solve_on`)."""

    FRESH = "fresh"
    """The paper: one attempt each at tasks accepted in this step, in a second wave."""

    PREVIOUS = "previous"
    """The official code: one attempt each at tasks accepted in the step before, in the same wave."""

    ATTEMPTS = "attempts"
    """The attempts that estimate the solve rate are the samples: one wave, and nothing is thrown away."""


class KeepTasks(StrEnum):
    """Which accepted tasks enter the buffer (`azr.keep_tasks`), by their solve rate."""

    ALL = "all"
    """The paper and the official code's default."""

    NON_ONE = "non-one"
    """Not those that every attempt solved."""

    NON_EXTREMES = "non-extremes"
    """Neither those nor the ones that no attempt solved."""


class Sampling(StrEnum):
    """How records are drawn from the buffer (`azr.buffer_sampling`)."""

    UNIFORM = "uniform"
    """All alike: the paper."""

    RECENT = "recent"
    """In proportion to 1 + the step that accepted them; the paper found that it may collapse (App. D.3)."""


@dataclass
class TermConfig:
    """One extra reward of a proposer: min(coefficient * feature, maximum).

    Attributes:
        coefficient: Factor on the feature.
        maximum: Most that the term can be.
    """

    coefficient: float = 1.0
    maximum: float = 0.5


@dataclass
class BonusConfig:
    """Extra rewards of valid proposals (`rewards/bonus.py`).

    Attributes:
        combine: How they join the reward: sum, multiply, sum-multiply or multiply-sum.
        terms: By feature: one of the pack's `feature_names`, `answer-diversity` or `structure-diversity`.
    """

    combine: str = "sum"
    terms: dict[str, TermConfig] = field(default_factory=dict)


@dataclass
class LearnabilityConfig:
    """What a valid proposal is worth by its solve rate (`rewards/propose.py`).

    Attributes:
        shape: one-minus, quadratic, tent or band; None for the reward profile's own.
        low: With `band`: solve rate above which it is worth 1.
        high: With `band`: solve rate below which it is.
    """

    shape: str | None = None
    low: float = 0.0
    high: float = 1.0


@dataclass
class SeedingConfig:
    """The phase before the first step, without gradients.

    Attributes:
        target: Records of every kind that the buffer holds when it ends.
        max_waves: Waves after which a seeding that has not got there stops the run.
    """

    target: int = 64
    max_waves: int = 20


@dataclass
class FailureConfig:
    """What happens to requests that the inference engine does not answer.

    Attributes:
        retries: Times a failed request is sent again.
        max_share: Share of a step's responses that may be missing, in [0, 1]; above it the run stops.
    """

    retries: int = 2
    max_share: float = 0.1


@dataclass
class AzrConfig:
    """Self-play.

    Attributes:
        seed: Seeds every random draw that self-play makes.
        solve_on: A value of `SolveOn`.
        proposals_per_kind: Proposals of every kind a step (B).
        oversample: Proposals that a step asks for, as a multiple of `proposals_per_kind`, at least 1. Of
            those that are accepted the first `proposals_per_kind` are attempted and kept.
        attempts_per_record: Attempts at every accepted proposal (n).
        replay_per_kind: With `attempts`: records of every kind drawn from the buffer for one more attempt.
        propose: Whether a step asks for proposals. If not, the solver trains on what seeding left in the
            buffer: `proposals_per_kind` records of every kind, with `solve_on` the usual attempts at each.
        train_proposer: Whether proposals are trained on, or only attempts (the paper's ablation).
        keep_tasks: A value of `KeepTasks`.
        buffer_sampling: A value of `Sampling`.
        learnability: What a valid proposal is worth by its solve rate.
        bonus: Extra rewards of proposals.
        buffer_capacity: Most records of one kind in the buffer; the oldest leave first.
        seeding: The phase before the first step.
        held_out_samples: Sampled attempts at every held-out task, beside the greedy one.
        failures: Requests without a response.
        pack_deadline_s: Seconds that one call of the pack may take; a longer one stops the run.
    """

    seed: int = 1
    solve_on: str = SolveOn.ATTEMPTS.value
    proposals_per_kind: int = 64
    oversample: float = 1.0
    attempts_per_record: int = 8
    replay_per_kind: int = 0
    propose: bool = True
    train_proposer: bool = True
    keep_tasks: str = KeepTasks.ALL.value
    buffer_sampling: str = Sampling.UNIFORM.value
    learnability: LearnabilityConfig = field(default_factory=LearnabilityConfig)
    bonus: BonusConfig = field(default_factory=BonusConfig)
    buffer_capacity: int = 16384
    seeding: SeedingConfig = field(default_factory=SeedingConfig)
    held_out_samples: int = 0
    failures: FailureConfig = field(default_factory=FailureConfig)
    pack_deadline_s: float = 3600.0

    def prompts_per_step(self, num_kinds: int) -> int:
        """Prompts that one step submits, and that verl waits for (`data.train_batch_size`)."""
        if not self.propose:
            return num_kinds * self.proposals_per_kind * self.attempts_per_buffered_record
        if self.solve_on == SolveOn.ATTEMPTS:
            return num_kinds * (self.asked_per_kind + self.replay_per_kind)
        return num_kinds * (self.asked_per_kind + self.proposals_per_kind)

    @property
    def asked_per_kind(self) -> int:
        """Proposals of every kind that a step asks for; some may not be wanted once they are there."""
        # 10 * 1.1 is a little more than 11 in floating point.
        return math.ceil(self.proposals_per_kind * self.oversample - 1e-9)

    @property
    def attempts_per_buffered_record(self) -> int:
        """Without proposals: attempts at every record that a step draws, as many as would be trained on."""
        return self.attempts_per_record if self.solve_on == SolveOn.ATTEMPTS else 1


class VerlSearchPath(SearchPathPlugin):
    """Lets `conf/azr.yaml` extend verl's own configuration, without importing verl.

    verl reads its platform from the environment when it is imported, and that follows from the configuration:
    so the configuration is composed first. (`pkg://verl.trainer.config` would import verl, and cost seconds
    before a typing error is reported.)
    """

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Add verl's folder of configuration files."""
        spec = importlib.util.find_spec("verl")
        if spec is None or not spec.submodule_search_locations:
            raise ModuleNotFoundError(f"verl is not installed; run `make env`, or for GPUs `{GPU_INSTALL}`")
        folder = Path(spec.submodule_search_locations[0]) / "trainer" / "config"
        search_path.append(provider="verl", path=f"file://{folder}")


class PackSearchPath(SearchPathPlugin):
    """Lets `pack=NAME` find the file of a pack that is a distribution of its own (docs/your_domain.md)."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Add the `conf` folder of every installed pack's package."""
        for folder in installed_conf_folders():
            search_path.append(provider=f"task pack {folder.parent.name}", path=f"file://{folder}")


def register() -> None:
    """Make Hydra know what `conf/` is composed with, and the types of the `azr` node. Call it first."""
    Plugins.instance().register(VerlSearchPath)
    Plugins.instance().register(PackSearchPath)
    ConfigStore.instance().store(group="azr", name="base", node=AzrConfig)


def explain(error: Exception) -> str:
    """One line for a mistake that Hydra or OmegaConf found: what is wrong, and what exists instead."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    override = re.match(r"Could not override '([^']+)'", lines[0])
    if override is not None:
        return _explain_key(override[1])
    if "Could not find" in str(error):
        # Hydra goes on with where it looked, which says nothing to who mistyped a name.
        kept = list(itertools.takewhile(lambda line: not line.startswith("Config search path"), lines))
        found = next(i for i, line in enumerate(kept) if line.startswith("Available options"))
        return f"{' '.join(kept[:found])}. {kept[found]} {', '.join(kept[found + 1 :])}"
    if error.__cause__ is not None:
        lines += str(error.__cause__).splitlines()[:1]
    return " ".join(lines)


def _explain_key(key: str) -> str:
    with initialize_config_dir(str(CONF), version_base=None):
        known: Any = compose("azr")
    parent = key.rpartition(".")[0]
    while parent and not OmegaConf.is_dict(OmegaConf.select(known, parent)):
        parent = parent.rpartition(".")[0]
    names = sorted(OmegaConf.select(known, parent) if parent else known)
    return f"{key} is no key of the configuration; {parent or 'the top level'} has {', '.join(names)}"


def finalize(config: DictConfig, num_kinds: int) -> None:
    """Fill in what follows from other fields: paths as absolute ones, and the prompts of a step.

    Raises:
        ValueError: `data.train_batch_size` was set to something else.
    """
    config.run.dir = str(Path(config.run.dir).absolute())
    config.run.tiny_model_dir = str(Path(config.run.tiny_model_dir).absolute())
    azr = OmegaConf.to_object(config.azr)
    assert isinstance(azr, AzrConfig)
    prompts = azr.prompts_per_step(num_kinds)
    if config.data.train_batch_size not in (None, prompts):
        raise ValueError(
            f"data.train_batch_size must be left alone: {num_kinds} kinds and azr.proposals_per_kind="
            f"{azr.proposals_per_kind} make {prompts} prompts a step; got {config.data.train_batch_size}"
        )
    config.data.train_batch_size = prompts
    config.actor_rollout_ref.rollout.agent.agent_loop_config_path = str(AGENT_LOOPS)
