"""TRR++ and the reward function in verl's own hands: its rows, with columns and not our uids; its loaders."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from omegaconf import DictConfig, OmegaConf

from recipe.selfplay.credit import make_uid

ROWS = {
    # uid of a prompt: its columns
    "11111111-aaaa": {"data_source": "arithmetic", "ability": "deduction"},
    "22222222-bbbb": {"data_source": "arithmetic", "ability": "abduction"},
    "33333333-cccc": {"data_source": "python_code", "ability": "deduction"},
}


class Storage:
    """verl's storage as TransferQueue answers: rows at <uid>_<session>_<index>, prompts without columns."""

    def __init__(self) -> None:
        self.rows = {f"{uid}_{n}_0": {"uid": uid, **row} for uid, row in ROWS.items() for n in range(2)}

    def get_client(self) -> object:
        return self

    def kv_list(self, partition_id: str) -> dict[str, Any]:
        assert partition_id == "train"
        prompts = {uid: {"is_prompt": True, "status": "running"} for uid in [*ROWS, "44444444-dddd"]}
        return {partition_id: prompts | {key: {"status": "success"} for key in self.rows}}

    def kv_batch_get(self, keys: list[str], partition_id: str, select_fields: list[str]) -> Any:
        assert partition_id == "train"
        assert len(keys) == len(set(keys))
        found = [self.rows[key] for key in keys]
        return list_of_dict_to_tensordict(
            [{name: row[name] for name in select_fields if name in row} for row in found]
        )


@pytest.fixture(autouse=True)
def storage(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Import verl when a test runs, and put rows of a data set into its storage."""
    global torch, trr_plus_plus, list_of_dict_to_tensordict
    import torch
    from verl.utils.tensordict_utils import list_of_dict_to_tensordict

    from recipe.engine import columns
    from recipe.engine.estimator import trr_plus_plus

    monkeypatch.setattr(columns, "tq", Storage())
    yield


def advantages(rewards: list[float], index: list[str], **trr: Any) -> list[float]:
    """Advantages of responses of one token, in a tree that refuses unknown keys, as verl's does."""
    config = OmegaConf.create({"gamma": 1.0} | ({"trr": trr} if trr else {}))
    OmegaConf.set_struct(config, True)
    rewards_BT = torch.tensor(rewards).unsqueeze(-1)
    found_BT, _ = trr_plus_plus(rewards_BT, torch.ones(len(rewards), 1), index, config)
    return found_BT.squeeze(-1).tolist()


A, B, C = ROWS
INDEX = [A, C, B, C, A]
REWARDS = [1.0, 1.0, -1.0, -0.5, -0.5]


def test_the_cells_of_verls_own_rows_are_its_data_sources() -> None:
    # arithmetic (1, -1, -0.5): mean -1/6, var (49/36 + 25/36 + 4/36) / 2 = 13/12, std 1.040833
    #     (7/6) / std = 1.120897, (-5/6) / std = -0.800641, (-1/3) / std = -0.320256
    # python_code (1, -0.5): mean 1/4, var (9/16 + 9/16) / 1 = 9/8, std 1.060660 -> +-0.75 / std = +-0.707107
    expected = [1.120897, 0.707107, -0.800641, -0.707107, -0.320256]
    assert advantages(REWARDS, INDEX) == pytest.approx(expected, abs=1e-5)
    assert advantages(REWARDS, INDEX, columns="data_source") == pytest.approx(expected, abs=1e-5)


def test_cells_of_several_columns() -> None:
    # arithmetic deduction (1, -0.5) and python_code deduction (1, -0.5): +-0.707107 as above
    # arithmetic abduction (-1): one response -> 0
    found = advantages(REWARDS, INDEX, columns=["data_source", "ability"])
    assert found == pytest.approx([0.707107, 0.707107, 0.0, -0.707107, -0.707107], abs=1e-5)


def test_columns_and_uids_that_say_the_same_give_the_same() -> None:
    kinds = [ROWS[uid]["ability"] for uid in INDEX]
    by_column = advantages(REWARDS, INDEX, columns="ability")
    by_uid = advantages(REWARDS, [make_uid("solve", kind) for kind in kinds], cells="role-kind")
    assert by_column == by_uid


def test_rows_without_tokens_are_not_looked_up() -> None:
    # verl fills a batch with rows under uids of its own.
    config = OmegaConf.create({"gamma": 1.0})
    mask_BT = torch.tensor([[1.0], [1.0], [0.0]])
    found_BT, _ = trr_plus_plus(torch.tensor([[1.0], [-0.5], [0.0]]), mask_BT, [C, C, "pad00"], config)
    assert found_BT.squeeze(-1).tolist() == pytest.approx([0.707107, -0.707107, 0.0], abs=1e-5)
    none_BT, _ = trr_plus_plus(torch.ones(1, 1), torch.zeros(1, 1), ["pad00"], config)
    assert none_BT.tolist() == [[0.0]]


def test_a_column_that_is_not_there_is_named() -> None:
    with pytest.raises(ValueError, match=r"must name columns of the data set; \['kind'\] are none"):
        advantages(REWARDS, INDEX, columns=["data_source", "kind"])


@pytest.mark.parametrize("columns", [[], ""])
def test_no_column_is_no_cell(columns: object) -> None:
    with pytest.raises(ValueError, match=r"must name a column; .* algorithm\.trr\.cells=global"):
        advantages(REWARDS, INDEX, columns=columns)


def test_names_with_a_slash_stay_apart() -> None:
    from recipe.engine.columns import cells_by_columns

    named = {A: ("openai/gsm8k", "test"), B: ("openai", "gsm8k/test")}
    storage = Storage()
    for uid, (source, ability) in named.items():
        for key in (f"{uid}_0_0", f"{uid}_1_0"):
            storage.rows[key] |= {"data_source": source, "ability": ability}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("recipe.engine.columns.tq", storage)
        assert len(set(cells_by_columns([A, B], ["data_source", "ability"]))) == 2


def test_verls_old_trainer_is_told_what_it_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    import transfer_queue

    monkeypatch.setattr("recipe.engine.columns.tq", transfer_queue)
    with pytest.raises(ValueError, match=r"needs trainer\.use_v1=true.*algorithm\.trr\.cells=global"):
        advantages(REWARDS, INDEX)
    assert advantages([1.0, 0.0], [A, B], cells="global") == pytest.approx([0.707107, -0.707107], abs=1e-5)


def test_cells_and_columns_exclude_each_other() -> None:
    with pytest.raises(ValueError, match="must not both be given; got role and data_source"):
        advantages(REWARDS, INDEX, cells="role", columns="data_source")


def test_running_means_are_self_plays_own() -> None:
    with pytest.raises(ValueError, match="running-mean needs means that are carried from step to step"):
        advantages(REWARDS, INDEX, baseline="running-mean", scale="none")


# The reward function, by verl's loader and its reward manager


def test_verl_loads_and_awaits_the_reward_function() -> None:
    from verl import DataProto
    from verl.experimental.reward_loop.reward_manager.naive import NaiveRewardManager
    from verl.trainer.ppo.reward import get_custom_reward_fn

    from recipe.tiny_model.tokenizer import build_tokenizer

    tokenizer = build_tokenizer(max_positions=64)
    named = {"path": "pkg://rewards.verl_reward", "name": "compute_score"}
    function = named | {"reward_kwargs": {"profile": "minazr"}}
    config: DictConfig = OmegaConf.create({"reward": {"custom_reward_function": function}})
    manager = NaiveRewardManager(config, tokenizer, get_custom_reward_fn(config))
    responses = torch.tensor([[*tokenizer.encode("8", add_special_tokens=False), tokenizer.eos_token_id]])
    record = json.dumps({"kind": "deduction", "payload": {"a": 3, "op": "+", "b": 4}})
    columns = {
        "data_source": "arithmetic",
        "reward_model": {"style": "rule", "ground_truth": record},
        "extra_info": {"kind": "deduction", "pack": '{"_target_": "arithmetic"}', "index": 0},
    }
    data = DataProto.from_dict(
        tensors={"responses": responses, "attention_mask": torch.ones_like(responses)},
        non_tensors={name: np.array([value], dtype=object) for name, value in columns.items()},
    )
    found = manager.loop.run_until_complete(manager.run_single(data))
    # 3 + 4 is not 8: 0 in minazr.
    assert found == {
        "reward_score": 0.0,
        "reward_extra_info": {"score": 0.0, "acc": 0.0, "outcome": "wrong"},
    }
