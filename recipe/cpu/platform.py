"""verl 0.9.1's platform interface, implemented for a CPU. verl chooses it by VERL_PLATFORM=cpu.

It also stands in for `torch.cuda`, for `torch.cpu` lacks most of what verl calls there. Device memory is here
the memory of the process, so verl's `perf/max_memory_allocated_gb` reports peak resident memory. What only
optional GPU features use (streams, events, memory snapshots) is left out: asking for them fails by name.
"""

from __future__ import annotations

import resource
from contextlib import nullcontext

import psutil
import torch
from verl.plugin.platform.platform_base import PlatformBase


class CpuPlatform(PlatformBase):
    """One device, the CPU, which every worker process shares with the others."""

    device_name = "cpu"
    vendor_name = "cpu"  # for logs; verl compares it to vendors that need special care

    @property
    def device_module(self) -> CpuPlatform:
        """What stands in for `torch.cuda`."""
        return self

    def is_available(self) -> bool:
        """Return True: there is always a CPU."""
        return True

    def device_count(self) -> int:
        """Return 1: a process sees the machine's cores as one device."""
        return 1

    def current_device(self) -> str:
        """Return "cpu" and no index.

        verl calls `tensor.to(current_device())`, and torch takes a bare index for a CUDA device.
        """
        return "cpu"

    def get_device_name(self) -> str:
        """Return the name under which verl's table of peak FLOPS has a guess for a CPU (`perf/mfu/actor`)."""
        return "CPU"

    def get_device_capability(self, device_index: int = 0) -> tuple[int | None, int | None]:
        """Return verl's values for a device without compute capability."""
        return None, None

    def do_nothing(self, *arguments: object, **options: object) -> None:
        """Return at once: what a CPU does not have needs no care."""

    set_device = do_nothing  # there is one only; verl passes the local rank
    synchronize = do_nothing  # CPU kernels have finished when their call returns
    empty_cache = do_nothing  # PyTorch's CPU allocator keeps none
    ipc_collect = do_nothing  # no memory handles are shared between processes
    reset_peak_memory_stats = do_nothing  # a process cannot reset the operating system's peak
    set_allocator_settings = do_nothing  # the settings (expandable segments) are CUDA's
    profiler_start = profiler_stop = do_nothing  # there is no device profiler
    nvtx_range = staticmethod(nullcontext)  # and nothing to mark for it
    cudart = do_nothing  # None: there is no CUDA runtime

    # The device's random numbers are those of PyTorch's CPU generator, which is all there is.
    get_rng_state = staticmethod(torch.get_rng_state)
    set_rng_state = staticmethod(torch.set_rng_state)
    manual_seed = manual_seed_all = staticmethod(torch.manual_seed)

    def memory_allocated(self) -> int:
        """Return the resident memory of this process, in bytes; nothing is reserved beyond it."""
        return int(psutil.Process().memory_info().rss)

    def max_memory_allocated(self) -> int:
        """Return the peak resident memory of this process, in bytes."""
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024  # Linux counts it in KiB
        return max(peak, self.memory_allocated())  # and a little late

    memory_reserved = memory_allocated
    max_memory_reserved = max_memory_allocated

    def mem_get_info(self) -> tuple[int, int]:
        """Return the machine's (available, total) memory, in bytes."""
        memory = psutil.virtual_memory()
        return memory.available, memory.total

    def communication_backend_name(self) -> str:
        """Return the backend of collectives between workers."""
        return "gloo"

    def visible_devices_envvar(self) -> str:
        """Return the variable through which Ray tells a worker its slots of the resource "GPU"."""
        return "CUDA_VISIBLE_DEVICES"

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
