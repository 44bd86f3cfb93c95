"""Two runs on one machine: the weights of each go to its own vLLM."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest
import torch
import verl

from recipe.engine.weight_sockets import keep_apart

# As verl names it for the first job of any cluster.
SOCKET = "ipc:///tmp/rl-colocate-zmq-01000000-replica-0-rank-0.sock"


@pytest.fixture
def transfer() -> ModuleType:
    """verl's module, out of its package, which would bring vLLM."""
    folder = Path(verl.__file__).parent / "workers" / "rollout" / "vllm_rollout"
    spec = importlib.util.spec_from_file_location("transfer", folder / "bucketed_weight_transfer.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def ends(transfer: ModuleType) -> tuple[str, str]:
    """Where a sender and a receiver meet."""
    sender = transfer.BucketedWeightSender(zmq_handle=SOCKET, bucket_size_mb=1, use_shm=True)
    receiver = transfer.BucketedWeightReceiver(zmq_handle=SOCKET, device=torch.device("cpu"), use_shm=True)
    return sender.zmq_handle, receiver.zmq_handle


def test_both_ends_of_a_cluster_meet_and_clusters_do_not(
    transfer: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep_apart(transfer)
    met = []
    for raylet in ("4711", "4712"):
        monkeypatch.setenv("RAY_RAYLET_PID", raylet)
        sender, receiver = ends(transfer)
        assert sender == receiver
        met.append(sender)
    assert met[0] != met[1]


def test_elsewhere_the_socket_is_verls(transfer: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    keep_apart(transfer)
    monkeypatch.delenv("RAY_RAYLET_PID", raising=False)
    assert ends(transfer) == (SOCKET, SOCKET)


def test_changed_verl_is_noticed() -> None:
    with pytest.raises(AttributeError):
        keep_apart(ModuleType("transfer"))
