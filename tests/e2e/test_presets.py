"""Every experiment for GPUs, two steps on the real stack: the tiny model and a CPU in place of its own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf

from recipe.config import CONF, register

pytestmark = pytest.mark.slow

SMALL = (
    "scale=tiny",
    "cluster=cpu_1",
    # One of everything: the packs' own seeds fill the buffer, so the model need not be good at anything.
    "azr.proposals_per_kind=1",
    "azr.attempts_per_record=2",
    "azr.seeding.target=1",
    "azr.seeding.max_waves=0",
    "data.val_max_samples=12",
    "trainer.total_training_steps=2",
    "trainer.test_freq=2",
    "trainer.save_freq=2",
)

STARTED = [
    "arithmetic_rich",
    "lora_0.5b_24gb",
    "math_word",
    "minazr",
    "prime_inversion_3b",
    "sqlm_mult3",
]
"""Experiments that are started here."""

THE_SAME = ["azr_base_7b", "azr_coder_14b", "azr_coder_3b", "azr_llama_8b"]
"""At the tiny model's scale they are `azr_coder_7b`, which tests/e2e/test_real_stack.py starts."""

OTHER_SIZES = ["full_1.5b_80gb", "lora_3b_24gb", "lora_3b_80gb"]
"""They differ from one that is started in sizes alone; tests/recipe/preflight composes and checks them."""


def composed(*overrides: str) -> DictConfig:
    """The configuration of a run."""
    register()
    with initialize_config_dir(str(CONF), version_base=None):
        return compose("azr", list(overrides))


@pytest.mark.parametrize("experiment", STARTED)
def test_two_steps(experiment: str, tmp_path: Path, make_run: Any, model_of: Callable[..., Path]) -> None:
    # A model that is warmed up for the pack's own knobs will do.
    model = model_of(composed(f"experiment={experiment}").pack._target_, terse=True)
    overrides = (f"experiment={experiment}", *SMALL, f"actor_rollout_ref.model.path={model}")
    run = make_run(tmp_path, overrides).finish()
    assert run.summary["steps"] == 2
    assert (run.folder / "report.html").is_file(), run.printed
    assert run.summary["held_out"]["after"]["n"] == 12
    run.assert_rollout_matches_actor()


@pytest.mark.parametrize("experiment", THE_SAME)
def test_it_is_the_one_that_is_started(experiment: str) -> None:
    started, found = (
        OmegaConf.to_yaml(composed(f"experiment={name}", *SMALL, "run.dir=same"), resolve=True)
        for name in ("azr_coder_7b", experiment)
    )
    assert found == started


def test_every_experiment_for_gpus_is_listed() -> None:
    names = sorted(path.stem for path in (CONF / "experiment").glob("*.yaml"))
    for_gpus = [name for name in names if composed(f"experiment={name}").trainer.device == "cuda"]
    assert for_gpus == sorted([*STARTED, "azr_coder_7b", *THE_SAME, *OTHER_SIZES])
