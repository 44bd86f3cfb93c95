"""How the configuration is composed on top of verl's.

Hydra checks names and types of the `azr` node against `recipe/selfplay/config.py` before anything starts;
rules across fields are in `recipe/preflight/rules/`.
"""

from __future__ import annotations

import importlib.util
import itertools
import re
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from hydra.errors import OverrideParseException
from hydra.plugins.search_path_plugin import SearchPathPlugin
from omegaconf import DictConfig, OmegaConf

from recipe.selfplay.config import AzrConfig
from recipe.selfplay.plan import StepPlan
from tasks.registry import installed_conf_folders

CONF = Path(__file__).parent.parent / "conf"
GPU_INSTALL = "pip install --no-deps -r requirements/gpu.lock && pip install --no-deps -e ."
"""What docs/install.md gives for a machine with NVIDIA GPUs."""

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

RENAMED = {
    "baselines": "algorithm.trr.cells=global for one, role for two, role-kind for six",
    "azr.propose": "azr.tasks=buffer for azr.propose=false",
}
"""Keys of earlier versions, and what to give in their place."""


class SearchPath(SearchPathPlugin):
    """Lets `conf/azr.yaml` extend verl's own configuration, without importing verl, and `pack=NAME` find the
    file of a pack that is a distribution of its own (docs/your_domain.md).

    verl reads its platform from the environment when it is imported, and that follows from the configuration:
    so the configuration is composed first. (`pkg://verl.trainer.config` would import verl, and cost seconds
    before a typing error is reported.)
    """

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Add verl's folder of configuration files, and those of the installed packs."""
        search_path.append(provider="verl", path=f"file://{verl_conf_folder()}")
        for folder in installed_conf_folders():
            search_path.append(provider=f"task pack {folder.parent.name}", path=f"file://{folder}")


def verl_conf_folder() -> Path:
    """The folder of verl's own configuration, without importing verl.

    Raises:
        ModuleNotFoundError: verl is not installed.
    """
    spec = importlib.util.find_spec("verl")
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError(f"verl is not installed; run `make env`, or for GPUs `{GPU_INSTALL}`")
    return Path(spec.submodule_search_locations[0]) / "trainer" / "config"


def register() -> None:
    """Make Hydra know what `conf/` is composed with, and the types of the `azr` node. Call it first."""
    Plugins.instance().register(SearchPath)
    ConfigStore.instance().store(group="azr", name="base", node=AzrConfig)


def explain(error: Exception) -> str:
    """One line for a mistake that Hydra or OmegaConf found: what is wrong, and what exists instead.

    Raises:
        ValueError: It is one, and not that of Hydra 1.3 for a group that is set to null.
    """
    if type(error) is ValueError:
        if not str(error).startswith("Config group override must be a string"):
            raise error
        return (
            "an override gives null where one of several files is chosen, as by pack=arithmetic; leave it out"
        )
    if isinstance(error, OverrideParseException):
        return _explain_override(error.override, error.message.splitlines()[0])
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    override = re.match(r"Could not override '([^']+)'", lines[0])
    if override is not None:
        return _explain_key(override[1])
    several = re.match(r"(?:Ambiguous value for argument|Sweep parameters) '(([^=]+)=(.*))'", lines[0])
    if several is not None:  # in Hydra's own words differently for a run and for the doctor
        whole, key, values = several.groups()
        return (
            f"the override {whole} gives several values, and a run takes one. A list is {key}=[{values}]; a "
            f"value with a comma in it stands in quotes: '{key}=\"{values}\"'"
        )
    if "Could not find" in str(error):
        # Hydra goes on with where it looked, which says nothing to who mistyped a name.
        kept = list(itertools.takewhile(lambda line: not line.startswith("Config search path"), lines))
        found = next(i for i, line in enumerate(kept) if line.startswith("Available options"))
        return f"{' '.join(kept[:found])}. {kept[found]} {', '.join(kept[found + 1 :])}"
    if error.__cause__ is not None:
        lines += str(error.__cause__).splitlines()[:1]
    return " ".join(lines)


def _explain_override(override: str, reason: str) -> str:
    key, equals, value = override.partition("=")
    if not equals:
        return f"an override must be KEY=VALUE; got {override}"
    quoted = value.replace("\\", "\\\\").replace('"', '\\"')
    return (
        f"the override {override} cannot be read: {reason}. A value that has =, commas, spaces, brackets or "
        f"quotes in it stands in quotes, and the whole in quotes for the shell: '{key}=\"{quoted}\"'"
    )


def _explain_key(key: str) -> str:
    if key in RENAMED:
        return f"{key} is no key of the configuration any more; give {RENAMED[key]}"
    with initialize_config_dir(str(CONF), version_base=None):
        known: Any = compose("azr")
    parent = key.rpartition(".")[0]
    while parent and not OmegaConf.is_dict(OmegaConf.select(known, parent)):
        parent = parent.rpartition(".")[0]
    names = sorted(OmegaConf.select(known, parent) if parent else known)
    return f"{key} is no key of the configuration; {parent or 'the top level'} has {', '.join(names)}"


def samples_as_it_trains(config: DictConfig) -> bool:
    """Whether the log-probabilities of sampling are those that the update begins from, but for rounding.

    A step is one update from the weights that it was sampled with, if verl makes one pass over it. Both sides
    compute in fp32 then, on all of the distribution. No weights of importance are asked for, which verl works
    out from the two (`rollout_is`, `rollout_rs`). The loss is PPO's, which says how far they are apart.
    """
    actor, rollout = config.actor_rollout_ref.actor, config.actor_rollout_ref.rollout
    mixed = actor.fsdp_config.get("mixed_precision") or {}
    types = (ROLLOUT_DTYPES.get(rollout.dtype), mixed.get("param_dtype"), actor.fsdp_config.model_dtype)
    correction = config.algorithm.rollout_correction
    return (
        actor.ppo_epochs == 1
        and actor.policy_loss.loss_mode == "vanilla"
        and all(name in ("fp32", "float32") for name in types)
        and samples_whole_distribution(config)
        and correction.rollout_is is None
        and correction.rollout_rs is None
    )


def samples_whole_distribution(config: DictConfig) -> bool:
    """Whether log-probabilities come with responses, of the whole vocabulary as it is sampled from."""
    rollout = config.actor_rollout_ref.rollout
    is_whole = rollout.top_p == 1 and rollout.top_k in (-1, 0)
    return bool(rollout.calculate_log_probs) and is_whole and rollout.logprobs_mode == "processed_logprobs"


def finalize(config: DictConfig, num_kinds: int) -> None:
    """Fill in what follows from other fields: paths as absolute ones, the prompts of a step, and whether it
    trains on the log-probabilities that it was sampled with."""
    correction = config.algorithm.rollout_correction
    if correction.bypass_mode is None:
        correction.bypass_mode = samples_as_it_trains(config)
    config.run.dir = str(Path(config.run.dir).absolute())
    config.run.tiny_model_dir = str(Path(config.run.tiny_model_dir).absolute())
    plan = StepPlan.of(config.azr, num_kinds)
    if config.azr.seeding.target is None:
        config.azr.seeding.target = plan.solve_tasks * config.trainer.total_training_steps
    config.data.train_batch_size = plan.prompts
    config.actor_rollout_ref.rollout.agent.agent_loop_config_path = str(CONF / "agent_loops.yaml")
