"""Every experiment for GPUs, two steps on the real stack: the tiny model and a CPU in place of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

from recipe.config import CONF, register
from recipe.tiny_model import TinyModelConfig, ensure_tiny_model
from tasks.registry import load_pack

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
TIMEOUT_S = 600
SMALL = (
    "scale=tiny",
    "cluster=cpu_1",
    # One of everything: the packs' own seeds fill the buffer, so the model need not be good at anything.
    "azr.proposals_per_kind=1",
    "azr.attempts_per_record=2",
    "azr.seeding.target=1",
    "data.val_max_samples=12",
    "trainer.total_training_steps=2",
    "trainer.test_freq=2",
    "trainer.save_freq=2",
)


def composed(*overrides: str) -> DictConfig:
    """The configuration of a run."""
    register()
    with initialize_config_dir(str(CONF), version_base=None):
        return compose("azr", list(overrides))


# They differ from one that is run here in sizes alone; tests/recipe/preflight/test_rules.py composes them.
SIZES_OF_OTHERS = {"full_1.5b_80gb", "lora_3b_24gb", "lora_3b_80gb"}


def for_gpus() -> list[str]:
    """Names of the experiments whose own machine has GPUs, one of those that differ in sizes alone."""
    names = sorted({path.stem for path in (CONF / "experiment").glob("*.yaml")} - SIZES_OF_OTHERS)
    return [name for name in names if composed(f"experiment={name}").trainer.device == "cuda"]


@pytest.mark.parametrize("experiment", for_gpus())
def test_two_steps(experiment: str, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    overrides = [f"experiment={experiment}", *SMALL]
    pack = load_pack(composed(*overrides).pack)
    # One barely warmed-up model a pack, shared by its experiments.
    cache = tmp_path_factory.getbasetemp() / "tiny-models"
    model = ensure_tiny_model(pack, TinyModelConfig(steps=60, batch_size=32), cache)
    overrides += [f"run.dir={tmp_path}", f"actor_rollout_ref.model.path={model}"]
    done = subprocess.run(
        [sys.executable, "-m", "recipe.main_azr", *overrides],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
    )
    log = tmp_path / "log.txt"
    assert done.returncode == 0, done.stdout + done.stderr + (log.read_text()[-5000:] if log.exists() else "")
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["steps"] == 2
    assert summary["held_out"]["after"]["n"] == 12
    steps = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert all(line["training/rollout_probs_diff_max"] < 1e-4 for line in steps if line["step"] > 0)
