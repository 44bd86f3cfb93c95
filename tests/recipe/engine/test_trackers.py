"""What trackers show of a run, by verl's own loggers and TensorBoard's own reader."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from omegaconf import OmegaConf

from recipe.engine.driver import Driver
from recipe.run import checkpoint
from recipe.run.files import RunFiles, logger_folders
from recipe.selfplay.alarms import Action, AlarmError, Raised
from recipe.selfplay.config import AzrConfig
from recipe.selfplay.curriculum import SelfPlay
from recipe.selfplay.metrics import INTERVAL_FIELDS
from recipe.selfplay.types import PROPOSAL, LedgerLine
from rewards.profile import load_profile
from tasks.arithmetic import ArithmeticPack
from tasks.contract import Outcome, Role


@pytest.fixture(scope="module", autouse=True)
def stack() -> None:
    """Import verl when a test runs: it takes seconds, and every pytest collects this file."""
    global AzrTrainer, PPOTrainerSync, Tracking, ValidationGenerationsLogger, EventAccumulator
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from verl.trainer.ppo.v1.trainer_sync import PPOTrainerSync
    from verl.utils.tracking import Tracking, ValidationGenerationsLogger

    from recipe.engine.trainer import AzrTrainer


@pytest.fixture(autouse=True)
def loggers_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, folder in logger_folders(tmp_path).items():
        monkeypatch.setenv(name, folder)


def process(folder: Path, resumed_from: int = 0, **azr: Any) -> Any:
    """A trainer that has come to `fit`, of a run that goes on behind a step; 0: of one that begins anew."""
    trainer = AzrTrainer.__new__(AzrTrainer)
    trainer.config = OmegaConf.create(
        {
            "trainer": {
                "default_local_dir": str(folder / "checkpoints"),
                "max_actor_ckpt_to_keep": 2,
                "save_freq": 2,
                "log_val_generations": 2,
                "logger": ["tensorboard"],
                "rollout_data_dir": str(folder / "rollouts"),
            }
        }
    )
    trainer.azr = AzrConfig(**azr)
    trainer.global_steps = resumed_from
    trainer.files = RunFiles(folder)
    selfplay = SelfPlay(ArithmeticPack(), load_profile("paper"), trainer.azr)
    trainer.driver = Driver(selfplay, trainer, trainer.files)
    trainer._init_dump_executor()
    trainer.logger = Tracking("azr", "self-play", ["tensorboard"])
    trainer.validation_generations_logger = ValidationGenerationsLogger("azr", "self-play")
    return trainer


def read(folder: Path) -> Any:
    return EventAccumulator(str(folder / "tensorboard"), size_guidance={"scalars": 0, "tensors": 0}).Reload()


def scalars(folder: Path, name: str) -> list[tuple[int, float]]:
    return [(event.step, event.value) for event in read(folder).Scalars(name)]


# ------------------------------ TensorBoard ------------------------------


@pytest.mark.parametrize("resumed_from", [0, 2])
def test_tensorboard_shows_no_step_twice_after_a_resume(tmp_path: Path, resumed_from: int) -> None:
    killed = process(tmp_path)
    for step in range(5):
        killed.logger.log({"azr/alarm/length": 1.0}, step)
    killed._tracking.logger["tensorboard"].writer.flush()
    resumed = process(tmp_path, resumed_from)
    first = resumed_from + 1 if resumed_from else 0
    for step in range(first, 7):
        resumed.logger.log({"azr/alarm/length": 2.0}, step)
    resumed.logger.finish()
    assert scalars(tmp_path, "azr/alarm/length") == [
        (step, 1.0 if step < first else 2.0) for step in range(7)
    ]


def test_samples_of_an_evaluation_are_in_the_file_of_the_metrics(tmp_path: Path) -> None:
    trainer = process(tmp_path)
    for step in (0, 1):
        trainer.global_steps = step
        trainer._maybe_log_val_generations([f"{i} + 1 =" for i in range(9)], ["<b>7</b>"] * 9, [1.0] * 9)
        trainer.logger.log({"azr/held_out/all/accuracy": 0.5}, step)
    trainer.logger.finish()
    (file,) = (tmp_path / "tensorboard").iterdir()
    assert file.name.startswith("events.out.tfevents")
    texts = [
        event.tensor_proto.string_val[0].decode()
        for event in read(tmp_path).Tensors("val/generations/text_summary")
    ]
    # The same two tasks each time, as verl draws them
    assert [text.count("**Output:** <b>7</b>") for text in texts] == [2, 2]
    assert texts[0].split("###")[1:] == texts[1].split("###")[1:]


# ------------------------------ verl's rollout viewer ------------------------------


def line_of(role: Role, attempt: int | None) -> LedgerLine:
    return LedgerLine(
        step=3,
        role=role,
        kind="deduction",
        cell="",
        index=7,
        attempt=attempt,
        prompt=[],
        response="",
        outcome=Outcome.CORRECT,
        reason="",
        solve_rate=0.5 if attempt is PROPOSAL else None,
        reward=0.5,
        record={},
    )


def test_dumped_rollouts_are_what_verls_viewer_reads(tmp_path: Path) -> None:
    """Its scripts/rollout_viewer.py takes `<step>.jsonl`, an object a line, and shows values by name."""
    trainer = process(tmp_path)
    trainer.global_steps = 3
    trainer._said = {"u_0_0": line_of(Role.SOLVE, 0), "u_0_1": line_of(Role.PROPOSE, PROPOSAL)}
    folder = tmp_path / "rollouts"
    keys = ["u_0_0", "u_0_1", "padding"]
    trainer._dump_generations(
        ["1+1=", "new", "x"], ["2", "3+4=", "y"], [None] * 3, [1.0, 0.5, 0.0], {"uid": keys}, str(folder)
    )
    # An evaluation's dump is as verl has it.
    trainer._dump_generations(
        ["1+1="], ["2"], ["2"], [1.0], {"uid": ["v_0_0"]}, str(tmp_path / "evaluations")
    )
    trainer._shutdown_dump_executor()
    (path,) = folder.glob("*.jsonl")
    assert int(path.stem) == 3
    attempt, proposal, padding = map(json.loads, path.read_text().splitlines())
    base = {"input", "output", "gts", "score", "step", "uid"}
    facts = {"role", "kind", "outcome", "reason", "solve_rate", "index", "attempt"}
    assert attempt.keys() == proposal.keys() == padding.keys() == base | facts
    assert [attempt[name] for name in ("output", "score", "role", "outcome", "attempt")] == [
        "2",
        1.0,
        "solve",
        "correct",
        0,
    ]
    assert [proposal[name] for name in ("score", "role", "solve_rate", "attempt")] == [
        0.5,
        "propose",
        0.5,
        None,
    ]
    assert all(padding[name] is None for name in facts)
    (evaluation,) = (tmp_path / "evaluations").glob("*.jsonl")
    assert json.loads(evaluation.read_text()).keys() == base


# ------------------------------ checkpoints and alarms ------------------------------


@pytest.mark.parametrize(("keep_best", "left"), [(False, [8, 10]), (True, [4, 8, 10])])
def test_best_checkpoint_is_kept_beside_the_newest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keep_best: bool, left: list[int]
) -> None:
    def save(trainer: Any) -> None:
        """verl's part, which removes what it is told to keep no more of."""
        assert trainer.config.trainer.max_actor_ckpt_to_keep is None
        (tmp_path / "checkpoints" / f"global_step_{trainer.global_steps}" / "actor").mkdir(parents=True)

    monkeypatch.setattr(PPOTrainerSync, "_save_checkpoint", save)
    accuracies = {2: 0.3, 4: 0.6, 6: 0.6, 8: 0.4, 10: 0.5}
    trainer = process(tmp_path, keep_best=keep_best)
    for step, accuracy in accuracies.items():
        if step == 6:  # the run was stopped
            trainer = process(tmp_path, resumed_from=4, keep_best=keep_best)
        trainer.global_steps = step
        trainer._save_checkpoint()
        evaluated = zip(INTERVAL_FIELDS, (accuracy, 0.0, 1.0, 9.0, 1.0), strict=True)
        trainer.logger.log({f"azr/held_out/all/{name}": value for name, value in evaluated}, step)
        assert trainer.config.trainer.max_actor_ckpt_to_keep == 2
    assert list(checkpoint.finished(tmp_path / "checkpoints")) == left


@pytest.mark.parametrize("action", Action)
def test_alarm_ends_the_run_before_the_next_step_if_it_is_to(tmp_path: Path, action: Action) -> None:
    trainer = process(tmp_path)
    trainer.driver.raised = [Raised(3, "duplicates", 0.97, 0.7, "97% of them are", action)]
    if action is Action.WARN:
        trainer.on_step_begin()
        return
    with pytest.raises(AlarmError) as ended:
        trainer.on_step_begin()
    assert str(ended.value) == (
        "step 3, alarm duplicates: 97% of them are. Stopped by azr.alarms.stop; step 3 has a checkpoint, "
        "from which the same command goes on"
    )
    # What verl's loggers hold is on disk.
    assert trainer.logger._finished
    assert trainer._dump_executor._shutdown


def test_alarm_that_ends_the_run_has_its_step_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    raised = Raised(3, "duplicates", 0.97, 0.7, "97% of them are", Action.STOP)
    trainer = process(tmp_path)
    trainer.checkpoint_manager = SimpleNamespace(sleep_replicas=lambda: done.append("sleep"))
    monkeypatch.setattr(PPOTrainerSync, "_compute_metrics", lambda *args, **at: None)
    monkeypatch.setattr(PPOTrainerSync, "_save_checkpoint", lambda trainer: done.append("save"))
    monkeypatch.setattr(AzrTrainer, "_batch_metrics", lambda trainer, batch: {})

    def end_step(numbers: Any) -> dict[str, float]:
        trainer.driver.raised = [raised]
        return {"azr/alarm/duplicates": 0.97}

    monkeypatch.setattr(trainer.driver, "end_step", end_step)
    trainer._waited_s, trainer.global_steps, metrics = 0.0, 3, {}
    trainer._compute_metrics(None, metrics, {"step": 5.0})
    assert done == ["sleep", "save"]
    trainer._compute_metrics(None, metrics, {"step": 5.0, "save_checkpoint": 1.0})
    trainer.config.trainer.save_freq = -1
    trainer._compute_metrics(None, metrics, {"step": 5.0})
    assert done == ["sleep", "save"]
    assert metrics["azr/alarm/duplicates"] == 0.97
