"""A run on a Ray cluster that others started: join it, look before the start, and notice when a node is lost.

Ray's own answers are slow or silent: it tries an address where nothing listens for two minutes, hides that a
token was refused, lets verl wait for ever for slots that no node has, and has a run wait for a dead node.
"""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import ray
from omegaconf import DictConfig, open_dict
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from recipe.preflight import slots as resources

CONNECT_TIMEOUT_S = 5.0
POLL_INTERVAL_S = 2.0

Nodes = dict[str, dict[str, Any]]
"""Rows of `ray.nodes()` of the nodes that are alive, by node id."""


class ClusterError(RuntimeError):
    """The cluster cannot carry the run; the message is one line that says what to change."""


class NodeLostError(ClusterError):
    """A node left the cluster in the middle of a run."""


def join(config: DictConfig) -> None:
    """Check that the cluster of `ray_kwargs.ray_init.address` can carry the run, and make verl join it.

    Args:
        config: The whole configuration. The slots of a cluster of its own (`ray_init.num_cpus`, `num_gpus`)
            are taken out: Ray refuses them together with an address.

    Raises:
        ClusterError: The cluster is not there, refuses us, or its nodes do not see the run's files.
        PreflightError: It has too few slots.
    """
    init = config.ray_kwargs.ray_init
    with open_dict(config):
        for name in ("num_cpus", "num_gpus"):
            init.pop(name, None)
    connect(init.address)
    try:
        resources.check_cluster(config, ray.cluster_resources())
        nodes = alive_nodes()
        check_nodes(nodes, config.trainer.nnodes, config.trainer.n_gpus_per_node)
        if len(nodes) > 1:
            _check_shared(nodes, config)
    finally:
        ray.shutdown()  # verl connects by itself, with its own runtime environment


def connect(address: str) -> None:
    """Connect this process to a Ray cluster.

    Raises:
        ClusterError: Nothing answers at the address, or it refuses our token.
        ConnectionError: Ray's own, for anything else.
    """
    if "://" in address:
        raise ClusterError(
            "ray_kwargs.ray_init.address (RAY_ADDRESS) must be HOST:PORT of Ray's head, port 6379 as a rule; "
            f"got {address}"
        )
    host, _, port = address.rpartition(":")
    if host and port.isdecimal() and not _listens(host, int(port)):
        raise ClusterError(
            f"Ray's head must listen at {address} (ray_kwargs.ray_init.address, or RAY_ADDRESS); nothing "
            "answers there. Start the head (launch/ray_head.sh), or mend the address."
        )
    try:
        ray.init(address=address)
    except ConnectionError as error:
        if "InvalidAuthToken" in str(error.__cause__):  # Ray 2.60 keeps its AuthenticationError as text only
            raise ClusterError(
                f"the token must be that of the cluster at {address}, which refuses it. Copy the file "
                "RAY_AUTH_TOKEN_PATH of its head (by default ~/.ray/auth_token) to this node."
            ) from error
        raise


def check_nodes(nodes: Nodes, wanted: int, gpus_per_node: int) -> None:
    """Check that the workers of a node fit on a node; verl would wait for ever for those that do not.

    Args:
        nodes: The cluster's nodes.
        wanted: `trainer.nnodes`; a node with several times the slots counts as several.
        gpus_per_node: `trainer.n_gpus_per_node`.

    Raises:
        ClusterError: They do not.
    """
    needed = {"GPU": gpus_per_node, "CPU": resources.CPUS_PER_WORKER * gpus_per_node}
    slots = {
        _address(node): {name: int(node["Resources"].get(name, 0)) for name in needed}
        for node in nodes.values()
    }
    if sum(min(found[name] // needed[name] for name in needed) for found in slots.values()) < wanted:
        has = ", ".join(f"{found['GPU']} and {found['CPU']} on {at}" for at, found in sorted(slots.items()))
        raise ClusterError(
            f"the Ray cluster must have {wanted} nodes (trainer.nnodes) with {gpus_per_node} GPU slots "
            f"(trainer.n_gpus_per_node) and {needed['CPU']} CPU slots each; it has {has}. Add nodes, start "
            "them with more slots (ray start --num-cpus; they are logical), or ask for fewer on each."
        )


def _check_shared(nodes: Nodes, config: DictConfig) -> None:
    model = Path(config.actor_rollout_ref.model.path).expanduser()
    if model.is_dir():
        check_shared_path(nodes, "actor_rollout_ref.model.path", model)
    checkpoints = Path(config.trainer.default_local_dir)
    checkpoints.mkdir(parents=True, exist_ok=True)
    for key, folder in (("run.dir", Path(config.run.dir)), ("trainer.default_local_dir", checkpoints)):
        # A name that no node has asked for before: file systems on the network remember what was not there.
        mark = folder / f"seen-{uuid4().hex}"
        mark.touch()
        try:
            check_shared_path(nodes, key, mark)
        finally:
            mark.unlink()


def check_shared_path(nodes: Nodes, key: str, path: Path) -> None:
    """Have every node look for a path that is there on this one.

    Raises:
        ClusterError: A node does not see it. The message names the node, the path and `key`, the setting.
    """
    looks = {
        _address(node): _exists.options(
            scheduling_strategy=NodeAffinitySchedulingStrategy(node_id, soft=False)
        ).remote(str(path))
        for node_id, node in nodes.items()
    }
    blind = [address for address, look in looks.items() if not ray.get(look)]
    if blind:
        raise ClusterError(
            f"{key} must be on a file system that every node sees; {', '.join(sorted(blind))} does not see "
            f"{path}, which this node has. Give a directory that is mounted on all of them."
        )


@ray.remote(num_cpus=0)
def _exists(path: str) -> bool:
    return Path(path).exists()


@contextmanager
def watch_nodes() -> Iterator[None]:
    """End the block with a `NodeLostError` when a node is lost that was there at its beginning.

    verl has workers, rollout servers or agent loops on every node and waits for their answers without asking
    whether the node is still there. Watched is the cluster that Ray is connected to; until it is, nothing.
    """
    watch = _Watch()
    # Ray's waits heed a KeyboardInterrupt alone. Not by SIGINT: a shell's background commands ignore that.
    before = signal.signal(signal.SIGUSR2, signal.default_int_handler)
    watch.start()
    try:
        yield
    except (RayError, KeyboardInterrupt) as error:
        # A worker misses its peer before Ray misses the node, so the nodes are asked themselves.
        lost = watch.lost or _unreachable(watch.nodes)
        if lost:
            raise NodeLostError(
                f"the run lost the node {', '.join(sorted(lost))}; with that node or another in its place "
                "the same command goes on from its last checkpoint"
            ) from error
        raise
    finally:
        watch.stop()
        signal.signal(signal.SIGUSR2, before)


class _Watch(threading.Thread):
    """Asks Ray for its nodes, and interrupts the main thread once one is missing."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.nodes: Nodes = {}
        self.lost: list[str] = []
        self._ended = threading.Event()

    def run(self) -> None:
        """Look every `POLL_INTERVAL_S` until a node is missing or `stop` is called."""
        while not self._ended.wait(POLL_INTERVAL_S):
            if not ray.is_initialized():
                continue
            try:
                alive = alive_nodes()
            except RayError:  # not now: Ray is stopping, or its head does not answer
                continue
            self.nodes = self.nodes or alive
            self.lost = [_address(node) for node_id, node in self.nodes.items() if node_id not in alive]
            if self.lost and not self._ended.is_set():
                os.kill(os.getpid(), signal.SIGUSR2)
                return

    def stop(self) -> None:
        self._ended.set()
        self.join()


def alive_nodes() -> Nodes:
    """The nodes of the cluster that this process is connected to."""
    return {node["NodeID"]: node for node in ray.nodes() if node["Alive"]}


def _address(node: Mapping[str, Any]) -> str:
    return str(node["NodeManagerAddress"])


def _unreachable(nodes: Nodes) -> list[str]:
    """Addresses of nodes whose Ray process does not answer."""
    return [
        _address(node)
        for node in nodes.values()
        if not _listens(node["NodeManagerAddress"], node["NodeManagerPort"])
    ]


def _listens(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), timeout=CONNECT_TIMEOUT_S).close()
    except OSError:
        return False
    return True
