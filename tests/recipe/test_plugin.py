"""What the plug-in costs everybody who imports verl. What it does: tests/recipe/cpu/processes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_on_a_gpu_the_plugin_loads_no_module_of_the_stack() -> None:
    program = "import recipe.plugin, sys; print(*sorted(name.partition('.')[0] for name in sys.modules))"
    environment = {name: value for name, value in os.environ.items() if name != "VERL_PLATFORM"}
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=environment | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = set(done.stdout.split())
    assert {"recipe", "wrapt"} <= loaded
    assert not {"verl", "torch", "ray", "vllm", "transformers", "omegaconf", "hydra", "numpy"} & loaded
