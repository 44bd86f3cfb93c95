"""What verl calls on `torch.<device>`, for a CPU.

`torch.cpu` lacks most of it: memory statistics, random state, device names. Device memory is here the memory
of the process, so verl's `perf/max_memory_allocated_gb` reports peak resident memory. What a CPU does not
have (caches to empty, work to wait for) does nothing. What only optional GPU features use (streams, events,
memory snapshots) is left out, so that asking for them fails by name.
"""

from __future__ import annotations

import resource

import psutil
import torch


def is_available() -> bool:
    """Return True: there is always a CPU."""
    return True


def device_count() -> int:
    """Return 1: a process sees the machine's cores as one device."""
    return 1


def current_device() -> int:
    """Return the index of the only device."""
    return 0


def get_device_name(device: int | None = None) -> str:
    """Return the name under which verl's table of peak FLOPS has a guess for a CPU (`perf/mfu/actor`)."""
    return "CPU"


def do_nothing(device: int | str | torch.device | None = None) -> None:
    """Return at once."""


set_device = do_nothing  # there is one only; verl passes the local rank
synchronize = do_nothing  # CPU kernels have finished when their call returns
empty_cache = do_nothing  # PyTorch's CPU allocator keeps none
ipc_collect = do_nothing  # no memory handles are shared between processes
reset_peak_memory_stats = do_nothing  # a process cannot reset the operating system's peak


def memory_allocated(device: int | None = None) -> int:
    """Return the resident memory of this process, in bytes; nothing is reserved beyond it."""
    return int(psutil.Process().memory_info().rss)


def max_memory_allocated(device: int | None = None) -> int:
    """Return the peak resident memory of this process, in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024  # Linux counts it in KiB
    return max(peak, memory_allocated())  # and a little late


memory_reserved = memory_allocated
max_memory_reserved = max_memory_allocated


def mem_get_info(device: int | None = None) -> tuple[int, int]:
    """Return the machine's (available, total) memory, in bytes."""
    memory = psutil.virtual_memory()
    return memory.available, memory.total


# The device's random numbers are those of PyTorch's CPU generator.
get_rng_state = torch.get_rng_state
set_rng_state = torch.set_rng_state
manual_seed = torch.manual_seed
