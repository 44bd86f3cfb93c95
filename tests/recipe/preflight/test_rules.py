"""Every rule that is checked before anything expensive starts: one line that names the key."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy
import pytest
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf, open_dict
from safetensors.numpy import save_file

from recipe.config import CONF, register
from recipe.preflight import PreflightError, machine, rules, slots
from recipe.preflight.machine import Gpu
from recipe.preflight.rules import cluster, keys
from recipe.preflight.rules import register as registered
from recipe.preflight.rules.register import RULES
from recipe.preflight.setup import Node, Setup
from recipe.run import checkpoint
from tasks.arithmetic import ArithmeticPack
from tasks.contract import TaskPack, TaskRecord
from tasks.kit.kinds import KindsPack

MODEL = "actor_rollout_ref.model.path"
BYPASS = "algorithm.rollout_correction.bypass_mode"
RULES_OF_CLUSTERS = [rule for rule in RULES if rule.find in (cluster.cluster_slots, cluster.shared_folders)]
MANIFEST = checkpoint.Manifest(checkpoint.FORMAT, "arithmetic", 2, "0" * 64, 0, 0)


def change(config: DictConfig, changes: dict[str, Any]) -> DictConfig:
    for key, value in changes.items():
        OmegaConf.update(config, key, value, force_add=True)
    return config


def no_cluster(address: str, paths: Sequence[Path]) -> tuple[Node, ...]:
    """Nobody asks for one."""
    raise AssertionError(address)


def check(config: DictConfig) -> TaskPack:
    return rules.check(config, no_cluster)


def find_problems(config: DictConfig) -> list[str]:
    """Those that a run stops at, one after the other."""
    return list(rules.find_problems(Setup(config, no_cluster), [rule for rule in RULES if rule.refuses]))


def refusal(config: DictConfig, changes: dict[str, Any]) -> str:
    """What `check` says to these changes; it has to be one line."""
    with pytest.raises(PreflightError) as error:
        check(change(config, changes))
    message = str(error.value)
    assert "\n" not in message
    return message


def test_demo_passes(config: DictConfig) -> None:
    assert check(config).name == "arithmetic"


def test_tasks_are_drawn_at_levels_only_where_the_pack_has_some(
    config: DictConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ArithmeticPack, "levels", lambda _pack, _kind: ())
    message = refusal(config, {"azr.tasks": "adaptive"})
    assert message.startswith(
        "azr.tasks=adaptive chooses among levels of difficulty; the pack arithmetic has"
    )
    check(change(config, {"azr.tasks": "generator"}))
    monkeypatch.setattr(ArithmeticPack, "resolves", True)
    assert "needs a pack that draws whole tasks" in refusal(config, {"azr.tasks": "generator"})


def test_plan_is_that_of_all_kinds(config: DictConfig) -> None:
    assert Setup(config, no_cluster).plan.prompts == 3 * config.azr.proposals_per_kind


# ------------------------------ rules ------------------------------

BROKEN: list[tuple[dict[str, Any], str]] = [
    (
        {"data.max_prompt_length": 20},
        "data.max_prompt_length must be at least 27, the tokens of a proposer's prompt for induction without "
        "any references; got 20",
    ),
    (
        {"trainer.val_only": True, "azr.elicit.examples": 8},
        "data.max_prompt_length must be at least 275, the tokens of the longest held-out prompt with what "
        "azr.elicit adds; got 224",
    ),
    (
        {"trainer.val_only": True, "azr.elicit.beginning": "(" * 200},
        "data.max_prompt_length must be at least 228, .* azr.elicit adds; got 224",
    ),
    ({"azr.elicit.examples": 9}, "azr.elicit.examples must be from 0 to 8; got 9"),
    ({"azr.elicit.format_tries": 0}, "azr.elicit.format_tries must be at least 1; got 0"),
    (
        {"azr.elicit.format_tries": 8},
        "azr.elicit.format_tries needs trainer.val_only=true: an evaluation in which answers are elicited "
        "says nothing of a training run; got 8 and false",
    ),
    (
        {"trainer.val_only": True, "azr.elicit.beginning": None},
        "elicit_beginning must be what control=base_forced has answers begin with: .*; got null",
    ),
    (
        {"trainer.val_only": True, "trainer.val_before_train": False},
        "trainer.val_only=true needs trainer.val_before_train=true, or verl trains; got false",
    ),
    ({"data.azr_examples": 1}, "data.azr_examples must be left alone: it is what azr.elicit.examples is"),
    ({"azr.seeding.max_waves": -1}, "azr.seeding.max_waves must be at least 0; got -1"),
    ({"azr.alarms.duplicates": 1.5}, "azr.alarms.duplicates must be null or a share, above 0 .*; got 1.5"),
    ({"azr.alarms.length": 1.0}, "azr.alarms.length must be null or above 1, .* the start; got 1.0"),
    ({"azr.alarms.rollout_drift": 0.0}, "azr.alarms.rollout_drift must be null or above 0; got 0.0"),
    ({"azr.alarms.stop": ["lenght"]}, "azr.alarms.stop must be some of length, .*held_out; got 'lenght'"),
    (
        {"azr.alarms.stop": ["trivial"], "azr.alarms.trivial": None},
        "azr.alarms.stop names trivial, which azr.alarms.trivial=null turns off",
    ),
    (
        {"azr.keep_best": True, "trainer.test_freq": -1},
        "azr.keep_best=true needs checkpoints and evaluations; got trainer.save_freq=10 and .*test_freq=-1",
    ),
    (
        {"azr.keep_best": True, "trainer.test_freq": 4},
        "azr.keep_best=true needs a step before the last with both .*total_training_steps=20 there is none",
    ),
    ({"reward_profile": "nope"}, "reward_profile must be one of arithmetic, .*random; got 'nope'"),
    (
        {"reward_profile": "paper_accuracy"},
        r"reward_profile=paper_accuracy grades wrong attempts by share, which the pack arithmetic does not "
        r"measure \(it has distance\)",
    ),
    (
        {"azr.learnability.shape": "flat"},
        "azr.learnability.shape must be null or one of one-minus, quadratic, tent, band; got 'flat'",
    ),
    (
        {"azr.learnability.shape": "band", "azr.learnability.low": 0.5, "azr.learnability.high": 0.5},
        "azr.learnability.low must be less than .high, both in .0, 1.; got 0.5 and 0.5",
    ),
    ({"azr.learnability.low": 0.25}, "azr.learnability.low and .high are read with shape=band only"),
    (
        {"azr.learnability.shape": "tent", "reward_profile": "minazr"},
        "azr.learnability.shape must be null with reward_profile=minazr",
    ),
    ({"azr.bonus.combine": "max"}, "azr.bonus.combine must be one of sum, multiply, .*; got 'max'"),
    (
        {"azr.bonus.terms": {"beauty": {"coefficient": 1.0, "maximum": 1.0}}},
        "azr.bonus.terms.beauty is no feature of the pack arithmetic; it has mid-range, answer-diversity,",
    ),
    (
        {"algorithm.adv_estimator": "rloo_vectorized"},
        "algorithm.adv_estimator must be one of trr_plus_plus, .*",
    ),
    (
        {"algorithm.adv_estimator": "rloo", "azr.solve_on": "fresh"},
        "algorithm.adv_estimator=rloo .* needs azr.solve_on=attempts .*; got fresh and 6",
    ),
    ({"azr.keep_tasks": "some"}, "azr.keep_tasks must be one of all, non-one, non-extremes; got 'some'"),
    ({"azr.buffer_sampling": "old"}, "azr.buffer_sampling must be one of uniform, recent; got 'old'"),
    ({"azr.solve_on": "nope"}, "azr.solve_on must be one of fresh, previous, attempts; got 'nope'"),
    ({"azr.proposals_per_kind": 0}, "azr.proposals_per_kind must be at least 1; got 0"),
    ({"azr.attempts_per_record": 0}, "azr.attempts_per_record must be at least 1; got 0"),
    ({"azr.buffer_capacity": 0}, "azr.buffer_capacity must be at least 1; got 0"),
    ({"azr.oversample": 0.9}, "azr.oversample must be at least 1, and 1 without proposals; got 0.9"),
    (
        {"azr.oversample": 2.0, "azr.tasks": "buffer"},
        "azr.oversample must be at least 1, and 1 with azr.tasks=buffer; got 2.0",
    ),
    (
        {"azr.tasks": "nobody"},
        "azr.tasks must be one of proposals, buffer, base-proposals, generator, adaptive, frontier; got",
    ),
    ({"azr.seeding.target": None}, "azr.seeding.target must be a number with azr.tasks=proposals; got null"),
    (
        # 16 tasks a step, 1,025 steps
        {"azr.tasks": "base-proposals", "azr.seeding.target": None, "trainer.total_training_steps": 1025},
        "azr.seeding.target must not exceed azr.buffer_capacity=16384; got 16400",
    ),
    ({"azr.replay_per_kind": -1}, "azr.replay_per_kind must be at least 0; got -1"),
    (
        {"azr.replay_per_kind": 4, "azr.solve_on": "fresh"},
        "azr.replay_per_kind must be 0 with azr.solve_on=fresh.*; got 4",
    ),
    (
        {"azr.replay_per_kind": 4, "azr.solve_on": "previous"},
        "azr.replay_per_kind must be 0 with azr.solve_on=previous.*; got 4",
    ),
    (
        {"azr.tasks": "buffer", "azr.proposals_per_kind": 33},
        "azr.seeding.target must be at least azr.proposals_per_kind=33 .* azr.tasks=buffer.*; got 32",
    ),
    (
        {"azr.tasks": "buffer", "azr.replay_per_kind": 4},
        "azr.replay_per_kind must be 0 with azr.tasks=buffer.*; got 4",
    ),
    (
        {"azr.attempts_per_record": 1, "algorithm.adv_estimator": "rloo"},
        "algorithm.adv_estimator=rloo .* azr.attempts_per_record above 1; got attempts and 1",
    ),
    (
        {"azr.tasks": "buffer", "azr.solve_on": "fresh", "algorithm.trr.cells": "record"},
        "algorithm.trr.cells=record .* needs azr.solve_on=attempts, .*; got fresh, 6 and 0",
    ),
    ({"azr.replay_per_kind": 33}, "azr.seeding.target must be at least azr.replay_per_kind=33.*; got 32"),
    ({"azr.buffer_capacity": 31}, "azr.seeding.target must not exceed azr.buffer_capacity=31; got 32"),
    (
        {"azr.solve_on": "fresh", "azr.proposals_per_kind": 33},
        "azr.seeding.target must be at least azr.proposals_per_kind=33 with azr.solve_on=fresh.*; got 32",
    ),
    (
        {"azr.solve_on": "previous", "azr.proposals_per_kind": 33},
        "azr.seeding.target must be at least azr.proposals_per_kind=33 with azr.solve_on=previous.*; got 32",
    ),
    ({"azr.held_out_samples": -1}, "azr.held_out_samples must be at least 0; got -1"),
    ({"azr.failures.max_share": 1.0}, r"azr.failures.max_share must be in \[0, 1\); got 1.0"),
    ({"azr.failures.max_share": -0.1}, r"azr.failures.max_share must be in \[0, 1\); got -0.1"),
    ({"azr.failures.retries": -1}, "azr.failures.retries must be at least 0; got -1"),
    ({"azr.stop_strings": [""]}, "azr.stop_strings must be strings that are not empty, .*; got ''"),
    ({"azr.stop_strings": [r"\n"]}, r"azr.stop_strings must be .* a line's end as itself: .*; got '\\\\n'"),
    (
        {BYPASS: True, "actor_rollout_ref.rollout.top_p": 0.9},
        f"{BYPASS}=true needs actor_rollout_ref.rollout.calculate_log_probs=true, top_p=1, top_k=-1 and ",
    ),
    (
        {BYPASS: True, "actor_rollout_ref.rollout.calculate_log_probs": False},
        f"{BYPASS}=true needs actor_rollout_ref.rollout.calculate_log_probs=true, top_p=1, top_k=-1 and ",
    ),
    (
        {BYPASS: True, "algorithm.rollout_correction.rollout_is": "token"},
        "algorithm.rollout_correction.rollout_is must be null: .* with bypass_mode=true; got 'token'",
    ),
    ({"azr.pack_deadline_s": 0.0}, "azr.pack_deadline_s must be positive; got 0.0"),
    (
        {"algorithm.trr.cells": "kind"},
        "algorithm.trr.cells must be one of role-kind, role-difficulty, role, record, global; got 'kind'",
    ),
    (
        {"algorithm.trr.baseline": "mean"},
        "algorithm.trr.baseline must be one of cell-mean, running-mean; got 'mean'",
    ),
    ({"algorithm.trr.scale": "var"}, "algorithm.trr.scale must be one of std, none; got 'var'"),
    ({"algorithm.trr.columns": "ability"}, "algorithm.trr.columns must be left out: .*; got 'ability'"),
    (
        {"algorithm.trr.baseline": "running-mean"},
        "algorithm.trr.baseline=running-mean needs algorithm.trr.scale=none.*; got scale std",
    ),
    (
        {"algorithm.trr": {"cells": "record", "baseline": "running-mean", "scale": "none"}},
        "algorithm.trr.baseline=running-mean .* cells that come again .*; got scale none and cells record",
    ),
    (
        {"algorithm.trr.cells": "record", "azr.solve_on": "fresh"},
        "algorithm.trr.cells=record .* needs azr.solve_on=attempts, .*; got fresh, 6 and 0",
    ),
    (
        {"algorithm.trr.cells": "record", "azr.replay_per_kind": 4},
        "algorithm.trr.cells=record .* azr.replay_per_kind=0, .*; got attempts, 6 and 4",
    ),
    (
        {"algorithm.trr.statistics": "row"},
        "algorithm.trr.statistics must be one of sequence, token; got 'row'",
    ),
    ({"algorithm.trr.proposer_share": 1}, r"algorithm.trr.proposer_share must be null or in \(0, 1\); got 1"),
    ({"trainer.use_v1": False}, "trainer.use_v1 must be true"),
    ({"trainer.v1.trainer_mode": "async"}, "trainer.v1.trainer_mode must be sync.*; got 'async'"),
    (
        {"actor_rollout_ref.rollout.n": 8},
        "actor_rollout_ref.rollout.n must be 1: .*attempts_per_record; got 8",
    ),
    (
        {"trainer.max_actor_ckpt_to_keep": 1},
        "trainer.max_actor_ckpt_to_keep must be null or at least 2.*; got 1",
    ),
    (
        {"actor_rollout_ref.actor.checkpoint.async_save": True},
        "actor_rollout_ref.actor.checkpoint.async_save must be false",
    ),
    # 224 + 65 = 289 tokens in a window of 288.
    (
        {"data.max_response_length": 65},
        r"data.max_prompt_length \+ data.max_response_length = 289 must fit .*rollout.max_model_len=288",
    ),
    (
        {"actor_rollout_ref.actor.ppo_max_token_len_per_gpu": 287},
        r"data.max_prompt_length \+ data.max_response_length = 288 must fit .*ppo_max_token_len_per_gpu=287",
    ),
    # Two workers share a sequence of 288 tokens.
    (
        {
            "trainer.n_gpus_per_node": 2,
            "actor_rollout_ref.actor.fsdp_config.ulysses_sequence_parallel_size": 2,
            "actor_rollout_ref.model.use_remove_padding": True,
            "actor_rollout_ref.model.override_config.attn_implementation": "flash_attention_2",
            "actor_rollout_ref.actor.ppo_max_token_len_per_gpu": 143,
        },
        "= 288 must fit .*ppo_max_token_len_per_gpu=143, one micro-batch, on each of 2 workers",
    ),
    # 3 CPUs a worker, 1 storage unit, and 1 each for the runner, the storage's controller and placing actors.
    ({"ray_kwargs.ray_init.num_cpus": 6}, "ray_kwargs.ray_init.num_cpus must be at least 7.*; got 6"),
    (
        {"trainer.n_gpus_per_node": 2, "ray_kwargs.ray_init.num_cpus": 9},
        "ray_kwargs.ray_init.num_cpus must be at least 10.*; got 9",
    ),
    (
        {"trainer.n_gpus_per_node": 3, "actor_rollout_ref.rollout.tensor_model_parallel_size": 2},
        "trainer.n_gpus_per_node must be a multiple of .*tensor_model_parallel_size=2, .*; got 3",
    ),
    (
        {"trainer.n_gpus_per_node": 2, "actor_rollout_ref.rollout.tensor_model_parallel_size": 2},
        "distributed_executor_backend=uni runs a model in one process; .*model_parallel_size=2 needs mp",
    ),
    # The tiny model has 4 heads.
    (
        {"trainer.n_gpus_per_node": 3, "actor_rollout_ref.rollout.tensor_model_parallel_size": 3},
        "tensor_model_parallel_size must divide the model's 4 attention heads, .*; got 3",
    ),
    (
        {
            "actor_rollout_ref.actor.fsdp_config.ulysses_sequence_parallel_size": 2,
            "actor_rollout_ref.model.use_remove_padding": True,
        },
        "ulysses_sequence_parallel_size must divide the number of workers, .* = 1; got 2",
    ),
    (
        {
            "trainer.n_gpus_per_node": 2,
            "actor_rollout_ref.actor.fsdp_config.ulysses_sequence_parallel_size": 2,
            "actor_rollout_ref.model.use_remove_padding": True,
        },
        "ulysses_sequence_parallel_size=2 needs .*attn_implementation=flash_attention_2, .*; got sdpa",
    ),
    (
        {
            "trainer.n_gpus_per_node": 3,
            "actor_rollout_ref.actor.ulysses_sequence_parallel_size": 3,
            "actor_rollout_ref.model.use_remove_padding": True,
            "actor_rollout_ref.model.override_config.attn_implementation": "flash_attention_2",
        },
        "ulysses_sequence_parallel_size must divide the model's 4 attention heads, .*; got 3",
    ),
    ({"trainer.nnodes": 0}, "trainer.nnodes must be at least 1; got 0"),
    ({"trainer.n_gpus_per_node": 0}, "trainer.n_gpus_per_node must be at least 1; got 0"),
    (
        {"actor_rollout_ref.rollout.tensor_model_parallel_size": 0},
        "tensor_model_parallel_size must be at least 1; got 0",
    ),
    (
        {
            "actor_rollout_ref.actor.fsdp_config.ulysses_sequence_parallel_size": 0,
            "actor_rollout_ref.actor.ulysses_sequence_parallel_size": 0,
        },
        "ulysses_sequence_parallel_size must be at least 1; got 0",
    ),
    ({"actor_rollout_ref.actor.fsdp_config.fsdp_size": 0}, "fsdp_config.fsdp_size must be .*; got 0"),
    ({"actor_rollout_ref.rollout.dtype": "auto"}, "rollout.dtype must be one of .*half.*; got 'auto'"),
    (
        {"actor_rollout_ref.actor.fsdp_config.model_dtype": "half"},
        "fsdp_config.model_dtype must be one of fp32, .*; got 'half'",
    ),
    (
        {"actor_rollout_ref.actor.fsdp_config.mixed_precision.param_dtype": "auto"},
        "fsdp_config.mixed_precision.param_dtype must be one of fp32, .*; got 'auto'",
    ),
    (
        {"data.train_batch_size": 47},
        "data.train_batch_size must be left alone: azr.* and the pack's 3 kinds make 48 prompts a step; got "
        "47",
    ),
    ({"pack._target_": "nope"}, "pack must name a task pack; got 'nope'. Available packs: arithmetic, chain"),
    ({"pack.deduction_max": 1}, "pack.deduction_max must be an integer from 9 to 9999; got 1"),
]


@pytest.mark.parametrize(("changes", "message"), BROKEN)
def test_broken_rule_is_told_in_one_line(config: DictConfig, changes: dict[str, Any], message: str) -> None:
    assert re.search(message, refusal(config, changes))


def test_all_broken_rules_are_found_by_the_other_reader(config: DictConfig) -> None:
    assert find_problems(config) == []
    broken = {
        # Three of one rule, one of another, and two that need the pack, one of which is raised.
        "algorithm.trr.scale": "var",
        "azr.proposals_per_kind": 0,
        "trainer.use_v1": False,
        "azr.oversample": 0.5,
        "reward_profile": "nope",
        "azr.bonus.terms": {"beauty": {"coefficient": 1.0, "maximum": 1.0}},
    }
    found = find_problems(change(config, broken))
    assert len(found) == len(broken)
    assert all(key in problem for key, problem in zip(broken, found, strict=True))
    assert found[0] == refusal(config, {})
    # Without a pack its rules say so once, and the others are asked.
    found = find_problems(change(config, {"pack._target_": "nope"}))
    assert [key for key, problem in zip(broken, found, strict=False) if key in problem] == list(broken)[:4]
    assert len(found) == 5
    assert "pack must name a task pack" in found[-1]


def test_rule_is_one_function(config: DictConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    own: list[registered.Rule] = []
    monkeypatch.setattr(rules, "RULES", own)
    monkeypatch.setattr(registered, "RULES", own)

    @registered.rule(applies=lambda config: config.azr.seed == 7)
    def unlucky(setup: Setup) -> Iterator[str]:
        """A rule of somebody's own."""
        yield f"azr.seed must not be {setup.config.azr.seed}"

    check(config)
    assert refusal(config, {"azr.seed": 7}) == "azr.seed must not be 7"


def test_word_for_a_number_or_for_true_is_told_for_every_key_that_verl_has_one_for(
    config: DictConfig,
) -> None:
    numbers = {key for key, value in keys.verl_defaults().items() if isinstance(value, int | float)}
    asked = numbers - keys.SIZES.keys() - keys.VALUES.keys()
    assert {"actor_rollout_ref.actor.clip_ratio", "actor_rollout_ref.rollout.enforce_eager"} <= asked
    change(config, dict.fromkeys(asked, "no"))
    rule = next(rule for rule in RULES if rule.find is keys.types)
    found = rules.find_problems(Setup(config, no_cluster), [rule])
    assert {line.split(" must be ")[0] for line in found} == asked


ALLOWED: list[dict[str, Any]] = [
    {"trainer.nnodes": 2, "ray_kwargs.ray_init.num_gpus": 2},  # one machine that stands for two
    {"trainer.total_epochs": 30},
    {"trainer.save_freq": -1, "trainer.test_freq": 0},
    {"transfer_queue.enable": True},
    {"actor_rollout_ref.rollout.gpu_memory_utilization": 1},
    {"actor_rollout_ref.rollout.top_p": 0.9, "actor_rollout_ref.rollout.top_k": 20},
    {"actor_rollout_ref.actor.entropy_coeff": 0.001},  # verl's default is the integer 0
    {"actor_rollout_ref.actor.kl_loss_type": "k3+"},
    {"azr.replay_per_kind": 32},
    {"azr.oversample": 1.5},
    {"azr.buffer_capacity": 32},
    {"azr.solve_on": "fresh", "azr.proposals_per_kind": 32},
    {"azr.proposals_per_kind": 64},
    {"azr.failures.max_share": 0.0},
    {"algorithm.trr.cells": "role-difficulty"},
    {"algorithm.trr.cells": "record"},
    {"algorithm.trr.scale": "none"},
    {"algorithm.trr": {"baseline": "running-mean", "scale": "none"}},
    {"trainer.max_actor_ckpt_to_keep": 2},
    {"trainer.max_actor_ckpt_to_keep": None},
    {"actor_rollout_ref.rollout.max_model_len": None},
    {"actor_rollout_ref.actor.ppo_max_token_len_per_gpu": 288},
    {"ray_kwargs.ray_init.num_cpus": 7},
    {"ray_kwargs.ray_init.num_cpus": None},
    {"actor_rollout_ref.rollout.dtype": "half"},
    {
        "trainer.n_gpus_per_node": 4,
        "actor_rollout_ref.rollout.tensor_model_parallel_size": 2,
        "actor_rollout_ref.rollout.engine_kwargs.vllm.distributed_executor_backend": "mp",
    },
    {
        "trainer.n_gpus_per_node": 2,
        "actor_rollout_ref.actor.fsdp_config.ulysses_sequence_parallel_size": 2,
        "actor_rollout_ref.model.use_remove_padding": True,
        "actor_rollout_ref.model.override_config.attn_implementation": "flash_attention_2",
        "actor_rollout_ref.actor.ppo_max_token_len_per_gpu": 144,
    },
]


@pytest.mark.parametrize("changes", ALLOWED, ids=str)
def test_values_at_the_edge_are_allowed(config: DictConfig, changes: dict[str, Any]) -> None:
    check(change(config, changes))


def test_cells_by_difficulty_need_a_pack_that_has_labels(tmp_path: Path) -> None:
    config = composed(tmp_path, "experiment=demo", "pack=prime_inversion")
    message = refusal(config, {"algorithm.trr.cells": "role-difficulty"})
    assert "needs a pack that says how hard tasks are; prime_inversion does not" in message


def test_other_engine_is_refused_by_its_key(tmp_path: Path) -> None:
    message = refusal(composed(tmp_path, "experiment=demo", "model_engine=megatron"), {})
    assert message.startswith("model_engine must be dp, verl's FSDP engine, which ")


def test_unknown_knob_of_a_pack_is_told_with_those_it_has(config: DictConfig) -> None:
    with open_dict(config):
        config.pack.nope = 1
    message = refusal(config, {})
    assert re.search("pack.nope is no knob of .*; it has .*kinds, operations, ", message)


# ------------------------------ the held-out set ------------------------------


def test_missing_held_out_set_is_told_with_its_remedy(config: DictConfig, tmp_path: Path) -> None:
    message = refusal(config, {"pack.held_out_path": str(tmp_path / "none.jsonl")})
    assert re.search(r"none\.jsonl is missing; run `python -m tasks\.held_out arithmetic`", message)


def test_held_out_set_of_another_version_is_refused(config: DictConfig, tmp_path: Path) -> None:
    path = tmp_path / "held_out.jsonl"
    path.write_text(json.dumps({"pack": "arithmetic", "version": 999, "count": 0, "seed": 1}) + "\n")
    message = refusal(config, {"pack.held_out_path": str(path)})
    assert f"version {ArithmeticPack.held_out_version}" in message
    assert "got pack arithmetic, version 999" in message


# ------------------------------ the model ------------------------------


def write_weights(path: Path) -> None:
    save_file({"weight": numpy.zeros(8, numpy.float32)}, path)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A model directory that passes."""
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"max_position_embeddings": 288}))
    (folder / "tokenizer_config.json").write_text(json.dumps({"chat_template": "{{ messages }}"}))
    write_weights(folder / "model.safetensors")
    return folder


def test_complete_model_directory_passes(config: DictConfig, model: Path) -> None:
    check(change(config, {MODEL: str(model)}))


def test_chat_template_may_be_a_file_of_its_own(config: DictConfig, model: Path) -> None:
    (model / "tokenizer_config.json").write_text("{}")
    (model / "chat_template.jinja").write_text("{{ messages }}")
    check(change(config, {MODEL: str(model)}))


def test_model_without_a_chat_template_is_refused(config: DictConfig, model: Path) -> None:
    (model / "tokenizer_config.json").write_text("{}")
    message = refusal(config, {MODEL: str(model)})
    assert message.startswith(f"{model} must have a chat template")
    # The run may bring one of its own, as prompts=base does.
    check(change(config, {"actor_rollout_ref.model.custom_chat_template": "{{ messages }}"}))


@pytest.mark.parametrize("file", ["config.json", "tokenizer_config.json", "model.safetensors"])
def test_incomplete_model_directory_is_refused(config: DictConfig, model: Path, file: str) -> None:
    (model / file).unlink()
    message = refusal(config, {MODEL: str(model)})
    assert message.startswith(f"{model / file} must exist")


@pytest.mark.parametrize("index", ["model.safetensors.index.json", "pytorch_model.bin.index.json"])
def test_shards_that_an_index_names_have_to_be_there(config: DictConfig, model: Path, index: str) -> None:
    (model / "model.safetensors").unlink()
    (model / index).write_text(json.dumps({"weight_map": {"a": "one", "b": "two", "c": "one"}}))
    write_weights(model / "one")
    assert refusal(config, {MODEL: str(model)}).startswith(f"{model / 'two'} must exist")
    write_weights(model / "two")
    check(config)


@pytest.mark.parametrize("content", ["", "[]", "{"])
@pytest.mark.parametrize("file", ["config.json", "tokenizer_config.json", "model.safetensors.index.json"])
def test_file_of_a_model_that_is_no_json_object_is_named(
    config: DictConfig, model: Path, file: str, content: str
) -> None:
    if file == "model.safetensors.index.json":
        (model / "model.safetensors").unlink()
    (model / file).write_text(content)
    message = refusal(config, {MODEL: str(model)})
    assert message.startswith(f"{model / file} must hold a JSON object")
    assert find_problems(config).count(message) == 1


FUSED, LIBRARY = (f"actor_rollout_ref.model.{key}" for key in ("use_fused_kernels", "external_lib"))


@pytest.mark.parametrize(
    "name", ["final_logit_softcapping", "logits_scaling", "logit_scale", "lm_head_multiplier"]
)
def test_fused_log_probabilities_need_a_bare_output_layer(config: DictConfig, model: Path, name: str) -> None:
    (model / "config.json").write_text(json.dumps({"max_position_embeddings": 288, name: 30.0}))
    changes = {MODEL: str(model), FUSED: True, LIBRARY: "recipe.engine.output_layer"}
    assert refusal(config, changes).startswith(f"{FUSED} must be false: this model has {name}=30.0")
    check(change(config, {FUSED: False}))
    (model / "config.json").write_text(json.dumps({"max_position_embeddings": 288, name: None}))
    check(change(config, {FUSED: True}))


def test_fused_log_probabilities_need_the_output_layer_with_the_root(config: DictConfig, model: Path) -> None:
    message = refusal(config, {MODEL: str(model), FUSED: True, LIBRARY: "mine"})
    assert message.startswith(f"{FUSED}=true needs {LIBRARY}=recipe.engine.output_layer")
    check(change(config, {LIBRARY: ["mine", "recipe.engine.output_layer"]}))


def test_lengths_must_fit_the_models_context(config: DictConfig, model: Path) -> None:
    (model / "config.json").write_text(json.dumps({"max_position_embeddings": 287}))
    message = refusal(config, {MODEL: str(model)})
    assert re.search(r"data\.max_prompt_length \+ .* = 288 must fit the model's context, 287", message)


def test_lengths_must_fit_the_tiny_models_context(config: DictConfig) -> None:
    longer = {
        "data.max_prompt_length": 1000,
        "actor_rollout_ref.rollout.max_model_len": None,
        "actor_rollout_ref.actor.ppo_max_token_len_per_gpu": 4096,
    }
    assert "= 1064 must fit the model's context, 1024" in refusal(config, longer)


@pytest.mark.parametrize("path", ["/no/such/model", "./model", "~/no/such/model", "models/of/mine"])
def test_path_that_is_not_there_is_refused(config: DictConfig, path: str) -> None:
    message = refusal(config, {MODEL: path})
    assert MODEL in message
    assert path in message


def test_name_on_the_hub_is_left_to_the_hub(config: DictConfig) -> None:
    check(change(config, {MODEL: "Qwen/Qwen2.5-0.5B-Instruct"}))


# ------------------------------ resuming ------------------------------


def write_checkpoint(config: DictConfig, folder: Path, **fields: Any) -> Path:
    """Make `folder` the run's directory, with one checkpoint."""
    config.run.dir = str(folder)
    found = Path(config.trainer.default_local_dir) / "global_step_2"
    values = {name: getattr(MANIFEST, name) for name in checkpoint.Manifest.__slots__}
    (found / "azr").mkdir(parents=True)
    (found / "actor").mkdir()
    (found / "azr" / "manifest.json").write_text(json.dumps(values | fields))
    return found


def test_own_checkpoint_is_resumed_from(config: DictConfig, tmp_path: Path) -> None:
    write_checkpoint(config, tmp_path)
    check(config)


def test_checkpoint_of_another_pack_is_refused(config: DictConfig, tmp_path: Path) -> None:
    write_checkpoint(config, tmp_path, pack="prime_inversion")
    assert re.search("pack must be 'prime_inversion' .*; got 'arithmetic'", refusal(config, {}))


def test_checkpoint_of_another_format_is_refused(config: DictConfig, tmp_path: Path) -> None:
    write_checkpoint(config, tmp_path, format=99)
    assert f"must be of checkpoint format {checkpoint.FORMAT}; got 99" in refusal(config, {})


def test_resumed_run_has_its_kinds_and_holds_out_nothing_that_it_practised_on(
    config: DictConfig, tmp_path: Path
) -> None:
    pack, found = ArithmeticPack(), write_checkpoint(config, tmp_path)

    def hold(**records: Sequence[TaskRecord]) -> None:
        entries = {kind: [{"key": pack.task_key(one)} for one in some] for kind, some in records.items()}
        checkpoint.write_state(found, {"buffer": entries})

    hold(deduction=pack.seeds(), abduction=[], induction=[])
    check(config)
    hold(deduction=pack.held_out()[:2], abduction=pack.seeds(), induction=[])
    assert re.search(r"must hold out no task of the buffer in .*; 2 are", refusal(config, {}))
    hold(deduction=[])
    message = refusal(config, {})
    assert re.search(r"kinds must be those of .*, deduction; got deduction, abduction, induction$", message)


def test_path_to_resume_from_must_be_a_finished_checkpoint(config: DictConfig, tmp_path: Path) -> None:
    changes = {"trainer.resume_mode": "resume_path", "trainer.resume_from_path": str(tmp_path / "none")}
    message = refusal(config, changes)
    assert re.search(r"trainer\.resume_from_path must be a finished checkpoint .*; got .*/none$", message)
    found = write_checkpoint(config, tmp_path)
    check(change(config, {"trainer.resume_from_path": str(found)}))
    (found / "azr" / "manifest.json").unlink()
    assert "trainer.resume_from_path" in refusal(config, {})


def test_another_runs_checkpoint_is_not_resumed_from(config: DictConfig, tmp_path: Path) -> None:
    other = write_checkpoint(config, tmp_path / "other")
    config.run.dir = str(tmp_path / "mine")
    changes = {"trainer.resume_mode": "resume_path", "trainer.resume_from_path": str(other)}
    assert "must be a checkpoint of this run" in refusal(config, changes)


def test_result_without_checkpoints_is_not_written_over(config: DictConfig, tmp_path: Path) -> None:
    config.run.dir = str(tmp_path)
    check(config)
    (tmp_path / "summary.json").write_text("{}")
    assert "run.dir must not hold the result of a run without checkpoints" in refusal(config, {})


def test_evaluation_stands_beside_no_checkpoint_and_is_not_written_over(
    config: DictConfig, tmp_path: Path
) -> None:
    change(config, {"run.dir": str(tmp_path), "trainer.val_only": True, "azr.elicit.format_tries": 8})
    OmegaConf.save(Setup(config, no_cluster).filled, tmp_path / "config.yaml", resolve=True)
    (tmp_path / "summary.json").write_text("{}")
    check(config)
    message = refusal(config, {"azr.elicit.format_tries": 4})
    assert "has its evaluation already, of another configuration (azr.elicit.format_tries: 8 -> 4)" in message
    (tmp_path / "summary.json").unlink()
    write_checkpoint(config, tmp_path)
    assert "run.dir must be another with azr.elicit, whose result is of no training run" in refusal(
        config, {}
    )
    check(change(config, {"azr.elicit.format_tries": 1}))


# ------------------------------ the cluster ------------------------------


def test_slots_are_counted_as_verl_asks_for_them(config: DictConfig) -> None:
    # 2 nodes with 4 workers of 3 CPUs, 5 storage units, and 1 each for runner, controller and placing actors.
    change(config, {"trainer.nnodes": 2, "trainer.n_gpus_per_node": 4})
    change(config, {"transfer_queue.backend.SimpleStorage.num_data_storage_units": 5})
    assert slots.needed_cpus(config) == 2 * 4 * 3 + 5 + 3 == 32


def cluster_problems(config: DictConfig, *nodes: Node) -> list[str]:
    """What the rules say of a cluster of these nodes."""
    with open_dict(config):
        config.ray_kwargs.ray_init.address = "10.0.0.1:6379"
    return list(rules.find_problems(Setup(config, lambda address, paths: nodes), RULES_OF_CLUSTERS))


@pytest.mark.parametrize(("resource", "needed"), [("CPU", 7), ("GPU", 1)])
def test_cluster_with_too_few_slots_is_refused(config: DictConfig, resource: str, needed: int) -> None:
    enough = {"CPU": 7, "GPU": 1}
    assert cluster_problems(config, Node("10.0.0.1", enough["CPU"], enough["GPU"])) == []
    few = enough | {resource: needed - 1}
    (message,) = cluster_problems(config, Node("10.0.0.1", few["CPU"], few["GPU"]))
    assert "\n" not in message
    assert f"must have {needed} {resource} slots" in message
    assert f"it has {needed - 1}." in message
    assert "trainer.nnodes=1 and trainer.n_gpus_per_node=1" in message


@pytest.mark.parametrize(
    ("gpus", "wanted", "per_node"),
    [((8, 8), 2, 8), ((8,), 2, 4), ((0, 1, 1), 2, 1)],
    ids=["as many", "one node as two", "a head without GPUs"],
)
def test_nodes_that_carry_the_workers_pass(
    config: DictConfig, gpus: tuple[int, ...], wanted: int, per_node: int
) -> None:
    change(config, {"trainer.nnodes": wanted, "trainer.n_gpus_per_node": per_node})
    assert cluster_problems(config, *(Node(f"10.0.0.{i}", 100, found) for i, found in enumerate(gpus))) == []


def test_slots_that_are_enough_in_sum_only_are_refused(config: DictConfig) -> None:
    """Sixteen slots, and no node has the eight that a node's workers need together."""
    change(config, {"trainer.nnodes": 2, "trainer.n_gpus_per_node": 8})
    (message,) = cluster_problems(config, *(Node(f"10.0.0.{i}", 24, 4) for i in range(4)))
    assert re.search(r"2 nodes .* 8 GPU slots .* 4 and 24 on 10\.0\.0\.0, 4 and", message)
    # 8 workers on a node take 3 CPUs each, and a head with 128 does not lend the other node any.
    (message,) = cluster_problems(config, Node("10.0.0.1", 128, 8), Node("10.0.0.2", 8, 8))
    assert re.search(r"24 CPU slots each; .* 8 and 8 on 10\.0\.0\.2", message)


def test_folder_that_a_node_does_not_see_is_refused(config: DictConfig, tmp_path: Path) -> None:
    change(config, {"trainer.nnodes": 2, "run.dir": str(tmp_path / "runs" / "mine"), MODEL: str(tmp_path)})
    asked: list[Path] = []

    def survey(address: str, paths: Sequence[Path]) -> tuple[Node, ...]:
        assert all(path.exists() for path in paths)
        asked.extend(paths)
        return (Node("10.0.0.1", 24, 1), Node("10.0.0.2", 24, 1, unseen=(paths[0],)))

    with open_dict(config):
        config.ray_kwargs.ray_init.address = "10.0.0.1:6379"
    (message,) = rules.find_problems(Setup(config, survey), RULES_OF_CLUSTERS)
    assert message.startswith("run.dir must be on a file system that every node sees; 10.0.0.2 does not see ")
    # Of folders that are not there yet, the nearest that is; what is left in it is taken away again.
    assert [path.parent for path in asked] == [tmp_path] * 3
    assert list(tmp_path.iterdir()) == []


def test_running_cluster_is_not_asked_for_local_slots(config: DictConfig) -> None:
    with open_dict(config):
        config.ray_kwargs.ray_init.address = "auto"
    change(config, {"ray_kwargs.ray_init.num_cpus": 1})
    rules.check(config, lambda address, paths: (Node("10.0.0.1", 7, 1),))
    slots.fill_slots(config)
    assert not config.ray_kwargs.ray_init.keys() & {"num_cpus", "num_gpus"}


# ------------------------------ files ------------------------------


def composed(folder: Path, *overrides: str) -> DictConfig:
    register()
    with initialize_config_dir(str(CONF), version_base=None):
        return compose("azr", [f"run.dir={folder}", *overrides])


@pytest.mark.parametrize(("cores", "expected"), [(2, 35), (64, 64)])
def test_node_of_eight_gpus_has_the_slots_that_verl_asks_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cores: int, expected: int
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: cores)
    monkeypatch.setattr(machine, "find_gpus", lambda: [Gpu("one of eight", 80.0, 80.0)] * 8)
    config = composed(tmp_path, "cluster=one_node", f"{MODEL}=Qwen/Qwen2.5-7B")
    check(config)
    # 3 for each of 8 workers, 8 storage units (verl's default), and 3.
    slots.fill_slots(config)
    assert config.ray_kwargs.ray_init.num_cpus == expected


def test_slots_that_are_given_stay(config: DictConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    slots.fill_slots(config)
    assert config.ray_kwargs.ray_init.num_cpus == 16


def test_a_vote_takes_two_attempts(config: DictConfig) -> None:
    config.pack = {"_target_": "math_word", "verify": "majority", "terse": True}
    said = refusal(config, {"azr.attempts_per_record": 1})
    assert "azr.attempts_per_record must be at least 2 with the pack math_word" in said
    check(change(config, {"azr.attempts_per_record": 2}))
    check(change(config, {"pack.verify": "claimed", "azr.attempts_per_record": 1}))


@pytest.mark.parametrize(
    ("seeds", "said"),
    [(lambda pack: [*pack.seeds(), pack.seeds()[0]], "must differ from each other; 1 do not"),
     (lambda pack: [*pack.seeds(), pack.held_out()[3]], "must hold out no seed; 1 are, such as")],
)  # fmt: skip
def test_seeds_that_are_equal_or_held_out_are_refused(
    config: DictConfig,
    monkeypatch: pytest.MonkeyPatch,
    seeds: Callable[[ArithmeticPack], list[TaskRecord]],
    said: str,
) -> None:
    planted = seeds(ArithmeticPack())
    monkeypatch.setattr(ArithmeticPack, "seeds", lambda self: planted)
    monkeypatch.setattr(ArithmeticPack, "held_out", KindsPack.held_out)
    with pytest.raises(PreflightError, match=said):
        check(config)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("trainer.resume_mode", "nope"),
        ("algorithm.adv_estimator", "grpo"),
        ("algorithm.adv_estimator", "nope"),
        ("algorithm.gamma", 0.99),
        ("actor_rollout_ref.rollout.name", "sglang"),
        ("actor_rollout_ref.rollout.val_kwargs.n", 4),
        ("cpu.threads", 0),
        ("cpu.kv_cache_gib", 0),
    ],
)
def test_what_would_fail_late_is_refused_by_its_key(config: DictConfig, key: str, value: Any) -> None:
    assert key in refusal(config, {key: value})


def test_starting_afresh_over_a_finished_checkpoint_is_refused(config: DictConfig, tmp_path: Path) -> None:
    write_checkpoint(config, tmp_path / "run")
    assert "another run.dir" in refusal(config, {"trainer.resume_mode": "disable"})
