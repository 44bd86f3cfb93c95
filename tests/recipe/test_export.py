"""`python -m recipe.export`: what it refuses, and what the model card says.

That the exported model is the trained policy is tested by tests/e2e/test_killed_and_resumed.py.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from recipe import export
from recipe.life import make_summary
from recipe.run import checkpoint
from recipe.run import files as outputs
from recipe.selfplay import metrics

MODEL = "somebody/a-model"


def add_checkpoint(run: Path, step: int, world_size: int = 2) -> Path:
    """A finished checkpoint, with empty files for weights; return verl's folder in it."""
    folder = run / "checkpoints" / f"global_step_{step}"
    actor = folder / "actor"
    actor.mkdir(parents=True)
    (actor / "fsdp_config.json").write_text(json.dumps({"FSDP_version": 2, "world_size": world_size}))
    for rank in range(world_size):
        (actor / f"model_world_size_{world_size}_rank_{rank}.pt").touch()
    checkpoint.write_manifest(folder, checkpoint.Manifest(checkpoint.FORMAT, "arithmetic", step, "", 0, 0))
    return actor


def write_config(run: Path, dtype: str = "float32") -> None:
    """Of a run's configuration what is read here."""
    model = {"path": MODEL, "trust_remote_code": False}
    config = {
        "run": {"dir": str(run)},
        "trainer": {"default_local_dir": str(run / "checkpoints")},
        "algorithm": {"adv_estimator": "trr_plus_plus"},
        "actor_rollout_ref": {"model": model, "rollout": {"dtype": dtype}},
    }
    (run / outputs.CONFIG).write_text(json.dumps(config))  # JSON is YAML


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run with finished checkpoints of the steps 10 and 20."""
    run = tmp_path / "run"
    run.mkdir()
    write_config(run)
    add_checkpoint(run, 10)
    add_checkpoint(run, 20)
    return run


def refusal(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """The one line that the command refuses with."""
    with pytest.raises(SystemExit) as end:
        export.main([str(argument) for argument in arguments])
    printed = capsys.readouterr()
    assert end.value.code == 2
    assert printed.out == ""
    assert printed.err.startswith("error: ")
    assert printed.err.count("\n") == 1
    return printed.err.removeprefix("error: ").strip()


# ------------------------------ which checkpoint ------------------------------


def test_newest_finished_checkpoint_is_taken_and_any_other_by_its_step(run: Path) -> None:
    checkpoints = run / "checkpoints"
    (checkpoints / "global_step_30" / "actor").mkdir(parents=True)  # is being written
    assert export.find_checkpoint(checkpoints, None) == checkpoints / "global_step_20"
    assert export.find_checkpoint(checkpoints, 10) == checkpoints / "global_step_10"


def test_what_is_no_run_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for folder in (tmp_path / "missing", tmp_path):
        assert refusal(capsys, folder) == (
            f"RUN must be the directory of a run, with its config.yaml; got {folder}"
        )


def test_run_without_a_finished_checkpoint_is_refused(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    checkpoint.discard_after(run / "checkpoints", 0)
    message = f"{run / 'checkpoints'} must hold a finished checkpoint; it has none"
    assert refusal(capsys, run) == message


def test_step_without_a_checkpoint_is_refused_with_those_that_there_are(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert refusal(capsys, run, "--step", 15) == (
        "--step must be a step with a checkpoint; got 15. Finished are: 10, 20."
    )


def test_half_written_checkpoint_is_refused(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (run / "checkpoints" / "global_step_20" / "azr" / "manifest.json").unlink()
    assert refusal(capsys, run, "--step", 20) == (
        f"{run / 'checkpoints' / 'global_step_20'} was never finished; it may hold half a model. "
        "Finished are: 10."
    )


def test_checkpoint_whose_weights_verl_has_removed_is_refused(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (run / "checkpoints" / "global_step_10" / "actor").rename(run / "elsewhere")
    message = refusal(capsys, run, "--step", 10)
    assert "global_step_10 has no weights any more" in message
    assert message.endswith("Those that have them are: 20.")


def test_checkpoint_that_lacks_a_shard_is_refused(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    actor = run / "checkpoints" / "global_step_20" / "actor"
    (actor / "model_world_size_2_rank_1.pt").unlink()
    assert refusal(capsys, run) == (
        f"{actor} must hold the shards of all 2 workers; it lacks model_world_size_2_rank_1.pt"
    )
    (actor / "fsdp_config.json").unlink()
    assert "must hold the shards of an FSDP model" in refusal(capsys, run)


def test_lora_adapters_are_refused_with_what_merges_them_apart(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    actor = run / "checkpoints" / "global_step_20" / "actor"
    (actor / "lora_train_meta.json").touch()
    message = refusal(capsys, run)
    assert f"{actor} holds LoRA adapters" in message
    assert f"python -m verl.model_merger merge --backend fsdp --local_dir {actor}" in message


def test_directory_that_exists_is_never_written_into(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (run / "export" / "step_20").mkdir(parents=True)
    assert f"{run / 'export' / 'step_20'} does" in refusal(capsys, run)
    assert f"{run} does" in refusal(capsys, run, "--out", run)


def test_number_type_that_vllm_chose_by_itself_is_refused(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_config(run, dtype="auto")
    assert "must say in which type the policy was sampled" in refusal(capsys, run)


# ------------------------------ what comes out ------------------------------


class Merger:
    """In the place of `recipe.engine.merger`, which needs weights: notes what it is asked for.

    Attributes:
        calls: Folder of the shards and number type of every call.
    """

    def __init__(self) -> None:
        self.calls: list[tuple[Path, str]] = []

    def merge(self, actor: Path, out: Path, dtype: str, *, trust_remote_code: bool) -> None:
        print("verl's merger talks")
        self.calls.append((actor, dtype))
        out.mkdir(exist_ok=True)
        (out / "model.safetensors").touch(mode=0o600)  # as safetensors makes it
        if len(self.calls) > 1:
            raise OSError(28, "No space left on device")


@pytest.fixture
def merger(monkeypatch: pytest.MonkeyPatch) -> Merger:
    merger = Merger()
    monkeypatch.setitem(sys.modules, "recipe.engine.merger", merger)
    return merger


def test_model_is_written_whole_or_not_at_all(
    run: Path, capsys: pytest.CaptureFixture[str], merger: Merger
) -> None:
    export.main([str(run)])
    out = run / "export" / "step_20"
    assert capsys.readouterr().out == f"{out}\n"
    assert merger.calls == [(run / "checkpoints" / "global_step_20" / "actor", "float32")]
    assert (out / "README.md").read_text().startswith("---\nlibrary_name: transformers\n")
    with pytest.raises(SystemExit):
        export.main([str(run), "--step", "10"])
    assert "No space left on device" in capsys.readouterr().err
    assert list((run / "export").iterdir()) == [out]


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600)])
def test_weights_are_readable_to_whom_the_umask_says(
    run: Path, merger: Merger, umask: int, mode: int
) -> None:
    before = os.umask(umask)
    try:
        out = export.export(run)
    finally:
        os.umask(before)
    assert {file.name: file.stat().st_mode & 0o777 for file in out.iterdir()} == {
        "README.md": mode,
        "model.safetensors": mode,
    }


def test_run_whose_directory_was_moved_is_found(run: Path, merger: Merger) -> None:
    moved = run.rename(run.with_name("moved"))
    export.export(moved, step=10)
    assert merger.calls == [(moved / "checkpoints" / "global_step_10" / "actor", "float32")]


def test_checkpoint_that_can_no_longer_be_resumed_from_is_still_a_model(run: Path, merger: Merger) -> None:
    manifest = run / "checkpoints" / "global_step_20" / "azr" / "manifest.json"
    manifest.write_text(json.dumps({"format": 1, "pack": "arithmetic", "step": 20}))
    assert "`arithmetic`" in (export.export(run) / "README.md").read_text()


def evaluated(step: int, num_correct: int) -> dict[str, Any]:
    """A line of metrics: `num_correct` of 4 deductions and 0 of 4 inductions."""
    correct = [1.0] * num_correct + [0.0] * (8 - num_correct)
    kinds = ["deduction"] * 4 + ["induction"] * 4
    return {"step": step, **metrics.held_out_metrics(kinds, correct, [1.0] * 8, 0, [], 0)}


def test_card_has_the_evaluation_of_the_step_that_was_exported(run: Path, merger: Merger) -> None:
    lines = [evaluated(0, 1), {"step": 5}, evaluated(10, 2), evaluated(20, 4)]
    (run / outputs.METRICS).write_text("".join(json.dumps(line) + "\n" for line in lines))
    summary = make_summary(lines, 1.0, "python -m recipe.main_azr", "9f1c", {"verl": "0.9.1"}, {})
    (run / outputs.SUMMARY).write_text(json.dumps(summary))
    card = (export.export(run, step=10) / "README.md").read_text().splitlines()
    # 2 of 8 is 25 %, where the run as a whole ended with 4 of 8. Wilson:
    # tests/recipe/selfplay/test_intervals.py.
    assert "| all | 12.5% [2.2, 47.1] n=8 | 25.0% [7.1, 59.1] n=8 |" in card
    assert "| deduction | 25.0% [4.6, 69.9] n=4 | 50.0% [15.0, 85.0] n=4 |" in card
    assert f"| base model | `{MODEL}` |" in card
    assert "| steps | 10 |" in card
    assert not [line for line in card if "was chosen" in line]
    assert "| commit | `9f1c` |" in card
    assert "| command | `python -m recipe.main_azr` |" in card
    assert "| versions | verl 0.9.1 |" in card


def test_best_checkpoint_is_the_first_with_the_best_accuracy(run: Path, merger: Merger) -> None:
    add_checkpoint(run, 30)
    # That of step 15 has no checkpoint.
    lines = [evaluated(0, 1), evaluated(10, 2), evaluated(15, 5), evaluated(20, 3), evaluated(30, 3)]
    (run / outputs.METRICS).write_text("".join(json.dumps(line) + "\n" for line in lines))
    out = run / "export" / "step_20"
    assert export.export(run, best=True) == out
    assert "was chosen among the run's checkpoints for this accuracy" in (out / "README.md").read_text()


def test_best_checkpoint_that_has_made_way_is_told(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert refusal(capsys, run, "--best") == (
        "--best needs a checkpoint of a step that was evaluated (trainer.save_freq, trainer.test_freq); "
        f"{run} has none"
    )
    lines = [evaluated(10, 3), evaluated(20, 2)]
    (run / outputs.METRICS).write_text("".join(json.dumps(line) + "\n" for line in lines))
    (run / "checkpoints" / "global_step_10" / "actor").rename(run / "elsewhere")
    message = refusal(capsys, run, "--best")
    assert "global_step_10 has no weights any more" in message
    assert "with azr.keep_best=true of the best" in message


def test_card_of_what_was_not_evaluated_says_so(run: Path, merger: Merger) -> None:
    card = (export.export(run) / "README.md").read_text()
    assert "It was not evaluated." in card
    assert "| commit |" not in card
