"""One worker: programs in its sandbox, two waves and a KL loss; and a pack that hangs: two starts."""

from __future__ import annotations

import json
import os
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def coder(make_run: Any, model_of: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Two steps of `azr_coder_7b` with the tiny model, its programs run in the sandbox of the workers."""
    folder = tmp_path_factory.mktemp("coder")
    overrides = (
        "experiment=azr_coder_7b",
        "scale=tiny",
        "cluster=cpu_1",
        f"actor_rollout_ref.model.path={model_of('python_code', terse=True)}",
        "azr.proposals_per_kind=1",
        "azr.attempts_per_record=2",
        "azr.seeding.target=1",  # the pack's own seeds are enough to begin with
        "azr.held_out_samples=2",
        "actor_rollout_ref.actor.use_kl_loss=true",
        "data.val_max_samples=12",
        "trainer.total_training_steps=2",
        "trainer.test_freq=2",
        "trainer.save_freq=2",
        f"trainer.rollout_data_dir={folder / 'rollouts'}",
    )
    return make_run(folder / "run", overrides).watch()


def test_an_experiment_for_gpus_runs_on_a_cpu(coder: Any) -> None:
    assert coder.summary["steps"] == 2
    assert coder.summary["held_out"]["after"]["n"] == 12
    coder.assert_rollout_matches_actor()
    assert list((coder.folder / "tensorboard").iterdir())
    assert os.path.getsize(coder.folder / "config.yaml") > 0


def test_a_second_wave_solves_what_the_first_proposed(coder: Any) -> None:
    trained = [line for line in coder.ledger if line["reward"] is not None]
    asked = Counter((line["step"], line["role"], line["kind"]) for line in trained)
    kinds = ("deduction", "abduction", "induction")
    # One solver task a kind, proposed in the step or drawn from the buffer, beside the one proposal.
    assert asked == {
        (step, role, kind): 1 for step in (1, 2) for role in ("propose", "solve") for kind in kinds
    }


def test_verl_trains_on_the_rewards_of_the_ledger(coder: Any) -> None:
    """verl's own dump of what it trained on: every response carries the reward that the ledger gives it."""
    for step in (1, 2):
        dump = (coder.folder.parent / "rollouts" / f"{step}.jsonl").read_text().split("\n")[:-1]
        dumped = Counter((row["output"], row["score"]) for row in map(json.loads, dump))
        assert dumped == Counter(
            (line["response"], line["reward"])
            for line in coder.ledger
            if line["step"] == step and line["reward"] is not None
        )


def test_the_loss_holds_the_policy_to_the_reference(coder: Any) -> None:
    assert all("actor/kl_loss" in line for line in coder.metrics if line["step"] > 0)


def test_held_out_tasks_are_sampled_beside_the_greedy_attempt(coder: Any) -> None:
    for moment in ("before", "after"):
        assert 0.0 <= coder.summary["held_out"][moment]["mean_at_2"] <= 1.0


def test_programs_run_in_a_sandbox(coder: Any) -> None:
    assert [title for title in coder.titles if "tasks.sandbox.guest import zygote" in title]


# ------------------------------ a pack that is at fault ------------------------------


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        pytest.param("while True: pass", "did not return within 5 s", id="hangs"),
        pytest.param(
            "raise KeyError('number')", "raised KeyError: 'number'", id="raises", marks=pytest.mark.slow
        ),
    ],
)
def test_a_fault_of_the_pack_stops_the_run(
    make_run: Any, elsewhere: Any, tmp_path: Path, fault: str, said: str
) -> None:
    shutil.copytree(elsewhere.site, tmp_path / "site")
    module = tmp_path / "site" / "greek_numbers" / "pack.py"
    judge = "    async def judge(self, record: TaskRecord, response: str) -> Verdict:\n"
    sound = module.read_text()
    assert judge in sound
    module.write_text(sound.replace(judge, f"{judge}        {fault}\n"))
    overrides = (
        *elsewhere.overrides,
        "azr.seeding.target=1",
        "azr.pack_deadline_s=5",
        "trainer.total_training_steps=3",
    )
    run = make_run(tmp_path / "run", overrides, elsewhere.environment(tmp_path / "site")).finish(status=1)
    assert "error: " in run.printed
    assert "pack greek_numbers: judge(TaskRecord(kind=" in run.printed
    assert said in run.printed
    assert not run.ledger
