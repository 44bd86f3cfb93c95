"""Entry point: `python -m recipe.main_azr experiment=demo [hydra overrides]`.

The order matters. The configuration is composed and checked before verl is imported, since verl reads its
platform from the environment when it is; only then come the model, Ray and the trainer (`recipe/life.py`).
"""

from __future__ import annotations

import os
import sys
from typing import NoReturn

import hydra
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from recipe import life
from recipe.config import CONF, explain, register
from recipe.preflight import PreflightError
from recipe.preflight.model import find_config
from recipe.preflight.rules import check
from recipe.preflight.setup import fill

register()


@hydra.main(config_path=str(CONF), config_name="azr", version_base=None)
def main(config: DictConfig) -> None:
    """Check, then train; exit status 2 and one line for a mistake in the configuration."""
    try:
        pack = check(config, life.survey_nodes)
        fill(config, len(pack.kinds), find_config(config.actor_rollout_ref.model.path))
        life.live(config, pack)
    except PreflightError as error:
        _refuse(str(error))


def _refuse(reason: str) -> NoReturn:
    print(f"error: {reason}", file=sys.stderr)
    sys.exit(2)


def command_line() -> None:
    """Run `main` on the command line; one line and exit status 2 for what Hydra refuses."""
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra then raises its errors, in place of printing them
    try:
        main()
    except (HydraException, OmegaConfBaseException, ValueError) as error:
        _refuse(explain(error))


if __name__ == "__main__":
    command_line()
