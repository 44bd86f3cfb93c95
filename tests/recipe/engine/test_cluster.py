"""What is checked of a cluster before a run, and how the loss of a node ends one."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from typing import Any

import pytest
import ray
from omegaconf import DictConfig, OmegaConf
from ray.exceptions import RayActorError

from recipe.config import CONF
from recipe.engine import cluster
from recipe.preflight import PreflightError
from recipe.preflight.setup import Node


def row(address: str, gpus: int = 1, port: int = 0, alive: bool = True, cpus: int = 24) -> dict[str, Any]:
    """A row as `ray.nodes()` gives it."""
    return {
        "NodeID": f"id-of-{address}",
        "Alive": alive,
        "NodeManagerAddress": address,
        "NodeManagerPort": port,
        "Resources": {"CPU": float(cpus), "GPU": float(gpus)} if gpus else {"CPU": float(cpus)},
    }


@pytest.mark.parametrize("address", ["http://10.0.0.1:8265", "ray://10.0.0.1:10001"])
def test_an_address_that_is_no_heads_is_told(address: str) -> None:
    with pytest.raises(PreflightError, match=f"must be HOST:PORT of Ray's head.* got {address}"):
        cluster.connect(address)


def test_a_head_that_is_not_there_is_told_at_once() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
    started = time.monotonic()
    with pytest.raises(PreflightError, match=f"must listen at {address} .* Start the head"):
        cluster.connect(address)
    assert time.monotonic() - started < 1


def test_a_refused_token_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def init(address: str, logging_level: str) -> None:
        cause = RuntimeError(
            "Failed to connect to GCS. Last connection error: RPC error: InvalidAuthToken: ..."
        )
        raise ConnectionError(f"Failed to connect to Ray cluster at {address}") from cause

    monkeypatch.setattr(ray, "init", init)
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(PreflightError, match=f"cluster at {address}, which refuses it. Copy the file"):
            cluster.connect(address)


def test_survey_says_what_every_node_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "connect", lambda address: None)
    monkeypatch.setattr(ray, "shutdown", lambda: None)
    rows = [row("10.0.0.2", gpus=0), row("10.0.0.1", cpus=8), row("10.0.0.3", alive=False)]
    monkeypatch.setattr(ray, "nodes", lambda: rows)
    assert cluster.survey("10.0.0.1:6379", ()) == (Node("10.0.0.1", 8, 1), Node("10.0.0.2", 24, 0))


def test_free_slots_are_those_that_nobody_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "connect", lambda address: None)
    monkeypatch.setattr(ray, "shutdown", lambda: None)
    monkeypatch.setattr(ray, "available_resources", lambda: {"CPU": 40.0, "memory": 1e9})
    assert cluster.free_slots("10.0.0.1:6379") == (40.0, 0.0)


def test_cluster_of_another_version_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(address: str) -> None:
        raise RuntimeError("Version mismatch:\nthe cluster was started with another Ray")

    monkeypatch.setattr(cluster, "connect", refuse)
    with pytest.raises(PreflightError, match=r"^Version mismatch: the cluster was started with another Ray$"):
        cluster.survey("10.0.0.1:6379", ())


@pytest.fixture
def ray_knows(monkeypatch: pytest.MonkeyPatch) -> Callable[[list[dict[str, Any]]], None]:
    """Say what `ray.nodes()` answers from now on."""
    rows: list[dict[str, Any]] = []
    monkeypatch.setattr(cluster, "POLL_INTERVAL_S", 0.01)
    monkeypatch.setattr(ray, "is_initialized", lambda: True)
    monkeypatch.setattr(ray, "nodes", lambda: list(rows))

    def say(new: list[dict[str, Any]]) -> None:
        rows[:] = new

    return say


def look() -> None:
    """Give the watch the time to look, as a run does while it waits for its result."""
    time.sleep(0.1)


def test_a_lost_node_ends_the_wait_by_name(ray_knows: Callable[[list[dict[str, Any]]], None]) -> None:
    ray_knows([row("10.0.0.1"), row("10.0.0.2")])
    said = r"lost the node 10\.0\.0\.2; .* same command goes on"
    with pytest.raises(cluster.NodeLostError, match=said), cluster.watch_nodes():
        look()
        ray_knows([row("10.0.0.1"), row("10.0.0.2", alive=False)])
        time.sleep(20)


def test_a_node_that_joins_later_may_leave(ray_knows: Callable[[list[dict[str, Any]]], None]) -> None:
    ray_knows([row("10.0.0.1")])
    with cluster.watch_nodes():
        look()
        ray_knows([row("10.0.0.1"), row("10.0.0.3")])
        look()
        ray_knows([row("10.0.0.1")])
        look()


def test_an_error_is_blamed_on_a_node_that_does_not_answer_and_on_no_other(
    ray_knows: Callable[[list[dict[str, Any]]], None],
) -> None:
    """Ray has not noticed yet."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        ray_knows([row("127.0.0.1", port=port)])
        with pytest.raises(RayActorError), cluster.watch_nodes():
            look()
            raise RayActorError
        with pytest.raises(KeyboardInterrupt), cluster.watch_nodes():
            look()
            raise KeyboardInterrupt
    with pytest.raises(cluster.NodeLostError), cluster.watch_nodes():
        look()
        raise RayActorError


def test_the_environment_of_the_launch_scripts_reaches_the_configuration(
    config: DictConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    multi_node = OmegaConf.load(CONF / "cluster" / "multi_node.yaml")
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.delenv("AZR_NNODES", raising=False)
    assert config.ray_kwargs.ray_init.address == "local"
    assert multi_node.trainer.nnodes == 2
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    monkeypatch.setenv("AZR_NNODES", "4")
    assert config.ray_kwargs.ray_init.address == "10.0.0.1:6379"
    assert multi_node.trainer.nnodes == 4
