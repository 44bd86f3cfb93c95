"""This machine: packages, memory and disk. What is said of it is for the doctor; a run goes on."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

from omegaconf import ListConfig

from recipe.preflight import machine, memory
from recipe.preflight.memory import FRAGMENTATION, Phase
from recipe.preflight.rules.keys import ATTENTION, FSDP, ROLLOUT, TOKENS, is_importable, show
from recipe.preflight.rules.register import rule
from recipe.preflight.setup import Setup
from recipe.run import checkpoint

MIN_SHM_GIB = 1.0
"""Least shared memory: a container has 64 MiB unless told, with which vLLM and NCCL do not start."""


@rule(refuses=False, here=True)
def packages(setup: Setup) -> Iterator[str]:
    """Installed are the versions that setup.py pins."""
    install = machine.install_command(setup.config)
    for asked in machine.requirements(setup.config):
        found = machine.installed_version(asked.name)
        if found is None:
            yield f"{asked.name} is not installed; run {install}"
        elif not asked.specifier.contains(found, prereleases=True):
            yield f"{asked.name} must be {asked.specifier}; {found} is installed. Run {install}"

    # Not among the locked packages
    attention = setup.config.actor_rollout_ref.model.override_config.get("attn_implementation") or ""
    if attention.startswith("flash_attention") and machine.installed_version("flash-attn") is None:
        needs = f"attn_implementation={attention} needs the package flash-attn, which is not installed"
        yield f"{needs}; install one built for this torch, or leave {ATTENTION}=sdpa"

    # Workers may have paths of their own (ray_init.runtime_env).
    library = setup.config.actor_rollout_ref.model.external_lib
    for name in library if isinstance(library, ListConfig) else [] if library is None else [library]:
        if not is_importable(name):
            key = "actor_rollout_ref.model.external_lib"
            yield f"{key} must be a module that can be imported; got {show(name)}"
    if setup.config.actor_rollout_ref.model.use_liger and machine.installed_version("liger-kernel") is None:
        yield "actor_rollout_ref.model.use_liger=true needs the package liger-kernel, which is not installed"


@rule(applies=lambda config: not machine.on_cpu(config), refuses=False, here=True)
def room_on_gpus(setup: Setup) -> Iterator[str]:
    """The GPUs of this node have room for vLLM."""
    share = setup.config.actor_rollout_ref.rollout.gpu_memory_utilization
    for gpu in setup.gpus[: setup.config.trainer.n_gpus_per_node]:
        wanted = share * gpu.total_gib
        if gpu.free_gib < wanted:
            yield (
                f"vLLM wants {wanted:.1f} GiB free on each GPU, {ROLLOUT}.gpu_memory_utilization={share} of "
                f"all; {gpu.name} has {gpu.free_gib:.1f}. Stop the other programs on it, or choose other "
                "GPUs by CUDA_VISIBLE_DEVICES"
            )


@rule(refuses=False, here=True)
def memory_here(setup: Setup) -> Iterator[str]:
    """This machine has the memory of a node."""
    if (shape := setup.shape) is None:
        return
    needed, available = memory.estimate_host(setup.config, shape).peak_gib, machine.available_gib()[0]
    if needed > available:
        remedy = "stop other programs, or ask for fewer workers or a smaller model"
        memories = f"about {needed:.1f} GiB of this machine's memory, and {available:.1f} are available"
        yield f"the run will take {memories}; {remedy}"


@rule(refuses=False, here=True)
def shared_memory(setup: Setup) -> Iterator[str]:
    """Without CUDA's own sharing, every worker passes its weights on through a bucket of shared memory."""
    buckets = (
        setup.config.trainer.n_gpus_per_node * memory.bucket_mib(setup.config, setup.model_config) / 1024
    )
    needed = max(MIN_SHM_GIB, buckets if machine.on_cpu(setup.config) else 0.0)
    free = machine.free_gib(machine.SHARED_MEMORY)
    if free < needed:
        remedy = "In a container give --shm-size or --ipc=host"
        yield f"{machine.SHARED_MEMORY} must have {needed:.1f} GiB free; it has {free:.1f}. {remedy}"


@rule(refuses=False, here=True)
def disk_for_checkpoints(setup: Setup) -> Iterator[str]:
    """There is room for as many checkpoints as the run will hold."""
    if (shape := setup.shape) is None:
        return
    trainer = setup.config.trainer
    folder = Path(trainer.default_local_dir)
    # The last step is saved whatever its number; the oldest is removed before a new one is written.
    saved = math.ceil(trainer.total_training_steps / trainer.save_freq) if trainer.save_freq > 0 else 0
    held = min(saved, (trainer.max_actor_ckpt_to_keep or saved) + setup.config.azr.keep_best)
    count = max(held - len(checkpoint.finished(folder)), 0)
    needed = count * memory.checkpoint_gib(setup.config, shape)
    free = machine.free_gib(folder)
    if free < needed:
        room = f"{needed:.1f} GiB free for {count} checkpoints of weights and optimizer"
        yield f"{folder} must have {room}; it has {free:.1f}. Make room, or give another run.dir"


@rule(applies=lambda config: config.pack.get("sandbox") is not None, refuses=False, here=True)
def sandbox_layers(setup: Setup) -> Iterator[str]:
    """The sandbox opens here, and stops every attack of its own test."""
    for attack, stopped in setup.sandbox.selftest.items():
        if not stopped:
            yield f"the sandbox lets `{attack}` through; see docs/sandbox.md"


@rule(applies=lambda config: config.cpu is None, refuses=False)
def memory_of_a_gpu(setup: Setup) -> Iterator[str]:
    """An update and the generation fit on a GPU, and a whole sequence in the cache."""
    card, shape, config = setup.card_gib, setup.shape, setup.config
    if shape is None or card is None:
        return
    gpu, usable = memory.estimate_gpu(config, shape, card), card * (1 - FRAGMENTATION)
    fewer = f"lower {TOKENS}, train adapters (actor_rollout_ref.model.lora_rank), or use more GPUs"
    smaller = f"lower {ROLLOUT}.gpu_memory_utilization, or set {FSDP}.optimizer_offload=true"
    phases = ("an update", Phase.UPDATING, fewer), ("generation", Phase.GENERATING, smaller)
    for what, phase, remedy in phases:
        if (gib := gpu.gib_while(phase)) > usable:
            yield f"{what} will take about {gib:.1f} GiB of {usable:.1f} on each GPU; {remedy}"
    tokens = memory.kv_tokens(config, shape, gpu.gib_of(memory.VLLM_CACHE))
    whole = memory.sequence_tokens(config)
    if tokens < whole:
        has = f"must hold one sequence of {whole} tokens; it holds about {tokens}"
        yield f"a replica's key-value cache {has}. Raise {ROLLOUT}.gpu_memory_utilization"
