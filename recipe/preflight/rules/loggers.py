"""The loggers that verl opens when all models are loaded: each is known, installed and let in."""

from __future__ import annotations

import importlib.util
import netrc
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from omegaconf import ListConfig, OmegaConf

from recipe.preflight import slots
from recipe.preflight.rules.keys import show
from recipe.preflight.rules.register import rule
from recipe.preflight.setup import Setup

# Names that verl 0.9.1 knows (`verl/utils/tracking.py`), each with the package that it imports for it.
PACKAGES = {
    "console": None,
    "file": None,
    "tensorboard": "tensorboard",
    "wandb": "wandb",
    "tracking": "wandb",
    "swanlab": "swanlab",
    "mlflow": "mlflow",
    "trackio": "trackio",
    "clearml": "clearml",
    "vemlp_wandb": "volcengine_ml_platform",
    "rl_insight": "rl_insight",
}

VEMLP = ("VOLC_ACCESS_KEY_ID", "VOLC_SECRET_ACCESS_KEY", "MLP_TRACKING_REGION")
"""Environment variables that verl reads for `vemlp_wandb`."""


@rule()
def known(setup: Setup) -> Iterator[str]:
    """Loggers are ones that verl has, and their packages are installed."""
    for name in _names(setup):
        if name not in PACKAGES:
            yield f"trainer.logger must be some of {', '.join(PACKAGES)}; got {show(name)}"
        elif setup.is_for_here and (package := PACKAGES[name]) is not None and not _installed(package):
            needs = f"needs the package {package}, which is not installed"
            yield f"trainer.logger={name} {needs}; install it, or leave {name} out"


def _names(setup: Setup) -> list[Any]:
    logger = setup.config.trainer.logger
    return list(logger) if isinstance(logger, ListConfig) else [logger]


def _installed(package: str) -> bool:
    found = importlib.util.find_spec(package)
    # wandb leaves a folder of its own name behind, which Python takes for a package without code.
    return found is not None and found.origin is not None


FORBIDDEN = "/\\#?%:"  # by wandb 0.31 (`wandb_settings.py`), as is a name of more than 128 characters


@rule()
def named(setup: Setup) -> Iterator[str]:
    """Loggers that keep runs by project take its name."""
    trainer, loggers = setup.config.trainer, _names(setup)
    project = trainer.project_name
    if "file" in loggers and not isinstance(project, str):  # it is a folder's name
        yield f"trainer.project_name must be a name with trainer.logger=file; got {show(project)}"
    for name in (name for name in loggers if name in ("wandb", "tracking") and isinstance(project, str)):
        if len(project) > 128 or set(project) & set(FORBIDDEN):
            wanted = f"at most 128 characters, none of them of {FORBIDDEN}"
            yield f"trainer.project_name must have {wanted} with trainer.logger={name}; got {show(project)}"


# On a cluster of others the process that logs has the environment of its node.
@rule(applies=lambda config: not slots.joins_cluster(config), here=True)
def has_api_key(setup: Setup) -> Iterator[str]:
    """Loggers that send what they get somewhere have a key: nobody is there to be asked for one."""
    given = OmegaConf.select(setup.config, "ray_kwargs.ray_init.runtime_env.env_vars") or {}
    variables = os.environ | dict(given)
    for name in _names(setup):
        if name in ("wandb", "tracking") and not _has_wandb_key(variables):
            yield (
                f"trainer.logger={name} needs a key of wandb: run `wandb login`, set WANDB_API_KEY, or "
                "WANDB_MODE=offline to keep everything in run.dir"
            )
        if name == "swanlab" and not _has_swanlab_key(variables):
            yield (
                "trainer.logger=swanlab needs a key: run `swanlab login`, set SWANLAB_API_KEY, or "
                "SWANLAB_MODE=local to keep everything in run.dir"
            )
        if name == "vemlp_wandb" and (missing := [key for key in VEMLP if key not in variables]):
            yield f"trainer.logger=vemlp_wandb needs the environment variable {missing[0]}, which is not set"


def _has_wandb_key(variables: Mapping[str, str]) -> bool:
    """Whether wandb 0.31 asks for nothing: by its variables, or the file of `wandb login`."""
    if variables.get("WANDB_MODE") in ("offline", "dryrun", "disabled"):
        return True
    if variables.get("WANDB_API_KEY") or variables.get("WANDB_IDENTITY_TOKEN_FILE"):
        return True
    host = urlsplit(variables.get("WANDB_BASE_URL") or "https://api.wandb.ai").netloc
    standard = [Path.home() / ".netrc", Path.home() / "_netrc"]
    for file in [Path(variables["NETRC"]).expanduser()] if variables.get("NETRC") else standard:
        with suppress(OSError, netrc.NetrcParseError):  # wandb goes on without such a file too
            if netrc.netrc(file).authenticators(host):
                return True
    return False


def _has_swanlab_key(variables: Mapping[str, str]) -> bool:
    """Whether swanlab asks for nothing: by its documented variables, or the file of `swanlab login`."""
    if variables.get("SWANLAB_MODE") in ("local", "offline", "disabled") or variables.get("SWANLAB_API_KEY"):
        return True
    folder = variables.get("SWANLAB_SAVE_DIR") or Path.home() / ".swanlab"
    return (Path(folder) / ".netrc").exists()
