"""What verl 0.9.1 will ask of Ray, and what shares what. Nothing here imports either."""

from __future__ import annotations

import os

from omegaconf import DictConfig, open_dict

CPUS_PER_WORKER = 3  # of the bundle that it reserves for each worker slot

OTHER_CPUS = 3
"""The task runner's, that of TransferQueue's controller, and one that must be free when an agent-loop, reward
or vLLM server process is placed."""


def num_workers(config: DictConfig) -> int:
    """Trainers of a run, one on every GPU."""
    return int(config.trainer.nnodes * config.trainer.n_gpus_per_node)


def needed_cpus(config: DictConfig) -> int:
    """CPUs that verl will ask of Ray for this configuration. With fewer it waits for ever, without a word."""
    storage: int = config.transfer_queue.backend.SimpleStorage.num_data_storage_units
    return CPUS_PER_WORKER * num_workers(config) + storage + OTHER_CPUS


def num_fitting(config: DictConfig, free_cpus: float, free_gpus: float) -> int:
    """Runs of this configuration that a cluster has free slots for; at least 1, which then waits."""
    fitting = free_cpus // needed_cpus(config)
    if config.cpu is None:
        fitting = min(fitting, free_gpus // num_workers(config))
    return max(1, int(fitting))


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
    return int(max(actor.fsdp_config.ulysses_sequence_parallel_size, actor.ulysses_sequence_parallel_size))
