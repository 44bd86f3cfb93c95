"""The typed configuration, and what is filled in after composing."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from hydra.errors import ConfigCompositionException
from jinja2 import Template
from omegaconf import DictConfig, OmegaConf

from recipe.config import CONF, finalize, register
from recipe.run.files import changed_settings
from recipe.selfplay.config import AzrConfig, SolveOn
from recipe.tiny_model import TinyModelConfig
from rewards.bonus import Term


def test_defaults_are_those_of_the_types() -> None:
    assert OmegaConf.load(CONF / "azr.yaml").get("azr") is None
    register()
    with initialize_config_dir(str(CONF), version_base=None):
        config = compose("azr")
    assert OmegaConf.to_object(config.azr) == AzrConfig()


def test_extra_rewards_are_added_as_the_docs_say() -> None:
    register()
    override = "+azr.bonus.terms={answer-diversity: {coefficient: 0.1, maximum: 0.1}}"
    with initialize_config_dir(str(CONF), version_base=None):
        azr = OmegaConf.to_object(compose("azr", [override]).azr)
    assert isinstance(azr, AzrConfig)
    assert azr.bonus.terms == {"answer-diversity": Term(0.1, 0.1)}


def test_sandbox_server_of_verls_configuration_is_the_packs_own_default() -> None:
    register()

    def sandbox(*overrides: str) -> list[Any]:
        with initialize_config_dir(str(CONF), version_base=None):
            keys = compose("azr", ["pack=python_code", *overrides]).pack.sandbox
        return [keys.http_url, keys.http_max_concurrent]

    verls = ("reward.sandbox_fusion.url=http://a/run_code", "reward.sandbox_fusion.max_concurrent=7")
    assert sandbox() == [None, 64]
    assert sandbox(*verls) == ["http://a/run_code", 7]
    own = ("pack.sandbox.http_url=http://b/run_code", "pack.sandbox.http_max_concurrent=8")
    assert sandbox(*verls, *own) == ["http://b/run_code", 8]


EVALUATED = "trainer.val_only: False -> True"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("control", "changes"),
    [
        ("none", []),
        ("random", ["reward_profile: paper -> random", "run.suffix:  -> _random"]),
        ("frozen_proposer", ["azr.train_proposer: True -> False", "run.suffix:  -> _frozen_proposer"]),
        ("seeds_only", ["azr.tasks: proposals -> buffer", "run.suffix:  -> _seeds_only"]),
        ("generator", ["azr.tasks: proposals -> generator", "run.suffix:  -> _generator"]),
        ("adaptive", ["azr.tasks: proposals -> adaptive", "run.suffix:  -> _adaptive"]),
        ("oracle", ["azr.tasks: proposals -> frontier", "run.suffix:  -> _oracle"]),
        (
            "base_forced",
            ["azr.elicit.beginning:  -> ${elicit_beginning}", "run.suffix:  -> _base_forced", EVALUATED],
        ),
        ("base_examples_1", ["azr.elicit.examples: 0 -> 1", "run.suffix:  -> _base_examples_1", EVALUATED]),
        ("base_examples_4", ["azr.elicit.examples: 0 -> 4", "run.suffix:  -> _base_examples_4", EVALUATED]),
        (
            "base_best_of_format",
            ["azr.elicit.format_tries: 1 -> 8", "run.suffix:  -> _base_best_of_format", EVALUATED],
        ),
    ],
)
def test_control_changes_one_thing_and_the_directory(control: str, changes: list[str]) -> None:
    register()
    with initialize_config_dir(str(CONF), version_base=None):
        plain, controlled = compose("azr"), compose("azr", [f"control={control}"])
    before, now = (OmegaConf.to_container(config, resolve=False) for config in (plain, controlled))
    assert changed_settings(before, now) == changes


@pytest.mark.parametrize("experiment", ["demo", pytest.param("arithmetic_rich", marks=pytest.mark.slow)])
def test_prompts_for_a_base_model_are_one_word(experiment: str) -> None:
    register()
    with initialize_config_dir(str(CONF), version_base=None):
        config = compose("azr", [f"experiment={experiment}", "prompts=base"])
    messages = [{"role": "user", "content": "Calculate: 1 + 2 ="}]
    template = Template(config.actor_rollout_ref.model.custom_chat_template)
    assert (config.pack.prompts, config.pack.terse) == ("base", False)
    assert template.render(messages=messages, add_generation_prompt=True) == "Calculate: 1 + 2 ="
    example = [{"role": "user", "content": "Calculate: 4 + 5 ="}, {"role": "assistant", "content": "9"}]
    shown = template.render(messages=example + messages, add_generation_prompt=True)
    assert shown == "Calculate: 4 + 5 = 9\nCalculate: 1 + 2 ="


def test_composed_node_is_typed(config: DictConfig) -> None:
    azr = OmegaConf.to_object(config.azr)
    assert isinstance(azr, AzrConfig)
    assert (azr.proposals_per_kind, azr.seeding.target) == (16, 32)
    assert azr.solve_on == SolveOn.ATTEMPTS


def test_verls_configuration_is_below_ours(config: DictConfig) -> None:
    # One key of verl's that our files do not mention.
    assert "actor_rollout_ref.actor.ppo_epochs" not in (CONF / "azr.yaml").read_text(encoding="utf-8")
    assert config.actor_rollout_ref.actor.ppo_epochs == 1


def test_prompts_of_a_step_are_filled_in(config: DictConfig) -> None:
    finalize(config, num_kinds=3)
    assert config.data.train_batch_size == 3 * 16
    assert config.actor_rollout_ref.actor.ppo_mini_batch_size == 3 * 16
    loops = Path(config.actor_rollout_ref.rollout.agent.agent_loop_config_path)
    assert loops == CONF / "agent_loops.yaml"
    assert loops.is_file()


EXACT = [
    ({}, True),
    ({"actor_rollout_ref.actor.ppo_epochs": 2}, False),
    ({"actor_rollout_ref.rollout.dtype": "bfloat16"}, False),
    ({"actor_rollout_ref.actor.fsdp_config.mixed_precision": None}, False),
    ({"actor_rollout_ref.actor.fsdp_config.model_dtype": "bf16"}, False),
    ({"actor_rollout_ref.rollout.top_p": 0.9}, False),
    ({"actor_rollout_ref.rollout.top_k": 20}, False),
    ({"actor_rollout_ref.rollout.logprobs_mode": "raw_logprobs"}, False),
    ({"actor_rollout_ref.actor.policy_loss.loss_mode": "gpg"}, False),
    ({"actor_rollout_ref.rollout.calculate_log_probs": False}, False),
    ({"algorithm.rollout_correction.rollout_is": "token"}, False),
    ({"algorithm.rollout_correction.rollout_rs": "seq_mean_k3"}, False),
    # What is asked for stands.
    ({"algorithm.rollout_correction.bypass_mode": False}, False),
    ({"algorithm.rollout_correction.bypass_mode": True, "actor_rollout_ref.rollout.dtype": "bfloat16"}, True),
]


def test_old_log_probabilities_are_those_of_sampling_where_they_are_the_same(config: DictConfig) -> None:
    found = []
    for changes, _ in EXACT:
        changed = copy.deepcopy(config)
        for key, value in changes.items():
            OmegaConf.update(changed, key, value)
        finalize(changed, num_kinds=3)
        found.append((changes, changed.algorithm.rollout_correction.bypass_mode))
    assert found == EXACT


def test_a_run_warms_up_as_the_command_does_unless_it_says_otherwise(config: DictConfig) -> None:
    assert config.run.tiny_model_steps == TinyModelConfig().steps


def test_configuration_of_a_run_can_be_used_again(config: DictConfig) -> None:
    finalize(config, num_kinds=3)
    before = OmegaConf.to_yaml(config, resolve=True)
    finalize(config, num_kinds=3)
    assert OmegaConf.to_yaml(config, resolve=True) == before


def test_paths_become_absolute(config: DictConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Other processes of the run have other working directories.
    monkeypatch.chdir(tmp_path)
    config.run.dir = "runs/demo"
    finalize(config, num_kinds=3)
    assert config.run.dir == str(tmp_path / "runs" / "demo")
    assert config.run.tiny_model_dir == str(tmp_path / "runs" / "tiny_models")
    assert config.trainer.default_local_dir == str(tmp_path / "runs" / "demo" / "checkpoints")


@pytest.mark.parametrize(
    ("override", "said"),
    [("azr.nope=1", "azr.nope"), ("azr.seed=abc", "azr.seed"), ("azr.seeding.nope=1", "azr.seeding.nope")],
)
def test_unknown_keys_and_types_are_refused_when_composing(override: str, said: str) -> None:
    register()
    with (
        initialize_config_dir(str(CONF), version_base=None),
        pytest.raises(ConfigCompositionException, match=said),
    ):
        compose("azr", [override])
