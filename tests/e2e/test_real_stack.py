"""The whole program on the real stack: verl's trainer, FSDP2 workers under Ray, vLLM, a tiny model, a CPU.

Four starts, each a fixture with several tests over what it left: a run on two workers with a pack from
elsewhere that is killed in a step; its resume; `azr_coder_7b` at the tiny model's scale; a pack that hangs.
"""

from __future__ import annotations

import json
import operator
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import psutil
import pytest

from tasks import new

pytestmark = pytest.mark.e2e

TIMEOUT_S = 900
NUM_HELD_OUT = 60
RAY_AGENTS = ("ray::DashboardAgent", "ray::RuntimeEnvAgent")

SMALL = (
    "experiment=demo",
    "pack=greek_numbers",
    f"data.val_max_samples={NUM_HELD_OUT}",
    "azr.proposals_per_kind=4",
    "azr.attempts_per_record=4",
    "trainer.save_freq=1",
)
"""The demo with less of everything."""

TWO_WORKERS = (
    *SMALL,
    "cluster=cpu_2",
    "azr.solve_on=previous",
    "azr.seeding.target=4",
    "algorithm.trr.baseline=running-mean",
    "algorithm.trr.scale=none",
    "trainer.total_training_steps=4",
    "trainer.test_freq=4",
)


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """The pack `greek_numbers`, which is no part of this repository, as pip installs it.

    Attributes:
        site: Where it is installed.
        model: A tiny model for it.
    """

    site: Path
    model: Path

    def environment(self, site: Path | None = None) -> dict[str, str]:
        """The environment of a run that finds the pack, or a copy of it."""
        paths = [str(site or self.site), *filter(None, [os.environ.get("PYTHONPATH")])]
        return os.environ | {"PYTHONPATH": os.pathsep.join(paths)}


@pytest.fixture(scope="module")
def elsewhere(
    tmp_path_factory: pytest.TempPathFactory, model_of: Callable[..., Path], patch: pytest.MonkeyPatch
) -> Elsewhere:
    folder = tmp_path_factory.mktemp("elsewhere")
    new.write("greek_numbers", folder / "source")
    pip = [sys.executable, "-m", "pip", "install", "-qq", "--no-deps", "--no-build-isolation"]
    subprocess.run([*pip, "--target", folder / "site", folder / "source"], check=True)
    # Warming up starts processes of its own, which have to find it too.
    patch.syspath_prepend(str(folder / "site"))
    patch.setenv("PYTHONPATH", str(folder / "site"), prepend=os.pathsep)
    # So far that it proposes tasks of both kinds, and a seeding ends.
    return Elsewhere(folder / "site", model_of("greek_numbers", steps=120))


# ------------------------------ two workers, killed and resumed ------------------------------


@dataclass(frozen=True, slots=True)
class Killed:
    """A run that was killed when step 3 was settled and not yet updated.

    Attributes:
        run: The run.
        last_step: Of its metrics.
        alive: Command lines of its processes that were there 30 seconds later.
        kept: Bytes of its ledger that its last whole checkpoint counts on.
    """

    run: Any
    last_step: int
    alive: list[str]
    kept: bytes


@pytest.fixture(scope="module")
def killed(make_run: Any, elsewhere: Elsewhere, tmp_path_factory: pytest.TempPathFactory) -> Killed:
    overrides = (*TWO_WORKERS, f"actor_rollout_ref.model.path={elsewhere.model}")
    run = make_run(tmp_path_factory.mktemp("killed") / "run", overrides, elsewhere.environment())
    process = run.start()
    try:
        deadline = time.monotonic() + TIMEOUT_S
        while not any(line["step"] == 3 for line in run.ledger):
            assert process.poll() is None and time.monotonic() < deadline, run.log()
            time.sleep(0.02)
        descendants = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGKILL)
        process.wait()
        _, left = psutil.wait_procs(descendants, timeout=30)
        alive = []
        for child in left:
            with suppress(psutil.NoSuchProcess):  # it may go between two looks
                alive.append(" ".join(child.cmdline()))
                child.kill()
    finally:
        if process.poll() is None:
            for child in psutil.Process(process.pid).children(recursive=True):
                child.kill()
            process.kill()
    manifest = json.loads((run.actor(2).parent / "azr" / "manifest.json").read_text())
    kept = (run.folder / "ledger.jsonl").read_bytes()[: manifest["ledger_bytes"]]
    return Killed(run, run.metrics[-1]["step"], alive, kept)


@pytest.fixture(scope="module")
def resumed(make_run: Any, killed: Killed) -> Any:
    """The same command once more."""
    return make_run(killed.run.folder, killed.run.overrides, killed.run.environment).watch()


def test_killed_in_the_middle_of_a_step_it_leaves_no_process(killed: Killed) -> None:
    assert killed.last_step == 2, "killed too late"
    # Ray 2.60 leaves two agents of its own behind when its driver is killed. Workers and engines must go.
    assert [title for title in killed.alive if not title.startswith(RAY_AGENTS)] == []


def test_it_resumes_from_its_last_checkpoint(killed: Killed, resumed: Any) -> None:
    assert (resumed.folder / "ledger.jsonl").read_bytes().startswith(killed.kept)
    written = Counter((line["step"], line["role"], line["index"], line["attempt"]) for line in resumed.ledger)
    # Waves of seeding count their requests anew.
    assert {count for place, count in written.items() if place[0] > 0} == {1}
    assert {line["step"] for line in resumed.ledger} == {0, 1, 2, 3, 4}
    assert [line["step"] for line in resumed.metrics] == [0, 1, 2, 3, 4]
    assert resumed.summary["steps"] == 4


def test_a_pack_from_elsewhere_trains(resumed: Any) -> None:
    steps = [line for line in resumed.ledger if line["step"] > 0]
    assert {line["kind"] for line in steps} == {"deduction", "abduction"}
    proposed = Counter((line["step"], line["kind"]) for line in steps if line["role"] == "propose")
    assert set(proposed.values()) == {4}
    assert len(proposed) == 4 * 2


def test_the_rollout_is_of_the_weights_that_were_trained(resumed: Any) -> None:
    resumed.assert_rollout_matches_actor()


def test_running_means_go_on_where_they_stood(resumed: Any) -> None:
    """Advantages are rewards less the mean of the steps before (the first less its own) in any process."""
    steps: dict[str, list[float]] = defaultdict(list)  # the mean reward of each step that a cell was in
    for line in resumed.metrics[1:]:
        rewards: dict[str, list[float]] = defaultdict(list)
        for written in resumed.ledger:
            if written["step"] == line["step"] and written["reward"] is not None:
                rewards[written["cell"]].append(written["reward"])
        assert rewards
        for cell, found in rewards.items():
            before = steps[cell] or [fmean(found)]
            weights = [0.95**age for age in reversed(range(len(before)))]
            baseline = sum(map(operator.mul, weights, before)) / sum(weights)
            expected = fmean(abs(reward - baseline) for reward in found)
            assert line[f"azr/{cell}/advantage_magnitude"] == pytest.approx(expected, abs=1e-5)
            steps[cell].append(fmean(found))


def test_the_held_out_set_is_evaluated_when_asked(resumed: Any) -> None:
    asked = [any(name.startswith("azr/held_out") for name in line) for line in resumed.metrics]
    assert asked == [True, False, False, False, True]
    held_out = resumed.summary["held_out"]
    assert held_out["before"]["n"] == held_out["after"]["n"] == NUM_HELD_OUT


def test_both_replicas_answer(resumed: Any) -> None:
    worked = sorted(resumed.engine_cpu_s.values())
    assert len(worked) == 2
    assert worked[0] > 0.2 * worked[1]


def test_each_worker_saves_its_share(resumed: Any, elsewhere: Elsewhere) -> None:
    shards = sorted(resumed.actor(4).glob("model_world_size_2_rank_*.pt"))
    assert len(shards) == 2
    whole = (elsewhere.model / "model.safetensors").stat().st_size
    assert max(shard.stat().st_size for shard in shards) < 0.75 * whole


def test_the_export_is_the_policy(
    resumed: Any, elsewhere: Elsewhere, assert_export_is_the_policy: Callable[..., None]
) -> None:
    assert_export_is_the_policy(resumed, 4, elsewhere.model, NUM_HELD_OUT)


def test_it_takes_the_memory_that_is_estimated(resumed: Any, estimated_gib: Callable[..., float]) -> None:
    assert estimated_gib("experiment=demo", "cluster=cpu_2") == pytest.approx(resumed.peak_gib, rel=0.3)


# ------------------------------ programs, two waves, a KL loss ------------------------------


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
    make_run: Any, elsewhere: Elsewhere, tmp_path: Path, fault: str, said: str
) -> None:
    shutil.copytree(elsewhere.site, tmp_path / "site")
    module = tmp_path / "site" / "greek_numbers" / "pack.py"
    judge = "    async def judge(self, record: TaskRecord, response: str) -> Verdict:\n"
    sound = module.read_text()
    assert judge in sound
    module.write_text(sound.replace(judge, f"{judge}        {fault}\n"))
    overrides = (
        *SMALL,
        "azr.seeding.target=1",
        "azr.pack_deadline_s=5",
        "trainer.total_training_steps=3",
        f"actor_rollout_ref.model.path={elsewhere.model}",
    )
    run = make_run(tmp_path / "run", overrides, elsewhere.environment(tmp_path / "site")).finish(status=1)
    assert "error: " in run.printed
    assert "pack greek_numbers: judge(TaskRecord(kind=" in run.printed
    assert said in run.printed
    assert not run.ledger
