"""Every rule that is looked at before Ray or a model is started, and the one collector of what is broken.

`recipe.doctor` asks for all of it (`find_problems`); a run stops at the first rule that refuses (`check`). To
add a rule about one key, add a row to `VALUES` or `SIZES`; for any other, write one function with the
decorator `rule`: it yields a line for everything that is wrong, which names the key, what it got, and what to
do. Rules are asked in the order in which they stand here. They read a `Setup`; none needs verl, and none
imports Ray.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, NamedTuple

from omegaconf import DictConfig, OmegaConf

from recipe.config import ROLLOUT_DTYPES, TINY_MODEL
from recipe.preflight import PreflightError, machine, memory, slots
from recipe.preflight.memory import FRAGMENTATION, Phase
from recipe.preflight.model import ModelShape, cached_file, head_counts, is_on_hub, missing_weights, read_json
from recipe.preflight.setup import REFUSALS, Setup, Survey
from recipe.run import checkpoint
from recipe.run.files import SUMMARY, check_writable
from recipe.selfplay.config import AzrConfig, KeepTasks, Sampling, SolveOn
from recipe.selfplay.credit import Baseline, Cells, Scale, Statistics
from recipe.selfplay.curriculum import buffer_keys
from rewards.bonus import Combine
from rewards.profile import load_profile, missing_measure
from rewards.propose import find_shape
from tasks.contract import TaskPack

Find = Callable[[Setup], Iterator[str]]


@dataclass(frozen=True, slots=True)
class Rule:
    """One thing that has to hold before a start.

    A run stops at a rule that refuses. Another is an estimate, or about this machine alone, which need not be
    the one that trains: the doctor says it, a run goes on.
    """

    find: Find  # yields a line for everything that breaks it
    applies: Callable[[DictConfig], bool]  # whether it is about such a run at all
    refuses: bool


RULES: list[Rule] = []


def rule(
    *, applies: Callable[[DictConfig], bool] = lambda _: True, refuses: bool = True
) -> Callable[[Find], Find]:
    """Make a function a rule; arguments as of `Rule`."""

    def add(find: Find) -> Find:
        RULES.append(Rule(find, applies, refuses))
        return find

    return add


def find_problems(setup: Setup, rules: Iterable[Rule] = RULES) -> list[str]:
    """Everything that is broken, a line each."""
    return list(dict.fromkeys(_ask(setup, rules)))  # two rules may stumble over one file


def _ask(setup: Setup, rules: Iterable[Rule]) -> Iterator[str]:
    for asked in rules:
        if asked.applies(setup.config):
            try:
                yield from asked.find(setup)
            except REFUSALS as error:  # what ended the rule before its time is the last that it finds
                yield str(error)


def check(config: DictConfig, survey: Survey) -> TaskPack:
    """Check a composed configuration; return its pack.

    Raises:
        PreflightError: A rule is broken that refuses.
    """
    setup = Setup(config, survey)
    for problem in _ask(setup, (asked for asked in RULES if asked.refuses)):
        raise PreflightError(problem)
    return setup.pack


# ------------------------------ keys, one at a time ------------------------------

MODEL = "actor_rollout_ref.model.path"
ATTENTION = "actor_rollout_ref.model.override_config.attn_implementation"
TOKENS = "actor_rollout_ref.actor.ppo_max_token_len_per_gpu"
FSDP = "actor_rollout_ref.actor.fsdp_config"
ROLLOUT = "actor_rollout_ref.rollout"
SEQUENCE_PARALLEL = f"{FSDP}.ulysses_sequence_parallel_size"
TENSOR_PARALLEL = f"{ROLLOUT}.tensor_model_parallel_size"
EXECUTOR = f"{ROLLOUT}.engine_kwargs.vllm.distributed_executor_backend"

# TRR++, and those of verl 0.9.1 that need neither a critic nor a greedy rollout.
BATCH_ESTIMATORS = ("trr_plus_plus", "reinforce_plus_plus")

# These compare the attempts at one record. Not `grpo`: it takes one output of a session for all, and a
# session here holds a proposal and its attempts. Not `rloo_vectorized`: it gives 0 to a group of one, as a
# proposal is.
GROUP_ESTIMATORS = ("reinforce_plus_plus_baseline", "rloo", "grpo_vectorized", "opo", "gpg")


class Must(NamedTuple):
    """What one key has to be: in words, and as a test. A key that is not there, or null, is not tested."""

    be: str
    holds: Callable[[Any], bool]


def one_of(known: Iterable[str]) -> Must:
    """One of these names."""
    names = tuple(known)
    return Must(f"one of {', '.join(names)}", lambda value: value in names)


def at_least(least: int) -> Must:
    """A number of at least this size."""
    return Must(f"at least {least}", lambda value: value >= least)


def exactly(only: Any, reason: str) -> Must:
    """This value, here, of a key of verl's that has others elsewhere."""
    return Must(f"{str(only).lower()}: {reason}", lambda value: value == only)


SIZES = {
    f"{ROLLOUT}.dtype": one_of(ROLLOUT_DTYPES),
    # Types that have a size here; verl and vLLM refuse most others much later.
    f"{FSDP}.model_dtype": one_of(memory.BYTES),
    **{f"{FSDP}.mixed_precision.{of}_dtype": one_of(memory.BYTES) for of in ("param", "reduce", "buffer")},
    "trainer.nnodes": at_least(1),
    "trainer.n_gpus_per_node": at_least(1),
    TENSOR_PARALLEL: at_least(1),
    "cpu.threads": at_least(1),
    "cpu.kv_cache_gib": at_least(1),
    f"{FSDP}.fsdp_size": Must(
        "the workers that share one copy of the model, or -1 for all", lambda n: n != 0
    ),
}

VALUES = {
    "azr.solve_on": one_of(SolveOn),
    "azr.keep_tasks": one_of(KeepTasks),
    "azr.buffer_sampling": one_of(Sampling),
    "azr.bonus.combine": one_of(Combine),
    "algorithm.adv_estimator": one_of(BATCH_ESTIMATORS + GROUP_ESTIMATORS),
    "algorithm.trr.cells": one_of(Cells),
    "algorithm.trr.columns": Must("left out: cells follow from self-play's uids here", lambda _: False),
    "algorithm.trr.baseline": one_of(Baseline),
    "algorithm.trr.scale": one_of(Scale),
    "algorithm.trr.statistics": one_of(Statistics),
    "trainer.resume_mode": one_of(("auto", "disable", "resume_path")),
    "azr.proposals_per_kind": at_least(1),
    "azr.attempts_per_record": at_least(1),
    "azr.buffer_capacity": at_least(1),
    "azr.replay_per_kind": at_least(0),
    "azr.held_out_samples": at_least(0),
    "azr.failures.retries": at_least(0),
    "azr.failures.max_share": Must("in [0, 1)", lambda share: 0 <= share < 1),
    "azr.pack_deadline_s": Must("positive", lambda seconds: seconds > 0),
    "trainer.max_actor_ckpt_to_keep": Must(
        "null or at least 2: verl removes the old checkpoint before the new one counts", lambda num: num >= 2
    ),
    "trainer.use_v1": exactly(True, "the recipe is built on verl's V1 trainer"),
    "trainer.v1.trainer_mode": exactly("sync", "the recipe extends that one"),
    f"{ROLLOUT}.name": exactly("vllm", "the agent loops are written for it"),
    f"{ROLLOUT}.n": exactly(1, "attempts at a task are azr.attempts_per_record"),
    f"{ROLLOUT}.val_kwargs.n": exactly(
        1, "a held-out item counts once in the interval, and further attempts are azr.held_out_samples"
    ),
    "algorithm.gamma": exactly(1.0, "a response is one action"),
    "actor_rollout_ref.actor.checkpoint.async_save": exactly(False, "a checkpoint counts once it is written"),
}


@rule()
def unknown_keys(setup: Setup) -> Iterator[str]:
    """Hydra refuses them on the command line, and `+azr.name=1` gets past it."""
    known = [field.name for field in fields(AzrConfig)]
    for name in setup.config.azr:
        if name not in known:
            yield f"azr.{name} is no key of the configuration; azr has {', '.join(known)}"


def _wrong(config: DictConfig, keys: Mapping[str, Must]) -> Iterator[str]:
    for key, must in keys.items():
        value = OmegaConf.select(config, key)
        if value is not None and not must.holds(value):
            yield f"{key} must be {must.be}; got {value!r}"


@rule()
def sizes(setup: Setup) -> Iterator[str]:
    """Keys that memory and slots are worked out from."""
    yield from _wrong(setup.config, SIZES)
    if slots.sequence_parallel_size(setup.config) < 1:
        yield f"{SEQUENCE_PARALLEL} must be at least 1; got {slots.sequence_parallel_size(setup.config)}"


@rule()
def values(setup: Setup) -> Iterator[str]:
    """Other keys that can be wrong by themselves."""
    yield from _wrong(setup.config, VALUES)


# ------------------------------ self-play ------------------------------


@rule()
def counts(setup: Setup) -> Iterator[str]:
    """Replay and a choice among proposals need proposals; the buffer holds what the first step draws."""
    azr, target = setup.config.azr, setup.config.azr.seeding.target
    if azr.oversample < 1 or (azr.oversample > 1 and not azr.propose):
        yield f"azr.oversample must be at least 1, and 1 with azr.propose=false; got {azr.oversample}"
    draws = {f"solve_on={azr.solve_on}": azr.solve_on != SolveOn.ATTEMPTS, "propose=false": not azr.propose}
    for setting in (name for name, holds in draws.items() if holds and azr.replay_per_kind):
        reason = f"with azr.{setting}, which draws from the buffer anyway"
        yield f"azr.replay_per_kind must be 0 {reason}; got {azr.replay_per_kind}"
    if target > azr.buffer_capacity:
        yield f"azr.seeding.target must not exceed azr.buffer_capacity={azr.buffer_capacity}; got {target}"
    # The first step draws so many records of a kind, to replay or in place of fresh ones.
    needs = "replay_per_kind" if setup.plan.trains_attempts else "proposals_per_kind"
    if target < azr[needs]:
        yield (
            f"azr.seeding.target must be at least azr.{needs}={azr[needs]} with azr.solve_on={azr.solve_on} "
            f"and azr.propose={str(azr.propose).lower()}, or the first step has too few records; got {target}"
        )


@rule()
def groups(setup: Setup) -> Iterator[str]:
    """Estimators and cells that compare attempts need several attempts at one record in one step."""
    azr, algorithm = setup.config.azr, setup.config.algorithm
    trr, has_groups = algorithm.trr, setup.plan.trains_attempts
    if algorithm.adv_estimator in GROUP_ESTIMATORS and not has_groups:
        yield (
            f"algorithm.adv_estimator={algorithm.adv_estimator} compares the attempts at a proposed record: "
            f"it needs azr.solve_on=attempts and azr.propose=true; got {azr.solve_on} and {azr.propose}"
        )
    if trr.cells == Cells.RECORD and not (has_groups and azr.replay_per_kind == 0):
        yield (
            "algorithm.trr.cells=record compares the attempts at a proposed record: it needs azr.solve_on="
            "attempts, azr.propose=true and azr.replay_per_kind=0, since a replayed record has one attempt; "
            f"got {azr.solve_on}, {azr.propose} and {azr.replay_per_kind}"
        )
    # A cell of equal rewards may be far from its running mean, and has no deviation to be divided by.
    if trr.baseline == Baseline.RUNNING_MEAN and (trr.scale != Scale.NONE or trr.cells == Cells.RECORD):
        yield (
            "algorithm.trr.baseline=running-mean needs algorithm.trr.scale=none, and cells that come again "
            f"in the next step, which those of record do not; got scale {trr.scale} and cells {trr.cells}"
        )


# ------------------------------ the model ------------------------------


@rule()
def model_files(setup: Setup) -> Iterator[str]:
    """A model directory is whole, or a name on the hub."""
    path = setup.config.actor_rollout_ref.model.path
    if path == TINY_MODEL:
        return
    if path is None or not (folder := Path(path).expanduser()).is_dir():
        if path is None or not is_on_hub(path):
            got = "it is not set" if path is None else f"{path} does not exist"
            yield f"{MODEL} must be a model directory or a name on the hub; {got}"
        return
    tokenizer = folder / "tokenizer_config.json"
    if not (folder / "config.json").exists():
        yield f"{folder / 'config.json'} must exist: a model directory holds one"
    if not tokenizer.exists():
        yield f"{tokenizer} must exist: the tokenizer is needed for the chat template"
    missing = missing_weights(lambda name: folder / name if (folder / name).exists() else None)
    if missing is not None:
        yield f"{folder / missing} must exist: without it the weights are not whole"
    if not (
        (folder / "chat_template.jinja").exists()
        or (tokenizer.exists() and "chat_template" in read_json(tokenizer))
        or setup.config.actor_rollout_ref.model.custom_chat_template is not None
    ):
        remedy = "Use an instruct model, or add chat_template.jinja to the directory."
        yield f"{folder} must have a chat template, and its tokenizer has none. {remedy}"


@rule()
def lengths(setup: Setup) -> Iterator[str]:
    """A prompt and its response fit in whatever has to hold them."""
    config = setup.config
    whole = memory.sequence_tokens(config)
    tokens, spread = OmegaConf.select(config, TOKENS), slots.sequence_parallel_size(config)
    shared = f", on each of {spread} workers that share a sequence" if spread > 1 else ""
    window = (setup.model_config or {}).get("max_position_embeddings")
    limit = config.actor_rollout_ref.rollout.max_model_len
    for most, what in (
        (limit, f"{ROLLOUT}.max_model_len={limit}"),
        (tokens * spread, f"{TOKENS}={tokens}, one micro-batch{shared}"),
        (window, f"the model's context, {window}"),
    ):
        if most is not None and whole > most:
            yield f"data.max_prompt_length + data.max_response_length = {whole} must fit {what}"


@rule()
def parallelism(setup: Setup) -> Iterator[str]:
    """What tensor parallelism (vLLM's) and sequence parallelism (the trainer's) have to divide."""
    if any(sizes(setup)):
        return
    reference, per_node = setup.config.actor_rollout_ref, setup.config.trainer.n_gpus_per_node
    tensor = reference.rollout.tensor_model_parallel_size
    sequence = slots.sequence_parallel_size(setup.config)
    if per_node % tensor:
        replica = f"{TENSOR_PARALLEL}={tensor}, the GPUs of one vLLM replica"
        yield f"trainer.n_gpus_per_node must be a multiple of {replica}; got {per_node}"
    workers = slots.num_workers(setup.config)
    if workers % sequence:
        number = f"the number of workers, trainer.nnodes * trainer.n_gpus_per_node = {workers}"
        yield f"{SEQUENCE_PARALLEL} must divide {number}; got {sequence}"
    attention = reference.model.override_config.get("attn_implementation", "flash_attention_2")
    if sequence > 1 and attention != "flash_attention_2":
        only = f"{ATTENTION}=flash_attention_2, the only one that verl spreads over workers"
        yield f"{SEQUENCE_PARALLEL}={sequence} needs {only}, and the package flash-attn; got {attention}"
    if (counts := head_counts(setup.model_config or {})) is None:
        return
    heads, kv_heads = counts
    for key, size in ((TENSOR_PARALLEL, tensor), (SEQUENCE_PARALLEL, sequence)):
        if heads % size or (kv_heads % size and size % kv_heads):
            of_keys = f"divide its {kv_heads} key-value heads or be a multiple of them"
            yield f"{key} must divide the model's {heads} attention heads, and {of_keys}; got {size}"


@rule()
def executor(setup: Setup) -> Iterator[str]:
    """vLLM waits for ever for the processes that `uni` does not start."""
    rollout = setup.config.actor_rollout_ref.rollout
    if memory.runs_in_engine(rollout) and rollout.tensor_model_parallel_size > 1:
        tensor = f"{TENSOR_PARALLEL}={rollout.tensor_model_parallel_size}"
        yield f"{EXECUTOR}=uni runs a model in one process; {tensor} needs mp"


# ------------------------------ the run's folders ------------------------------


@rule()
def writable(setup: Setup) -> Iterator[str]:
    """The folders that the run writes to can be made and written to."""
    for key, folder in machine.folders(setup.config).items():
        try:
            check_writable(machine.nearest(folder))
        except OSError as error:
            yield f"{key} must be writable; {folder} is not: {error.strerror}"


@rule()
def resuming(setup: Setup) -> Iterator[str]:
    """A run goes on from its own checkpoint, and never over another's result."""
    trainer = setup.config.trainer
    checkpoints = Path(trainer.default_local_dir)
    begin = latest = checkpoint.latest_checkpoint(checkpoints)
    if trainer.resume_mode == "disable":
        begin = None
        if latest is not None:
            yield f"trainer.resume_mode=disable would write over the run with {latest}; give another run.dir"
    elif trainer.resume_mode == "resume_path":
        begin = Path(trainer.resume_from_path or "")
        if not checkpoint.is_finished(begin):
            yield f"trainer.resume_from_path must be a finished checkpoint of this recipe; got {begin}"
        # The ledger and the metrics of its run are cut back to where the checkpoint was made.
        elif begin.absolute().parent != checkpoints.absolute():
            yield (
                f"trainer.resume_from_path must be a checkpoint of this run, under {checkpoints}; got "
                f"{begin}. Copy that run's directory and give it as run.dir."
            )
    elif latest is None and (summary := Path(setup.config.run.dir) / SUMMARY).exists():
        yield (
            "run.dir must not hold the result of a run without checkpoints, which a new run would write "
            f"over; {summary} exists. Give another run.dir."
        )
    if begin is not None and (manifest := checkpoint.read_manifest(begin)) is not None:
        checkpoint.check_pack(begin, manifest, setup.pack.name)


# ------------------------------ the pack ------------------------------


@rule()
def pack(setup: Setup) -> Iterator[str]:
    """Its seeds differ from each other and from what is held out; a vote takes two; it knows difficulty."""
    pack = setup.pack
    seeds = [pack.task_key(record) for record in pack.seeds()]
    if twice := len(seeds) - len(set(seeds)):
        yield f"the seeds of the pack {pack.name} must differ from each other; {twice} do not"
    if shared := {pack.task_key(record) for record in pack.held_out()}.intersection(seeds):
        yield f"the pack {pack.name} must hold out no seed; {len(shared)} are, such as {shared}"[:300]

    attempts = setup.config.azr.attempts_per_record
    if attempts < 2 and pack.resolves:
        reason = f"with the pack {pack.name}, whose tasks the attempts at them resolve"
        yield f"azr.attempts_per_record must be at least 2 {reason}; got {attempts}"
    cells = setup.config.algorithm.trr.cells
    if cells == Cells.ROLE_DIFFICULTY and not all(pack.difficulty(seed) for seed in pack.seeds()):
        yield f"algorithm.trr.cells={cells} needs a pack that says how hard tasks are; {pack.name} does not"


@rule()
def batch_size(setup: Setup) -> Iterator[str]:
    """What a step asks follows from `azr.*` and the number of kinds."""
    given, kinds = setup.config.data.train_batch_size, len(setup.pack.kinds)
    prompts = setup.plan.prompts * kinds
    if given not in (None, prompts):
        follows = f"azr.* and the pack's {kinds} kinds make {prompts} prompts a step"
        yield f"data.train_batch_size must be left alone: {follows}; got {given}"


@rule()
def reward_profile(setup: Setup) -> Iterator[str]:
    """There is such a profile, and the pack measures what it grades by."""
    config, pack = setup.config, setup.pack
    profile = load_profile(config.reward_profile, find_shape(**config.azr.learnability))
    if measure := missing_measure(profile, pack.measure_names):
        yield (
            f"reward_profile={config.reward_profile} grades wrong attempts by {measure}, which the "
            f"pack {pack.name} does not measure (it has {', '.join(pack.measure_names) or 'none'})"
        )


@rule()
def bonus_terms(setup: Setup) -> Iterator[str]:
    """Extra rewards are for what the pack, or the buffer, measures of a proposal."""
    pack = setup.pack
    of_seeds = {name: [key(seed) for seed in pack.seeds()] for name, key in buffer_keys(pack).items()}
    known = [*pack.feature_names, *(name for name, found in of_seeds.items() if None not in found)]
    for name in setup.config.azr.bonus.terms:
        if name not in known:
            has = ", ".join(known) or "none"
            yield f"azr.bonus.terms.{name} is no feature of the pack {pack.name}; it has {has}"


# ------------------------------ Ray ------------------------------


@rule(applies=lambda config: not slots.joins_cluster(config))
def local_slots(setup: Setup) -> Iterator[str]:
    """A cluster of the run's own has what verl asks of it."""
    given, needed = setup.config.ray_kwargs.ray_init.num_cpus, slots.needed_cpus(setup.config)
    if given is not None and given < needed:
        yield (
            f"ray_kwargs.ray_init.num_cpus must be at least {needed}, which verl will ask of Ray (they are "
            f"logical slots, not cores); got {given}. With fewer, verl waits for ever."
        )


@rule(applies=slots.joins_cluster)
def cluster_slots(setup: Setup) -> Iterator[str]:
    """A cluster has the slots, in sum and node by node; verl would wait for ever for those that it lacks."""
    nodes, trainer = setup.cluster.nodes, setup.config.trainer
    per_node = trainer.n_gpus_per_node
    needed = {"CPU": slots.needed_cpus(setup.config), "GPU": slots.num_workers(setup.config)}
    found = {"CPU": sum(node.cpus for node in nodes), "GPU": sum(node.gpus for node in nodes)}
    lacking = [name for name in needed if found[name] < needed[name]]
    for name in lacking:
        yield (
            f"the Ray cluster must have {needed[name]} {name} slots for trainer.nnodes={trainer.nnodes} and "
            f"trainer.n_gpus_per_node={per_node}; it has {found[name]}. Add nodes, start them with "
            f"more slots (ray start --num-{name.lower()}s), or ask for fewer workers."
        )
    if lacking or per_node < 1:
        return
    cpus = slots.CPUS_PER_WORKER * per_node
    # A node with several times the slots counts as several.
    if sum(min(node.gpus // per_node, node.cpus // cpus) for node in nodes) < trainer.nnodes:
        has = ", ".join(f"{node.gpus} and {node.cpus} on {node.address}" for node in nodes)
        yield (
            f"the Ray cluster must have {trainer.nnodes} nodes (trainer.nnodes) with {per_node} GPU slots "
            f"(trainer.n_gpus_per_node) and {cpus} CPU slots each; it has {has}. Add nodes, start them with "
            "more slots (ray start --num-cpus; they are logical), or ask for fewer on each."
        )


@rule(applies=slots.joins_cluster)
def shared_folders(setup: Setup) -> Iterator[str]:
    """Every node sees what the run reads and writes."""
    for key, path in setup.cluster.marks.items():
        if blind := [node.address for node in setup.cluster.nodes if path in node.unseen]:
            yield (
                f"{key} must be on a file system that every node sees; {', '.join(sorted(blind))} does not "
                f"see {path}, which this node has. Give a directory that is mounted on all of them."
            )


# ------------------------------ this machine ------------------------------

MIN_SHM_GIB = 1.0
"""Least shared memory: a container has 64 MiB unless told, with which vLLM and NCCL do not start."""


@rule(refuses=False)
def packages(setup: Setup) -> Iterator[str]:
    """Installed are the versions that setup.py pins."""
    install = machine.install_command(setup.config)
    for asked in machine.requirements(setup.config):
        found = machine.installed_version(asked.name)
        if found is None:
            yield f"{asked.name} is not installed; run {install}"
        elif not asked.specifier.contains(found, prereleases=True):
            yield f"{asked.name} must be {asked.specifier}; {found} is installed. Run {install}"

    # Not among the locked packages
    attention = setup.config.actor_rollout_ref.model.override_config.get("attn_implementation", "")
    if attention.startswith("flash_attention") and machine.installed_version("flash-attn") is None:
        needs = f"attn_implementation={attention} needs the package flash-attn, which is not installed"
        yield f"{needs}; install one built for this torch, or leave {ATTENTION}=sdpa"


@rule(applies=lambda config: not machine.on_cpu(config), refuses=False)
def gpus_here(setup: Setup) -> Iterator[str]:
    """This node has the GPUs of a node, with room on them for vLLM."""
    needed = setup.config.trainer.n_gpus_per_node
    if len(setup.gpus) < needed:
        yield (
            f"torch sees {len(setup.gpus)} of the {needed} GPUs that trainer.n_gpus_per_node={needed} asks "
            "for on every node; run on a machine that has them, or see the whole of it on a CPU with "
            "scale=tiny cluster=cpu_1"
        )
    share = setup.config.actor_rollout_ref.rollout.gpu_memory_utilization
    for gpu in setup.gpus[:needed]:
        wanted = share * gpu.total_gib
        if gpu.free_gib < wanted:
            yield (
                f"vLLM wants {wanted:.1f} GiB free on each GPU, {ROLLOUT}.gpu_memory_utilization={share} of "
                f"all; {gpu.name} has {gpu.free_gib:.1f}. Stop the other programs on it, or choose other "
                "GPUs by CUDA_VISIBLE_DEVICES"
            )


def shape_to_estimate(setup: Setup) -> ModelShape | None:
    """The model's sizes; None unless all that an estimate is worked out from is known, and right."""
    return None if any(sizes(setup)) else setup.shape


@rule(refuses=False)
def memory_here(setup: Setup) -> Iterator[str]:
    """This machine has the memory of a node."""
    if (shape := shape_to_estimate(setup)) is None:
        return
    needed, available = memory.estimate_host(setup.config, shape).peak_gib, machine.available_gib()[0]
    if needed > available:
        remedy = "stop other programs, or ask for fewer workers or a smaller model"
        memories = f"about {needed:.1f} GiB of this machine's memory, and {available:.1f} are available"
        yield f"the run will take {memories}; {remedy}"


@rule(refuses=False)
def shared_memory(setup: Setup) -> Iterator[str]:
    """Without CUDA's own sharing, every worker passes its weights on through a bucket of shared memory."""
    buckets = setup.config.trainer.n_gpus_per_node * memory.bucket_gib(setup.config)
    needed = max(MIN_SHM_GIB, buckets if machine.on_cpu(setup.config) else 0.0)
    free = machine.free_gib(machine.SHARED_MEMORY)
    if free < needed:
        remedy = "In a container give --shm-size or --ipc=host"
        yield f"{machine.SHARED_MEMORY} must have {needed:.1f} GiB free; it has {free:.1f}. {remedy}"


@rule(refuses=False)
def disk_for_checkpoints(setup: Setup) -> Iterator[str]:
    """There is room for as many checkpoints as the run will hold."""
    if (shape := shape_to_estimate(setup)) is None:
        return
    trainer = setup.config.trainer
    folder = Path(trainer.default_local_dir)
    # The last step is saved whatever its number; the oldest is removed before a new one is written.
    saved = math.ceil(trainer.total_training_steps / trainer.save_freq) if trainer.save_freq > 0 else 0
    held = min(saved, trainer.max_actor_ckpt_to_keep or saved)
    count = max(held - len(checkpoint.finished(folder)), 0)
    needed = count * memory.checkpoint_gib(setup.config, shape)
    free = machine.free_gib(folder)
    if free < needed:
        room = f"{needed:.1f} GiB free for {count} checkpoints of weights and optimizer"
        yield f"{folder} must have {room}; it has {free:.1f}. Make room, or give another run.dir"


@rule(refuses=False)
def cached_model(setup: Setup) -> Iterator[str]:
    """What the hub's cache has of a model can be read."""
    path = setup.config.actor_rollout_ref.model.path
    if path is not None and is_on_hub(path):
        missing_weights(lambda name: cached_file(path, name))
    yield from ()


@rule(applies=lambda config: config.pack.get("sandbox") is not None, refuses=False)
def sandbox_layers(setup: Setup) -> Iterator[str]:
    """The sandbox opens here, and stops every attack of its own test."""
    for attack, stopped in setup.sandbox.selftest.items():
        if not stopped:
            yield f"the sandbox lets `{attack}` through; see docs/sandbox.md"


@rule(applies=lambda config: config.cpu is None, refuses=False)
def memory_of_a_gpu(setup: Setup) -> Iterator[str]:
    """An update and the generation fit on a GPU, and a whole sequence in the cache."""
    card, shape, config = setup.card_gib, shape_to_estimate(setup), setup.config
    if shape is None or card is None:
        return
    gpu, usable = memory.estimate_gpu(config, shape, card), card * (1 - FRAGMENTATION)
    fewer = f"lower {TOKENS}, train adapters (actor_rollout_ref.model.lora_rank), or use more GPUs"
    smaller = f"lower {ROLLOUT}.gpu_memory_utilization, or set {FSDP}.optimizer_offload=true"
    phases = ("an update", Phase.UPDATING, fewer), ("generation", Phase.GENERATING, smaller)
    for what, phase, remedy in phases:
        if (gib := gpu.gib_while(phase)) > usable:
            yield f"{what} will take about {gib:.1f} GiB of {usable:.1f} on each GPU; {remedy}"
    tokens = memory.kv_tokens(config, shape, gpu.gib_of(memory.VLLM_CACHE))
    whole = memory.sequence_tokens(config)
    if tokens < whole:
        has = f"must hold one sequence of {whole} tokens; it holds about {tokens}"
        yield f"a replica's key-value cache {has}. Raise {ROLLOUT}.gpu_memory_utilization"
