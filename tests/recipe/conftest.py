"""What the tests of the recipe share: the arithmetic pack and the composed configuration."""

from __future__ import annotations

import copy
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

from recipe.config import CONF, register
from tasks.arithmetic import ArithmeticPack

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def arithmetic() -> ArithmeticPack:
    """Knobs of its own: the defaults are for a model, and move."""
    return ArithmeticPack(
        deduction_max=99,
        deduction_product_max=12,
        abduction_max=199,
        abduction_product_max=30,
        induction_max=9,
        terse=False,
    )


@pytest.fixture(scope="session")
def demo_config() -> DictConfig:
    """`experiment=demo`, composed once; whoever changes it takes `config`."""
    register()
    with initialize_config_dir(str(CONF), version_base=None):
        return compose("azr", ["experiment=demo"])


@pytest.fixture
def config(demo_config: DictConfig, tmp_path: Path) -> DictConfig:
    """A copy of `experiment=demo` with a run directory of its own; it passes every check as it is."""
    copied = copy.deepcopy(demo_config)
    copied.run.dir = str(tmp_path / "run")
    return copied


@pytest.fixture
def on_a_small_disk(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run a command that finds a file system of so many MiB at `tmp_path`: a mount that only it sees."""

    def run(megabytes: int, *command: str) -> subprocess.CompletedProcess[str]:
        mount = f'mount -t tmpfs -o size={megabytes}m tmpfs "$0" && exec "$@"'
        found = subprocess.run(
            ["unshare", "-Urm", "sh", "-c", mount, str(tmp_path), *command],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        if found.returncode and ("unshare:" in found.stderr or "mount:" in found.stderr):
            pytest.skip(f"needs user namespaces with mounts: {found.stderr.strip()}")
        return found

    return run
