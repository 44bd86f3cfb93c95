"""What verl will ask of Ray and of the GPUs, and whether that is there. Nothing here imports either."""

from __future__ import annotations

from omegaconf import DictConfig

from recipe.problems import PreflightError, Problems, unless

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


def problems_with_slots(config: DictConfig) -> Problems:
    """Slots of a local cluster that `run_ppo` will start itself."""
    init = config.ray_kwargs.ray_init
    if init.get("address") is not None or init.num_cpus is None:
        return
    needed = needed_cpus(config)
    yield from unless(
        init.num_cpus >= needed,
        f"ray_kwargs.ray_init.num_cpus must be at least {needed}, which verl will ask of Ray "
        f"(they are logical slots, not cores); got {init.num_cpus}. With fewer, verl waits for ever.",
    )
