"""What somebody who mistypes a command sees: a status that is not 0, and what to change. Nothing is left."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest
from omegaconf import DictConfig, OmegaConf

from recipe import main_azr
from recipe.main_azr import train
from recipe.run import checkpoint
from recipe.run import files as outputs
from tasks.arithmetic import ArithmeticPack

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


def finish(config: DictConfig, run_dir: Path) -> None:
    """Leave in `run_dir` what a run of this configuration leaves that did all its steps."""
    steps = config.trainer.total_training_steps
    folder = run_dir / "checkpoints" / f"global_step_{steps}"
    (folder / "actor").mkdir(parents=True)
    manifest = checkpoint.Manifest(checkpoint.FORMAT, "arithmetic", steps, "", 0, 0)
    checkpoint.write_manifest(folder, manifest)
    OmegaConf.save(config, run_dir / outputs.CONFIG, resolve=True)
    summary = outputs.make_summary([], seconds=1.0, command="", commit=None, versions={})
    (run_dir / outputs.SUMMARY).write_text(json.dumps(summary))


def test_finished_run_says_that_it_is(config: DictConfig, capsys: pytest.CaptureFixture[str]) -> None:
    run_dir = Path(config.run.dir)
    finish(config, run_dir)
    train(config, ArithmeticPack(), run_dir)
    assert "has its 20 steps already; nothing to do" in capsys.readouterr().out


def test_finished_run_is_the_same_on_another_cluster(
    config: DictConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    run_dir = Path(config.run.dir)
    finish(config, run_dir)
    config.ray_kwargs.ray_init.address = "10.0.0.9:6379"
    train(config, ArithmeticPack(), run_dir)
    assert "nothing to do" in capsys.readouterr().out


def test_finished_run_does_not_stand_for_one_of_other_settings(
    config: DictConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    run_dir = Path(config.run.dir)
    finish(config, run_dir)
    config.reward_profile = "random"
    with pytest.raises(SystemExit) as stopped:
        train(config, ArithmeticPack(), run_dir)
    assert stopped.value.code == 2
    assert capsys.readouterr().err == (
        f"error: {run_dir} has its 20 steps already, of another configuration "
        "(reward_profile: paper -> random). Give another run.dir.\n"
    )


# ------------------------------ the folders of a run ------------------------------


def test_second_run_in_a_folder_is_told_who_holds_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with (
        main_azr._locked("run.dir", tmp_path),
        pytest.raises(SystemExit) as end,
        main_azr._locked("run.dir", tmp_path),
    ):
        pass
    assert end.value.code == 2
    assert capsys.readouterr().err == (
        f"error: run.dir must not be in use by another run; {tmp_path} is, by process {os.getpid()} on "
        f"{platform.node()}. Wait for that run, or give this one another run.dir.\n"
    )
    with (
        main_azr._locked("run.dir", tmp_path),  # the first has ended
        main_azr._locked("trainer.default_local_dir", tmp_path),  # checkpoints may be in the run's directory
    ):
        pass


@pytest.mark.slow
def test_two_runs_with_one_folder_of_checkpoints_are_two_runs_too_many(tmp_path: Path) -> None:
    with main_azr._locked("trainer.default_local_dir", tmp_path / "shared"):
        done = subprocess.run(
            [
                *(sys.executable, "-m", "recipe.main_azr", "experiment=demo", f"run.dir={tmp_path / 'run'}"),
                f"trainer.default_local_dir={tmp_path / 'shared'}",
                "actor_rollout_ref.model.path=somebody/a-model",
            ],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    assert done.returncode == 2
    assert done.stderr.startswith("error: trainer.default_local_dir must not be in use by another run; ")
    assert done.stderr.count("\n") == 1
    assert os.listdir(tmp_path / "run") == ["run.dir.lock"]


def test_file_system_without_locks_is_warned_of(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_locks(file: object, operation: int) -> None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr(fcntl, "flock", no_locks)
    with main_azr._locked("run.dir", tmp_path):
        pass
    warning = f"warning: {tmp_path} is not guarded against a second run: Function not implemented\n"
    assert capsys.readouterr().err == warning


def test_folder_that_cannot_be_made_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SystemExit) as end, main_azr._locked("run.dir", tmp_path / "file" / "run"):
        pass
    assert end.value.code == 2
    assert capsys.readouterr().err == (
        f"error: run.dir must be writable; {tmp_path / 'file' / 'run'} is not: Not a directory\n"
    )
