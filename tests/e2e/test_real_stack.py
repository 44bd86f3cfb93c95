"""One worker: programs in its sandbox, two waves and a KL loss, until its pack hangs: one start."""

from __future__ import annotations

import json
import os
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from recipe.run.evaluations import read_evaluations

pytestmark = pytest.mark.e2e


HANGING = """
from pathlib import Path
from tasks.python_code import PythonCodePack

METRICS = Path({metrics!r})

class HangingPack(PythonCodePack):
    async def judge(self, record, response):
        while METRICS.exists() and '"step": 2,' in METRICS.read_text():
            pass
        return await super().judge(record, response)
"""


@pytest.fixture(scope="module")
def coder(
    make_run: Any, model_of: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory, patch: Any
) -> Any:
    """Two steps of `azr_coder_7b` with the tiny model, its programs run in the sandbox of the workers.

    In step 3 its pack, which is else `python_code`, does not return.
    """
    folder = tmp_path_factory.mktemp("coder")
    (folder / "hanging.py").write_text(HANGING.format(metrics=str(folder / "run" / "metrics.jsonl")))
    patch.setenv("PYTHONPATH", str(folder), prepend=os.pathsep)
    overrides = (
        "experiment=azr_coder_7b",
        "pack._target_=hanging.HangingPack",
        "azr.pack_deadline_s=30",
        "scale=tiny",
        "cluster=cpu_1",
        f"actor_rollout_ref.model.path={model_of('python_code', terse=True)}",
        "azr.proposals_per_kind=1",
        "azr.attempts_per_record=2",
        "azr.seeding.target=1",  # the pack's own seeds are enough to begin with,
        "azr.seeding.max_waves=0",  # whatever the model writes
        "azr.held_out_samples=2",
        "actor_rollout_ref.actor.use_kl_loss=true",
        "algorithm.rollout_correction.bypass_mode=false",  # as on GPUs
        "data.val_max_samples=12",
        "trainer.total_training_steps=4",
        "trainer.test_freq=2",
        "trainer.save_freq=2",
        f"trainer.rollout_data_dir={folder / 'rollouts'}",
    )
    return make_run(folder / "run", overrides).watch(status=1)


def test_an_experiment_for_gpus_runs_on_a_cpu(coder: Any) -> None:
    before, first, second = coder.metrics
    assert (before["step"], first["step"], second["step"]) == (0, 1, 2)
    assert [line.get("azr/held_out/all/n") for line in coder.metrics] == [12, None, 12]
    coder.assert_rollout_matches_actor(bypass=False)
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
    """verl's own dump of what it trained on: every response carries reward and facts of its ledger line."""
    for step in (1, 2):
        dump = (coder.folder.parent / "rollouts" / f"{step}.jsonl").read_text().split("\n")[:-1]
        facts = ("role", "kind", "outcome", "reason", "solve_rate", "index", "attempt")
        rows = map(json.loads, dump)
        dumped = Counter((row["output"], row["score"], *(row[name] for name in facts)) for row in rows)
        assert dumped == Counter(
            (line["response"], line["reward"], *(line[name] for name in facts))
            for line in coder.ledger
            if line["step"] == step and line["reward"] is not None
        )


def test_the_loss_holds_the_policy_to_the_reference(coder: Any) -> None:
    assert all("actor/kl_loss" in line for line in coder.metrics if line["step"] > 0)


def test_held_out_tasks_are_sampled_beside_the_greedy_attempt(coder: Any) -> None:
    for step in (0, 2):
        assert 0.0 <= coder.metrics[step]["azr/held_out/all/mean_at_2"] <= 1.0


def test_evaluations_by_task_add_up_to_the_metrics(coder: Any) -> None:
    found = read_evaluations(coder.folder)
    assert list(found) == [0, 2]
    for step, evaluation in found.items():
        line = coder.metrics[step]
        assert not [name for name in line if name.startswith("val-") and "/item/" in name]
        assert len(evaluation.greedy) == line["azr/held_out/all/n"] == 12  # none is missing
        for name, marks in (("accuracy", evaluation.greedy), ("format_rate", evaluation.well_formed)):
            assert marks.count("1") / 12 == pytest.approx(line[f"azr/held_out/all/{name}"])
        assert None not in evaluation.sampled
        assert sum(evaluation.sampled) / 24 == pytest.approx(line["azr/held_out/all/mean_at_2"])
        for group in set(evaluation.groups):
            items = [item for item, name in enumerate(evaluation.groups) if name == group]
            assert len(items) == line[f"azr/held_out/{group}/n"]
            right = [evaluation.greedy[item] == "1" for item in items]
            assert sum(right) / len(items) == pytest.approx(line[f"azr/held_out/{group}/accuracy"])


def test_programs_run_in_a_sandbox(coder: Any) -> None:
    assert [title for title in coder.titles if "tasks.sandbox.guest import zygote" in title]


def test_a_pack_that_hangs_stops_the_run(coder: Any) -> None:
    assert "error: " in coder.printed
    assert "judge(TaskRecord(kind=" in coder.printed
    assert "did not return within 30 s" in coder.printed
    assert max(line["step"] for line in coder.ledger) == 2


@pytest.mark.slow
def test_a_pack_that_raises_stops_the_run(make_run: Any, elsewhere: Any, tmp_path: Path) -> None:
    shutil.copytree(elsewhere.site, tmp_path / "site")
    module = tmp_path / "site" / "greek_numbers" / "pack.py"
    judge = "    async def judge(self, record: TaskRecord, response: str) -> Verdict:\n"
    sound = module.read_text()
    assert judge in sound
    module.write_text(sound.replace(judge, f"{judge}        raise KeyError('number')\n"))
    overrides = (
        *elsewhere.overrides,
        "azr.seeding.target=1",
        "azr.seeding.max_waves=0",
        "trainer.total_training_steps=3",
    )
    run = make_run(tmp_path / "run", overrides, elsewhere.environment(tmp_path / "site")).finish(status=1)
    assert "error: " in run.printed
    assert "pack greek_numbers: judge(TaskRecord(kind=" in run.printed
    assert "raised KeyError: 'number'" in run.printed
    assert not run.ledger
