"""A rollout process of a CPU run: verl 0.9.1's weight transfer and the linear layers of vLLM 0.27.1."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest
import torch
import verl  # noqa: F401
from verl.workers.rollout.vllm_rollout.bucketed_weight_transfer import (
    BucketedWeightReceiver,
    BucketedWeightSender,
)
from vllm.model_executor.layers import utils as layer_utils
from vllm.platforms import current_platform

from recipe.cpu.vllm_plugin import register


def test_vllm_is_on_its_cpu_platform() -> None:
    assert current_platform.is_cpu()


def test_received_weights_outlive_the_shared_memory(tmp_path: Path) -> None:
    """Four tensors through a buffer that holds two at a time, all kept by the receiver."""
    address = f"ipc://{tmp_path / 'weights'}"
    weights = [(f"weight_{number}", torch.full((1024, 200), float(number))) for number in range(4)]
    sender = BucketedWeightSender(address, bucket_size_mb=2, use_shm=True)
    sending = threading.Thread(
        target=lambda: asyncio.run(sender.async_send_weights(iter(weights))), daemon=True
    )
    sending.start()
    kept: dict[str, torch.Tensor] = {}

    receiver = BucketedWeightReceiver(address, torch.device("cpu"), use_shm=True)
    receiver.receive_weights(lambda received, is_last: kept.update(received))
    sending.join(timeout=10)

    assert not sending.is_alive()
    assert list(kept) == [name for name, _ in weights]
    assert all(torch.equal(kept[name], weight) for name, weight in weights)


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


def test_a_linear_layer_computes_with_weights_written_later(registered: None) -> None:
    layer = make_layer()
    layer_utils.dispatch_cpu_unquantized_gemm(layer, remove_weight=True)
    assert layer.weight.weight_loader == "the attribute that verl needs"

    layer.weight.copy_(torch.randn(32, 64))

    inputs = torch.randn(5, 64)
    outputs = layer_utils.cpu_unquantized_gemm(layer, inputs, layer.weight, layer.bias)
    torch.testing.assert_close(outputs, inputs @ layer.weight.T + layer.bias)


def test_layers_that_are_not_linear_keep_the_dispatch_of_vllm(registered: None) -> None:
    layer = torch.nn.Conv1d(8, 8, kernel_size=3)
    layer_utils.dispatch_cpu_unquantized_gemm(layer, remove_weight=False)
    assert not hasattr(layer, "cpu_linear")
