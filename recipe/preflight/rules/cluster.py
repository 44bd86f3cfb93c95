"""Ray: the cluster that the run starts on this machine, or the one that it joins."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from omegaconf import DictConfig

from recipe.preflight import slots
from recipe.preflight.rules.folders import unwritable
from recipe.preflight.rules.register import rule
from recipe.preflight.setup import Setup


def is_local(config: DictConfig) -> bool:
    """Whether the run starts a cluster of its own."""
    return not slots.joins_cluster(config)


@rule(applies=is_local)
def local_slots(setup: Setup) -> Iterator[str]:
    """A cluster of the run's own has what verl asks of it."""
    given, needed = setup.config.ray_kwargs.ray_init.num_cpus, slots.needed_cpus(setup.config)
    if given is not None and given < needed:
        yield (
            f"ray_kwargs.ray_init.num_cpus must be at least {needed}, which verl will ask of Ray (they are "
            f"logical slots, not cores); got {given}. With fewer, verl waits for ever."
        )


@rule(applies=is_local)
def local_workers(setup: Setup) -> Iterator[str]:
    """A cluster of the run's own has a GPU slot for every worker."""
    trainer, given = setup.config.trainer, setup.config.ray_kwargs.ray_init.get("num_gpus")
    needed, has = slots.num_workers(setup.config), given
    if has is None:
        has = len(setup.gpus) if setup.is_for_here else trainer.n_gpus_per_node
    if has >= needed:
        return
    if trainer.nnodes > 1:
        yield (
            f"trainer.nnodes={trainer.nnodes} needs a Ray cluster of as many nodes to join, and "
            "ray_kwargs.ray_init.address is local. Start one (docs/cluster.md) and set RAY_ADDRESS, or give "
            "trainer.nnodes=1"
        )
    elif given is not None:
        yield (
            f"ray_kwargs.ray_init.num_gpus must be at least {needed}, a slot for each worker "
            f"(trainer.n_gpus_per_node); got {given}"
        )
    else:
        yield (
            f"trainer.n_gpus_per_node={needed} needs as many GPUs, and {has} are found; run on a "
            "machine that has them, or see the whole of it on a CPU with scale=tiny cluster=cpu_1"
        )


MOST_SOCKET_BYTES = 107
"""Longest name of a socket: 108 bytes with its end (unix(7))."""

# The longest names of sockets: Ray 2.60's (`_private/node.py`) with a process id of seven digits, and that of
# a vLLM 0.27.1 engine, a UUID.
OF_RAY = "session_2000-01-01_00-00-00_000000_1000000/sockets/plasma_store"
OF_VLLM = "00000000-0000-0000-0000-000000000000"


@rule(applies=is_local, here=True)
def sockets(setup: Setup) -> Iterator[str]:
    """Sockets of Ray and vLLM can be made, with names that are short enough for the kernel."""
    given = setup.config.ray_kwargs.ray_init.get("_temp_dir")
    key = next((name for name in ("RAY_TMPDIR", "TMPDIR") if name in os.environ), "TMPDIR")
    of_ray = Path(str(given)) if given is not None else Path(os.environ.get(key, "/tmp"), "ray")
    folders = (
        ("ray_kwargs.ray_init._temp_dir" if given is not None else key, of_ray, OF_RAY),
        ("TMPDIR", Path(tempfile.gettempdir()), OF_VLLM),
    )
    for name, folder, longest in folders:
        if not folder.is_absolute():
            yield f"{name} must be an absolute path; got {folder}"
        elif (fault := unwritable(folder)) is not None:
            yield f"{name} must be writable; {folder} is not: {fault}"
        if (excess := len(os.fsencode(folder / longest)) - MOST_SOCKET_BYTES) > 0:
            yield (
                f"{name} must be shorter by {excess} bytes: sockets in {folder} would be longer than "
                f"{MOST_SOCKET_BYTES}, which the kernel refuses. Set it to a directory near the root"
            )


@rule(applies=slots.joins_cluster)
def cluster_slots(setup: Setup) -> Iterator[str]:
    """A cluster has the slots, in sum and node by node; verl would wait for ever for those that it lacks."""
    nodes, trainer = setup.cluster.nodes, setup.config.trainer
    per_node = trainer.n_gpus_per_node
    needed = {"CPU": slots.needed_cpus(setup.config), "GPU": slots.num_workers(setup.config)}
    found = {"CPU": sum(node.cpus for node in nodes), "GPU": sum(node.gpus for node in nodes)}
    lacking = [name for name in needed if found[name] < needed[name]]
    for name in lacking:
        yield (
            f"the Ray cluster must have {needed[name]} {name} slots for trainer.nnodes={trainer.nnodes} and "
            f"trainer.n_gpus_per_node={per_node}; it has {found[name]}. Add nodes, start them with "
            f"more slots (ray start --num-{name.lower()}s), or ask for fewer workers."
        )
    if lacking or per_node < 1:
        return
    cpus = slots.CPUS_PER_WORKER * per_node
    # A node with several times the slots counts as several.
    if sum(min(node.gpus // per_node, node.cpus // cpus) for node in nodes) < trainer.nnodes:
        has = ", ".join(f"{node.gpus} and {node.cpus} on {node.address}" for node in nodes)
        yield (
            f"the Ray cluster must have {trainer.nnodes} nodes (trainer.nnodes) with {per_node} GPU slots "
            f"(trainer.n_gpus_per_node) and {cpus} CPU slots each; it has {has}. Add nodes, start them with "
            "more slots (ray start --num-cpus; they are logical), or ask for fewer on each."
        )


@rule(applies=slots.joins_cluster)
def shared_folders(setup: Setup) -> Iterator[str]:
    """Every node sees what the run reads and writes."""
    for key, path in setup.cluster.marks.items():
        if blind := [node.address for node in setup.cluster.nodes if path in node.unseen]:
            yield (
                f"{key} must be on a file system that every node sees; {', '.join(sorted(blind))} does not "
                f"see {path}, which this node has. Give a directory that is mounted on all of them."
            )
