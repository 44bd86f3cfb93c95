"""The places in verl 0.9.1 that do not work on a CPU, mended.

Each patch is applied when its module is imported: the one on the weight transfer belongs to a package that
imports vLLM (4 s), which only the rollout servers and their clients need.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from types import ModuleType
from typing import Any

import torch

from recipe.cpu.patching import Function, replace_function, when_imported

VERL = "verl 0.9.1"
PROCESS_GROUP_MODULE = "verl.utils.distributed"
WEIGHT_TRANSFER_MODULE = "verl.workers.rollout.vllm_rollout.bucketed_weight_transfer"

NamedWeights = list[tuple[str, torch.Tensor]]


def patch_verl() -> None:
    """Arrange all patches of verl.

    Raises:
        PatchError: If verl no longer has a module or function that is patched here.
    """
    when_imported(PROCESS_GROUP_MODULE, _patch_process_group, written_for=VERL)
    when_imported(WEIGHT_TRANSFER_MODULE, _patch_weight_transfer, written_for=VERL)


def _patch_process_group(module: ModuleType) -> None:
    replace_function(
        module,
        "initialize_global_process_group_ray",
        _initialize_with_gloo,
        parameters=("timeout_second", "backend"),
        written_for=VERL,
    )


def _initialize_with_gloo(initialize: Function) -> Function:
    """Name the backend of the workers' process group.

    verl 0.9.1 joins "cpu:gloo" and the platform's device and backend. On a CPU that is "cpu:gloo,cpu:gloo",
    and torch refuses a device that is named twice.
    """

    @functools.wraps(initialize)
    def initialize_with_gloo(timeout_second: float | None = None, backend: str | None = None) -> None:
        initialize(timeout_second=timeout_second, backend=backend or "cpu:gloo")

    return initialize_with_gloo


def _patch_weight_transfer(module: ModuleType) -> None:
    replace_function(
        module.BucketedWeightReceiver,
        "receive_weights",
        _receive_copies,
        parameters=("self", "on_bucket_received"),
        written_for=VERL,
    )


def _receive_copies(receive: Function) -> Function:
    """Hand vLLM copies of the weights it receives.

    In verl 0.9.1 they are views of shared memory, which `tensor.to(device)` copies to an accelerator but not
    to a CPU. The sender overwrites the memory with the next bucket, the receiver closes it after the last
    one, and vLLM may keep what it is given.
    """

    @functools.wraps(receive)
    def receive_copies(self: Any, on_bucket_received: Callable[[NamedWeights, bool], None]) -> None:
        def copy_then_load(weights: NamedWeights, is_last: bool) -> None:
            copies = [(name, tensor.clone()) for name, tensor in weights]
            # The shared memory cannot be closed while a view of it is alive.
            weights.clear()
            on_bucket_received(copies, is_last)

        receive(self, copy_then_load)

    return receive_copies
