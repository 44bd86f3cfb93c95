"""The whole program on the real stack: verl's trainer, FSDP2 workers under Ray, vLLM, a tiny model, a CPU."""

from __future__ import annotations

import json
import operator
import os
import signal
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from statistics import fmean
from typing import Any

import psutil
import pytest
import torch
from torch.distributed.tensor import DTensor
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, PreTrainedModel

from recipe.tiny_model import TinyModelConfig, ensure_tiny_model
from tasks import new
from tasks.registry import load_pack

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
TIMEOUT_S = 900
NUM_HELD_OUT = 60

RAY_AGENTS = ("ray::DashboardAgent", "ray::RuntimeEnvAgent")

SMALL = (
    "experiment=demo",
    f"data.val_max_samples={NUM_HELD_OUT}",
    "azr.proposals_per_kind=4",
    "azr.attempts_per_record=4",
    "azr.seeding.target=1",
    "trainer.save_freq=1",
)
"""The demo with less of everything. The packs' own seeds are enough to begin with."""


@pytest.fixture(scope="module")
def model_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A barely warmed-up tiny model for a pack: it need not be good at anything here."""
    cache = tmp_path_factory.mktemp("tiny-models")

    def build(pack: str) -> Path:
        config = TinyModelConfig(steps=60, batch_size=32)
        return ensure_tiny_model(load_pack({"_target_": pack, "terse": True}), config, cache)

    return build


def command(run_dir: Path, model: Path, *overrides: str) -> list[str]:
    """The command line of a small run."""
    paths = (f"run.dir={run_dir}", f"actor_rollout_ref.model.path={model}")
    return [sys.executable, "-m", "recipe.main_azr", *SMALL, *paths, *overrides]


def run(run_dir: Path, model: Path, *overrides: str, status: int = 0) -> str:
    """Run to the end; return what a person saw of it."""
    done = subprocess.run(
        command(run_dir, model, *overrides), cwd=ROOT, capture_output=True, text=True, timeout=TIMEOUT_S
    )
    assert done.returncode == status, done.stdout + done.stderr + tail(run_dir / "log.txt")
    return done.stdout + done.stderr


def tail(path: Path) -> str:
    """The end of a log, for a failing test's message."""
    return path.read_text(errors="replace")[-5000:] if path.exists() else ""


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The complete lines of a JSON-lines file."""
    if not path.exists():
        return []
    text = path.read_text()
    return [json.loads(line) for line in text[: text.rfind("\n") + 1].split("\n")[:-1]]


def assert_rollout_matches_actor(metrics: list[dict[str, Any]]) -> None:
    """vLLM samples from the weights that were trained: fp32 on both sides leaves only rounding."""
    steps = [line for line in metrics if line["step"] > 0]
    assert steps
    for line in steps:
        assert line["training/rollout_probs_diff_valid"] == 1
        assert line["training/rollout_probs_diff_max"] < 1e-4
    assert any(line["training/rollout_probs_diff_max"] > 0 for line in steps), "no two engines agree exactly"


def assert_rewards_less_running_means(metrics: list[dict[str, Any]], ledger: list[dict[str, Any]]) -> None:
    """Advantages are rewards less the mean of the steps before (the first less its own) in any process."""
    steps: dict[str, list[float]] = defaultdict(list)  # the mean reward of each step that a cell was in
    for line in metrics[1:]:
        rewards: dict[str, list[float]] = defaultdict(list)
        for written in ledger:
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


def export(run_dir: Path) -> Path:
    """Export a run's newest checkpoint; return the directory that the command prints."""
    done = subprocess.run(
        [sys.executable, "-m", "recipe.export", run_dir],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return Path(done.stdout.rstrip("\n"))


def policy_of(actor: Path) -> PreTrainedModel:
    """The policy of verl's folder of a checkpoint, put together from its shards without verl's merger."""
    shards = [torch.load(path, weights_only=False) for path in sorted(actor.glob("model_world_size_*.pt"))]
    weights = {}
    for name, first in shards[0].items():
        assert isinstance(first, DTensor)
        # FSDP2 cuts every weight along its first axis, one piece a rank.
        weights[name] = torch.cat([shard[name].to_local() for shard in shards]).reshape(first.shape)
    model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(actor / "huggingface"))
    model.load_state_dict(weights)
    return model.eval()


def assert_export_is_the_policy(run_dir: Path, step: int, base: Path) -> None:
    """What `recipe.export` writes computes what the shards do, and the base does not, if a step moved it."""
    out = export(run_dir)
    assert out == run_dir / "export" / f"step_{step}"
    exported = AutoModelForCausalLM.from_pretrained(out)
    tokenizer = AutoTokenizer.from_pretrained(out)
    trained = policy_of(run_dir / "checkpoints" / f"global_step_{step}" / "actor")
    prompt = read_lines(run_dir / "ledger.jsonl")[0]["prompt"]
    tokens = tokenizer.apply_chat_template(prompt, add_generation_prompt=True, return_tensors="pt")
    asked = tokens["input_ids"]
    with torch.no_grad():
        expected = trained(asked).logits
        torch.testing.assert_close(exported(asked).logits, expected, atol=1e-5, rtol=0)
        difference = (AutoModelForCausalLM.from_pretrained(base)(asked).logits - expected).abs().max()
    # With every response malformed there is nothing to learn, and a barely warmed-up model has such steps.
    moved = any(line.get("actor/grad_norm", 0) > 0 for line in read_lines(run_dir / "metrics.jsonl"))
    assert (difference > 1e-4) == moved
    answers = [model.generate(**tokens, max_new_tokens=24, do_sample=False) for model in (exported, trained)]
    assert torch.equal(*answers)
    assert f"n={NUM_HELD_OUT}" in (out / "README.md").read_text()


def engine_cpu_s(process: psutil.Process) -> dict[int, float]:
    """CPU seconds of each vLLM engine among the descendants of a run, by process id."""
    found = {}
    for child in process.children(recursive=True):
        try:
            if "EngineCore" in child.name() or "EngineCore" in " ".join(child.cmdline()):
                times = child.cpu_times()
                found[child.pid] = times.user + times.system
        except psutil.NoSuchProcess:
            continue
    return found


@pytest.fixture
def started() -> Iterator[list[subprocess.Popen[str]]]:
    """Processes that a test started; they and their descendants are gone when it ends."""
    processes: list[subprocess.Popen[str]] = []
    yield processes
    for process in processes:
        if process.poll() is None:
            for child in psutil.Process(process.pid).children(recursive=True):
                child.kill()
            process.kill()
        process.wait()


def test_two_workers_shard_the_model_and_measure_what_one_measures(
    tmp_path: Path, model_of: Callable[[str], Path], started: list[subprocess.Popen[str]]
) -> None:
    model = model_of("arithmetic")
    one, two = tmp_path / "one", tmp_path / "two"
    run(one, model, "trainer.total_training_steps=1", "trainer.test_freq=1")

    process = subprocess.Popen(
        command(two, model, "cluster=cpu_2", "trainer.total_training_steps=3", "trainer.test_freq=3"),
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    started.append(process)
    at_start: dict[int, float] = {}
    at_end: dict[int, float] = {}
    while process.poll() is None:
        if read_lines(two / "metrics.jsonl"):
            found = engine_cpu_s(psutil.Process(process.pid))
            at_start = at_start or found
            at_end |= found
        time.sleep(0.5)
    assert process.returncode == 0, tail(two / "log.txt")

    # Both replicas answered: each of the two engines worked between the first and the last look.
    worked = [at_end[pid] - at_start[pid] for pid in at_start]
    assert len(worked) == 2
    assert min(worked) > 0.2 * max(worked)

    shards = sorted((two / "checkpoints" / "global_step_3" / "actor").glob("model_world_size_2_rank_*.pt"))
    assert len(shards) == 2
    sizes = [shard.stat().st_size for shard in shards]
    whole = (one / "checkpoints" / "global_step_1" / "actor" / "model_world_size_1_rank_0.pt").stat().st_size
    assert max(sizes) < 0.75 * whole

    # From two shards as from one.
    assert_export_is_the_policy(one, 1, model)
    assert_export_is_the_policy(two, 3, model)

    of_one, of_two = read_lines(one / "metrics.jsonl"), read_lines(two / "metrics.jsonl")
    assert_rollout_matches_actor(of_one)
    assert_rollout_matches_actor(of_two)
    # The untrained model answers greedily, so both clusters measure the same; a near tie may fall otherwise.
    correct = [round(lines[0]["azr/held_out/all/accuracy"] * NUM_HELD_OUT) for lines in (of_one, of_two)]
    assert abs(correct[0] - correct[1]) <= 1
    for role_kind in ("propose/deduction", "propose/abduction", "propose/induction"):
        assert of_one[1][f"azr/{role_kind}/num_responses"] == of_two[1][f"azr/{role_kind}/num_responses"] == 4
    ours = [{name for name in lines[1] if name.startswith("azr/held_out")} for lines in (of_one, of_two)]
    assert ours[1] == set()  # only step 3 was validated there
    assert of_two[3]["azr/held_out/all/n"] == NUM_HELD_OUT


def test_killed_in_the_middle_of_a_step_it_resumes_from_its_last_checkpoint(
    tmp_path: Path, model_of: Callable[[str], Path], started: list[subprocess.Popen[str]]
) -> None:
    model, run_dir = model_of("arithmetic"), tmp_path / "run"
    overrides = (
        "azr.solve_on=previous",
        "azr.seeding.target=4",
        "algorithm.trr.baseline=running-mean",
        "algorithm.trr.scale=none",
        "trainer.test_freq=4",
    )
    arguments = command(run_dir, model, *overrides, "trainer.total_training_steps=4")
    process = subprocess.Popen(
        arguments, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, text=True
    )
    started.append(process)
    deadline = time.monotonic() + TIMEOUT_S
    # Step 3 is settled, and its update has not been logged: the middle of the step.
    while not any(line["step"] == 3 for line in read_lines(run_dir / "ledger.jsonl")):
        assert process.poll() is None and time.monotonic() < deadline, tail(run_dir / "log.txt")
        time.sleep(0.02)
    descendants = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert max(line["step"] for line in read_lines(run_dir / "metrics.jsonl")) == 2, "killed too late"
    # Ray 2.60 leaves two agents of its own behind when its driver is killed. Workers and engines must go.
    _, alive = psutil.wait_procs(descendants, timeout=30)
    titles = []
    for child in alive:
        with suppress(psutil.NoSuchProcess):  # it may go between two looks
            titles.append(" ".join(child.cmdline()))
            child.kill()
    assert [title for title in titles if not title.startswith(RAY_AGENTS)] == []

    manifest = json.loads((run_dir / "checkpoints" / "global_step_2" / "azr" / "manifest.json").read_text())
    before = (run_dir / "ledger.jsonl").read_bytes()[: manifest["ledger_bytes"]]
    done = subprocess.run(arguments, cwd=ROOT, capture_output=True, text=True, timeout=TIMEOUT_S)
    assert done.returncode == 0, done.stdout + done.stderr + tail(run_dir / "log.txt")

    assert (run_dir / "ledger.jsonl").read_bytes().startswith(before)
    ledger = read_lines(run_dir / "ledger.jsonl")
    written = Counter((line["step"], line["role"], line["index"], line["attempt"]) for line in ledger)
    assert set(written.values()) == {1}
    assert {line["step"] for line in ledger} == {1, 2, 3, 4}
    metrics = read_lines(run_dir / "metrics.jsonl")
    assert [line["step"] for line in metrics] == [0, 1, 2, 3, 4]
    assert_rollout_matches_actor(metrics)
    assert_rewards_less_running_means(metrics, ledger)
    summary = json.loads((run_dir / "summary.json").read_text())
    assert summary["steps"] == 4
    assert summary["held_out"]["before"]["n"] == summary["held_out"]["after"]["n"] == NUM_HELD_OUT


def test_another_pack_estimator_and_wave_order_need_no_other_change(
    tmp_path: Path, model_of: Callable[[str], Path]
) -> None:
    run_dir = tmp_path / "run"
    overrides = (
        "pack=prime_inversion",
        "reward_profile=prime_inversion",
        "azr.solve_on=fresh",
        "azr.seeding.target=4",
        "algorithm.adv_estimator=reinforce_plus_plus",
        "trainer.total_training_steps=2",
        "trainer.test_freq=2",
        f"trainer.rollout_data_dir={tmp_path / 'rollouts'}",
    )
    run(run_dir, model_of("prime_inversion"), *overrides)
    metrics = read_lines(run_dir / "metrics.jsonl")
    assert_rollout_matches_actor(metrics)
    # The second wave: four solver tasks a kind, topped up from the buffer, beside the four proposals.
    trained = [line for line in read_lines(run_dir / "ledger.jsonl") if line["reward"] is not None]
    per_step = Counter((line["step"], line["role"], line["kind"]) for line in trained)
    assert set(per_step.values()) == {4}
    # verl's own dump of what it trained on: every response carries the reward that the ledger gives it.
    for step in (1, 2):
        dumped = Counter(
            (row["output"], row["score"]) for row in read_lines(tmp_path / "rollouts" / f"{step}.jsonl")
        )
        assert dumped == Counter(
            (line["response"], line["reward"]) for line in trained if line["step"] == step
        )
    assert list((run_dir / "tensorboard").iterdir())
    assert os.path.getsize(run_dir / "config.yaml") > 0


def test_a_pack_from_elsewhere_trains_and_its_faults_stop_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A name of its own: the module stays loaded in this process.
    new.write("greek_numbers", tmp_path / "source")
    site = tmp_path / "site"
    pip = [sys.executable, "-m", "pip", "install", "-qq", "--no-deps", "--no-build-isolation"]
    subprocess.run([*pip, "--target", site, tmp_path / "source"], check=True)
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.setenv("PYTHONPATH", str(site), prepend=os.pathsep)
    config = TinyModelConfig(steps=60, batch_size=32)
    model = ensure_tiny_model(load_pack("greek_numbers"), config, tmp_path / "models")

    overrides = ("pack=greek_numbers", "trainer.total_training_steps=3", "trainer.test_freq=3")
    run(tmp_path / "run", model, *overrides)
    metrics = read_lines(tmp_path / "run" / "metrics.jsonl")
    assert [line["step"] for line in metrics] == [0, 1, 2, 3]
    assert_rollout_matches_actor(metrics)
    ledger = read_lines(tmp_path / "run" / "ledger.jsonl")
    assert {line["kind"] for line in ledger} == {"deduction", "abduction"}
    assert Counter(line["role"] for line in ledger)["propose"] == 3 * 2 * 4

    module = site / "greek_numbers" / "pack.py"
    sound = module.read_text()
    judge = "    async def judge(self, record: TaskRecord, response: str) -> Verdict:\n"
    assert judge in sound
    for fault, said in (
        ("        raise KeyError('number')\n", "raised KeyError: 'number'"),
        ("        while True: pass\n", "did not return within 5 s"),
    ):
        module.write_text(sound.replace(judge, judge + fault))
        stopped = tmp_path / fault.split()[0]
        printed = run(stopped, model, *overrides, "azr.pack_deadline_s=5", status=1)
        assert "error: " in printed
        assert "pack greek_numbers: judge(TaskRecord(kind=" in printed
        assert said in printed
        assert not (stopped / "ledger.jsonl").exists() or not read_lines(stopped / "ledger.jsonl")
