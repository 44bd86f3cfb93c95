"""Mistakes, each given to `recipe.doctor` and to a run: both say the same line, without a traceback."""

from __future__ import annotations

import importlib
import json
import shlex
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import huggingface_hub.constants
import numpy
import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf
from safetensors.numpy import save_file

from recipe import doctor, main_azr
from recipe.life import survey_nodes
from recipe.preflight import machine
from recipe.preflight.model import LFS_POINTER
from recipe.preflight.rules import folders
from recipe.preflight.setup import Setup
from recipe.run import checkpoint

MODEL = "actor_rollout_ref.model.path"

Say = Callable[[Callable[[], int | None]], tuple[int, str]]

OVERRIDES = {
    "type": ("azr.seed=abc", "Error merging override azr.seed=abc"),
    "unknown key": ("azr.sed=1", "azr.sed is no key of the configuration; azr has "),
    "former key": (
        "baselines=six",
        "baselines is no key of the configuration any more; give algorithm.trr.cells",
    ),
    "unknown pack": ("pack=nope", "In 'azr': Could not find 'pack/nope'. Available options in 'pack': arith"),
    "unquoted =": ("run.dir=runs/a=b", "the override run.dir=runs/a=b cannot be read: mismatched input '=' "),
    "several values": (
        "trainer.logger=console,wandb",
        "the override trainer.logger=console,wandb gives several values, and a run takes one. A list is tr",
    ),
    "a range": (
        "azr.seed=range(3)",
        "the override azr.seed=range(3) gives several values, and a run takes one.",
    ),
    "no group's name": ("pack=null", "an override gives null where one of several files is chosen, as by "),
    "no =": ("run.dir", "an override must be KEY=VALUE; got run.dir"),
}
"""Those that Hydra refuses."""

ACTOR = "actor_rollout_ref.actor"
ROLLOUT = "actor_rollout_ref.rollout"
BUCKET = f"{ROLLOUT}.checkpoint_engine.update_weights_bucket_megabytes"
LONG = "/tmp/" + 40 * "x"

# What is given, and how the line that comes back begins. FOLDER is the test's own, with what `furnish` puts
# there. Nothing listens at NOBODY.
MISTAKES = {
    # Self-play and the pack
    "enum": ("azr.solve_on=abc", "azr.solve_on must be one of fresh, previous, attempts; got 'abc'"),
    "pack knob": ("pack.deduction_max=1", "pack arithmetic: pack.deduction_max must be an integer from 9 to"),
    "negative size": ("azr.held_out_samples=-1", "azr.held_out_samples must be at least 0; got -1"),
    "oversample": (
        "azr.tasks=buffer azr.oversample=2.0",
        "azr.oversample must be at least 1, and 1 with azr.tasks=buffer; got 2.0",
    ),
    "profile": ("reward_profile=nope", "reward_profile must be one of arithmetic, "),
    "measure": ("reward_profile=paper_accuracy", "reward_profile=paper_accuracy grades wrong attempts by "),
    "feature": (
        "'azr.bonus.terms={beauty: {}}'",
        "azr.bonus.terms.beauty is no feature of the pack arithmetic; it has ",
    ),
    "cells": ("algorithm.trr.cells=kind", "algorithm.trr.cells must be one of role-kind, "),
    # verl's keys
    "rollout.n": (f"{ROLLOUT}.n=8", f"{ROLLOUT}.n must be 1: "),
    "val n": (f"{ROLLOUT}.val_kwargs.n=4", f"{ROLLOUT}.val_kwargs.n must be 1: "),
    "no steps": (
        "trainer.total_training_steps=null",
        "trainer.total_training_steps must be an integer, at least 1; got null",
    ),
    "zero steps": (
        "trainer.total_training_steps=0",
        "trainer.total_training_steps must be at least 1; got 0",
    ),
    "half a step": (
        "trainer.total_training_steps=2.5",
        "trainer.total_training_steps must be an integer, at least 1; got 2.5",
    ),
    "epochs": (
        "trainer.total_epochs=3",
        "trainer.total_epochs must be at least trainer.total_training_steps=20",
    ),
    "percent": (
        f"{ROLLOUT}.gpu_memory_utilization=90",
        f"{ROLLOUT}.gpu_memory_utilization must be a share of a GPU's memory, above 0 and at most 1; got 90",
    ),
    "nothing": (
        f"{ROLLOUT}.gpu_memory_utilization=0",
        f"{ROLLOUT}.gpu_memory_utilization must be a share of ",
    ),
    "adapters": (
        "actor_rollout_ref.model.lora_rank=1024",
        "actor_rollout_ref.model.lora_rank must be from 0 (none) to 512, the largest that vLLM has; got 1024",
    ),
    "no held-out task": (
        "data.val_max_samples=0",
        "data.val_max_samples must be -1 for all, or at least 1; got 0",
    ),
    "greedy": (f"{ROLLOUT}.temperature=0", f"{ROLLOUT}.temperature must be above 0: "),
    "no group": ("algorithm.trr=null", "algorithm.trr must be a group of keys; got null"),
    "rate": (f"{ACTOR}.optim.lr=fast", f"{ACTOR}.optim.lr must be a number, at least 0; got 'fast'"),
    "word for a number": (
        f"{ACTOR}.clip_ratio_high=high",
        f"{ACTOR}.clip_ratio_high must be a number; got 'high'",
    ),
    "word for true": (
        f"{ROLLOUT}.enforce_eager=maybe",
        f"{ROLLOUT}.enforce_eager must be true or false; got 'ma",
    ),
    "loss": (f"{ACTOR}.loss_agg_mode=mean", f"{ACTOR}.loss_agg_mode must be one of token-mean, "),
    "strategy": (f"{ACTOR}.strategy=megatron", f"{ACTOR}.strategy must be fsdp2 on a CPU; got 'megatron'"),
    "fsdp on a CPU": (
        "actor_rollout_ref.ref.strategy=fsdp",
        "actor_rollout_ref.ref.strategy must be fsdp2 on a CPU; got 'fsdp'",
    ),
    "device": ("trainer.device=cuda", "trainer.device=cpu goes together with the settings under cpu, "),
    "mini-batch": (f"{ACTOR}.ppo_mini_batch_size=32", f"{ACTOR}.ppo_mini_batch_size must be left alone: "),
    "agent loops": (
        f"{ROLLOUT}.agent.agent_loop_config_path=mine.yaml",
        f"{ROLLOUT}.agent.agent_loop_config_path must be null: ",
    ),
    "queue": ("transfer_queue.enable=false", "transfer_queue.enable must be null or true: "),
    "data": ("data.train_files=gsm8k.parquet", "data.train_files must be self-play: "),
    "prompts": ("data.train_batch_size=47", "data.train_batch_size must be left alone: azr.* and "),
    "sum of lengths": (
        f"{ROLLOUT}.log_prob_max_token_len_per_gpu=287",
        f"data.max_prompt_length + data.max_response_length = 288 must fit {ROLLOUT}.log_prob_max_token",
    ),
    "length of the rollout": (
        f"{ROLLOUT}.response_length=10",
        f"{ROLLOUT}.response_length must be left alone: it is data.max_response_length=64; got 10",
    ),
    "lengths": (
        "data.max_response_length=65",
        "data.max_prompt_length + data.max_response_length = 289 must fit ",
    ),
    "tokens": (f"{ROLLOUT}.max_num_batched_tokens=8", f"{ROLLOUT}.max_num_batched_tokens must be at least "),
    "endless proposals": (
        "azr.oversample=inf",
        "azr.oversample must be at least 1, and 1 without proposals; got inf",
    ),
    "no correction": (
        "algorithm.rollout_correction=null",
        "algorithm.rollout_correction must be a group of keys; got null",
    ),
    "weights of importance": (
        "algorithm.rollout_correction.rollout_is=tokens",
        "algorithm.rollout_correction.rollout_is must be null, token or sequence; got 'tokens'",
    ),
    "no reference": ("actor_rollout_ref.ref=null", "actor_rollout_ref.ref must be a group of keys; got null"),
    "template's keys": (
        "data.apply_chat_template_kwargs=5",
        "data.apply_chat_template_kwargs must be a group of keys; got 5",
    ),
    "KL": ("algorithm.kl_penalty=full", "algorithm.kl_penalty must be one of kl, k1, abs, "),
    "policy loss": (
        f"{ACTOR}.policy_loss.loss_mode=ppo",
        f"{ACTOR}.policy_loss.loss_mode must be one of vanilla, ",
    ),
    "dual clip": (f"{ACTOR}.clip_ratio_c=1", f"{ACTOR}.clip_ratio_c must be above 1; got 1"),
    "negative clip": (f"{ACTOR}.clip_ratio_low=-0.2", f"{ACTOR}.clip_ratio_low must be null or at least 0; "),
    "betas": (f"{ACTOR}.optim.betas=[0.9]", f"{ACTOR}.optim.betas must be two numbers in [0, 1); got [0.9]"),
    "decay": (f"{ACTOR}.optim.weight_decay=-1", f"{ACTOR}.optim.weight_decay must be at least 0; got -1"),
    "optimizer": (
        f"{ACTOR}.optim.optimizer=adamw",
        f"{ACTOR}.optim.optimizer must be one of AdamW, ",
    ),
    "optimizer's module": (
        f"{ACTOR}.optim.optimizer_impl=no.such.module",
        f"{ACTOR}.optim.optimizer_impl must be a module that can be imported; got 'no.such.module'",
    ),
    "no number": (f"{ACTOR}.kl_loss_coef=nan", f"{ACTOR}.kl_loss_coef must be a number; got nan"),
    "contents": (
        f"{ACTOR}.checkpoint.save_contents=[optimizer]",
        f"{ACTOR}.checkpoint.save_contents must be some of model, optimizer, extra, hf_model, with model; ",
    ),
    "rows": (
        f"{ACTOR}.use_dynamic_bsz=false",
        f"{ACTOR}.ppo_micro_batch_size_per_gpu must be 1 with {ACTOR}.use_dynamic_bsz=false, as the number",
    ),
    "rows of the reference": (
        f"{ACTOR}.use_kl_loss=true actor_rollout_ref.ref.log_prob_use_dynamic_bsz=false",
        "actor_rollout_ref.ref.log_prob_micro_batch_size_per_gpu must be 1 with actor_rollout_ref.ref.log_p",
    ),
    "quantization": (f"{ROLLOUT}.quantization=int4", f"{ROLLOUT}.quantization must be null, fp8, torchao "),
    "tracer": (f"{ROLLOUT}.trace.backend=weave", f"{ROLLOUT}.trace.backend must be null: verl 0.9.1's V1 "),
    "platform": (
        "VERL_PLATFORM=cpu trainer.device=cuda cpu=null",
        "VERL_PLATFORM must not be cpu with trainer.device=cuda; unset it, or give cluster=cpu_1",
    ),
    "shards": (
        f"trainer.n_gpus_per_node=4 {ACTOR}.fsdp_config.fsdp_size=3",
        f"{ACTOR}.fsdp_config.fsdp_size must be -1 or divide the number of workers, ",
    ),
    "replica": (
        f"{ROLLOUT}.data_parallel_size=2",
        f"trainer.n_gpus_per_node must be a multiple of {ROLLOUT}.tensor_model_parallel_size * {ROLLOUT}.dat",
    ),
    "experts": (f"{ROLLOUT}.expert_parallel_size=2", f"{ROLLOUT}.expert_parallel_size must be 1, or 1, "),
    "sglang": (f"{ROLLOUT}.name=sglang", f"{ROLLOUT}.name must be vllm: "),
    "load format": (f"{ROLLOUT}.load_format=gguf", f"{ROLLOUT}.load_format must be one of dummy, auto, "),
    "seed": (f"{ROLLOUT}.seed=-1", f"{ROLLOUT}.seed must be from 0 to 2^32 - 1; got -1"),
    "reward model": ("reward.reward_model.enable=true", "reward.reward_model.enable must be false: "),
    "former reward model": ("reward_model.enable=true", "reward_model.enable must be null or false: "),
    "critic": ("critic.enable=true", "critic.enable must be false: no estimator here has a critic; got true"),
    "warm-up of a critic": ("trainer.critic_warmup=5", "trainer.critic_warmup must be 0: no update is made "),
    "held-out batches": (
        "data.val_batch_size=-1",
        "data.val_batch_size must be null or at least 0; got -1",
    ),
    "loaders": ("data.dataloader_num_workers=-1", "data.dataloader_num_workers must be at least 0; got -1"),
    "another pack's tasks": ("data.azr_pack=null", "data.azr_pack must be left alone: it is what pack is"),
    "data set": (
        "data.custom_cls.path=mine.py",
        "data.custom_cls.path must be pkg://recipe.engine.dataset: ",
    ),
    "waiting": (
        "trainer.v1.sampler.sampler_kwargs.poll_interval_s=-1",
        "trainer.v1.sampler.sampler_kwargs.poll_interval_s must be above 0; got -1",
    ),
    "threads": ("cpu.thread=2", "cpu.thread is no key of the configuration; cpu has threads, kv_cache_gib"),
    # Loggers
    "project": (
        "WANDB_MODE=offline trainer.logger=[wandb] trainer.project_name=a/b",
        "trainer.project_name must have at most 128 characters, none of them of /",
    ),
    "no project": (
        "trainer.logger=[file] trainer.project_name=null",
        "trainer.project_name must be a name with trainer.logger=file; got null",
    ),
    "unknown logger": ("trainer.logger=[console,wandbb]", "trainer.logger must be some of console, "),
    "no package": (
        "trainer.logger=[console,swanlab]",
        "trainer.logger=swanlab needs the package swanlab, which is not installed",
    ),
    "no key": ("trainer.logger=[console,wandb]", "trainer.logger=wandb needs a key of wandb: "),
    # The model
    "no model": (
        f"{MODEL}=/no/such/model",
        f"{MODEL} must be a model directory or a name on the hub; /no/such",
    ),
    "model that a command makes": (
        f"{MODEL}=models/smollm2-135m",
        f"{MODEL} must be a model directory or a name on the hub; models/smollm2-135m does not exist; make "
        "it by `python -m recipe.pretrained smollm2-135m`",
    ),
    "unset model": (f"{MODEL}=null", f"{MODEL} must be a model directory or a name on the hub; it is not"),
    "broken model": (f"{MODEL}=FOLDER/broken", "FOLDER/broken/config.json must hold a JSON object, "),
    "pointer": (f"{MODEL}=FOLDER/pointer", "FOLDER/pointer/model.safetensors is what Git LFS leaves "),
    "cut weights": (f"{MODEL}=FOLDER/cut", "FOLDER/cut/model.safetensors is damaged or cut short ("),
    "quantized": (
        f"{MODEL}=FOLDER/small",
        f"{MODEL} must be a model whose weights are not quantized; FOLDER/small",
    ),
    "no GGUF file": (
        f"{MODEL}=models/no.gguf",
        f"{MODEL} must be a model directory or a name on the hub; mod",
    ),
    "GGUF files": (
        f"{MODEL}=FOLDER/several",
        f"{MODEL} must name one GGUF file; FOLDER/several holds a.gguf, b",
    ),
    "GGUF pointer": (
        f"{MODEL}=FOLDER/several/a.gguf",
        "FOLDER/several/a.gguf must be a GGUF file, and does not begin as one; ",
    ),
    "absent shard": (f"{MODEL}=FOLDER/shards", "FOLDER/shards/2.safetensors must exist: "),
    "no template": (f"{MODEL}=FOLDER/untold", "FOLDER/untold must have a chat template, "),
    "bad template": (
        """'actor_rollout_ref.model.custom_chat_template="a{% if %}"'""",
        "actor_rollout_ref.model.custom_chat_template must be a Jinja template; got Expected an expression",
    ),
    "offline": (
        f"HF_HUB_OFFLINE=1 {MODEL}=somebody/model",
        f"{MODEL}=somebody/model must be in the hub's cache of this machine, since HF_HUB",
    ),
    # 49,152 * 576 numbers of 4 bytes.
    "bucket": (f"{MODEL}=FOLDER/wide {BUCKET}=64", f"{BUCKET} must be at least 108, the MiB of the model's "),
    "context": (
        f"{ROLLOUT}.max_model_len=1025",
        f"{ROLLOUT}.max_model_len must fit the model's context, 1024; ",
    ),
    "several heads": (f"{MODEL}=FOLDER/two_heads", "FOLDER/two_heads/config.json must name one architecture"),
    "no tokens": (f"{MODEL}=FOLDER/no_words", "FOLDER/no_words/tokenizer.json must exist, or another file "),
    "tokenizer": (
        "actor_rollout_ref.model.tokenizer_path=/no/such",
        "actor_rollout_ref.model.tokenizer_path must be null, a directory with tokenizer_config.json, or a n",
    ),
    "adapter": (
        "actor_rollout_ref.model.lora_adapter_path=FOLDER/small",
        "actor_rollout_ref.model.lora_adapter_path must be null, a directory with adapter_config.json, or a ",
    ),
    "attention": (
        "actor_rollout_ref.model.override_config.attn_implementation=flash",
        "actor_rollout_ref.model.override_config.attn_implementation must be null or one of eager, sdpa, ",
    ),
    "no text": (
        "actor_rollout_ref.model.custom_chat_template=5",
        "actor_rollout_ref.model.custom_chat_template must be null or a Jinja template that is not empty; go",
    ),
    "no scale": (
        "actor_rollout_ref.model.lora_alpha=0",
        "actor_rollout_ref.model.lora_alpha must be above 0",
    ),
    "adapters of Megatron": (
        "actor_rollout_ref.model.lora.rank=8",
        "actor_rollout_ref.model.lora.rank must be 0: ",
    ),
    # The run's folders
    "dumps": (
        "trainer.rollout_data_dir=FOLDER/file/rows",
        "trainer.rollout_data_dir must be writable; FOLDER/file/rows is not: Not a dir",
    ),
    "file for a folder": (
        "run.dir=FOLDER/file",
        "run.dir must be writable; FOLDER/file is not: Not a directory",
    ),
    "another pack": (
        "run.dir=FOLDER/words",
        "pack must be 'math_word' to resume from FOLDER/words/checkpoints/",
    ),
    "damaged manifest": (
        "run.dir=FOLDER/other",
        "FOLDER/other/checkpoints/global_step_2/azr/manifest.json must hold a JSON object with format, ",
    ),
    "unwritable": (
        "run.dir=FOLDER/file/run",
        "run.dir must be writable; FOLDER/file/run is not: Not a dir",
    ),
    "result": ("run.dir=FOLDER/done", "run.dir must not hold the result of a run without checkpoints, "),
    "resume mode": (
        "trainer.resume_mode=nope",
        "trainer.resume_mode must be one of auto, disable, resume_path",
    ),
    "checkpoints": ("trainer.max_actor_ckpt_to_keep=1", "trainer.max_actor_ckpt_to_keep must be null or at "),
    "resume from nowhere": (
        "trainer.resume_mode=resume_path trainer.resume_from_path=FOLDER/nowhere",
        "trainer.resume_from_path must be a finished checkpoint of this recipe; got FOLDER/nowhere",
    ),
    "resume from null": (
        "trainer.resume_mode=resume_path",
        "trainer.resume_from_path must be a finished checkpoint of this recipe; got null",
    ),
    "path without its mode": (
        "trainer.resume_from_path=FOLDER/two/checkpoints/global_step_2",
        "trainer.resume_from_path is read with trainer.resume_mode=resume_path alone; got auto",
    ),
    "other workers": (
        "run.dir=FOLDER/two",
        "trainer.nnodes * trainer.n_gpus_per_node must make 2, the number of ",
    ),
    "another model": ("run.dir=FOLDER/one", f"{MODEL} must be a model like that of FOLDER/one/checkpoints/"),
    # Ray
    "no GPU": ("trainer.n_gpus_per_node=0", "trainer.n_gpus_per_node must be at least 1; got 0"),
    "slots": (
        "ray_kwargs.ray_init.num_cpus=6",
        "ray_kwargs.ray_init.num_cpus must be at least 7, which verl ",
    ),
    "GPU slots": ("ray_kwargs.ray_init.num_gpus=0", "ray_kwargs.ray_init.num_gpus must be at least 1, "),
    "nodes": ("trainer.nnodes=2", "trainer.nnodes=2 needs a Ray cluster of as many nodes to join, "),
    "cluster": ("ray_kwargs.ray_init.address=NOBODY", "Ray's head must listen at NOBODY "),
    "address": (
        "ray_kwargs.ray_init.address=127.0.0.1",
        "ray_kwargs.ray_init.address must be local, auto, or HOST:PORT of Ray's head (RAY_ADDRESS), port 637",
    ),
    "no address": (
        "ray_kwargs.ray_init.address=null",
        "ray_kwargs.ray_init.address must be local, auto, or HOST:PORT of Ray's head (RAY_ADDRESS), port 637",
    ),
    "little memory": (
        "ray_kwargs.ray_init.object_store_memory=1000",
        "ray_kwargs.ray_init.object_store_memory must be null or at least 78643200; got 1000",
    ),
    "temporary folder": (
        "RAY_TMPDIR=FOLDER/file",
        "RAY_TMPDIR must be writable; FOLDER/file/ray is not: Not",
    ),
    "relative folder": (
        "ray_kwargs.ray_init._temp_dir=ray",
        "ray_kwargs.ray_init._temp_dir must be an absolute",
    ),
    # 45 + 4 + 64 bytes are 6 more than 107.
    "sockets": (f"RAY_TMPDIR={LONG}", "RAY_TMPDIR must be shorter by 6 bytes: sockets in "),
}


NAMED = {"architectures": ["LlamaForCausalLM"]}


def furnish(folder: Path) -> None:
    """A file; the result of a run; runs with a checkpoint; model directories that each lack something."""
    (folder / "file").touch()
    (folder / "done").mkdir()
    (folder / "done" / "summary.json").write_text("{}")
    for name, num_workers, pack in (
        ("one", 1, "arithmetic"),
        ("two", 2, "arithmetic"),
        ("words", 1, "math_word"),
        ("other", 1, "arithmetic"),
    ):
        furnish_run(folder / name, num_workers, pack)
    models = ("broken", "pointer", "cut", "shards", "small", "untold", "wide", "two_heads", "no_words")
    for name in models:
        (folder / name).mkdir()
        (folder / name / "config.json").write_text(json.dumps({**NAMED, "max_position_embeddings": 288}))
        (folder / name / "tokenizer.json").write_text("{}")
        (folder / name / "tokenizer_config.json").write_text(json.dumps({"chat_template": "{{ messages }}"}))
        save_file({"weight": numpy.zeros(8, numpy.float32)}, folder / name / "model.safetensors")
    (folder / "broken" / "config.json").write_text('{"hidden_size": 8')
    (folder / "pointer" / "model.safetensors").write_bytes(LFS_POINTER + b"v1\noid sha256:0\nsize 9\n")
    weights = (folder / "cut" / "model.safetensors").read_bytes()
    (folder / "cut" / "model.safetensors").write_bytes(weights[:-1])
    (folder / "several").mkdir()
    for name in ("a.gguf", "b.gguf"):
        (folder / "several" / name).write_bytes(LFS_POINTER + b"v1\noid sha256:0\nsize 9\n")
    index = {"weight_map": {"a": "1.safetensors", "b": "2.safetensors"}}
    (folder / "shards" / "model.safetensors").rename(folder / "shards" / "1.safetensors")
    (folder / "shards" / "model.safetensors.index.json").write_text(json.dumps(index))
    (folder / "untold" / "tokenizer_config.json").write_text(json.dumps({"chat_template": None}))
    (folder / "small" / "config.json").write_text(
        json.dumps({**NAMED, "quantization_config": {"quant_method": "awq"}})
    )
    sizes = {"hidden_size": 576, "vocab_size": 49152, "intermediate_size": 1536}
    (folder / "wide" / "config.json").write_text(json.dumps(NAMED | sizes))
    two = {"architectures": ["LlamaForCausalLM", "LlamaForSequenceClassification"]}
    (folder / "two_heads" / "config.json").write_text(json.dumps(two))
    (folder / "no_words" / "tokenizer.json").unlink()
    described = {"chat_template": "{{ messages }}", "tokenizer_class": "LlamaTokenizer"}
    (folder / "no_words" / "tokenizer_config.json").write_text(json.dumps(described))
    (folder / "other" / "checkpoints" / "global_step_2" / "azr" / "manifest.json").write_text("{")


def furnish_run(run_dir: Path, num_workers: int = 1, pack: str = "arithmetic") -> None:
    """What a run leaves after two steps."""
    step = run_dir / "checkpoints" / "global_step_2"
    (step / "actor" / "huggingface").mkdir(parents=True)
    (step / "actor" / "fsdp_config.json").write_text(json.dumps({"world_size": num_workers}))
    (step / "actor" / "huggingface" / "config.json").write_text(json.dumps({"hidden_size": 8}))
    checkpoint.write_manifest(step, checkpoint.Manifest(checkpoint.FORMAT, pack, 2, "", 0, 0))


@pytest.fixture(autouse=True)
def roomy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(machine, "available_gib", lambda: (1000.0, 2000.0))
    monkeypatch.setattr(machine, "find_gpus", list)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(main_azr.life, "live", lambda *_: pytest.fail("it was not refused"))
    monkeypatch.setenv("HOME", str(tmp_path))  # nobody is logged in
    for name in (
        "RAY_ADDRESS",
        "RAY_TMPDIR",
        "NETRC",
        "WANDB_MODE",
        "WANDB_API_KEY",
        "WANDB_IDENTITY_TOKEN_FILE",
    ):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str]) -> Say:
    """Call a command: its exit status, and what it printed of problems."""

    def call(command: Callable[[], int | None]) -> tuple[int, str]:
        try:
            status: object = command()
        except SystemExit as end:
            status = end.code
        printed = capsys.readouterr()
        assert "Traceback" not in printed.out + printed.err
        assert isinstance(status, int)
        return status, printed.err or printed.out

    return call


@pytest.mark.parametrize(("given", "said"), OVERRIDES.values(), ids=OVERRIDES)
def test_override_is_refused_alike(say: Say, monkeypatch: pytest.MonkeyPatch, given: str, said: str) -> None:
    monkeypatch.setattr(sys, "argv", ["command", "experiment=demo", given])
    status, line = say(doctor.main)
    assert (status, line.count("\n")) == (2, 1)
    assert line.startswith(f"error: {said}")
    assert say(main_azr.command_line) == (status, line)


@pytest.fixture(scope="module")
def imported() -> None:
    """A look at a cluster needs Ray: seconds, once a process."""
    importlib.import_module("recipe.engine.cluster")


@pytest.mark.usefixtures("imported")
@pytest.mark.parametrize(("given", "said"), MISTAKES.values(), ids=MISTAKES)
def test_doctor_and_run_say_the_same(
    config: DictConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, say: Say, given: str, said: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:  # nothing listens there any more
        address = f"127.0.0.1:{server.getsockname()[1]}"
    furnish(tmp_path)
    monkeypatch.chdir(tmp_path)  # the checkout may hold a model
    given, said = (text.replace("FOLDER", str(tmp_path)).replace("NOBODY", address) for text in (given, said))
    for override in shlex.split(given):
        key, _, value = override.partition("=")
        if key == "HF_HUB_OFFLINE":
            monkeypatch.setattr(huggingface_hub.constants, key, True)
        elif key.isupper():
            monkeypatch.setenv(key, value)
        else:
            parsed = OverridesParser.create().parse_override(f"++{override}").value()
            OmegaConf.update(config, key, parsed, force_add=True)
    assert_refused_alike(config, say, said)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("key", ["azr.seed", "azr.oversample"])
def test_doctor_and_run_refuse_the_result_of_other_settings(
    config: DictConfig, tmp_path: Path, say: Say, key: str
) -> None:
    config.run.dir = str(tmp_path / "run")
    config.trainer.total_training_steps = 2
    furnish_run(tmp_path / "run")
    (tmp_path / "run" / "summary.json").write_text("{}")
    OmegaConf.save(Setup(config, survey_nodes).filled, tmp_path / "run" / "config.yaml", resolve=True)
    assert list(folders.same_result(Setup(config, survey_nodes))) == []
    OmegaConf.update(config, key, 3)
    assert_refused_alike(config, say, f"{tmp_path}/run has its 2 steps already, of another configuration (")


def assert_refused_alike(config: DictConfig, say: Say, said: str) -> None:
    status, line = say(lambda: main_azr.main.__wrapped__(config))
    assert (status, line.count("\n")) == (2, 1)
    assert line.startswith(f"error: {said}")
    status, told = say(lambda: doctor.diagnose(Setup(config, survey_nodes)))
    assert status == 1
    assert f"\n- {line.removeprefix('error: ')}" in told


@pytest.mark.parametrize("command", ["recipe.doctor", "recipe.main_azr"])
def test_mistake_is_told_before_anything_large_is_loaded(command: str, tmp_path: Path) -> None:
    furnish(tmp_path)
    # It ends as the command does, once it has said what it loaded of these.
    code = (
        "import atexit, runpy, sys\n"
        "large = ('torch', 'transformers', 'ray', 'verl', 'vllm')\n"
        "atexit.register(lambda: print([name for name in large if name in sys.modules]))\n"
        f"runpy.run_module({command!r}, run_name='__main__')"
    )
    given = ["experiment=demo", f"run.dir={tmp_path}/run", f"{MODEL}={tmp_path}/pointer"]
    done = subprocess.run([sys.executable, "-c", code, *given], capture_output=True, text=True, check=False)
    assert "model.safetensors is what Git LFS leaves" in done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == "[]"


def test_there_are_forty() -> None:
    assert len(OVERRIDES) + len(MISTAKES) >= 40
