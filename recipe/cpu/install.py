"""Put the CPU room into the running process. Called once, by `recipe.plugin`, inside `import verl`."""

from __future__ import annotations

import functools
import logging

from torch.distributed.fsdp import OffloadPolicy
from verl.plugin.platform.platform_manager import PlatformRegistry

from recipe.cpu.distribution import alias_vllm
from recipe.cpu.patching import Function, PatchError, replace_function
from recipe.cpu.platform import CpuPlatform

VERL = "verl 0.9.1"
PROCESS_GROUP_MODULE = "verl.utils.distributed"
ENGINE_MODULE = "verl.workers.engine.fsdp.transformer_impl"

logger = logging.getLogger(__name__)


def install() -> None:
    """Alias the vLLM distribution, patch verl where it does not work on a CPU, register the platform "cpu".

    The platform comes last. verl 0.9.1 catches every error of a plugin and mentions it at debug level only; a
    process without the platform stops at its first question for a device, and the reason is logged here.

    Raises:
        PatchError: If verl no longer looks as the patches expect.
    """
    alias_vllm()
    try:
        replace_function(
            PROCESS_GROUP_MODULE,
            "initialize_global_process_group_ray",
            _initialize_with_gloo,
            parameters=("timeout_second", "backend"),
            written_for=VERL,
        )
        replace_function(
            ENGINE_MODULE, "CPUOffloadPolicy", _offload_nothing, parameters=("pin_memory",), written_for=VERL
        )
    except PatchError:
        logger.critical("The CPU platform cannot be installed; verl will not know 'cpu'.", exc_info=True)
        raise
    PlatformRegistry.register(platform="cpu")(CpuPlatform)


def _initialize_with_gloo(initialize: Function) -> Function:
    """Name the backend of the workers' process group.

    verl 0.9.1 joins "cpu:gloo" and the platform's device and backend. On a CPU that is "cpu:gloo,cpu:gloo",
    and torch refuses a device that is named twice.
    """

    @functools.wraps(initialize)
    def initialize_with_gloo(timeout_second: float | None = None, backend: str | None = None) -> None:
        initialize(timeout_second=timeout_second, backend=backend or "cpu:gloo")

    return initialize_with_gloo


def _offload_nothing(cpu_offload_policy: Function) -> Function:
    """Leave the weights of a reference model where they are.

    verl 0.9.1 offloads them from the device to pinned CPU memory (fsdp2, `forward_only`). Here the device is
    the CPU, and torch refuses to pin memory without an accelerator.
    """
    return lambda pin_memory: OffloadPolicy()
