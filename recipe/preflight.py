"""Rules across fields, checked before Ray or a model is started: cheap failures come before expensive ones.

`check` needs neither verl, Ray nor torch. `check_cluster` asks a Ray cluster that is already there.
"""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from recipe import checkpoint
from recipe.baselines import Baseline, Cells
from recipe.config import TINY_MODEL, AzrConfig, KeepTasks, Sampling, SolveOn
from recipe.outputs import SUMMARY
from recipe.selfplay import buffer_keys
from rewards.bonus import Combine
from rewards.profile import PriceTable, load_profile
from rewards.propose import find_shape
from tasks.contract import TaskPack
from tasks.guard import GuardedPack
from tasks.registry import load_pack

# What verl 0.9.1 reserves in Ray: a bundle of 3 CPUs for each worker slot, 1 CPU for the task runner, 1 for
# TransferQueue's controller and 1 for each of its storage units; and 1 that must be free when an agent-loop,
# reward or vLLM server process is placed.
CPUS_PER_WORKER = 3
CPUS_OF_RUNNER = 1
CPUS_OF_STORAGE_CONTROLLER = 1
CPUS_TO_PLACE_ACTORS = 1


# TRR++, and those of verl 0.9.1 that need neither a critic nor a greedy rollout.
BATCH_ESTIMATORS = ("trr_plus_plus", "reinforce_plus_plus")

# These compare the attempts at one record. Not `grpo`: it takes one output of a session for all, and a
# session here holds a proposal and its attempts. Not `rloo_vectorized`: it gives 0 to a group of one, as a
# proposal is.
GROUP_ESTIMATORS = ("reinforce_plus_plus_baseline", "rloo", "grpo_vectorized", "opo", "gpg")


class PreflightError(ValueError):
    """The run cannot start; the message is one line that says what to change."""


def check(config: DictConfig) -> TaskPack:
    """Check a composed configuration; return its pack.

    Raises:
        ValueError: A rule is broken; the message names the key, says why, and what to do.
        FileNotFoundError: The pack's held-out file is missing.
        PackUnavailableError: The pack cannot check tasks on this machine.
        PackError: The pack breaks its contract.
    """
    _check_sizes(config)
    pack = GuardedPack(load_pack(config.pack), config.azr.pack_deadline_s)
    pack.check()
    _check_seeds(pack)
    _check_profile(config, pack)
    _check_bonus(config, pack)
    _check_estimator(config)
    _check_trr(config, pack)
    _check_verl(config)
    _check_lengths(config)
    _check_model(config)
    _check_resume(config, pack)
    _check_slots(config)
    return pack


def needed_cpus(config: DictConfig) -> int:
    """CPUs that verl will ask of Ray for this configuration. With fewer it waits for ever, without a word."""
    workers: int = config.trainer.nnodes * config.trainer.n_gpus_per_node
    storage: int = config.transfer_queue.backend.SimpleStorage.num_data_storage_units
    fixed = CPUS_OF_RUNNER + CPUS_OF_STORAGE_CONTROLLER + CPUS_TO_PLACE_ACTORS
    return CPUS_PER_WORKER * workers + storage + fixed


def check_cluster(config: DictConfig, resources: dict[str, float]) -> None:
    """Check that a running Ray cluster has the slots that verl will ask for.

    Args:
        config: The composed configuration.
        resources: What `ray.cluster_resources()` says.

    Raises:
        PreflightError: It has fewer.
    """
    gpus = config.trainer.nnodes * config.trainer.n_gpus_per_node
    for name, needed in (("CPU", needed_cpus(config)), ("GPU", gpus)):
        found = resources.get(name, 0)
        if found < needed:
            raise PreflightError(
                f"the Ray cluster must have {needed} {name} slots for trainer.nnodes="
                f"{config.trainer.nnodes} and trainer.n_gpus_per_node={config.trainer.n_gpus_per_node}; "
                f"it has {found:g}. Add nodes, start them with more slots "
                f"(ray start --num-{name.lower()}s), or ask for fewer workers."
            )


def _check_sizes(config: DictConfig) -> None:
    azr = config.azr
    known = [field.name for field in fields(AzrConfig)]
    for name in azr:
        _require(name in known, f"azr.{name} is no key of the configuration; azr has {', '.join(known)}")
    for name, choices in (("solve_on", SolveOn), ("keep_tasks", KeepTasks), ("buffer_sampling", Sampling)):
        _require(
            azr[name] in list(choices),
            f"azr.{name} must be one of {', '.join(choices)}; got {azr[name]!r}",
        )
    for name in ("proposals_per_kind", "attempts_per_record", "buffer_capacity"):
        _require(azr[name] >= 1, f"azr.{name} must be at least 1; got {azr[name]}")
    _require(
        azr.oversample == 1 or (azr.oversample > 1 and azr.propose),
        f"azr.oversample must be at least 1, and 1 with azr.propose=false; got {azr.oversample}",
    )
    _require(azr.replay_per_kind >= 0, f"azr.replay_per_kind must not be negative; got {azr.replay_per_kind}")
    _require(
        azr.replay_per_kind == 0 or azr.solve_on == SolveOn.ATTEMPTS,
        f"azr.replay_per_kind={azr.replay_per_kind} is read with azr.solve_on=attempts only; "
        f"with {azr.solve_on} the buffer tops up the solver's samples anyway. Set it to 0.",
    )
    _require(
        azr.seeding.target <= azr.buffer_capacity,
        f"azr.seeding.target must not exceed azr.buffer_capacity={azr.buffer_capacity}; "
        f"got {azr.seeding.target}",
    )
    _require(
        (azr.propose and azr.solve_on == SolveOn.ATTEMPTS) or azr.seeding.target >= azr.proposals_per_kind,
        f"azr.seeding.target must be at least azr.proposals_per_kind={azr.proposals_per_kind} with "
        f"azr.solve_on={azr.solve_on} and azr.propose={str(azr.propose).lower()}, or the first solver batch "
        f"cannot be filled; got {azr.seeding.target}",
    )
    _require(
        azr.propose or azr.replay_per_kind == 0,
        "azr.replay_per_kind must be 0 with azr.propose=false, which draws from the buffer anyway; "
        f"got {azr.replay_per_kind}",
    )
    _require(
        azr.solve_on != SolveOn.ATTEMPTS or azr.seeding.target >= azr.replay_per_kind,
        f"azr.seeding.target must be at least azr.replay_per_kind={azr.replay_per_kind}, or the first step "
        f"has too few records to replay; got {azr.seeding.target}",
    )
    _require(
        azr.held_out_samples >= 0, f"azr.held_out_samples must not be negative; got {azr.held_out_samples}"
    )
    _require(
        azr.failures.retries >= 0, f"azr.failures.retries must not be negative; got {azr.failures.retries}"
    )
    _require(
        0 <= azr.failures.max_share < 1,
        f"azr.failures.max_share must be in [0, 1); got {azr.failures.max_share}",
    )
    _require(azr.pack_deadline_s > 0, f"azr.pack_deadline_s must be positive; got {azr.pack_deadline_s}")


def _check_seeds(pack: TaskPack) -> None:
    seeds = [pack.task_key(record) for record in pack.seeds()]
    twice = len(seeds) - len(set(seeds))
    _require(not twice, f"the seeds of the pack {pack.name} must differ from each other; {twice} do not")
    shared = {pack.task_key(record) for record in pack.held_out()}.intersection(seeds)
    _require(
        not shared, f"the pack {pack.name} must hold out no seed; {len(shared)} are, such as {shared}"[:300]
    )


def _check_profile(config: DictConfig, pack: TaskPack) -> None:
    prices = load_profile(config.reward_profile, find_shape(**config.azr.learnability)).prices
    if isinstance(prices, PriceTable) and prices.wrong_grade is not None:
        measure, known = prices.wrong_grade.measure, pack.measure_names
        _require(
            measure in known,
            f"reward_profile={config.reward_profile} grades wrong attempts by {measure}, which the pack "
            f"{pack.name} does not measure (it has {', '.join(known) or 'none'})",
        )


def _check_bonus(config: DictConfig, pack: TaskPack) -> None:
    bonus = config.azr.bonus
    _require(
        bonus.combine in list(Combine),
        f"azr.bonus.combine must be one of {', '.join(Combine)}; got {bonus.combine!r}",
    )
    known = list(pack.feature_names)
    for name, key in buffer_keys(pack).items():
        if all(key(seed) is not None for seed in pack.seeds()):
            known.append(name)
    for name in bonus.terms:
        has = ", ".join(known) or "none"
        _require(name in known, f"azr.bonus.terms.{name} is no feature of the pack {pack.name}; it has {has}")


def _check_estimator(config: DictConfig) -> None:
    algorithm = config.algorithm
    estimator, known_ones = algorithm.adv_estimator, BATCH_ESTIMATORS + GROUP_ESTIMATORS
    _require(
        estimator in known_ones,
        f"algorithm.adv_estimator must be one of {', '.join(known_ones)}; got {estimator!r}",
    )
    _require(
        estimator in BATCH_ESTIMATORS or _has_groups(config),
        f"algorithm.adv_estimator={estimator} compares the attempts at a proposed record: it needs "
        f"azr.solve_on=attempts and azr.propose=true; got {config.azr.solve_on} and {config.azr.propose}",
    )
    _require(algorithm.gamma == 1.0, f"algorithm.gamma must be 1; got {algorithm.gamma}")


def _check_trr(config: DictConfig, pack: TaskPack) -> None:
    trr = config.algorithm.trr
    choices = {
        "cells": tuple(Cells),
        "baseline": tuple(Baseline),
        "scale": ("std", "none"),
        "statistics": ("sequence", "token"),
    }
    for name, known in choices.items():
        value = trr[name]
        _require(value in known, f"algorithm.trr.{name} must be one of {', '.join(known)}; got {value!r}")
    _require(
        trr.cells != Cells.ROLE_DIFFICULTY or all(pack.difficulty(seed) for seed in pack.seeds()),
        "algorithm.trr.cells=role-difficulty needs a pack that says how hard its tasks are; "
        f"{pack.name} does not",
    )
    azr = config.azr
    _require(
        trr.cells != Cells.RECORD or (_has_groups(config) and azr.replay_per_kind == 0),
        "algorithm.trr.cells=record compares the attempts at a proposed record: it needs azr.solve_on="
        "attempts, azr.propose=true and azr.replay_per_kind=0, since a replayed record has one attempt; "
        f"got {azr.solve_on}, {azr.propose} and {azr.replay_per_kind}",
    )
    # A cell of equal rewards may be far from its running mean, and has no deviation to be divided by.
    _require(
        trr.baseline != Baseline.RUNNING_MEAN or (trr.scale == "none" and trr.cells != Cells.RECORD),
        "algorithm.trr.baseline=running-mean needs algorithm.trr.scale=none, and cells that come again in "
        f"the next step, which those of record do not; got scale {trr.scale} and cells {trr.cells}",
    )


def _has_groups(config: DictConfig) -> bool:
    """Whether several attempts at one record are trained on in one step, as one group."""
    return bool(config.azr.propose and config.azr.solve_on == SolveOn.ATTEMPTS)


def _check_verl(config: DictConfig) -> None:
    trainer, rollout = config.trainer, config.actor_rollout_ref.rollout
    _require(trainer.use_v1, "trainer.use_v1 must be true: the recipe is built on verl's V1 trainer")
    _require(
        trainer.v1.trainer_mode == "sync",
        f"trainer.v1.trainer_mode must be sync, which the recipe extends; got {trainer.v1.trainer_mode}",
    )
    _require(
        rollout.n == 1,
        f"actor_rollout_ref.rollout.n must be 1; got {rollout.n}. "
        "Attempts at a task are azr.attempts_per_record.",
    )
    _require(
        trainer.max_actor_ckpt_to_keep is None or trainer.max_actor_ckpt_to_keep >= 2,
        "trainer.max_actor_ckpt_to_keep must be null or at least 2: verl removes the old checkpoint "
        f"before the new one counts; got {trainer.max_actor_ckpt_to_keep}",
    )
    _require(
        rollout.name == "vllm",
        f"actor_rollout_ref.rollout.name must be vllm, as the agent loops are; got {rollout.name}",
    )
    _require(
        rollout.val_kwargs.n == 1,
        "actor_rollout_ref.rollout.val_kwargs.n must be 1: a held-out item counts once in the interval; "
        f"got {rollout.val_kwargs.n}. Further attempts are azr.held_out_samples.",
    )
    _require(
        config.cpu is None or min(config.cpu.threads, config.cpu.kv_cache_gib) >= 1,
        f"cpu.threads and cpu.kv_cache_gib must be at least 1; got {config.cpu}",
    )
    _require(
        not config.actor_rollout_ref.actor.get("checkpoint", {}).get("async_save", False),
        "actor_rollout_ref.actor.checkpoint.async_save must be false: a checkpoint counts once it is written",
    )


def _check_lengths(config: DictConfig) -> None:
    data, rollout = config.data, config.actor_rollout_ref.rollout
    whole = data.max_prompt_length + data.max_response_length
    sum_text = f"data.max_prompt_length + data.max_response_length = {whole}"
    _require(
        rollout.max_model_len is None or whole <= rollout.max_model_len,
        f"{sum_text} must fit actor_rollout_ref.rollout.max_model_len={rollout.max_model_len}",
    )
    tokens = config.actor_rollout_ref.actor.ppo_max_token_len_per_gpu
    _require(
        whole <= tokens,
        f"{sum_text} must fit actor_rollout_ref.actor.ppo_max_token_len_per_gpu={tokens}, one micro-batch",
    )


def _check_model(config: DictConfig) -> None:
    """The rules that a local model directory can be checked for."""
    path = config.actor_rollout_ref.model.path
    _require(
        path is not None, "actor_rollout_ref.model.path must be set: a model directory, or a name on the hub"
    )
    if path == TINY_MODEL:
        from recipe.tiny_model import TinyModelConfig  # torch comes with it

        _check_window(config, TinyModelConfig().max_positions)
        return  # it is built after this check, by our own code
    folder = Path(path).expanduser()
    if not folder.is_dir():
        # A name on the model hub has one slash; a path that is not there is a mistake.
        looks_like_path = folder.is_absolute() or path.startswith((".", "~")) or path.count("/") != 1
        _require(
            not looks_like_path,
            f"actor_rollout_ref.model.path must be a model directory or a name on the hub; "
            f"{path} does not exist",
        )
        return
    model = _read_json(folder / "config.json", "a model directory holds one")
    tokenizer = _read_json(folder / "tokenizer_config.json", "the tokenizer is needed for the chat template")
    own = "chat_template" in tokenizer or (folder / "chat_template.jinja").exists()
    _require(
        own or config.actor_rollout_ref.model.custom_chat_template is not None,
        f"{folder} must have a chat template, and its tokenizer has none. Use an instruct model, or add "
        "chat_template.jinja to the directory.",
    )
    _check_window(config, model.get("max_position_embeddings"))


def _check_window(config: DictConfig, window: int | None) -> None:
    whole = config.data.max_prompt_length + config.data.max_response_length
    _require(
        window is None or whole <= window,
        f"data.max_prompt_length + data.max_response_length = {whole} must fit the model's context, {window}",
    )


def _check_resume(config: DictConfig, pack: TaskPack) -> None:
    mode, modes = config.trainer.resume_mode, ("auto", "disable", "resume_path")
    _require(mode in modes, f"trainer.resume_mode must be one of {', '.join(modes)}; got {mode!r}")
    if mode == "disable":
        found = checkpoint.latest_checkpoint(Path(config.trainer.default_local_dir))
        _require(
            found is None,
            f"trainer.resume_mode=disable would write over the run that has {found}; give another run.dir",
        )
        return
    if config.trainer.resume_mode == "resume_path":
        folder = Path(config.trainer.resume_from_path or "")
        _require(
            (folder / "azr" / "manifest.json").exists(),
            f"trainer.resume_from_path must be a finished checkpoint of this recipe; got {folder}",
        )
        # The ledger and the metrics of its run are cut back to where the checkpoint was made.
        _require(
            folder.absolute().parent == Path(config.trainer.default_local_dir).absolute(),
            f"trainer.resume_from_path must be a checkpoint of this run, under "
            f"{config.trainer.default_local_dir}; got {folder}. Copy that run's directory and give it as "
            "run.dir.",
        )
    else:
        latest = checkpoint.latest_checkpoint(Path(config.trainer.default_local_dir))
        if latest is None:
            summary = Path(config.run.dir) / SUMMARY
            _require(
                not summary.exists(),
                f"run.dir must not hold the result of a run without checkpoints, which a new run would write "
                f"over; {summary} exists. Give another run.dir.",
            )
            return
        folder = latest
    manifest = checkpoint.read_manifest(folder)
    assert manifest is not None
    checkpoint.check_pack(folder, manifest, pack.name)


def _check_slots(config: DictConfig) -> None:
    """Slots of a local cluster that `run_ppo` will start itself."""
    init = config.ray_kwargs.ray_init
    if init.get("address") is not None or init.num_cpus is None:
        return
    needed = needed_cpus(config)
    _require(
        init.num_cpus >= needed,
        f"ray_kwargs.ray_init.num_cpus must be at least {needed}, which verl will ask of Ray "
        f"(they are logical slots, not cores); got {init.num_cpus}. With fewer, verl waits for ever.",
    )


def _read_json(path: Path, reason: str) -> dict[str, Any]:
    _require(path.exists(), f"{path} must exist: {reason}")
    values: dict[str, Any] = json.loads(path.read_text())
    return values


def _require(holds: bool, message: str) -> None:
    if not holds:
        raise PreflightError(message)
