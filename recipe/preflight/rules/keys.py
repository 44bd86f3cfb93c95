"""Keys, one at a time: what each has to be, whatever the others are."""

from __future__ import annotations

import importlib.util
import json
import math
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import fields
from functools import cache
from typing import Any, NamedTuple

import yaml
from omegaconf import DictConfig, ListConfig, OmegaConf

from recipe.config import CONF, ROLLOUT_DTYPES, verl_conf_folder
from recipe.preflight import machine, memory, slots
from recipe.preflight.memory import BUCKET
from recipe.preflight.rules.register import rule
from recipe.preflight.setup import Setup
from recipe.selfplay import alarms
from recipe.selfplay.config import AzrConfig, KeepTasks, Sampling, SolveOn
from recipe.selfplay.credit import Baseline, Cells, Scale, Statistics
from rewards.bonus import Combine

ACTOR = "actor_rollout_ref.actor"
MODEL = "actor_rollout_ref.model.path"
ATTENTION = "actor_rollout_ref.model.override_config.attn_implementation"
TOKENS = f"{ACTOR}.ppo_max_token_len_per_gpu"
FSDP = f"{ACTOR}.fsdp_config"
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

# Those that verl 0.9.1 knows (verl/workers/config/actor.py, verl/trainer/ppo/core_algos.py).
LOSS_MEANS = (
    "token-mean",
    "token-sum",
    "seq-mean-token-sum",
    "seq-mean-token-mean",
    "seq-mean-token-sum-norm",
)
# Without `bypass_mode`, which verl sets by itself.
LOSSES = (
    "vanilla",
    "dppo_tv",
    "dppo_kl",
    "gspo",
    "sapo",
    "gpg",
    "clip_cov",
    "kl_cov",
    "geo_mean",
    "dro",
    "cispo",
)
KL_ESTIMATORS = ("kl", "k1", "abs", "mse", "k2", "low_var_kl", "k3")


class Must(NamedTuple):
    """What one key has to be, in words and as a test. A key that is not there is not tested."""

    be: str
    holds: Callable[[Any], bool] = lambda _: True
    kind: type[int] | type[float] | None = None  # of number; the test is then asked of such only
    or_null: bool = False


ABSENT = object()
KINDS = {int: "an integer", float: "a number"}


def one_of(known: Iterable[str]) -> Must:
    """One of these names."""
    names = tuple(known)
    return Must(f"one of {', '.join(names)}", lambda value: value in names)


def at_least(least: int, *, or_null: bool = False) -> Must:
    """A whole number of at least this size."""
    return Must(f"at least {least}", lambda value: value >= least, int, or_null)


def share(of: str) -> Must:
    """A share of something, not none of it."""
    return Must(f"a share of {of}, above 0 and at most 1", lambda value: 0 < value <= 1, float)


def exactly(only: Any, reason: str) -> Must:
    """This value, here, of a key of verl's that has others elsewhere."""
    return Must(f"{only if isinstance(only, str) else show(only)}: {reason}", lambda value: value == only)


def is_number(value: Any) -> bool:
    """Whether it is one; to Python true and false are numbers too."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def show(value: Any) -> str:
    """A value for a message: null, true and false as they are written on the command line."""
    return json.dumps(value) if value is None or isinstance(value, bool) else repr(value)


# What vLLM 0.27.1 knows (vllm/model_executor/model_loader/__init__.py), but for weights that are quantized.
LOAD_FORMATS = (
    "dummy",
    "auto",
    "hf",
    "safetensors",
    "pt",
    "npcache",
    "mistral",
    "fastsafetensors",
    "instanttensor",
    "modelexpress",
    "runai_streamer",
    "runai_streamer_sharded",
    "sharded_state",
    "tensorizer",
)

# Those of transformers 5.10.
ATTENTIONS = (
    "eager",
    "sdpa",
    "flash_attention_2",
    "flash_attention_3",
    "flash_attention_4",
    "flex_attention",
)

# torch.optim's that take weights of any shape, and make a step without computing the loss again.
OPTIMIZERS = (
    "AdamW",
    "Adam",
    "Adamax",
    "NAdam",
    "RAdam",
    "SGD",
    "ASGD",
    "RMSprop",
    "Rprop",
    "Adagrad",
    "Adadelta",
    "Adafactor",
)


CONTENTS = ("model", "optimizer", "extra", "hf_model")
"""What a checkpoint of verl's can have."""


def some_of(known: Iterable[str], needed: str) -> Must:
    """A list of these names, with one among them."""
    names = tuple(known)
    return Must(
        f"some of {', '.join(names)}, with {needed}",
        lambda value: isinstance(value, ListConfig) and needed in value and set(value) <= set(names),
    )


def is_address(value: Any) -> bool:
    """Whether Ray can be started, looked for or joined by it."""
    return isinstance(value, str) and re.fullmatch(r"local|auto|[^/]+:\d+", value) is not None


def are_betas(value: Any) -> bool:
    """Whether Adam can average by them."""
    return (
        isinstance(value, ListConfig)
        and len(value) == 2
        and all(is_number(beta) and 0 <= beta < 1 for beta in value)
    )


FOLDER = Must("a directory", lambda value: isinstance(value, str) and value != "")
TOP_K = Must("-1 for all, or at least 1", lambda number: number >= -1, int)
SELF_PLAYS = "self-play has its own"
SEED = Must("from 0 to 2^32 - 1", lambda seed: 0 <= seed < 2**32, int)
FREQUENCY = Must("a number of steps, or -1 for never", kind=int)

SIZES = {
    "run.dir": FOLDER,
    "run.tiny_model_dir": FOLDER,
    "run.tiny_model_steps": at_least(1),
    "trainer.default_local_dir": FOLDER,
    MODEL: FOLDER._replace(or_null=True),  # null has a rule of its own, which says what it may be
    "data.max_prompt_length": at_least(1),
    "data.max_response_length": at_least(1),
    "trainer.total_training_steps": at_least(1),
    "trainer.save_freq": FREQUENCY,
    "trainer.max_actor_ckpt_to_keep": Must(
        "at least 2: verl removes the old checkpoint before the new one counts",
        lambda num: num >= 2,
        int,
        or_null=True,
    ),
    "trainer.nnodes": at_least(1),
    "trainer.n_gpus_per_node": at_least(1),
    "trainer.device": one_of(("cpu", "cuda", "npu")),
    TOKENS: at_least(1),
    "actor_rollout_ref.model.lora_rank": Must(
        "from 0 (none) to 512, the largest that vLLM has", lambda rank: 0 <= rank <= 512, int
    ),
    "actor_rollout_ref.model.custom_chat_template": Must(
        "a Jinja template that is not empty",
        lambda value: isinstance(value, str) and value != "",
        or_null=True,
    ),
    f"{ROLLOUT}.dtype": one_of(ROLLOUT_DTYPES),
    f"{ROLLOUT}.gpu_memory_utilization": share("a GPU's memory"),
    f"{ROLLOUT}.data_parallel_size": at_least(1),
    f"{ROLLOUT}.log_prob_max_token_len_per_gpu": at_least(1),
    "actor_rollout_ref.ref.log_prob_max_token_len_per_gpu": at_least(1),
    f"{ROLLOUT}.max_num_seqs": at_least(1),
    f"{ROLLOUT}.max_num_batched_tokens": at_least(1),
    f"{ROLLOUT}.max_model_len": at_least(1, or_null=True),
    f"{ROLLOUT}.agent.num_workers": at_least(1),
    BUCKET: at_least(1, or_null=True),
    TENSOR_PARALLEL: at_least(1),
    # verl reads the larger of the two.
    SEQUENCE_PARALLEL: at_least(0),
    f"{ACTOR}.ulysses_sequence_parallel_size": at_least(0),
    # Types that have a size here; verl and vLLM refuse most others much later.
    f"{FSDP}.model_dtype": one_of(memory.BYTES),
    **{f"{FSDP}.mixed_precision.{of}_dtype": one_of(memory.BYTES) for of in ("param", "reduce", "buffer")},
    f"{FSDP}.fsdp_size": Must(
        "the workers that share one copy of the model, or -1 for all", lambda value: value != 0, int
    ),
    "cpu.threads": at_least(1),
    "cpu.kv_cache_gib": at_least(1),
    "reward.num_workers": at_least(0),
    "transfer_queue.backend.SimpleStorage.num_data_storage_units": at_least(1),
    "ray_kwargs.ray_init.address": Must(
        "local, auto, or HOST:PORT of Ray's head (RAY_ADDRESS), port 6379 as a rule", is_address
    ),
    "ray_kwargs.ray_init.num_cpus": at_least(0, or_null=True),
    "ray_kwargs.ray_init.num_gpus": at_least(0, or_null=True),
}
"""Keys that other rules, and the doctor's estimate, read as they are."""

SHARE_OR_NULL = Must("a share, above 0 and at most 1", lambda value: 0 < value <= 1, float, or_null=True)
TIMES_OR_NULL = Must(
    "above 1, as it is compared with the start", lambda value: value > 1, float, or_null=True
)
SHARES = sorted({*alarms.NAMES} - {"length", "step_time", "memory", "rollout_drift"})

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
    "algorithm.trr.proposer_share": Must("in (0, 1)", lambda share: 0 < share < 1, float, or_null=True),
    "trainer.resume_mode": one_of(("auto", "disable", "resume_path")),
    f"{ACTOR}.loss_agg_mode": one_of(LOSS_MEANS),
    f"{ACTOR}.kl_loss_type": one_of((*KL_ESTIMATORS, *(f"{name}+" for name in KL_ESTIMATORS))),
    f"{ACTOR}.optim.lr_scheduler_type": one_of(("constant", "cosine")),
    "azr.proposals_per_kind": at_least(1),
    "azr.attempts_per_record": at_least(1),
    "azr.buffer_capacity": at_least(1),
    "azr.replay_per_kind": at_least(0),
    "azr.seeding.max_waves": at_least(0),
    "azr.held_out_samples": at_least(0),
    "azr.elicit.examples": Must("from 0 to 8", lambda number: 0 <= number <= 8, int),
    "azr.elicit.format_tries": at_least(1),
    "azr.failures.retries": at_least(0),
    "azr.failures.max_share": Must("in [0, 1)", lambda share: 0 <= share < 1, float),
    **{f"azr.alarms.{name}": SHARE_OR_NULL for name in SHARES},
    **{f"azr.alarms.{name}": TIMES_OR_NULL for name in ("length", "step_time", "memory")},
    "azr.alarms.rollout_drift": Must("above 0", lambda value: value > 0, float, or_null=True),
    "azr.pack_deadline_s": Must("positive", lambda seconds: seconds > 0, float),
    "trainer.test_freq": FREQUENCY,
    f"{ACTOR}.ppo_epochs": at_least(1),
    f"{ACTOR}.optim.lr": Must("at least 0", lambda rate: rate >= 0, float),
    f"{ACTOR}.optim.weight_decay": Must("at least 0", lambda decay: decay >= 0, float),
    f"{ACTOR}.optim.clip_grad": Must("above 0", lambda norm: norm > 0, float),
    f"{ACTOR}.optim.betas": Must("two numbers in [0, 1)", are_betas),
    f"{ACTOR}.optim.min_lr_ratio": Must("in [0, 1]", lambda ratio: 0 <= ratio <= 1, float, or_null=True),
    f"{ACTOR}.optim.lr_warmup_steps_ratio": Must("in [0, 1]", lambda ratio: 0 <= ratio <= 1, float),
    f"{ACTOR}.clip_ratio_low": Must("at least 0", lambda ratio: ratio >= 0, float, or_null=True),
    f"{ACTOR}.clip_ratio_c": Must("above 1", lambda ratio: ratio > 1, float),
    f"{ACTOR}.policy_loss.loss_mode": one_of(LOSSES),
    f"{ACTOR}.checkpoint.save_contents": some_of(CONTENTS, "model"),
    f"{ACTOR}.checkpoint.load_contents": some_of(CONTENTS, "model"),
    "algorithm.rollout_correction.bypass_mode": Must(
        "null, true or false", lambda value: value in (None, True, False)
    ),
    "algorithm.rollout_correction.rollout_is": Must(
        "null, token or sequence", lambda value: value in (None, "token", "sequence")
    ),
    "algorithm.kl_penalty": one_of((*KL_ESTIMATORS, *(f"{name}+" for name in KL_ESTIMATORS))),
    "algorithm.kl_ctrl.type": one_of(("fixed", "adaptive")),
    "algorithm.kl_ctrl.horizon": Must("above 0", lambda value: value > 0, float),
    f"{ROLLOUT}.temperature": Must(
        "above 0: at 0 all attempts at a task are one", lambda value: value > 0, float
    ),
    "data.val_max_samples": Must("-1 for all, or at least 1", lambda number: number != 0, int),
    "data.val_batch_size": at_least(0, or_null=True),
    "data.dataloader_num_workers": at_least(0),
    "data.seed": Must("a seed", kind=int, or_null=True),
    f"{ROLLOUT}.seed": SEED,
    f"{ROLLOUT}.load_format": one_of(LOAD_FORMATS),
    f"{ROLLOUT}.logprobs_mode": one_of(("processed_logprobs", "raw_logprobs")),
    f"{ROLLOUT}.quantization": Must(
        "null, fp8, torchao or ascend", lambda value: value in (None, "fp8", "torchao", "ascend")
    ),
    f"{ROLLOUT}.scheduling_policy": one_of(("fcfs", "priority")),
    f"{ROLLOUT}.top_k": TOP_K,
    f"{ROLLOUT}.val_kwargs.top_k": TOP_K,
    f"{ROLLOUT}.top_p": share("the probability"),
    f"{ROLLOUT}.val_kwargs.top_p": share("the probability"),
    f"{ROLLOUT}.val_kwargs.temperature": Must("at least 0", lambda value: value >= 0, float),
    ATTENTION: Must(
        f"one of {', '.join(ATTENTIONS)}, or a kernel of the hub",
        lambda value: value in ATTENTIONS or (isinstance(value, str) and "/" in value),
        or_null=True,
    ),
    "actor_rollout_ref.model.lora_alpha": Must("above 0", lambda alpha: alpha > 0, float),
    "actor_rollout_ref.model.lora.rank": exactly(0, "adapters of FSDP are actor_rollout_ref.model.lora_rank"),
    "actor_rollout_ref.model.target_modules": Must(
        "a string or a list of strings", lambda value: isinstance(value, str | ListConfig), or_null=True
    ),
    "trainer.critic_warmup": exactly(0, "no update is made before it, and there is no critic to warm up"),
    "trainer.remove_previous_ckpt_in_save": exactly(
        False, "verl removes the old checkpoint before the new one counts"
    ),
    "trainer.v1.sampler.custom_sampler.path": exactly("pkg://recipe.engine.replay_buffer", SELF_PLAYS),
    "trainer.v1.sampler.custom_sampler.name": exactly("AzrReplayBuffer", SELF_PLAYS),
    "trainer.v1.sampler.sampler_kwargs.poll_interval_s": Must("above 0", lambda value: value > 0, float),
    "data.custom_cls.path": exactly("pkg://recipe.engine.dataset", SELF_PLAYS),
    "data.custom_cls.name": exactly("AzrDataset", SELF_PLAYS),
    "transfer_queue.backend.storage_backend": one_of(
        ("SimpleStorage", "RayStore", "MooncakeStore", "Yuanrong")
    ),
    "ray_kwargs.ray_init.object_store_memory": at_least(75 * 2**20, or_null=True),
    "reward.reward_model.enable": exactly(
        False, "responses are judged by the pack, priced by reward_profile"
    ),
    "reward_model.enable": Must(
        "null or false: responses are judged by the pack, priced by reward_profile",
        lambda value: value in (None, False),
    ),
    "trainer.use_v1": exactly(True, "the recipe is built on verl's V1 trainer"),
    "trainer.v1.trainer_mode": exactly("sync", "the recipe extends that one"),
    "actor_rollout_ref.hybrid_engine": exactly(True, "trainer and vLLM take turns on the same GPUs"),
    f"{ROLLOUT}.name": exactly("vllm", "the agent loops are written for it"),
    f"{ROLLOUT}.mode": exactly("async", "the agent loops ask vLLM's server"),
    f"{ROLLOUT}.checkpoint_engine.backend": exactly("naive", "trainer and vLLM share their devices"),
    f"{ROLLOUT}.pipeline_model_parallel_size": exactly(1, "verl 0.9.1 has no other with vLLM"),
    f"{ROLLOUT}.trace.backend": exactly(
        None, "verl 0.9.1's V1 trainer sends the agent loops' calls to no tracker; the ledger has them"
    ),
    f"{ROLLOUT}.n": exactly(1, "attempts at a task are azr.attempts_per_record"),
    f"{ROLLOUT}.val_kwargs.n": exactly(
        1, "a held-out item counts once in the interval, and further attempts are azr.held_out_samples"
    ),
    "algorithm.gamma": exactly(1.0, "a response is one action"),
    f"{ACTOR}.checkpoint.async_save": exactly(False, "a checkpoint counts once it is written"),
    # What the run would overwrite, or never look at.
    "critic.enable": exactly(False, "no estimator here has a critic"),
    "algorithm.filter_groups.enable": exactly(False, "which tasks are kept is azr.keep_tasks"),
    "data.train_files": exactly("self-play", "tasks are proposed, not read"),
    "data.val_files": exactly("held-out", "the pack has the set (pack.held_out_path)"),
    "reward.custom_reward_function.path": exactly(
        None, "responses are judged by the pack, priced by reward_profile"
    ),
    "custom_reward_function.path": exactly(
        None, "responses are judged by the pack, priced by reward_profile"
    ),
    f"{ROLLOUT}.agent.agent_loop_config_path": Must(
        "null: the agent loops are those of conf/agent_loops.yaml",
        lambda value: value in (None, str(CONF / "agent_loops.yaml")),
    ),
    "transfer_queue.enable": Must(
        "null or true: responses travel through it", lambda value: value in (None, True)
    ),
    "azr.oversample": Must("at least 1, and 1 without proposals", lambda value: 1 <= value < math.inf, float),
}
"""The others."""

READ = ("pack", "data.apply_chat_template_kwargs")
"""Groups without a key above."""

GROUPS = sorted(
    {
        key.rsplit(".", level)[0]
        for key in (*SIZES, *VALUES, EXECUTOR, *(f"{group}.key" for group in READ))
        for level in range(1, key.count(".") + 1)
    }
    - {"cpu", f"{FSDP}.mixed_precision"}
)
"""Groups of keys that are read as such; `cpu` and `mixed_precision` may be null."""


@rule(needs_sizes=False)
def unknown_keys(setup: Setup) -> Iterator[str]:
    """Hydra refuses them on the command line, and `+azr.name=1` gets past it."""
    known = [field.name for field in fields(AzrConfig)]
    for name in setup.config.azr:
        if name not in known:
            yield f"azr.{name} is no key of the configuration; azr has {', '.join(known)}"


@rule(needs_sizes=False)
def sizes(setup: Setup) -> Iterator[str]:
    """Keys that other rules calculate with."""
    config = setup.config
    if OmegaConf.select(config, SEQUENCE_PARALLEL) is None:  # which no other engine has
        yield f"model_engine must be dp, verl's FSDP engine, which {FSDP} configures; it is not there"
        return
    wrong = [*_no_groups(config), *_wrong(config, SIZES)]
    yield from wrong
    if not wrong and (size := slots.sequence_parallel_size(config)) < 1:
        yield f"{SEQUENCE_PARALLEL} must be at least 1; got {size}"


def _no_groups(config: DictConfig) -> Iterator[str]:
    for key in GROUPS:
        value = OmegaConf.select(config, key, default=ABSENT)
        if value is not ABSENT and not isinstance(value, DictConfig):
            yield f"{key} must be a group of keys; got {show(value)}"


@rule(needs_sizes=False)
def values(setup: Setup) -> Iterator[str]:
    """Other keys that can be wrong by themselves."""
    yield from _wrong(setup.config, VALUES)


def _wrong(config: DictConfig, keys: Mapping[str, Must]) -> Iterator[str]:
    for key, must in keys.items():
        value = OmegaConf.select(config, key, default=ABSENT)
        if value is ABSENT or (value is None and must.or_null):
            continue
        fits = must.kind is None or (is_number(value) and isinstance(value, must.kind | int))
        if not (fits and must.holds(value)):
            be = must.be if fits or must.kind is None else f"{KINDS[must.kind]}, {must.be}"
            yield f"{key} must be {'null or ' if must.or_null else ''}{be}; got {show(value)}"


@rule(needs_sizes=False)
def types(setup: Setup) -> Iterator[str]:
    """Numbers, and true or false, where verl's own file has them.

    verl does not look: a word for a number ends the run when it is calculated with, and `no` is true.
    """
    given = dict(_leaves(OmegaConf.to_container(setup.config, resolve=False)))
    for key, default in verl_defaults().items():
        value = given.get(key)
        if key in SIZES or key in VALUES or value is None or str(value).startswith("${"):
            continue
        if is_number(default) and (not is_number(value) or math.isnan(value)):
            yield f"{key} must be a number; got {show(value)}"
        elif isinstance(default, bool) and not isinstance(value, int):
            yield f"{key} must be true or false; got {show(value)}"


@cache
def verl_defaults() -> dict[str, Any]:
    """verl's own configuration by dotted key, as its file has it, without resolving anything."""
    found = yaml.safe_load((verl_conf_folder() / "_generated_ppo_trainer.yaml").read_text(encoding="utf-8"))
    return dict(_leaves(found))


def _leaves(node: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in node.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


@rule()
def updates(setup: Setup) -> Iterator[str]:
    """A step makes one update over all of its rows, and is one epoch."""
    config = setup.config
    given, prompts = config.actor_rollout_ref.actor.ppo_mini_batch_size, config.data.train_batch_size
    if given != prompts:
        yield (
            f"{ACTOR}.ppo_mini_batch_size must be left alone: a step makes one update, over all of its rows; "
            f"got {show(given)}"
        )
    epochs, steps = config.trainer.total_epochs, config.trainer.total_training_steps
    if not (is_number(epochs) and epochs >= steps):
        yield (
            f"trainer.total_epochs must be at least trainer.total_training_steps={steps}, since a step is an "
            f"epoch here; got {show(epochs)}. Leave it alone"
        )


@rule()
def strategies(setup: Setup) -> Iterator[str]:
    """The recipe is tested with FSDP2, and verl's FSDP1 asks for the index of a GPU."""
    on_cpu = machine.on_cpu(setup.config)
    known = ("fsdp2",) if on_cpu else ("fsdp2", "fsdp")
    for part in ("actor", "ref"):
        if (strategy := setup.config.actor_rollout_ref[part].strategy) not in known:
            where = " on a CPU" if on_cpu else ""
            key = f"actor_rollout_ref.{part}.strategy"
            yield f"{key} must be {' or '.join(known)}{where}; got {show(strategy)}"


@rule()
def optimizer(setup: Setup) -> Iterator[str]:
    """The optimizer is one that its module has."""
    optim = setup.config.actor_rollout_ref.actor.optim
    if optim.optimizer_impl == "torch.optim":
        if optim.optimizer not in OPTIMIZERS:
            known = ", ".join(OPTIMIZERS)
            yield f"{ACTOR}.optim.optimizer must be one of {known}; got {show(optim.optimizer)}"
    elif not is_importable(optim.optimizer_impl):
        got = show(optim.optimizer_impl)
        yield f"{ACTOR}.optim.optimizer_impl must be a module that can be imported; got {got}"


def is_importable(name: Any) -> bool:
    """Whether a module is there; the packages that it is in are imported."""
    try:
        return isinstance(name, str) and importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):  # a package that it is in is not there; it is no name
        return False


@rule()
def copies(setup: Setup) -> Iterator[str]:
    """The workers that share one copy of the model are as many for each copy."""
    workers, size = slots.num_workers(setup.config), OmegaConf.select(setup.config, f"{FSDP}.fsdp_size")
    if 0 < size < workers and workers % size:
        number = f"the number of workers, trainer.nnodes * trainer.n_gpus_per_node = {workers}"
        yield f"{FSDP}.fsdp_size must be -1 or divide {number}; got {size}"


@rule()
def micro_batches(setup: Setup) -> Iterator[str]:
    """Rows are cut into micro-batches by tokens, or one by one: their number changes from step to step."""
    config = setup.config
    actor, rollout, ref = (config.actor_rollout_ref[part] for part in ("actor", "rollout", "ref"))
    if rollout.log_prob_use_dynamic_bsz != actor.use_dynamic_bsz:
        got = f"{show(actor.use_dynamic_bsz)} and {show(rollout.log_prob_use_dynamic_bsz)}"
        yield f"{ACTOR}.use_dynamic_bsz and {ROLLOUT}.log_prob_use_dynamic_bsz must be one; got {got}"
    parts = [(ACTOR, actor, "", "ppo_"), (ROLLOUT, rollout, "log_prob_", "log_prob_")]
    if actor.use_kl_loss or config.algorithm.use_kl_in_reward:
        parts.append(("actor_rollout_ref.ref", ref, "log_prob_", "log_prob_"))
    for part, keys, of_flag, of_size in parts:
        flag, name = f"{of_flag}use_dynamic_bsz", f"{of_size}micro_batch_size_per_gpu"
        if not keys[flag] and keys[name] != 1:
            why = "as the number of rows changes from step to step"
            yield f"{part}.{name} must be 1 with {part}.{flag}=false, {why}; got {show(keys[name])}"


@rule()
def device(setup: Setup) -> Iterator[str]:
    """A CPU has settings of its own, which a GPU must not have."""
    found, settings = setup.config.trainer.device, setup.config.cpu
    if (found == "cpu") != (settings is not None):
        settings = "null" if settings is None else "set"
        yield (
            "trainer.device=cpu goes together with the settings under cpu, as in cluster=cpu_1; got "
            f"trainer.device={found} and cpu {settings}"
        )
    known = [key.removeprefix("cpu.") for key in SIZES if key.startswith("cpu.")]
    for name in (name for name in setup.config.cpu or () if name not in known):
        yield f"cpu.{name} is no key of the configuration; cpu has {', '.join(known)}"
    # On a CPU the run sets it.
    if found != "cpu" and os.environ.get("VERL_PLATFORM", "").strip().lower() == "cpu":
        yield f"VERL_PLATFORM must not be cpu with trainer.device={found}; unset it, or give cluster=cpu_1"
