"""Loggers that need a key are refused without one, and taken with any that they take themselves."""

from __future__ import annotations

from pathlib import Path

import pytest
from omegaconf import DictConfig, OmegaConf

from recipe.life import survey_nodes
from recipe.preflight.rules import find_problems, loggers
from recipe.preflight.rules.register import RULES
from recipe.preflight.setup import Setup

LOGGERS = [rule for rule in RULES if rule.find in (loggers.known, loggers.has_api_key)]
VARIABLES = (
    "RAY_ADDRESS",
    "NETRC",
    "WANDB_MODE",
    "WANDB_API_KEY",
    "WANDB_BASE_URL",
    "WANDB_IDENTITY_TOKEN_FILE",
)


@pytest.fixture(autouse=True)
def nobody(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A user who is logged in nowhere."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


def problems(config: DictConfig, *names: str) -> list[str]:
    config.trainer.logger = list(names)
    return find_problems(Setup(config, survey_nodes), LOGGERS)


def test_wandb_without_a_key_is_refused(config: DictConfig) -> None:
    (problem,) = problems(config, "console", "wandb")
    assert problem.startswith(
        "trainer.logger=wandb needs a key of wandb: run `wandb login`, set WANDB_API_KEY"
    )


@pytest.mark.parametrize(
    "given",
    [
        {"WANDB_API_KEY": "0" * 40},
        {"WANDB_IDENTITY_TOKEN_FILE": "token"},
        {"WANDB_MODE": "offline"},
        {"WANDB_MODE": "disabled"},
    ],
)
def test_wandb_by_its_variables_is_taken(
    config: DictConfig, monkeypatch: pytest.MonkeyPatch, given: dict[str, str]
) -> None:
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    assert problems(config, "wandb") == []
    # They may be given to the run's processes alone.
    for name in given:
        monkeypatch.delenv(name)
    OmegaConf.update(config, "ray_kwargs.ray_init.runtime_env.env_vars", given, force_add=True)
    assert problems(config, "wandb") == []


def test_wandb_of_somebody_who_logged_in_is_taken(
    config: DictConfig, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / ".netrc").write_text("machine api.wandb.ai\n  login user\n  password 0123\n")
    assert problems(config, "wandb") == []
    # Another server wants another key.
    monkeypatch.setenv("WANDB_BASE_URL", "https://wandb.example.org")
    assert len(problems(config, "wandb")) == 1
    (tmp_path / "other").write_text("machine wandb.example.org\n  login user\n  password 0123\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "other"))
    assert problems(config, "wandb") == []


def test_folder_that_wandb_left_behind_is_not_the_package(
    config: DictConfig, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "swanlab").mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    assert "needs the package swanlab, which is not installed" in problems(config, "swanlab")[0]


@pytest.mark.parametrize("logger", ["console", ["console", "tensorboard", "file"]])
def test_loggers_without_a_key_are_taken(config: DictConfig, logger: str | list[str]) -> None:
    config.trainer.logger = logger
    assert find_problems(Setup(config, survey_nodes), LOGGERS) == []


def test_on_a_cluster_the_key_is_its_nodes_business(config: DictConfig) -> None:
    OmegaConf.update(config, "ray_kwargs.ray_init.address", "10.0.0.1:6379", force_add=True)
    assert problems(config, "wandb") == []
