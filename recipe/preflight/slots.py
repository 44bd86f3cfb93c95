"""What verl will ask of Ray and of the GPUs, and whether that is there. Nothing here imports either."""

from __future__ import annotations

import os

from omegaconf import DictConfig

from recipe.preflight.model_shape import ModelShape, find_shape
from recipe.preflight.problems import PreflightError, Problems, unless

# What verl 0.9.1 reserves in Ray: a bundle of 3 CPUs for each worker slot, 1 CPU for the task runner, 1 for
# TransferQueue's controller and 1 for each of its storage units; and 1 that must be free when an agent-loop,
# reward or vLLM server process is placed.
CPUS_PER_WORKER = 3
CPUS_OF_RUNNER = 1
CPUS_OF_STORAGE_CONTROLLER = 1
CPUS_TO_PLACE_ACTORS = 1


def needed_cpus(config: DictConfig) -> int:
    """CPUs that verl will ask of Ray for this configuration. With fewer it waits for ever, without a word."""
    workers: int = config.trainer.nnodes * config.trainer.n_gpus_per_node
    storage: int = config.transfer_queue.backend.SimpleStorage.num_data_storage_units
    fixed = CPUS_OF_RUNNER + CPUS_OF_STORAGE_CONTROLLER + CPUS_TO_PLACE_ACTORS
    return CPUS_PER_WORKER * workers + storage + fixed


def check_cluster(config: DictConfig, resources: dict[str, float]) -> None:
    """Check that a running Ray cluster has the slots that verl will ask for.

    Args:
        config: The composed configuration.
        resources: What `ray.cluster_resources()` says.

    Raises:
        PreflightError: It has fewer.
    """
    for problem in problems_with_cluster(config, resources):
        raise PreflightError(problem)


def problems_with_cluster(config: DictConfig, resources: dict[str, float]) -> Problems:
    """Slots that a running cluster lacks; arguments as of `check_cluster`."""
    gpus = config.trainer.nnodes * config.trainer.n_gpus_per_node
    for name, needed in (("CPU", needed_cpus(config)), ("GPU", gpus)):
        found = resources.get(name, 0)
        yield from unless(
            found >= needed,
            f"the Ray cluster must have {needed} {name} slots for trainer.nnodes="
            f"{config.trainer.nnodes} and trainer.n_gpus_per_node={config.trainer.n_gpus_per_node}; "
            f"it has {found:g}. Add nodes, start them with more slots "
            f"(ray start --num-{name.lower()}s), or ask for fewer workers.",
        )


def joins_cluster(config: DictConfig) -> bool:
    """Whether the run joins a Ray cluster that is there, in place of starting one of its own.

    Without any address Ray would join the last one that was started on this machine, whoever that was for.
    """
    return bool(config.ray_kwargs.ray_init.address != "local")


def problems_with_slots(config: DictConfig) -> Problems:
    """Slots of a local cluster that `run_ppo` will start itself."""
    init = config.ray_kwargs.ray_init
    if joins_cluster(config):
        return
    needed = needed_cpus(config)
    yield from unless(
        init.num_cpus is None or init.num_cpus >= needed,
        f"ray_kwargs.ray_init.num_cpus must be at least {needed}, which verl will ask of Ray "
        f"(they are logical slots, not cores); got {init.num_cpus}. With fewer, verl waits for ever.",
    )


def fill_slots(config: DictConfig) -> None:
    """Give a local cluster the slots that verl will ask for, where `ray_init.num_cpus` does not say how many.

    Ray itself would count this machine's cores, which may be fewer. More cores are more slots, so that actors
    start side by side.
    """
    init = config.ray_kwargs.ray_init
    if init.num_cpus is None:
        init.num_cpus = max(needed_cpus(config), os.cpu_count() or 1)


def sequence_parallel_size(config: DictConfig) -> int:
    """Workers that share a sequence; verl 0.9.1 reads an older key for it as well."""
    actor = config.actor_rollout_ref.actor
    size: int = max(actor.fsdp_config.ulysses_sequence_parallel_size, actor.ulysses_sequence_parallel_size)
    return size


def problems_with_counts(config: DictConfig) -> Problems:
    """Counts that others are divided by."""
    trainer, reference = config.trainer, config.actor_rollout_ref
    fsdp, fsdp_size = "actor_rollout_ref.actor.fsdp_config", reference.actor.fsdp_config.fsdp_size
    tensor = reference.rollout.tensor_model_parallel_size
    for key, count in (
        ("trainer.nnodes", trainer.nnodes),
        ("trainer.n_gpus_per_node", trainer.n_gpus_per_node),
        ("actor_rollout_ref.rollout.tensor_model_parallel_size", tensor),
        (f"{fsdp}.ulysses_sequence_parallel_size", sequence_parallel_size(config)),
    ):
        yield from unless(count >= 1, f"{key} must be at least 1; got {count}")
    yield from unless(
        fsdp_size != 0,
        f"{fsdp}.fsdp_size must be the workers that share one copy of the model, or -1 for all; got 0",
    )


def problems_with_parallelism(config: DictConfig) -> Problems:
    """What tensor parallelism (vLLM's) and sequence parallelism (the trainer's) have to divide."""
    if any(problems_with_counts(config)):
        return
    reference, per_node = config.actor_rollout_ref, config.trainer.n_gpus_per_node
    tensor, sequence = reference.rollout.tensor_model_parallel_size, sequence_parallel_size(config)
    yield from unless(
        per_node % tensor == 0,
        f"trainer.n_gpus_per_node must be a multiple of actor_rollout_ref.rollout.tensor_model_parallel_size="
        f"{tensor}, the GPUs of one vLLM replica; got {per_node}",
    )
    workers = config.trainer.nnodes * per_node
    key = "actor_rollout_ref.actor.fsdp_config.ulysses_sequence_parallel_size"
    yield from unless(
        workers % sequence == 0,
        f"{key} must divide the number of workers, trainer.nnodes * trainer.n_gpus_per_node = {workers}; "
        f"got {sequence}",
    )
    attention = reference.model.override_config.get("attn_implementation", "flash_attention_2")
    yield from unless(
        sequence == 1 or attention == "flash_attention_2",
        f"{key}={sequence} needs actor_rollout_ref.model.override_config.attn_implementation="
        f"flash_attention_2, the only one that verl spreads over workers, and the package flash-attn; "
        f"got {attention}",
    )
    shape = find_shape(reference.model.path) if reference.model.path is not None else None
    if shape is not None:
        yield from _problems_with_heads(shape, tensor, sequence, key)


def _problems_with_heads(shape: ModelShape, tensor: int, sequence: int, sequence_key: str) -> Problems:
    heads, kv_heads = shape.num_heads, shape.num_kv_heads
    for key, size in (
        ("actor_rollout_ref.rollout.tensor_model_parallel_size", tensor),
        (sequence_key, sequence),
    ):
        yield from unless(
            heads % size == 0 and (kv_heads % size == 0 or size % kv_heads == 0),
            f"{key} must divide the model's {heads} attention heads, and divide its {kv_heads} key-value "
            f"heads or be a multiple of them; got {size}",
        )
