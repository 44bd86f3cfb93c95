"""Rules across fields, checked before Ray or a model is started: cheap failures come before expensive ones.

One list of rules, two readers: `check` stops at the first that is broken, `find_problems` tells all of them.
Neither needs verl, Ray or torch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import fields
from pathlib import Path

from omegaconf import DictConfig

from recipe.preflight.memory import problems_with_types
from recipe.preflight.model_files import problems_with_model
from recipe.preflight.problems import PreflightError, Problems, unless
from recipe.preflight.slots import (
    problems_with_counts,
    problems_with_parallelism,
    problems_with_slots,
    sequence_parallel_size,
)
from recipe.run import checkpoint
from recipe.run.files import SUMMARY
from recipe.selfplay.baselines import Baseline, Cells, Scale, Statistics
from recipe.selfplay.config import AzrConfig, KeepTasks, Sampling, SolveOn
from recipe.selfplay.curriculum import buffer_keys
from recipe.selfplay.plan import StepPlan
from rewards.bonus import Combine
from rewards.profile import PriceTable, load_profile
from rewards.propose import find_shape
from tasks.contract import PackUnavailableError, TaskPack
from tasks.guard import GuardedPack, PackError
from tasks.registry import load_pack

# TRR++, and those of verl 0.9.1 that need neither a critic nor a greedy rollout.
BATCH_ESTIMATORS = ("trr_plus_plus", "reinforce_plus_plus")

# These compare the attempts at one record. Not `grpo`: it takes one output of a session for all, and a
# session here holds a proposal and its attempts. Not `rloo_vectorized`: it gives 0 to a group of one, as a
# proposal is.
GROUP_ESTIMATORS = ("reinforce_plus_plus_baseline", "rloo", "grpo_vectorized", "opo", "gpg")

REFUSALS = (ValueError, FileNotFoundError, PackUnavailableError, PackError)
"""What a mistake in the configuration, or in what it names, is raised as."""


def check(config: DictConfig) -> TaskPack:
    """Check a composed configuration; return its pack.

    Raises:
        ValueError: A rule is broken; the message names the key, says why, and what to do.
        FileNotFoundError: The pack's held-out file is missing.
        PackUnavailableError: The pack cannot check tasks on this machine.
        PackError: The pack breaks its contract.
    """
    for rule in RULES:
        for problem in rule(config):
            raise PreflightError(problem)
    pack = _open_pack(config)
    for pack_rule in PACK_RULES:
        for problem in pack_rule(config, pack):
            raise PreflightError(problem)
    return pack


def find_problems(config: DictConfig) -> list[str]:
    """What `check` would stop at, one after the other; empty if it would not."""
    found: list[str] = []
    for rule in RULES:
        found += _told(rule(config))
    try:
        pack = _open_pack(config)
    except REFUSALS as error:
        return [*found, str(error)]
    for pack_rule in PACK_RULES:
        found += _told(pack_rule(config, pack))
    return list(dict.fromkeys(found))  # two rules may stumble over one file


def _told(problems: Problems) -> Iterator[str]:
    """The problems, and as the last of them what ended the rule before its time."""
    try:
        yield from problems
    except REFUSALS as error:
        yield str(error)


def _open_pack(config: DictConfig) -> TaskPack:
    pack = GuardedPack(load_pack(config.pack), config.azr.pack_deadline_s)
    pack.require_available()
    return pack


def _problems_with_sizes(config: DictConfig) -> Problems:
    azr = config.azr
    known = [field.name for field in fields(AzrConfig)]
    for name in azr:
        yield from unless(
            name in known, f"azr.{name} is no key of the configuration; azr has {', '.join(known)}"
        )
    for name, choices in (("solve_on", SolveOn), ("keep_tasks", KeepTasks), ("buffer_sampling", Sampling)):
        yield from unless(
            azr[name] in list(choices),
            f"azr.{name} must be one of {', '.join(choices)}; got {azr[name]!r}",
        )
    for name in ("proposals_per_kind", "attempts_per_record", "buffer_capacity"):
        yield from unless(azr[name] >= 1, f"azr.{name} must be at least 1; got {azr[name]}")
    yield from unless(
        azr.oversample == 1 or (azr.oversample > 1 and azr.propose),
        f"azr.oversample must be at least 1, and 1 with azr.propose=false; got {azr.oversample}",
    )
    yield from unless(
        azr.replay_per_kind >= 0, f"azr.replay_per_kind must not be negative; got {azr.replay_per_kind}"
    )
    yield from unless(
        azr.replay_per_kind == 0 or azr.solve_on == SolveOn.ATTEMPTS,
        f"azr.replay_per_kind={azr.replay_per_kind} is read with azr.solve_on=attempts only; "
        f"with {azr.solve_on} the buffer tops up the solver's samples anyway. Set it to 0.",
    )
    yield from unless(
        azr.seeding.target <= azr.buffer_capacity,
        f"azr.seeding.target must not exceed azr.buffer_capacity={azr.buffer_capacity}; "
        f"got {azr.seeding.target}",
    )
    yield from unless(
        azr.propose or azr.replay_per_kind == 0,
        "azr.replay_per_kind must be 0 with azr.propose=false, which draws from the buffer anyway; "
        f"got {azr.replay_per_kind}",
    )
    yield from unless(
        azr.held_out_samples >= 0, f"azr.held_out_samples must not be negative; got {azr.held_out_samples}"
    )
    yield from unless(
        azr.failures.retries >= 0, f"azr.failures.retries must not be negative; got {azr.failures.retries}"
    )
    yield from unless(
        0 <= azr.failures.max_share < 1,
        f"azr.failures.max_share must be in [0, 1); got {azr.failures.max_share}",
    )
    yield from unless(
        azr.pack_deadline_s > 0, f"azr.pack_deadline_s must be positive; got {azr.pack_deadline_s}"
    )


def _problems_with_plan(config: DictConfig) -> Problems:
    azr, plan = config.azr, StepPlan.of(config.azr, num_kinds=1)
    yield from unless(
        plan.trains_attempts or azr.seeding.target >= azr.proposals_per_kind,
        f"azr.seeding.target must be at least azr.proposals_per_kind={azr.proposals_per_kind} with "
        f"azr.solve_on={azr.solve_on} and azr.propose={str(azr.propose).lower()}, or the first solver batch "
        f"cannot be filled; got {azr.seeding.target}",
    )
    yield from unless(
        not plan.trains_attempts or azr.seeding.target >= azr.replay_per_kind,
        f"azr.seeding.target must be at least azr.replay_per_kind={azr.replay_per_kind}, or the first step "
        f"has too few records to replay; got {azr.seeding.target}",
    )


def _problems_with_seeds(config: DictConfig, pack: TaskPack) -> Problems:
    seeds = [pack.task_key(record) for record in pack.seeds()]
    twice = len(seeds) - len(set(seeds))
    yield from unless(
        not twice, f"the seeds of the pack {pack.name} must differ from each other; {twice} do not"
    )
    shared = {pack.task_key(record) for record in pack.held_out()}.intersection(seeds)
    yield from unless(
        not shared, f"the pack {pack.name} must hold out no seed; {len(shared)} are, such as {shared}"[:300]
    )


def _problems_with_votes(config: DictConfig, pack: TaskPack) -> Problems:
    attempts = config.azr.attempts_per_record
    yield from unless(
        attempts >= 2 or not pack.resolves,
        f"azr.attempts_per_record must be at least 2 with the pack {pack.name}, whose tasks the attempts at "
        f"them resolve; got {attempts}",
    )


def _problems_with_profile(config: DictConfig, pack: TaskPack) -> Problems:
    prices = load_profile(config.reward_profile, find_shape(**config.azr.learnability)).prices
    if isinstance(prices, PriceTable) and prices.wrong_grade is not None:
        measure, known = prices.wrong_grade.measure, pack.measure_names
        yield from unless(
            measure in known,
            f"reward_profile={config.reward_profile} grades wrong attempts by {measure}, which the pack "
            f"{pack.name} does not measure (it has {', '.join(known) or 'none'})",
        )


def _problems_with_bonus(config: DictConfig, pack: TaskPack) -> Problems:
    bonus = config.azr.bonus
    yield from unless(
        bonus.combine in list(Combine),
        f"azr.bonus.combine must be one of {', '.join(Combine)}; got {bonus.combine!r}",
    )
    known = list(pack.feature_names)
    for name, key in buffer_keys(pack).items():
        if all(key(seed) is not None for seed in pack.seeds()):
            known.append(name)
    for name in bonus.terms:
        has = ", ".join(known) or "none"
        yield from unless(
            name in known, f"azr.bonus.terms.{name} is no feature of the pack {pack.name}; it has {has}"
        )


def _problems_with_estimator(config: DictConfig) -> Problems:
    algorithm = config.algorithm
    estimator, known_ones = algorithm.adv_estimator, BATCH_ESTIMATORS + GROUP_ESTIMATORS
    yield from unless(
        estimator in known_ones,
        f"algorithm.adv_estimator must be one of {', '.join(known_ones)}; got {estimator!r}",
    )
    yield from unless(
        estimator in BATCH_ESTIMATORS or _has_groups(config),
        f"algorithm.adv_estimator={estimator} compares the attempts at a proposed record: it needs "
        f"azr.solve_on=attempts and azr.propose=true; got {config.azr.solve_on} and {config.azr.propose}",
    )
    yield from unless(algorithm.gamma == 1.0, f"algorithm.gamma must be 1; got {algorithm.gamma}")


def _problems_with_trr(config: DictConfig, pack: TaskPack) -> Problems:
    trr = config.algorithm.trr
    choices = {
        "cells": tuple(Cells),
        "baseline": tuple(Baseline),
        "scale": tuple(Scale),
        "statistics": tuple(Statistics),
    }
    for name, known in choices.items():
        value = trr[name]
        yield from unless(
            value in known, f"algorithm.trr.{name} must be one of {', '.join(known)}; got {value!r}"
        )
    yield from unless(
        trr.cells != Cells.ROLE_DIFFICULTY or all(pack.difficulty(seed) for seed in pack.seeds()),
        "algorithm.trr.cells=role-difficulty needs a pack that says how hard its tasks are; "
        f"{pack.name} does not",
    )
    azr = config.azr
    yield from unless(
        trr.cells != Cells.RECORD or (_has_groups(config) and azr.replay_per_kind == 0),
        "algorithm.trr.cells=record compares the attempts at a proposed record: it needs azr.solve_on="
        "attempts, azr.propose=true and azr.replay_per_kind=0, since a replayed record has one attempt; "
        f"got {azr.solve_on}, {azr.propose} and {azr.replay_per_kind}",
    )
    # A cell of equal rewards may be far from its running mean, and has no deviation to be divided by.
    yield from unless(
        trr.baseline != Baseline.RUNNING_MEAN or (trr.scale == Scale.NONE and trr.cells != Cells.RECORD),
        "algorithm.trr.baseline=running-mean needs algorithm.trr.scale=none, and cells that come again in "
        f"the next step, which those of record do not; got scale {trr.scale} and cells {trr.cells}",
    )


def _has_groups(config: DictConfig) -> bool:
    """Whether several attempts at one record are trained on in one step, as one group."""
    return StepPlan.of(config.azr, num_kinds=1).trains_attempts


def _problems_with_verl(config: DictConfig) -> Problems:
    trainer, rollout = config.trainer, config.actor_rollout_ref.rollout
    yield from unless(trainer.use_v1, "trainer.use_v1 must be true: the recipe is built on verl's V1 trainer")
    yield from unless(
        trainer.v1.trainer_mode == "sync",
        f"trainer.v1.trainer_mode must be sync, which the recipe extends; got {trainer.v1.trainer_mode}",
    )
    yield from unless(
        rollout.n == 1,
        f"actor_rollout_ref.rollout.n must be 1; got {rollout.n}. "
        "Attempts at a task are azr.attempts_per_record.",
    )
    yield from unless(
        trainer.max_actor_ckpt_to_keep is None or trainer.max_actor_ckpt_to_keep >= 2,
        "trainer.max_actor_ckpt_to_keep must be null or at least 2: verl removes the old checkpoint "
        f"before the new one counts; got {trainer.max_actor_ckpt_to_keep}",
    )
    yield from unless(
        rollout.name == "vllm",
        f"actor_rollout_ref.rollout.name must be vllm, as the agent loops are; got {rollout.name}",
    )
    yield from unless(
        rollout.val_kwargs.n == 1,
        "actor_rollout_ref.rollout.val_kwargs.n must be 1: a held-out item counts once in the interval; "
        f"got {rollout.val_kwargs.n}. Further attempts are azr.held_out_samples.",
    )
    yield from unless(
        config.cpu is None or min(config.cpu.threads, config.cpu.kv_cache_gib) >= 1,
        f"cpu.threads and cpu.kv_cache_gib must be at least 1; got {config.cpu}",
    )
    yield from unless(
        not config.actor_rollout_ref.actor.get("checkpoint", {}).get("async_save", False),
        "actor_rollout_ref.actor.checkpoint.async_save must be false: a checkpoint counts once it is written",
    )


def _problems_with_lengths(config: DictConfig) -> Problems:
    data, rollout = config.data, config.actor_rollout_ref.rollout
    whole = data.max_prompt_length + data.max_response_length
    sum_text = f"data.max_prompt_length + data.max_response_length = {whole}"
    yield from unless(
        rollout.max_model_len is None or whole <= rollout.max_model_len,
        f"{sum_text} must fit actor_rollout_ref.rollout.max_model_len={rollout.max_model_len}",
    )
    tokens, spread = config.actor_rollout_ref.actor.ppo_max_token_len_per_gpu, sequence_parallel_size(config)
    yield from unless(
        whole <= tokens * spread,
        f"{sum_text} must fit actor_rollout_ref.actor.ppo_max_token_len_per_gpu={tokens}, one micro-batch"
        + (f", on each of {spread} workers that share a sequence" if spread > 1 else ""),
    )


def _problems_with_resume(config: DictConfig, pack: TaskPack) -> Problems:
    mode, modes = config.trainer.resume_mode, ("auto", "disable", "resume_path")
    yield from unless(mode in modes, f"trainer.resume_mode must be one of {', '.join(modes)}; got {mode!r}")
    if mode == "disable":
        found = checkpoint.latest_checkpoint(Path(config.trainer.default_local_dir))
        yield from unless(
            found is None,
            f"trainer.resume_mode=disable would write over the run that has {found}; give another run.dir",
        )
        return
    if config.trainer.resume_mode == "resume_path":
        folder = Path(config.trainer.resume_from_path or "")
        yield from unless(
            (folder / "azr" / "manifest.json").exists(),
            f"trainer.resume_from_path must be a finished checkpoint of this recipe; got {folder}",
        )
        # The ledger and the metrics of its run are cut back to where the checkpoint was made.
        yield from unless(
            folder.absolute().parent == Path(config.trainer.default_local_dir).absolute(),
            f"trainer.resume_from_path must be a checkpoint of this run, under "
            f"{config.trainer.default_local_dir}; got {folder}. Copy that run's directory and give it as "
            "run.dir.",
        )
    else:
        latest = checkpoint.latest_checkpoint(Path(config.trainer.default_local_dir))
        if latest is None:
            summary = Path(config.run.dir) / SUMMARY
            yield from unless(
                not summary.exists(),
                f"run.dir must not hold the result of a run without checkpoints, which a new run would write "
                f"over; {summary} exists. Give another run.dir.",
            )
            return
        folder = latest
    manifest = checkpoint.read_manifest(folder)
    assert manifest is not None
    checkpoint.check_pack(folder, manifest, pack.name)


RULES: tuple[Callable[[DictConfig], Problems], ...] = (
    _problems_with_sizes,
    _problems_with_plan,
    _problems_with_estimator,
    _problems_with_verl,
    problems_with_counts,
    problems_with_types,
    _problems_with_lengths,
    problems_with_model,
    problems_with_parallelism,
    problems_with_slots,
)
"""Rules that the configuration alone is checked for."""

PACK_RULES: tuple[Callable[[DictConfig, TaskPack], Problems], ...] = (
    _problems_with_seeds,
    _problems_with_votes,
    _problems_with_profile,
    _problems_with_bonus,
    _problems_with_trr,
    _problems_with_resume,
)
"""Rules that need the pack."""
