"""The places in verl 0.9.1 that do not work on a CPU, mended. Each waits for its module to be imported."""

from __future__ import annotations

import functools
from types import ModuleType

from torch.distributed.fsdp import OffloadPolicy

from recipe.cpu.patching import Function, replace_function, when_imported

VERL = "verl 0.9.1"
PROCESS_GROUP_MODULE = "verl.utils.distributed"
ENGINE_MODULE = "verl.workers.engine.fsdp.transformer_impl"


def patch_verl() -> None:
    """Arrange all patches of verl.

    Raises:
        PatchError: If verl no longer has a module or function that is patched here.
    """
    when_imported(PROCESS_GROUP_MODULE, _patch_process_group, written_for=VERL)
    when_imported(ENGINE_MODULE, _patch_engine, written_for=VERL)


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


def _patch_engine(module: ModuleType) -> None:
    replace_function(
        module, "CPUOffloadPolicy", _offload_nothing, parameters=("pin_memory",), written_for=VERL
    )


def _offload_nothing(cpu_offload_policy: Function) -> Function:
    """Leave the weights of a reference model where they are.

    verl 0.9.1 offloads them from the device to pinned CPU memory (fsdp2, `forward_only`). Here the device is
    the CPU, and torch refuses to pin memory without an accelerator.
    """

    def offload_nothing(pin_memory: bool) -> OffloadPolicy:
        return OffloadPolicy()

    return offload_nothing
