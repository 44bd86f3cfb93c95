"""Run the checks of `processes/`, each file in an interpreter of its own.

The CPU platform changes modules that a test process shares, and importing verl and vLLM takes seconds, so the
checks are grouped by the process they need. They are ordinary tests; the whole output of a failing process is
shown.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[3]
PROCESSES = Path(__file__).parent / "processes"
CPU = {"VERL_PLATFORM": "cpu", "VERL_ENGINE_DEVICE": "cuda"}


@pytest.mark.slow  # each imports verl, some vLLM
@pytest.mark.parametrize(
    ("checks", "variables"),
    [
        ("gpu_process.py", {}),
        ("trainer_process.py", CPU),
        ("rollout_process.py", CPU),
    ],
)
def test_process(checks: str, variables: dict[str, str], tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("VERL_")}
    environment["PYTHONPATH"] = str(REPOSITORY)
    # Loads what the entry point loads, also where this package is not installed; twice does nothing.
    environment["VERL_USE_EXTERNAL_MODULES"] = "recipe.plugin"
    result = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--rootdir={tmp_path}"),
            *(f"--basetemp={tmp_path / 'files'}", "--import-mode=importlib", str(PROCESSES / checks)),
        ],
        env=environment | variables,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert result.returncode == 0, result.stdout + result.stderr
