"""Every file of `conf/` passes the checks before a start, alone and with the others that it is made for.

To compose is slow, so each experiment is composed once for all that is asked of it.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy
import pytest
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf
from safetensors.numpy import save_file

from recipe.config import CONF, register
from recipe.preflight import PreflightError, machine, memory, rules
from recipe.preflight.machine import Gpu
from recipe.preflight.model import MADE, find_config, shape_of
from recipe.preflight.setup import Node
from tasks.contract import TaskPack
from tasks.registry import available_packs

CARD_GIB = {"24": 22.0, "80": 79.1}
"""What torch counts of a GPU that is sold by so many GB: L4 and A10G, A100."""


def names(group: str) -> list[str]:
    """Files of one folder of `conf/`."""
    return sorted(path.stem for path in (CONF / group).glob("*.yaml"))


def composed(folder: Path, *overrides: str) -> DictConfig:
    register()
    with initialize_config_dir(str(CONF), version_base=None):
        return compose("azr", [f"run.dir={folder}", *overrides])


def check(config: DictConfig) -> TaskPack:
    return rules.check(config, lambda address, paths: (Node("10.0.0.1", 1000, 16),))


TERSE_PROMPT = 224
"""`data.max_prompt_length` of the tiny model's experiments, in whose prompts four examples need not fit."""


@pytest.fixture(autouse=True)
def eight_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that has what the largest preset asks for."""
    monkeypatch.setattr(machine, "find_gpus", lambda: [Gpu("one of eight", 80.0, 80.0)] * 8)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)


@pytest.fixture(autouse=True)
def models_that_a_command_makes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the rules look at of them, in the working directory."""
    monkeypatch.chdir(tmp_path)
    for folder in map(Path, MADE):
        folder.mkdir(parents=True)
        (folder / "config.json").write_text(json.dumps({"architectures": ["LlamaForCausalLM"]}))
        (folder / "tokenizer_config.json").write_text("{}")
        save_file({"weight": numpy.zeros(8, numpy.float32)}, folder / "model.safetensors")


@pytest.mark.slow
@pytest.mark.parametrize("experiment", names("experiment"))
def test_experiment_passes_with_every_control_and_fits_its_gpu(tmp_path: Path, experiment: str) -> None:
    config = composed(tmp_path, f"experiment={experiment}")
    pack = check(config)
    for control in names("control"):
        # They are plain values, as tests/recipe/test_config.py sees, so this is what Hydra makes of both.
        controlled = OmegaConf.merge(config, OmegaConf.load(CONF / "control" / f"{control}.yaml"))
        if control == "base_forced":
            controlled.elicit_beginning = "("
        if control == "base_examples_4" and config.data.max_prompt_length == TERSE_PROMPT:
            # Refused as it is, by the rule that tests/recipe/preflight/test_rules.py sees
            controlled.data.max_prompt_length = 512
            controlled.actor_rollout_ref.rollout.max_model_len = None
        if control in ("adaptive", "oracle") and any(len(pack.levels(spec.name)) < 2 for spec in pack.kinds):
            with pytest.raises(PreflightError, match="chooses among levels of difficulty"):
                check(controlled)
        else:
            check(controlled)
    header = (CONF / "experiment" / f"{experiment}.yaml").read_text().split("\ndefaults")[0]
    if " GB" in header:
        assert_fits(config, CARD_GIB["24" if "24gb" in experiment else "80"])


ONE_GPU = re.compile(r"^\| `(\w+\.?\w*gb)` \|.*\| (\d+) GB \| ([\d.]+) GiB \| ([\d.]+) GiB \|$", re.MULTILINE)
"""A row of docs/doctor.md: experiment, GPU, and what it takes while updating and while generating."""


def test_the_docs_have_the_estimates_for_one_gpu(tmp_path: Path) -> None:
    rows = ONE_GPU.findall((CONF.parent / "docs" / "doctor.md").read_text(encoding="utf-8"))
    estimated = []
    for experiment, sold_gb, *_ in rows:
        config = composed(tmp_path, f"experiment={experiment}")
        shape = shape_of(find_config(config.actor_rollout_ref.model.path) or {})
        assert shape is not None
        found = memory.estimate_gpu(config, shape, CARD_GIB[sold_gb])
        phases = memory.Phase.UPDATING, memory.Phase.GENERATING
        estimated.append((experiment, sold_gb, *(f"{found.gib_while(phase):.1f}" for phase in phases)))
    assert len(rows) == 4
    assert rows == estimated


def assert_fits(config: DictConfig, card: float) -> None:
    """The estimate fits a GPU of so many GiB, with room for eight sequences in the cache."""
    shape = shape_of(find_config(config.actor_rollout_ref.model.path) or {})
    assert shape is not None
    found = memory.estimate_gpu(config, shape, card)
    assert found.peak_gib <= card * (1 - memory.FRAGMENTATION)
    whole = config.data.max_prompt_length + config.data.max_response_length
    assert memory.kv_tokens(config, shape, found.gib_of(memory.VLLM_CACHE)) > 8 * whole


@pytest.mark.slow
@pytest.mark.parametrize("experiment", names("experiment"))
def test_experiment_passes_at_the_tiny_models_scale(tmp_path: Path, experiment: str) -> None:
    config = composed(tmp_path, f"experiment={experiment}", "scale=tiny", "cluster=cpu_1")
    check(config)
    assert config.actor_rollout_ref.model.path == "tiny"
    assert (config.trainer.device, config.trainer.nnodes, config.trainer.n_gpus_per_node) == ("cpu", 1, 1)


@pytest.mark.parametrize("cluster", names("cluster"))
def test_cluster_passes(tmp_path: Path, cluster: str) -> None:
    lengths = ("data.max_prompt_length=100", "data.max_response_length=100", "terse_prompts=true")
    joined = ["ray_kwargs.ray_init.address=10.0.0.1:6379"] if cluster == "multi_node" else []
    check(composed(tmp_path, f"cluster={cluster}", "actor_rollout_ref.model.path=tiny", *lengths, *joined))


@pytest.mark.slow
@pytest.mark.parametrize("pack", names("pack"))
def test_pack_passes_with_the_demo(tmp_path: Path, pack: str) -> None:
    assert check(composed(tmp_path, "experiment=demo", f"pack={pack}")).name == pack


def test_every_pack_has_a_file() -> None:
    # Packs of somebody else, which entry points name, bring their own.
    own = [pack for pack in available_packs() if (CONF.parent / "tasks" / pack).is_dir()]
    assert own == names("pack")
