"""Look for everything that will fail before a run is started: `python -m recipe.doctor [overrides]`.

It takes the overrides that `recipe.main_azr` takes, shows versions, devices, memory and disk of this machine
and an estimate of what the run will need, and then lists what will fail, one line each with what to do. The
exit status is 0 if there is nothing, 1 if there is something, 2 for overrides that Hydra refuses. On several
nodes, run it on each. Nothing is downloaded, and nothing started but the sandbox, for a moment.
"""

from __future__ import annotations

import argparse
import os
import sys

from hydra import compose, initialize_config_dir
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from recipe.config import CONF, explain, register
from recipe.preflight import machine, memory
from recipe.preflight import rules as preflight
from recipe.preflight.machine import Finding
from recipe.preflight.memory import ALL, FRAGMENTATION, Estimate, Phase
from recipe.preflight.model_shape import ModelShape, find_shape
from recipe.preflight.problems import PreflightError
from recipe.preflight.slots import problems_with_counts
from recipe.selfplay.plan import StepPlan
from tasks.registry import load_pack


def diagnose(config: DictConfig, gpu_gib: float | None) -> list[str]:
    """Print what is there and what the run will need.

    Args:
        config: The composed configuration.
        gpu_gib: Memory of a GPU where torch sees none, to see whether the run fits.

    Returns:
        What will fail, each with what to do.
    """
    path = config.actor_rollout_ref.model.path
    problems = preflight.find_problems(config)
    shape = _shape_for_estimate(config)
    seen = machine.find_gpus()
    if seen:
        gpu_gib = min(gpu.total_gib for gpu in seen)
    host = memory.estimate_host(config, shape) if shape is not None else None
    found = {
        "versions": [machine.versions(config)],
        "machine": [
            machine.gpus(config, seen),
            machine.host(config, host.peak_gib if host is not None else None),
            machine.disk(config, shape),
            machine.cluster(config),
            machine.sandbox(config),
        ],
        "model": [machine.model(config)],
        "estimate": [
            Finding([f"none: the sizes of {path} are not known here, or a setting that it needs is wrong"])
        ],
    }
    if shape is not None and host is not None:
        found["estimate"] = [estimate(config, shape, host, gpu_gib)]
    for title, findings in found.items():
        print(f"\n{title}")
        for finding in findings:
            print("".join(f"  {line}\n" for line in finding.lines), end="")
            problems += [problem for problem in finding.problems if problem not in problems]
    return problems


def _shape_for_estimate(config: DictConfig) -> ModelShape | None:
    """The model's sizes; None if they are not known, or if the rules refuse what they are reckoned with."""
    path = config.actor_rollout_ref.model.path
    if path is None or any(problems_with_counts(config)) or any(memory.problems_with_types(config)):
        return None
    try:
        return find_shape(path)
    except PreflightError:  # told among the problems
        return None


def estimate(config: DictConfig, shape: ModelShape, host: Estimate, gpu_gib: float | None) -> Finding:
    """The estimate as lines, and where it does not fit."""
    found = Finding([f"{shape.num_parameters / 1e6:,.1f} million parameters"])
    found.lines += _tokens(config)
    found.lines += _parts("memory of a node" if config.cpu is None else "memory", host)
    if config.cpu is not None:
        return found
    if gpu_gib is None:
        found.lines.append("memory of a GPU: give --gpu-gib, the memory of the GPU that the run is for")
        return found
    gpu = memory.estimate_gpu(config, shape, gpu_gib)
    found.lines += _parts(f"memory of each GPU of {gpu_gib:.1f} GiB", gpu)
    updating, generating = gpu.gib_while(Phase.UPDATING), gpu.gib_while(Phase.GENERATING)
    usable = gpu_gib * (1 - FRAGMENTATION)
    found.require(
        updating <= usable,
        f"an update will take about {updating:.1f} GiB of {usable:.1f} on each GPU; lower "
        "actor_rollout_ref.actor.ppo_max_token_len_per_gpu, train adapters "
        "(actor_rollout_ref.model.lora_rank), or use more GPUs",
    )
    found.require(
        generating <= usable,
        f"generation will take about {generating:.1f} GiB of {usable:.1f} on each GPU; lower "
        "actor_rollout_ref.rollout.gpu_memory_utilization, or set "
        "actor_rollout_ref.actor.fsdp_config.optimizer_offload=true",
    )
    cache = gpu.gib_of(memory.VLLM_CACHE)
    tokens = max(memory.kv_tokens(config, shape, cache), 0)
    whole = config.data.max_prompt_length + config.data.max_response_length
    found.lines.append(
        f"key-value cache: at most {tokens:,} tokens a replica, {tokens // whole} whole sequences"
    )
    found.require(
        tokens >= whole,
        f"a replica's key-value cache must hold one sequence of {whole} tokens; it holds about "
        f"{tokens}. Raise actor_rollout_ref.rollout.gpu_memory_utilization",
    )
    return found


def _tokens(config: DictConfig) -> list[str]:
    try:
        plan = StepPlan.of(config.azr, len(load_pack(config.pack).kinds))
    except preflight.REFUSALS:  # told among the problems
        return []
    tokens = plan.tokens(config.data.max_prompt_length, config.data.max_response_length)
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
        problems = diagnose(config, arguments.gpu_gib)
    except (HydraException, OmegaConfBaseException) as error:
        print(f"error: {explain(error)}", file=sys.stderr)
        return 2
    print(f"\n{len(problems)} problems" if problems else "\nall is well")
    for problem in problems:
        print(f"- {problem}")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
