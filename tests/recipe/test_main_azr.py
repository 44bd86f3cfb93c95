"""What somebody who mistypes a command sees: a status that is not 0, and what to change. Nothing is left."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def run(folder: Path, *overrides: str, python_path: str = "") -> subprocess.CompletedProcess[str]:
    """The command with a run directory of its own, which must not come into being."""
    run_dir = folder / "run"
    done = subprocess.run(
        [sys.executable, "-m", "recipe.main_azr", f"run.dir={run_dir}", *overrides],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": python_path},
        timeout=120,
        check=False,
    )
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    assert not run_dir.exists()
    return done


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("pack=nope", ["pack/nope", "arithmetic", "prime_inversion"]),
        ("experiment=nope", ["experiment/nope", "demo"]),
        ("azr.nope=1", ["azr.nope"]),
    ],
)
def test_unknown_name_is_told_with_those_that_exist(tmp_path: Path, override: str, said: list[str]) -> None:
    done = run(tmp_path, override)
    assert all(part in done.stderr for part in said)


def test_broken_rule_is_one_line(tmp_path: Path) -> None:
    done = run(tmp_path, "experiment=demo", "azr.solve_on=nope")
    assert done.returncode == 2
    assert done.stderr == "error: azr.solve_on must be one of fresh, previous, attempts; got 'nope'\n"
    assert done.stdout == ""


def test_a_pack_that_breaks_its_contract_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "faulty.py").write_text(
        "from tasks.arithmetic import ArithmeticPack\n"
        "class Faulty(ArithmeticPack):\n"
        "    def held_out(self): return 'none'\n"
    )
    done = run(tmp_path, "experiment=demo", "pack._target_=faulty.Faulty", python_path=str(tmp_path))
    assert done.returncode == 2
    assert done.stderr == (
        "error: pack arithmetic: held_out() returned 'none'; it must be a sequence of TaskRecord\n"
    )
