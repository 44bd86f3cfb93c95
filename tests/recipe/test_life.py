"""A run from its start to its end: a finished one, its folders, its summary, and a disk that fills."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import platform
import subprocess
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from omegaconf import DictConfig, OmegaConf

from recipe import life
from recipe.life import alarm_news, in_a_line, locked, make_summary, train
from recipe.preflight import PreflightError
from recipe.run import checkpoint
from recipe.run import files as outputs
from recipe.selfplay import metrics
from recipe.selfplay.alarms import AlarmError
from tasks.arithmetic import ArithmeticPack

ROOT = Path(__file__).parents[2]
SmallDisk = Callable[..., subprocess.CompletedProcess[str]]


def finish(config: DictConfig, run_dir: Path) -> None:
    """Leave in `run_dir` what a run of this configuration leaves that did all its steps."""
    steps = config.trainer.total_training_steps
    folder = run_dir / "checkpoints" / f"global_step_{steps}"
    (folder / "actor").mkdir(parents=True)
    manifest = checkpoint.Manifest(checkpoint.FORMAT, "arithmetic", steps, "", 0, 0)
    checkpoint.write_manifest(folder, manifest)
    OmegaConf.save(config, run_dir / outputs.CONFIG, resolve=True)
    summary = make_summary([], seconds=1.0, command="", commit=None, versions={}, hardware={})
    (run_dir / outputs.SUMMARY).write_text(json.dumps(summary))


def test_finished_run_says_that_it_is(config: DictConfig, capsys: pytest.CaptureFixture[str]) -> None:
    run_dir = Path(config.run.dir)
    finish(config, run_dir)
    train(config, ArithmeticPack(), run_dir)
    assert "has its 20 steps already; nothing to do" in capsys.readouterr().out
    (run_dir / "report.html").touch()
    train(config, ArithmeticPack(), run_dir)
    assert capsys.readouterr().out.endswith(f"for a browser: {run_dir / 'report.html'}\n")


def test_finished_run_is_the_same_on_another_cluster(
    config: DictConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    run_dir = Path(config.run.dir)
    finish(config, run_dir)
    config.ray_kwargs.ray_init.address = "10.0.0.9:6379"
    train(config, ArithmeticPack(), run_dir)
    assert "nothing to do" in capsys.readouterr().out


def test_finished_run_does_not_stand_for_one_of_other_settings(config: DictConfig) -> None:
    run_dir = Path(config.run.dir)
    finish(config, run_dir)
    config.reward_profile = "random"
    with pytest.raises(PreflightError) as refusal:
        train(config, ArithmeticPack(), run_dir)
    assert str(refusal.value) == (
        f"{run_dir} has its 20 steps already, of another configuration "
        "(reward_profile: paper -> random). Give another run.dir."
    )


# ------------------------------ a run that ends early ------------------------------


def through_ray(error: Exception) -> Exception:
    """The error as whoever waits for a Ray actor has it, which raised it."""
    from ray.exceptions import RayTaskError

    try:
        raise error
    except type(error):
        text = traceback.format_exc()
    raised: Exception = RayTaskError("run", text, error, "ray::run()", 1, "10.0.0.1").as_instanceof_cause()
    return raised


def test_run_that_an_alarm_ends_says_so_in_a_sentence(
    config: DictConfig, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    sentence = "step 12, alarm duplicates: 97% of them are. Stopped by azr.alarms.stop"

    def run(config: DictConfig) -> None:
        raise through_ray(AlarmError(sentence))

    monkeypatch.setattr(life, "_run", run)
    config.cpu, config.actor_rollout_ref.model.path = None, "somebody/a-model"
    run_dir = Path(config.run.dir)
    run_dir.mkdir()
    Path(config.trainer.default_local_dir).mkdir()
    with pytest.raises(SystemExit) as ended:
        train(config, ArithmeticPack(), run_dir)
    assert ended.value.code == 1
    assert f"\nerror: {sentence}\nmore in {run_dir / 'log.txt'}\n" in capfd.readouterr().err


def test_error_of_others_keeps_its_class() -> None:
    assert in_a_line(through_ray(KeyError("number"))) == "KeyError: 'number'"
    assert in_a_line(RuntimeError()) == "RuntimeError()"


# ------------------------------ the folders of a run ------------------------------


def test_second_run_in_a_folder_is_told_who_holds_it(tmp_path: Path) -> None:
    with locked("run.dir", tmp_path), pytest.raises(PreflightError) as refusal, locked("run.dir", tmp_path):
        pass
    assert str(refusal.value) == (
        f"run.dir must not be in use by another run; {tmp_path} is, by process {os.getpid()} on "
        f"{platform.node()}. Wait for that run, or give this one another run.dir."
    )
    with (
        locked("run.dir", tmp_path),  # the first has ended
        locked("trainer.default_local_dir", tmp_path),  # checkpoints may be in the run's directory
    ):
        pass


@pytest.mark.slow
def test_two_runs_with_one_folder_of_checkpoints_are_two_runs_too_many(tmp_path: Path) -> None:
    with locked("trainer.default_local_dir", tmp_path / "shared"):
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
    with locked("run.dir", tmp_path):
        pass
    warning = f"warning: {tmp_path} is not guarded against a second run: Function not implemented\n"
    assert capsys.readouterr().err == warning


def test_folder_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(PreflightError) as refusal, locked("run.dir", tmp_path / "file" / "run"):
        pass
    assert str(refusal.value) == (
        f"run.dir must be writable; {tmp_path / 'file' / 'run'} is not: Not a directory"
    )


def test_alarms_are_told_with_their_step(tmp_path: Path) -> None:
    ledger = outputs.JsonLinesFile(tmp_path / outputs.LEDGER)
    ledger.append([{"step": 3, "role": "alarm", "alarm": "length", "sentence": "told by a process before"}])
    new = outputs.GrowingFile(ledger.path, tail_bytes=0)
    line = {"step": 12, "role": "alarm", "alarm": "duplicates", "value": 0.97, "threshold": 0.7}
    ledger.append([{"step": 12, "role": "solve"}, {**line, "sentence": "97% are", "action": "warn"}])
    assert alarm_news(new) == ["step 12, alarm duplicates: 97% are"]
    assert alarm_news(new) == []


# ------------------------------ the summary ------------------------------


def validated(step: int, num_right: int) -> dict[str, Any]:
    """A line of metrics with a held-out result: `num_right` of 2 deductions and 1 wrong induction."""
    correct = [float(i < num_right) for i in range(2)] + [0.0]
    kinds = ["deduction", "deduction", "induction"]
    return {"step": step, "time": 0.0, **metrics.held_out_metrics(kinds, correct, [1.0, 1.0, 0.0])}


def test_summary_has_these_keys() -> None:
    summary = make_summary([validated(0, 0), validated(6, 2)], 12.34, "python -m x", None, {}, {})
    assert list(summary) == ["held_out", "seconds", "steps", "command", "commit", "versions", "hardware"]
    assert list(summary["held_out"]) == ["before", "after"]
    numbers = ["accuracy", "low", "high", "n", "format_rate"]
    for name in ("before", "after"):
        found = summary["held_out"][name]
        assert list(found) == [*numbers, "by_kind"]
        assert list(found["by_kind"]) == ["deduction", "induction"]
        assert all(list(of_kind) == numbers for of_kind in found["by_kind"].values())
    assert json.loads(json.dumps(summary)) == summary


def test_summary_says_what_was_measured() -> None:
    lines = [validated(0, 0), {"step": 1}, validated(2, 1), {"step": 3}, validated(4, 2), {"step": 5}]
    summary = make_summary(lines, 12.345, "python -m x", "9f1c", {"verl": "1"}, {"cores": 2})
    before, after = summary["held_out"]["before"], summary["held_out"]["after"]
    assert before["accuracy"] == 0.0
    assert after["accuracy"] == pytest.approx(2 / 3)
    assert (after["n"], after["by_kind"]["deduction"]["n"]) == (3, 2)
    assert isinstance(after["n"], int)
    assert after["low"] < after["accuracy"] < after["high"]
    assert after["by_kind"]["deduction"]["accuracy"] == 1.0
    assert after["by_kind"]["induction"]["accuracy"] == 0.0
    assert after["format_rate"] == pytest.approx(2 / 3)
    assert (summary["seconds"], summary["steps"]) == (12.3, 5)
    assert (summary["command"], summary["commit"]) == ("python -m x", "9f1c")
    assert summary["versions"] == {"verl": "1"}
    assert summary["hardware"] == {"cores": 2}


def test_summary_has_the_mean_of_sampled_attempts_where_there_were_some() -> None:
    line = {
        "step": 0,
        **metrics.held_out_metrics(["deduction"] * 2, [1.0, 0.0], [1.0, 1.0], 0, [0.5, 0.0], 8),
    }
    before = make_summary([line], 1.0, "python -m x", None, {}, {})["held_out"]["before"]
    assert before["mean_at_8"] == before["by_kind"]["deduction"]["mean_at_8"] == 0.25
    assert before["accuracy"] == 0.5


def test_one_validation_is_before_and_none_is_neither() -> None:
    once = make_summary([validated(0, 1), {"step": 1}], 0.0, "", None, {}, {})["held_out"]
    assert once["before"]["accuracy"] == pytest.approx(1 / 3)
    assert once["after"] is None
    assert make_summary([], 0.0, "", None, {}, {})["held_out"] == {"before": None, "after": None}
    assert make_summary([], 0.0, "", None, {}, {})["steps"] == 0


# ------------------------------ a disk that fills ------------------------------


# Its last checkpoint does not fit: a worker fails with what torch says of it. The log is on the same disk.
RUN_THAT_FILLS_ITS_DISK = """
from pathlib import Path
from recipe.preflight import PreflightError
from recipe.run import checkpoint
from recipe import life, main_azr

def run(config):
    folder = Path(config.trainer.default_local_dir)
    (folder / "global_step_10" / "actor").mkdir(parents=True)
    manifest = checkpoint.Manifest(checkpoint.FORMAT, "arithmetic", 10, "", 0, 0)
    checkpoint.write_manifest(folder / "global_step_10", manifest)
    half_written = folder / "global_step_20" / "actor" / "model_world_size_1_rank_0.pt"
    half_written.parent.mkdir(parents=True)
    try:
        half_written.write_bytes(bytes(1 << 24))
    except OSError:
        print("what the engines print " * 300)
        raise RuntimeError("basic_ios::clear: iostream error") from None

life._run = run
main_azr.command_line()
"""


@pytest.mark.slow
def test_run_that_fills_its_disk_says_what_to_do_and_where_it_goes_on(
    tmp_path: Path, on_a_small_disk: SmallDisk
) -> None:
    done = on_a_small_disk(
        8,
        *(sys.executable, "-c", RUN_THAT_FILLS_ITS_DISK, "experiment=demo"),
        *(f"run.dir={tmp_path}", "actor_rollout_ref.model.path=somebody/a-model"),
    )
    assert done.returncode == 1, done.stderr
    printed = done.stdout + done.stderr
    assert (
        f"\nerror: {tmp_path} cannot be written to: No space left on device. Make room or mend it, and "
        in printed
    )
    assert "it goes on from step 10.\n" in printed
    # Nothing of what the log had no room for: neither the traceback nor the engines' output.
    assert "Traceback" not in printed
    assert "what the engines print" not in printed
