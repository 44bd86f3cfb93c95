"""verl 0.9.1's platform interface, implemented for a CPU. verl chooses it by VERL_PLATFORM=cpu."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

import torch
from verl.plugin.platform.platform_base import PlatformBase

from recipe.cpu import device


class CpuPlatform(PlatformBase):
    """One device, the CPU, which every worker process shares with the others."""

    @property
    def device_name(self) -> str:
        """Return the device type that verl passes to torch."""
        return "cpu"

    @property
    def vendor_name(self) -> str:
        """Return a name for logs; verl compares it to vendors that need special care."""
        return "cpu"

    @property
    def device_module(self) -> ModuleType:
        """Return what stands in for `torch.cuda`."""
        return device

    def is_available(self) -> bool:
        """Return True: there is always a CPU."""
        return True

    def current_device(self) -> str:
        """Return "cpu" and no index.

        verl calls `tensor.to(current_device())`, and torch takes a bare index for a CUDA device.
        """
        return "cpu"

    def device_count(self) -> int:
        """Return the number of devices that one process sees."""
        return device.device_count()

    def set_device(self, device_index: int) -> None:
        """Do nothing: there is one device only."""

    def synchronize(self, device_index: int | None = None) -> None:
        """Return at once: CPU kernels have finished when their call returns."""

    def manual_seed(self, seed: int) -> None:
        """Seed PyTorch's CPU generator."""
        torch.manual_seed(seed)

    def manual_seed_all(self, seed: int) -> None:
        """Seed PyTorch's CPU generator, which is all there is."""
        torch.manual_seed(seed)

    def set_allocator_settings(self, settings: str) -> None:
        """Do nothing: the settings (expandable segments) are CUDA's."""

    def empty_cache(self) -> None:
        """Do nothing: PyTorch's CPU allocator keeps no cache."""

    def get_device_capability(self, device_index: int = 0) -> tuple[int | None, int | None]:
        """Return verl's values for a device without compute capability."""
        return None, None

    def communication_backend_name(self) -> str:
        """Return the backend of collectives between workers."""
        return "gloo"

    def visible_devices_envvar(self) -> str:
        """Return the variable through which Ray tells a worker its slots of the resource "GPU"."""
        return "CUDA_VISIBLE_DEVICES"

    @contextmanager
    def nvtx_range(self, msg: str) -> Iterator[None]:
        """Mark nothing: there is no device profiler."""
        yield

    def profiler_start(self) -> None:
        """Do nothing: there is no device profiler."""

    def profiler_stop(self) -> None:
        """Do nothing: there is no device profiler."""

    def ray_resource_name(self) -> str:
        """Return "GPU", whose slots are logical here: `ray.init(num_gpus=...)` states how many workers fit.

        A resource of another name does not do: verl's vLLM replica reads the accelerator ids that Ray hands
        out, and Ray hands out none for custom resources.
        """
        return "GPU"

    def ray_noset_envvars(self) -> list[str]:
        """Return none: Ray may set the visible devices, nothing reads them as real ones."""
        return []

    def is_ipc_supported(self) -> bool:
        """Return False: weights then travel to vLLM through shared memory."""
        return False

    def cudart(self) -> None:
        """Return None: there is no CUDA runtime."""
        return
