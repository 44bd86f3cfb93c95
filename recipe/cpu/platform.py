"""verl 0.9.1's platform interface, implemented for a CPU. verl chooses it by VERL_PLATFORM=cpu."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from types import ModuleType

from verl.plugin.platform.platform_base import PlatformBase

from recipe.cpu import device


class CpuPlatform(PlatformBase):
    """One device, the CPU, which every worker process shares with the others."""

    device_name = "cpu"
    vendor_name = "cpu"  # for logs; verl compares it to vendors that need special care
    device_module: ModuleType = device  # what stands in for `torch.cuda`

    is_available = staticmethod(device.is_available)
    device_count = staticmethod(device.device_count)
    set_device = staticmethod(device.set_device)
    synchronize = staticmethod(device.synchronize)
    empty_cache = staticmethod(device.empty_cache)
    manual_seed = staticmethod(device.manual_seed)
    manual_seed_all = staticmethod(device.manual_seed)  # one generator is all there is

    def current_device(self) -> str:
        """Return "cpu" and no index.

        verl calls `tensor.to(current_device())`, and torch takes a bare index for a CUDA device.
        """
        return "cpu"

    def set_allocator_settings(self, settings: str) -> None:
        """Do nothing: the settings (expandable segments) are CUDA's."""

    def get_device_capability(self, device_index: int = 0) -> tuple[int | None, int | None]:
        """Return verl's values for a device without compute capability."""
        return None, None

    def communication_backend_name(self) -> str:
        """Return the backend of collectives between workers."""
        return "gloo"

    def visible_devices_envvar(self) -> str:
        """Return the variable through which Ray tells a worker its slots of the resource "GPU"."""
        return "CUDA_VISIBLE_DEVICES"

    def nvtx_range(self, msg: str) -> AbstractContextManager[None]:
        """Mark nothing: there is no device profiler."""
        return nullcontext()

    def profiler_start(self) -> None:
        """Do nothing: there is no device profiler."""

    profiler_stop = profiler_start

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
