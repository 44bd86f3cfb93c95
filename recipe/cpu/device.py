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


def set_device(device: int | str | torch.device) -> None:
    """Accept any device, since there is one only; verl passes the local rank."""


def get_device_name(device: int | None = None) -> str:
    """Return the name under which verl's table of peak FLOPS has a guess for a CPU (`perf/mfu/actor`)."""
    return "CPU"


def synchronize(device: int | None = None) -> None:
    """Return at once: CPU kernels have finished when their call returns."""


def empty_cache() -> None:
    """Do nothing: PyTorch's CPU allocator keeps no cache."""


def ipc_collect() -> None:
    """Do nothing: no memory handles are shared between processes."""


def memory_allocated(device: int | None = None) -> int:
    """Return the resident memory of this process, in bytes."""
    return int(psutil.Process().memory_info().rss)


def memory_reserved(device: int | None = None) -> int:
    """Return the same as `memory_allocated`: nothing is reserved beyond it."""
    return memory_allocated()


def max_memory_allocated(device: int | None = None) -> int:
    """Return the peak resident memory of this process, in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024  # Linux counts it in KiB
    return max(peak, memory_allocated())  # and a little late


def max_memory_reserved(device: int | None = None) -> int:
    """Return the same as `max_memory_allocated`."""
    return max_memory_allocated()


def reset_peak_memory_stats(device: int | None = None) -> None:
    """Do nothing: the operating system's peak cannot be reset by the process."""


def mem_get_info(device: int | None = None) -> tuple[int, int]:
    """Return the machine's (available, total) memory, in bytes."""
    memory = psutil.virtual_memory()
    return memory.available, memory.total


def get_rng_state() -> torch.Tensor:
    """Return the state of PyTorch's CPU generator."""
    return torch.get_rng_state()


def set_rng_state(new_state: torch.Tensor) -> None:
    """Set the state of PyTorch's CPU generator."""
    torch.set_rng_state(new_state)


def manual_seed(seed: int) -> None:
    """Seed PyTorch's CPU generator."""
    torch.manual_seed(seed)
