"""Two workers train with a pack from elsewhere, are killed in a step, and resume: two starts of the stack."""

from __future__ import annotations

import json
import operator
import signal
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import psutil
import pytest

pytestmark = pytest.mark.e2e

TIMEOUT_S = 900
NUM_HELD_OUT = 60
RAY_AGENTS = ("ray::DashboardAgent", "ray::RuntimeEnvAgent")
"""Ray 2.60 leaves these behind when its driver is killed. Workers and engines must go."""

TWO_WORKERS = (
    "cluster=cpu_2",
    "azr.solve_on=previous",
    "azr.seeding.target=4",
    "algorithm.trr.baseline=running-mean",
    "algorithm.trr.scale=none",
    "trainer.total_training_steps=4",
    "trainer.test_freq=4",
)


@dataclass(frozen=True, slots=True)
class Killed:
    """A run that was killed when step 3 was settled and not yet updated.

    Attributes:
        run: The run.
        last_step: Of its metrics.
        alive: Command lines of its processes, but for Ray's agents, that were there 30 seconds later.
        kept: Bytes of its ledger that its last whole checkpoint counts on.
    """

    run: Any
    last_step: int
    alive: list[str]
    kept: bytes


@pytest.fixture(scope="module")
def killed(make_run: Any, elsewhere: Any, tmp_path_factory: pytest.TempPathFactory) -> Killed:
    overrides = (*elsewhere.overrides, *TWO_WORKERS)
    run = make_run(tmp_path_factory.mktemp("killed") / "run", overrides, elsewhere.environment())
    process = run.start()
    try:
        deadline = time.monotonic() + TIMEOUT_S
        while not any(line["step"] == 3 for line in run.ledger):
            assert process.poll() is None and time.monotonic() < deadline, run.log()
            time.sleep(0.1)
        agents, others = [], []
        for child in psutil.Process(process.pid).children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                (agents if " ".join(child.cmdline()).startswith(RAY_AGENTS) else others).append(child)
        process.send_signal(signal.SIGKILL)
        process.wait()
        _, left = psutil.wait_procs(others, timeout=30)
        alive = []
        for child in left:
            with suppress(psutil.NoSuchProcess):  # it may go between two looks
                alive.append(" ".join(child.cmdline()))
        for child in agents + left:
            with suppress(psutil.NoSuchProcess):
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
    assert killed.alive == []


def test_it_resumes_from_its_last_checkpoint(killed: Killed, resumed: Any) -> None:
    assert (resumed.folder / "ledger.jsonl").read_bytes().startswith(killed.kept)
    written = Counter((line["step"], line["role"], line["index"], line["attempt"]) for line in resumed.ledger)
    # Waves of seeding count their requests anew.
    assert {count for place, count in written.items() if place[0] > 0} == {1}
    assert {line["step"] for line in resumed.ledger} == {0, 1, 2, 3, 4}
    assert [line["step"] for line in resumed.metrics] == [0, 1, 2, 3, 4]
    assert resumed.summary["steps"] == 4


def test_its_page_is_written_when_it_has_ended(resumed: Any) -> None:
    page = resumed.folder / "report.html"
    assert page.is_file(), resumed.printed
    html = page.read_text(encoding="utf-8")
    assert html.endswith("</html>\n")
    assert "no result yet" not in html
    assert f"for a browser: {page}\n" in resumed.printed


def test_a_pack_from_elsewhere_trains(resumed: Any) -> None:
    steps = [line for line in resumed.ledger if line["step"] > 0]
    assert {line["kind"] for line in steps} == {"deduction", "abduction"}
    proposed = Counter((line["step"], line["kind"]) for line in steps if line["role"] == "propose")
    assert set(proposed.values()) == {4}
    assert len(proposed) == 4 * 2


def test_the_rollout_is_of_the_weights_that_were_trained(resumed: Any) -> None:
    resumed.assert_rollout_matches_actor()


def test_running_means_go_on_where_they_stood(resumed: Any) -> None:
    """Advantages are rewards less the mean of the steps before (the first less its own) in any process.

    Each role counts half: of N responses, a role's N_r are weighed by N / (2 * N_r).
    """
    steps: dict[str, list[float]] = defaultdict(list)  # the mean reward of each step that a cell was in
    for line in resumed.metrics[1:]:
        rewards: dict[str, list[float]] = defaultdict(list)
        for written in resumed.ledger:
            if written["step"] == line["step"] and written["reward"] is not None:
                rewards[written["cell"]].append(written["reward"])
        sizes: Counter[str] = Counter()
        for cell, found in rewards.items():
            sizes[cell.split("/")[0]] += len(found)
        assert len(sizes) == 2
        for cell, found in rewards.items():
            before = steps[cell] or [fmean(found)]
            weights = [0.95**age for age in reversed(range(len(before)))]
            baseline = sum(map(operator.mul, weights, before)) / sum(weights)
            weight = sizes.total() / (2 * sizes[cell.split("/")[0]])
            expected = weight * fmean(abs(reward - baseline) for reward in found)
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


def test_each_worker_saves_its_share(resumed: Any, elsewhere: Any) -> None:
    shards = sorted(resumed.actor(4).glob("model_world_size_2_rank_*.pt"))
    assert len(shards) == 2
    whole = (elsewhere.model / "model.safetensors").stat().st_size
    assert max(shard.stat().st_size for shard in shards) < 0.75 * whole


def test_the_export_is_the_policy(
    resumed: Any, elsewhere: Any, assert_export_is_the_policy: Callable[..., None]
) -> None:
    assert_export_is_the_policy(resumed, 4, elsewhere.model, NUM_HELD_OUT)


def test_it_takes_the_memory_that_is_estimated(resumed: Any, estimated_gib: Callable[..., float]) -> None:
    assert estimated_gib("experiment=demo", "cluster=cpu_2") == pytest.approx(resumed.peak_gib, rel=0.3)
