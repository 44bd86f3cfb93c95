"""What verl 0.9.1 will ask of Ray, and what shares what. Nothing here imports either."""

from __future__ import annotations

import os

from omegaconf import DictConfig, open_dict

# What it reserves: a bundle of 3 CPUs for each worker slot, 1 CPU for the task runner, 1 for TransferQueue's
# controller and 1 for each of its storage units; and 1 that must be free when an agent-loop, reward or vLLM
# server process is placed.
CPUS_PER_WORKER = 3
CPUS_OF_RUNNER = 1
CPUS_OF_STORAGE_CONTROLLER = 1
CPUS_TO_PLACE_ACTORS = 1


def num_workers(config: DictConfig) -> int:
    """Trainers of a run, one on every GPU."""
    workers: int = config.trainer.nnodes * config.trainer.n_gpus_per_node
    return workers


def needed_cpus(config: DictConfig) -> int:
    """CPUs that verl will ask of Ray for this configuration. With fewer it waits for ever, without a word."""
    storage: int = config.transfer_queue.backend.SimpleStorage.num_data_storage_units
    fixed = CPUS_OF_RUNNER + CPUS_OF_STORAGE_CONTROLLER + CPUS_TO_PLACE_ACTORS
    return CPUS_PER_WORKER * num_workers(config) + storage + fixed


def joins_cluster(config: DictConfig) -> bool:
    """Whether the run joins a Ray cluster that is there, in place of starting one of its own.

    Without any address Ray would join the last one that was started on this machine, whoever that was for.
    """
    return bool(config.ray_kwargs.ray_init.address != "local")


def fill_slots(config: DictConfig) -> None:
    """Give a local cluster the slots that verl will ask for, where `ray_init.num_cpus` does not say how many.

    Ray itself would count this machine's cores, which may be fewer. More cores are more slots, so that actors
    start side by side. A cluster of others has its own: Ray refuses `num_cpus` together with an address.
    """
    init = config.ray_kwargs.ray_init
    if joins_cluster(config):
        with open_dict(config):
            for name in ("num_cpus", "num_gpus"):
                init.pop(name, None)
    elif init.num_cpus is None:
        init.num_cpus = max(needed_cpus(config), os.cpu_count() or 1)


def sequence_parallel_size(config: DictConfig) -> int:
    """Workers that share a sequence; verl 0.9.1 reads an older key for it as well."""
    actor = config.actor_rollout_ref.actor
    size: int = max(actor.fsdp_config.ulysses_sequence_parallel_size, actor.ulysses_sequence_parallel_size)
    return size
