"""What this machine has: packages, GPUs, memory and disk. Reads, starts nothing, and judges nothing."""

from __future__ import annotations

import importlib.metadata
import platform
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig
from packaging.requirements import Requirement

from recipe.config import GPU_INSTALL, TINY_MODEL
from recipe.preflight import PreflightError
from recipe.preflight.memory import GIB

DISTRIBUTION = "azr-verl"
MEMINFO = Path("/proc/meminfo")
CPU_INFO = Path("/proc/cpuinfo")
SHARED_MEMORY = Path("/dev/shm")
CONTROL_GROUP = Path("/sys/fs/cgroup")  # of this process, where it is in a container


def on_cpu(config: DictConfig) -> bool:
    """Whether the run trains on a CPU."""
    return bool(config.trainer.device == "cpu")


def install_command(config: DictConfig) -> str:
    """What installs the packages that the run needs."""
    return "`make env`" if on_cpu(config) else f"`{GPU_INSTALL}`"


def requirements(config: DictConfig) -> list[Requirement]:
    """The packages that the run needs, with what setup.py pins of them.

    Raises:
        PreflightError: The recipe is not installed as a distribution.
    """
    try:
        lines = importlib.metadata.requires(DISTRIBUTION) or []
    except importlib.metadata.PackageNotFoundError as error:
        raise PreflightError(
            f"{DISTRIBUTION} is not installed, so nobody finds its plugins; run {install_command(config)}"
        ) from error
    extra = {"extra": "cpu" if on_cpu(config) else "gpu"}
    found = map(Requirement, lines)
    return [needed for needed in found if needed.marker is None or needed.marker.evaluate(extra)]


def installed_version(name: str) -> str | None:
    """The version of a package that is installed; None without any."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


@dataclass(frozen=True, slots=True)
class Gpu:
    """One GPU that torch sees; memory in GiB."""

    name: str
    total_gib: float
    free_gib: float


DRIVERS = (Path("/dev/nvidiactl"), Path("/dev/kfd"), Path("/dev/dxg"))
"""What a driver of GPUs puts there: NVIDIA's, AMD's, and that of either under WSL."""


def find_gpus() -> list[Gpu]:
    """The GPUs of this machine; none where torch is not installed or sees none."""
    if not any(driver.exists() for driver in DRIVERS):
        return []  # without the seconds that torch takes
    try:
        import torch
    except ImportError:
        return []
    gpus = []
    for index in range(torch.cuda.device_count()):
        free, total = torch.cuda.mem_get_info(index)
        gpus.append(Gpu(torch.cuda.get_device_name(index), total / GIB, free / GIB))
    return gpus


def available_gib() -> tuple[float, float]:
    """Memory of this machine or container in GiB: available to new programs, and all of it.

    Sources: proc(5), /proc/meminfo; a container's limit is that of its control group, version 2, whose use
    counts cached files in that the kernel gives up first.
    """
    lines = MEMINFO.read_text().splitlines()
    kib = {name: int(rest.split()[0]) for name, _, rest in (line.partition(":") for line in lines)}
    available, total = kib["MemAvailable"] / 2**20, kib["MemTotal"] / 2**20
    limit = CONTROL_GROUP / "memory.max"
    if not limit.exists() or limit.read_text().strip() == "max":
        return available, total
    limit_gib = int(limit.read_text()) / GIB
    counts = dict(line.split() for line in (CONTROL_GROUP / "memory.stat").read_text().splitlines())
    used = int((CONTROL_GROUP / "memory.current").read_text()) - int(counts["inactive_file"])
    return min(available, limit_gib - used / GIB), min(total, limit_gib)


def nearest(folder: Path) -> Path:
    """The folder itself if it exists, else the nearest above it that does."""
    folder = folder.absolute()
    return next(there for there in (folder, *folder.parents) if there.exists())


def free_gib(folder: Path) -> float:
    """Room on the disk of a folder that may not exist yet, in GiB."""
    return shutil.disk_usage(nearest(folder)).free / GIB


def folders(config: DictConfig) -> dict[str, Path]:
    """The folders that the run writes to, by the keys that name them."""
    found = {"run.dir": config.run.dir, "trainer.default_local_dir": config.trainer.default_local_dir}
    if config.actor_rollout_ref.model.path == TINY_MODEL:
        found["run.tiny_model_dir"] = config.run.tiny_model_dir
    return {key: Path(folder) for key, folder in found.items()}


def hardware() -> dict[str, Any]:
    """This machine: cores, the CPU's name, memory in GiB, names of GPUs."""
    lines = CPU_INFO.read_text(encoding="utf-8").splitlines() if CPU_INFO.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return {
        "cores": len(names) or 1,
        "cpu": names[0] if names else platform.machine(),
        "memory_gib": round(available_gib()[1], 1),
        "gpus": [gpu.name for gpu in find_gpus()],
    }
