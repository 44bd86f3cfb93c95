"""A run on a Ray cluster that others started: look at it before the start, and notice when a node is lost.

Ray's own answers are slow or silent: it tries an address where nothing listens for two minutes, hides that a
token was refused, lets verl wait for ever for slots that no node has, and has a run wait for a dead node.
"""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from recipe.preflight import PreflightError
from recipe.preflight.setup import Node

CONNECT_TIMEOUT_S = 5.0
POLL_INTERVAL_S = 2.0

Nodes = dict[str, dict[str, Any]]
"""Rows of `ray.nodes()` of the nodes that are alive, by node id."""


class NodeLostError(RuntimeError):
    """A node left the cluster in the middle of a run; the message is one line that says what to do."""


def survey(address: str, paths: Sequence[Path]) -> tuple[Node, ...]:
    """Ask a cluster for its nodes, and where there are several each of them for these files.

    Raises:
        PreflightError: Nothing answers at the address, or it does not let us in.
    """
    try:
        connect(address)
    except (ConnectionError, RuntimeError) as error:  # RuntimeError: the cluster has another version of Ray
        raise PreflightError(" ".join(str(error).split())) from error
    try:
        nodes = alive_nodes()
        looks = {
            node_id: ray.remote(num_cpus=0)(_unseen)
            .options(scheduling_strategy=NodeAffinitySchedulingStrategy(node_id, soft=False))
            .remote(list(map(str, paths)))
            for node_id in (nodes if len(nodes) > 1 and paths else ())
        }
        return tuple(
            Node(
                address=_address(node),
                cpus=int(node["Resources"].get("CPU", 0)),
                gpus=int(node["Resources"].get("GPU", 0)),
                unseen=tuple(map(Path, ray.get(looks[node_id]))) if looks else (),
            )
            for node_id, node in sorted(nodes.items(), key=lambda item: _address(item[1]))
        )
    finally:
        ray.shutdown()  # verl connects by itself, with its own runtime environment


def free_slots(address: str) -> tuple[float, float]:
    """CPUs and GPUs of a cluster that nobody holds now, in all.

    Raises:
        PreflightError: Nothing answers at the address, or it does not let us in.
    """
    connect(address)
    try:
        free = ray.available_resources()
        return free.get("CPU", 0.0), free.get("GPU", 0.0)
    finally:
        ray.shutdown()


def _unseen(paths: list[str]) -> list[str]:
    return [path for path in paths if not Path(path).exists()]


def connect(address: str) -> None:
    """Connect this process to a Ray cluster.

    Raises:
        PreflightError: Nothing answers at the address, or it refuses our token.
        ConnectionError: Ray's own, for anything else.
    """
    if "://" in address:
        raise PreflightError(
            "ray_kwargs.ray_init.address (RAY_ADDRESS) must be HOST:PORT of Ray's head, port 6379 as a rule; "
            f"got {address}"
        )
    host, _, port = address.rpartition(":")
    if host and port.isdecimal() and not _listens(host, int(port)):
        raise PreflightError(
            f"Ray's head must listen at {address} (ray_kwargs.ray_init.address, or RAY_ADDRESS); nothing "
            "answers there. Start the head (launch/ray_head.sh), or mend the address."
        )
    try:
        ray.init(address=address, logging_level="ERROR")
    except ConnectionError as error:
        if "InvalidAuthToken" in str(error.__cause__):  # Ray 2.60 keeps its AuthenticationError as text only
            raise PreflightError(
                f"the token must be that of the cluster at {address}, which refuses it. Copy the file "
                "RAY_AUTH_TOKEN_PATH of its head (by default ~/.ray/auth_token) to this node."
            ) from error
        raise


@contextmanager
def watch_nodes() -> Iterator[None]:
    """End the block with a `NodeLostError` when a node is lost that was there at its beginning.

    verl has workers, rollout servers or agent loops on every node and waits for their answers without asking
    whether the node is still there. Watched is the cluster that Ray is connected to; until it is, nothing.
    """
    nodes: Nodes = {}
    lost: list[str] = []
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(POLL_INTERVAL_S):
            if not ray.is_initialized():
                continue
            try:
                alive = alive_nodes()
            except RayError:  # not now: Ray is stopping, or its head does not answer
                continue
            nodes.update({} if nodes else alive)
            lost.extend(_address(node) for node_id, node in nodes.items() if node_id not in alive)
            if lost and not ended.is_set():
                os.kill(os.getpid(), signal.SIGUSR2)
                return

    thread = threading.Thread(target=watch, daemon=True)
    # Ray's waits heed a KeyboardInterrupt alone. Not by SIGINT: a shell's background commands ignore that.
    before = signal.signal(signal.SIGUSR2, signal.default_int_handler)
    thread.start()
    try:
        yield
    except (RayError, KeyboardInterrupt) as error:
        # A worker misses its peer before Ray misses the node, so the nodes are asked themselves.
        gone = lost or [
            _address(node)
            for node in nodes.values()
            if not _listens(node["NodeManagerAddress"], node["NodeManagerPort"])
        ]
        if gone:
            raise NodeLostError(
                f"the run lost the node {', '.join(sorted(gone))}; with that node or another in its place "
                "the same command goes on from its last checkpoint"
            ) from error
        raise
    finally:
        ended.set()
        thread.join()
        signal.signal(signal.SIGUSR2, before)


def alive_nodes() -> Nodes:
    """The nodes of the cluster that this process is connected to."""
    return {node["NodeID"]: node for node in ray.nodes() if node["Alive"]}


def _address(node: Mapping[str, Any]) -> str:
    return str(node["NodeManagerAddress"])


def _listens(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), timeout=CONNECT_TIMEOUT_S).close()
    except OSError:
        return False
    return True
