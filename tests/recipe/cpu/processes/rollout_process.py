"""A rollout process of a CPU run: the linear layers of vLLM 0.27.1 and verl 0.9.1's weight sync."""

from __future__ import annotations

import asyncio
import inspect
import tempfile
import threading
from collections.abc import Iterator

import pytest
import torch
import verl  # noqa: F401
from verl.utils.device import is_support_ipc
from verl.workers.rollout.vllm_rollout.bucketed_weight_transfer import (
    BucketedWeightReceiver,
    BucketedWeightSender,
)
from verl.workers.rollout.vllm_rollout.utils import vLLMColocateWorkerExtension
from vllm.model_executor.layers import utils as layer_utils
from vllm.platforms import current_platform

from recipe.cpu.vllm_plugin import register


def test_vllm_is_on_its_cpu_platform() -> None:
    assert current_platform.is_cpu()


@pytest.fixture
def address() -> Iterator[str]:
    """A socket in a folder of a short name: the kernel takes 107 characters, pytest makes more."""
    with tempfile.TemporaryDirectory() as folder:
        yield f"ipc://{folder}/weights"


def test_weights_travel_through_shared_memory(address: str) -> None:
    """Four weights through a buffer that holds two at a time, each copied on arrival, as vLLM does."""
    weights = {f"weight_{number}": torch.full((1024, 200), float(number)) for number in range(4)}
    loaded = {name: torch.empty(1024, 200) for name in weights}
    sender = BucketedWeightSender(address, bucket_size_mb=2, use_shm=not is_support_ipc())
    sending = threading.Thread(
        target=lambda: asyncio.run(sender.async_send_weights(iter(weights.items()))), daemon=True
    )
    sending.start()

    def load(received: list[tuple[str, torch.Tensor]], is_last: bool) -> None:
        for name, weight in received:
            loaded[name].copy_(weight)

    receiver = BucketedWeightReceiver(address, torch.device("cpu"), use_shm=not is_support_ipc())
    receiver.receive_weights(load)
    sending.join(timeout=10)

    assert not sending.is_alive()
    assert all(torch.equal(loaded[name], weight) for name, weight in weights.items())


def make_layer() -> torch.nn.Linear:
    layer = torch.nn.Linear(64, 32, bias=True)
    layer.requires_grad_(False)
    layer.weight.weight_loader = "the attribute that verl needs"
    return layer


def test_without_the_patch_vllm_0_27_1_drops_the_weight() -> None:
    layer = make_layer()
    layer_utils.dispatch_cpu_unquantized_gemm(layer, remove_weight=True)
    assert not hasattr(layer.weight, "weight_loader")
    assert layer.weight.numel() == 0


@pytest.fixture
def registered() -> None:
    register()
    register()  # vLLM asks plugins to stand that


def test_a_linear_layer_keeps_its_weight_and_packs_new_values(registered: None) -> None:
    layer = make_layer()
    layer_utils.dispatch_cpu_unquantized_gemm(layer, remove_weight=True)
    assert layer.weight.weight_loader == "the attribute that verl needs"

    layer.weight.copy_(torch.randn(32, 64))
    layer_utils.dispatch_cpu_unquantized_gemm(layer, remove_weight=True)  # verl has vLLM do that after a sync

    inputs = torch.randn(5, 64)
    outputs = layer_utils.cpu_unquantized_gemm(layer, inputs, layer.weight, layer.bias)
    torch.testing.assert_close(outputs, inputs @ layer.weight.T + layer.bias)


def test_verl_0_9_1_has_vllm_process_the_weights_after_a_sync() -> None:
    """What the patch relies on: otherwise the packed weights would stay those of the first load."""
    source = inspect.getsource(vLLMColocateWorkerExtension.update_weights_from_ipc)
    assert "process_weights_after_loading(model, model_config, self.device)" in source
