"""TRR++: hand-worked numbers, agreement with verl, and what may not change the result."""

from __future__ import annotations

import importlib
import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from omegaconf import DictConfig, OmegaConf

from recipe.selfplay.credit import Baseline, Cells, RunningMeans, Scale, Statistics, cell_of, make_uid

SIX_CELLS = tuple(
    (role, kind) for role in ("propose", "solve") for kind in ("deduction", "abduction", "induction")
)
PADDING_UID = "pad0123456789abcdef0123456789abcdef"
MODES = st.sampled_from(Statistics)
PROPERTY = settings(deadline=None, max_examples=30)
PROPERTY_OF_ALL_CHOICES = settings(deadline=None, max_examples=200)


@pytest.fixture(scope="module", autouse=True)
def stack() -> None:
    """Import verl when a test runs: it takes seconds, and every pytest collects this file."""
    global torch, DataProto, core_algos, compute_advantage, estimator, trr_plus_plus
    import torch
    from verl import DataProto
    from verl.trainer.ppo import core_algos
    from verl.trainer.ppo.ray_trainer import compute_advantage

    from recipe.engine import estimator
    from recipe.engine.estimator import trr_plus_plus


def algorithm(
    cells: str = "role-kind", statistics: str = "sequence", gamma: float = 1.0, **trr: Any
) -> DictConfig:
    return OmegaConf.create({"gamma": gamma, "trr": {"cells": cells, "statistics": statistics} | trr})


def on_last_tokens(
    rewards: list[float], lengths: list[int], dtype: torch.dtype | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Token rewards and mask, each (B, T): the reward of a response is on its last token."""
    rewards_BT = torch.zeros(len(rewards), max(lengths), dtype=dtype)
    mask_BT = torch.zeros(len(rewards), max(lengths), dtype=torch.int64)
    for row, (reward, length) in enumerate(zip(rewards, lengths, strict=True)):
        mask_BT[row, :length] = 1
        if length > 0:
            rewards_BT[row, length - 1] = reward
    return rewards_BT, mask_BT


def uids(cells: list[tuple[str, str]]) -> np.ndarray:
    return np.array([make_uid(role, kind) for role, kind in cells], dtype=object)


@st.composite
def batches(draw: st.DrawFn) -> tuple[torch.Tensor, torch.Tensor, list[tuple[str, str]]]:
    """Rewards in quarters, so that sums and shifts are exact in single precision; some rows are empty."""
    rows = draw(st.integers(1, 10))
    rewards = [draw(st.integers(-4, 4)) / 4 for _ in range(rows)]
    lengths = [draw(st.integers(0, 5)) for _ in range(rows)]
    cells = [draw(st.sampled_from(SIX_CELLS)) for _ in range(rows)]
    return *on_last_tokens(rewards, [*lengths[:-1], max(1, lengths[-1])]), cells


# Numbers by hand


def test_short_success_and_long_failure_by_sequence() -> None:
    # R = (1, 0): mean 1/2, var = (1/4 + 1/4) / (2 - 1) = 1/2, std = 0.707107
    # A = (1 - 1/2) / 0.707107 = 0.707107 and (0 - 1/2) / 0.707107 = -0.707107
    rewards_BT, mask_BT = on_last_tokens([1.0, 0.0], [1, 8])
    index = uids([("solve", "deduction")] * 2)
    advantages_BT, returns_BT = trr_plus_plus(rewards_BT, mask_BT, index, algorithm())
    expected = torch.tensor([[0.707107] + [0.0] * 7, [-0.707107] * 8])
    torch.testing.assert_close(advantages_BT, expected, atol=1e-6, rtol=0)
    assert torch.equal(returns_BT, torch.tensor([[1.0] + [0.0] * 7, [0.0] * 8]))


def test_short_success_and_long_failure_by_token() -> None:
    # G = 1 once and 0 eight times: mean 1/9
    # var = ((8/9)^2 + 8 * (1/9)^2) / (9 - 1) = (64/81 + 8/81) / 8 = (8/9) / 8 = 1/9, std = 1/3
    # A = (8/9) / (1/3) = 8/3 = 2.666667 and (-1/9) / (1/3) = -1/3
    rewards_BT, mask_BT = on_last_tokens([1.0, 0.0], [1, 8])
    index = uids([("solve", "deduction")] * 2)
    advantages_BT, _ = trr_plus_plus(rewards_BT, mask_BT, index, algorithm(statistics="token"))
    expected = torch.tensor([[8 / 3] + [0.0] * 7, [-1 / 3] * 8])
    torch.testing.assert_close(advantages_BT, expected, atol=1e-6, rtol=0)


def test_six_cells_by_sequence() -> None:
    # Every cell on its own, with the unbiased std:
    # propose deduction ( 0.5, -0.5):      mean 0,    var (1/4 + 1/4) / 1 = 1/2           -> +-0.5 / 0.707107
    # propose abduction ( 0.875, -1):      mean -1/16, deviations +-15/16,
    #                                      var 2 * (225/256) / 1 = 225/128                -> +-0.707107
    # propose induction ( 0.25, 0.25):     equal                                          -> 0
    # solve deduction   ( 1, -0.5, -0.5):  mean 0,    var (1 + 1/4 + 1/4) / 2 = 3/4, std 0.866025
    #                                      1 / 0.866025 = 1.154701, -0.5 / 0.866025 = -0.577350
    # solve abduction   ( 1):              one response                                   -> 0
    # solve induction   ( 1, 1, -1, -1):   mean 0,    var 4 / 3, std 1.154701             -> +-0.866025
    table = {
        ("propose", "deduction"): ([0.5, -0.5], [0.707107, -0.707107]),
        ("propose", "abduction"): ([0.875, -1.0], [0.707107, -0.707107]),
        ("propose", "induction"): ([0.25, 0.25], [0.0, 0.0]),
        ("solve", "deduction"): ([1.0, -0.5, -0.5], [1.154701, -0.577350, -0.577350]),
        ("solve", "abduction"): ([1.0], [0.0]),
        ("solve", "induction"): ([1.0, 1.0, -1.0, -1.0], [0.866025, 0.866025, -0.866025, -0.866025]),
    }
    cells = [cell for cell, (rewards, _) in table.items() for _ in rewards]
    rewards_BT, mask_BT = on_last_tokens(
        [reward for rewards, _ in table.values() for reward in rewards], [3] * len(cells)
    )
    advantages_BT, _ = trr_plus_plus(rewards_BT, mask_BT, uids(cells), algorithm())
    expected_B = torch.tensor([value for _, values in table.values() for value in values])
    torch.testing.assert_close(advantages_BT, expected_B.unsqueeze(-1).expand(-1, 3), atol=1e-6, rtol=0)
    assert advantages_BT[4:6].eq(0).all()
    assert advantages_BT[9].eq(0).all()


def test_six_cells_by_token() -> None:
    # Lengths in brackets; every valid token counts once:
    # propose deduction 1 [1], 0 [8]:     as above                                   -> 8/3, -1/3
    # propose abduction 1 [2], -1 [2]:    mean 0, var 4/3, std 1.154701              -> +-0.866025
    # propose induction 0.5 [3], 0.5 [1]: equal                                      -> 0
    # solve deduction   1 [1], -0.5 [2]:  mean 0, var (1 + 1/4 + 1/4) / 2 = 3/4      -> 1.154701, -0.577350
    # solve abduction   1 [1]:            one token                                  -> 0
    # solve induction   1 [3], 0 [1]:     mean 3/4, var (3/16 + 9/16) / 3 = 1/4      -> 0.5, -1.5
    rows = [
        (("propose", "deduction"), 1.0, 1, 8 / 3),
        (("propose", "deduction"), 0.0, 8, -1 / 3),
        (("propose", "abduction"), 1.0, 2, 0.866025),
        (("propose", "abduction"), -1.0, 2, -0.866025),
        (("propose", "induction"), 0.5, 3, 0.0),
        (("propose", "induction"), 0.5, 1, 0.0),
        (("solve", "deduction"), 1.0, 1, 1.154701),
        (("solve", "deduction"), -0.5, 2, -0.577350),
        (("solve", "abduction"), 1.0, 1, 0.0),
        (("solve", "induction"), 1.0, 3, 0.5),
        (("solve", "induction"), 0.0, 1, -1.5),
    ]
    rewards_BT, mask_BT = on_last_tokens([row[1] for row in rows], [row[2] for row in rows])
    index = uids([row[0] for row in rows])
    advantages_BT, _ = trr_plus_plus(rewards_BT, mask_BT, index, algorithm(statistics="token"))
    expected_BT = torch.tensor([row[3] for row in rows]).unsqueeze(-1) * mask_BT
    torch.testing.assert_close(advantages_BT, expected_BT, atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        # Each cell has one response.
        ("role-kind", [0.0, 0.0, 0.0, 0.0]),
        # propose (1, 0) and solve (1, -1): +-0.5 / sqrt(1/2) and +-1 / sqrt(2), both 0.707107
        ("role", [0.707107, -0.707107, 0.707107, -0.707107]),
        # (1, 0, 1, -1): mean 1/4, var (9/16 + 1/16 + 9/16 + 25/16) / 3 = 11/12, std 0.957427
        # 0.75 / 0.957427 = 0.783349, -0.25 / 0.957427 = -0.261116, -1.25 / 0.957427 = -1.305582
        ("global", [0.783349, -0.261116, 0.783349, -1.305582]),
    ],
)
def test_cells_decide_who_shares_a_baseline(cells: str, expected: list[float]) -> None:
    rewards_BT, mask_BT = on_last_tokens([1.0, 0.0, 1.0, -1.0], [1, 1, 1, 1])
    index = uids([SIX_CELLS[0], SIX_CELLS[1], SIX_CELLS[3], SIX_CELLS[4]])
    advantages_BT, _ = trr_plus_plus(rewards_BT, mask_BT, index, algorithm(cells))
    torch.testing.assert_close(advantages_BT.squeeze(-1), torch.tensor(expected), atol=1e-6, rtol=0)


def test_cells_by_difficulty() -> None:
    # solve easy, of two kinds (1, -1): mean 0, var 2, std 1.414214                 -> +-0.707107
    # solve hard (-0.5): one response                                               -> 0
    # propose easy (0.5, 0): mean 1/4, var (1/16 + 1/16) / 1 = 1/8, std 0.353553    -> +-0.707107
    # propose none (-1, -0.5, -1.5): mean -1, var (1/4 + 1/4) / 2 = 1/4, std 0.5    -> 0, 1, -1
    rows = [
        (("solve", "deduction", "easy"), 1.0, 0.707107),
        (("solve", "abduction", "easy"), -1.0, -0.707107),
        (("solve", "deduction", "hard"), -0.5, 0.0),
        (("propose", "deduction", "easy"), 0.5, 0.707107),
        (("propose", "induction", "easy"), 0.0, -0.707107),
        (("propose", "deduction", "none"), -1.0, 0.0),
        (("propose", "deduction", "none"), -0.5, 1.0),
        (("propose", "abduction", "none"), -1.5, -1.0),
    ]
    rewards_BT, mask_BT = on_last_tokens([row[1] for row in rows], [1] * len(rows))
    index = [make_uid(*row[0]) for row in rows]
    advantages_BT, _ = trr_plus_plus(rewards_BT, mask_BT, index, algorithm("role-difficulty"))
    expected = torch.tensor([row[2] for row in rows])
    torch.testing.assert_close(advantages_BT.squeeze(-1), expected, atol=1e-6, rtol=0)


def test_cells_by_record() -> None:
    # Attempts at record a (1, 1, -1): mean 1/3, var (4/9 + 4/9 + 16/9) / 2 = 4/3, std 1.154701
    #     (2/3) / 1.154701 = 0.577350, (-4/3) / 1.154701 = -1.154701
    # Attempts at record b, of the same kind (-1, -1): equal -> 0
    # Proposals of the kind, of either record (0.5, 0): +-0.25 / sqrt(1/8) = +-0.707107
    a, b = make_uid("solve", "deduction", "easy"), make_uid("solve", "deduction", "easy")
    proposals = [make_uid("propose", "deduction", difficulty) for difficulty in ("easy", "hard")]
    index = [a, b, a, proposals[0], b, a, proposals[1]]
    rewards_BT, mask_BT = on_last_tokens([1.0, -1.0, 1.0, 0.5, -1.0, -1.0, 0.0], [1] * 7)
    advantages_BT, _ = trr_plus_plus(rewards_BT, mask_BT, index, algorithm("record"))
    expected = [0.577350, 0.0, 0.577350, 0.707107, 0.0, -1.154701, -0.707107]
    torch.testing.assert_close(advantages_BT.squeeze(-1), torch.tensor(expected), atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("statistics", "expected"),
    [
        # The mean over responses: (10 - 10 + 0 + 1) / 4 = 1/4
        ("sequence", [9.75, -10.25, -0.25, 0.75]),
        # Over tokens, of lengths 1, 2, 4 and 3: (10 - 20 + 0 + 3) / 10 = -7/10
        ("token", [10.7, -9.3, 0.7, 1.7]),
    ],
)
def test_reward_less_the_mean_of_the_batch(statistics: str, expected: list[float]) -> None:
    # What minAZR does: one cell, and no scale.
    rewards_BT, mask_BT = on_last_tokens([10.0, -10.0, 0.0, 1.0], [1, 2, 4, 3])
    index = uids([SIX_CELLS[0], SIX_CELLS[0], SIX_CELLS[3], SIX_CELLS[4]])
    config = algorithm("global", statistics, scale="none")
    advantages_BT, _ = trr_plus_plus(rewards_BT, mask_BT, index, config)
    torch.testing.assert_close(advantages_BT, torch.tensor(expected).unsqueeze(-1) * mask_BT)


@pytest.mark.parametrize("statistics", Statistics)
def test_reward_less_a_running_mean(statistics: str) -> None:
    # Two cells with equal rewards of 1, whose means so far are 0.25 and -0.5: 1 - 0.25 = 0.75, 1 + 0.5 = 1.5.
    # A row without tokens has no cell, and none is asked for.
    rewards_BT, mask_BT = on_last_tokens([1.0, 1.0, 1.0, 0.0], [1, 2, 3, 0])
    index = [*uids([SIX_CELLS[0], SIX_CELLS[3], SIX_CELLS[3]]), PADDING_UID]
    means = {"propose/deduction": 0.25, "solve/deduction": -0.5}
    config = algorithm(statistics=statistics, baseline="running-mean", scale="none", running_means=means)
    advantages_BT, _ = trr_plus_plus(rewards_BT, mask_BT, index, config)
    expected_BT = torch.tensor([0.75, 1.5, 1.5, 0.0]).unsqueeze(-1) * mask_BT
    torch.testing.assert_close(advantages_BT, expected_BT)


def test_running_mean_of_three_steps() -> None:
    # solve/deduction: rewards (1, 0), mean 1/2: its own mean is its first baseline; m = 0.025, w = 0.05
    #   reward (-1): b = 0.025 / 0.05; m = 0.95 * 0.025 - 0.05 = -0.02625, w = 0.95 * 0.05 + 0.05 = 0.0975
    #   then b = -0.02625 / 0.0975 = -0.269231
    # propose/deduction appears in step 2 with 0.8, and has 0 in step 3, where solve/deduction is not there:
    #   b = 0.8 and 0.04 / 0.05 = 0.8; then m = 0.95 * 0.04 = 0.038, w = 0.0975
    means = RunningMeans(Cells.ROLE_KIND)
    solve, propose = make_uid("solve", "deduction"), make_uid("propose", "deduction")
    assert means.advance([solve, make_uid("solve", "deduction")], [1.0, 0.0]) == {"solve/deduction": 0.5}
    before = means.advance([solve, propose], [-1.0, 0.8])
    assert before == pytest.approx({"solve/deduction": 0.5, "propose/deduction": 0.8})
    assert means.advance([propose], [0.0]) == pytest.approx({"propose/deduction": 0.8})
    state = means.state_dict()
    assert state["solve/deduction"] == pytest.approx([-0.02625, 0.0975])
    assert state["propose/deduction"] == pytest.approx([0.038, 0.0975])
    resumed = RunningMeans(Cells.ROLE_KIND)
    resumed.load_state_dict(json.loads(json.dumps(state)))
    assert resumed.advance([solve], [0.0]) == pytest.approx({"solve/deduction": -0.269231}, abs=1e-6)


@given(st.lists(st.lists(st.floats(-1, 1), min_size=1, max_size=4), min_size=1, max_size=8), st.floats(-2, 2))
@PROPERTY
def test_constant_added_to_all_rewards_moves_a_running_mean_by_it(
    steps: list[list[float]], constant: float
) -> None:
    # A baseline that lags behind a constant would push every response one way, long ones by less a token.
    means, shifted = RunningMeans(Cells.GLOBAL), RunningMeans(Cells.GLOBAL)
    for rewards in steps:
        names = [""] * len(rewards)
        (plain,) = means.advance(names, rewards).values()
        (moved,) = shifted.advance(names, [reward + constant for reward in rewards]).values()
        assert moved == pytest.approx(plain + constant, abs=1e-9)


def test_running_mean_that_is_not_there_stops_the_run() -> None:
    rewards_BT, mask_BT = on_last_tokens([1.0], [1])
    config = algorithm(baseline="running-mean", scale="none", running_means={"solve/deduction": 0.0})
    with pytest.raises(KeyError, match="propose/deduction"):
        trr_plus_plus(rewards_BT, mask_BT, uids([SIX_CELLS[0]]), config)


def test_running_mean_is_not_scaled() -> None:
    rewards_BT, mask_BT = on_last_tokens([1.0], [1])
    config = algorithm(baseline="running-mean", running_means={"propose/deduction": 0.0})
    with pytest.raises(ValueError, match=r"algorithm\.trr\.scale must be none"):
        trr_plus_plus(rewards_BT, mask_BT, uids([SIX_CELLS[0]]), config)


def test_proposals_count_as_much_as_attempts_whatever_their_number() -> None:
    # Cells as they are: propose (0.5, -0.5): +-0.5 / 0.707107 = +-0.707107
    #                    solve (1, -0.5, -0.5, 1, -0.5, -0.5): mean 0, var (2 * 1 + 4 / 4) / 5 = 3/5,
    #                    1 / 0.774597 = 1.290994, -0.5 / 0.774597 = -0.645497
    # N = 8, 2 proposals and 6 attempts: 1/2 * 8 / 2 = 2 and 1/2 * 8 / 6 = 2/3; with 1/4: 1 and 1
    rewards = [0.5, -0.5] + [1.0, -0.5, -0.5] * 2
    rewards_BT, mask_BT = on_last_tokens([*rewards, 0.0], [2] * 8 + [0])
    index = [*uids([("propose", "deduction")] * 2 + [("solve", "deduction")] * 6), PADDING_UID]
    by_number = [0.707107, -0.707107] + [1.290994, -0.645497, -0.645497] * 2 + [0.0]
    for share, proposal, attempt in ((0.5, 2.0, 2 / 3), (0.25, 1.0, 1.0), (None, 1.0, 1.0)):
        advantages_BT, _ = trr_plus_plus(rewards_BT, mask_BT, index, algorithm(proposer_share=share))
        expected_B = torch.tensor(by_number) * torch.tensor([proposal] * 2 + [attempt] * 6 + [1.0])
        expected_BT = (expected_B.unsqueeze(-1) * torch.ones(2)).where(mask_BT.bool(), torch.tensor(0.0))
        torch.testing.assert_close(advantages_BT, expected_BT, atol=1e-6, rtol=0)


def test_a_role_that_is_alone_counts_as_it_is() -> None:
    rewards_BT, mask_BT = on_last_tokens([1.0, 0.0], [1, 8])
    index = uids([("solve", "deduction"), ("solve", "deduction")])
    halved, _ = trr_plus_plus(rewards_BT, mask_BT, index, algorithm(proposer_share=0.5))
    by_number, _ = trr_plus_plus(rewards_BT, mask_BT, index, algorithm())
    assert torch.equal(halved, by_number)


def test_rewards_on_several_tokens_are_summed_and_go_backwards() -> None:
    # Row 0: rewards (1, 2, masked, 4): returns to go (7, 6, -, 4), sum 7. Row 1: (1): return 1, sum 1.
    # Sequence: mean 4, var (9 + 9) / 1 = 18, std 4.242641 -> +-3 / 4.242641 = +-0.707107
    # Token: G = (7, 6, 4, 1): mean 4.5, var (6.25 + 2.25 + 0.25 + 12.25) / 3 = 7, std 2.645751
    #        2.5 / std = 0.944911, 1.5 / std = 0.566947, -0.5 / std = -0.188982, -3.5 / std = -1.322876
    rewards_BT = torch.tensor([[1.0, 2.0, 100.0, 4.0], [1.0, 0.0, 0.0, 0.0]])
    mask_BT = torch.tensor([[1, 1, 0, 1], [1, 0, 0, 0]])
    index = uids([("solve", "deduction")] * 2)
    by_sequence, returns_BT = trr_plus_plus(rewards_BT, mask_BT, index, algorithm())
    by_token, same_returns_BT = trr_plus_plus(rewards_BT, mask_BT, index, algorithm(statistics="token"))
    assert torch.equal(returns_BT, torch.tensor([[7.0, 6.0, 0.0, 4.0], [1.0, 0.0, 0.0, 0.0]]))
    assert torch.equal(same_returns_BT, returns_BT)
    sequence_expected = torch.tensor([[0.707107, 0.707107, 0.0, 0.707107], [-0.707107, 0.0, 0.0, 0.0]])
    torch.testing.assert_close(by_sequence, sequence_expected, atol=1e-6, rtol=0)
    token_expected = torch.tensor([[0.944911, 0.566947, 0.0, -0.188982], [-1.322876, 0.0, 0.0, 0.0]])
    torch.testing.assert_close(by_token, token_expected, atol=1e-6, rtol=0)


# Exact zeros


@pytest.mark.parametrize("statistics", Statistics)
@pytest.mark.parametrize("reward", [0.1, -0.5, 1 / 3, 0.7, 1e-3])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_equal_rewards_give_exactly_zero(statistics: str, reward: float, dtype: str) -> None:
    # The mean of n times 0.1 is not always 0.1 in floating point: not for 3, 7, 9 and 19 in double precision.
    for rows in (2, 3, 7, 9, 10, 19, 49):
        lengths = [1 + row % 5 for row in range(rows)]
        rewards_BT, mask_BT = on_last_tokens([reward] * rows, lengths, getattr(torch, dtype))
        index = uids([("solve", "deduction")] * rows)
        advantages_BT, _ = trr_plus_plus(rewards_BT, mask_BT, index, algorithm(statistics=statistics))
        assert advantages_BT.dtype == rewards_BT.dtype == getattr(torch, dtype)
        assert advantages_BT.eq(0).all()


def test_equal_sums_of_rewards_in_another_order_give_exactly_zero() -> None:
    # In single precision the first sum is 1.2999999523162842 and the second 1.3000000715255737.
    rewards_BT = torch.tensor([[0.1, 0.2, 0.3, 0.7], [0.1, 0.3, 0.7, 0.2]])
    index = uids([("solve", "deduction")] * 2)
    advantages_BT, _ = trr_plus_plus(rewards_BT, torch.ones(2, 4), index, algorithm())
    assert advantages_BT.eq(0).all()


@pytest.mark.parametrize("statistics", Statistics)
@pytest.mark.parametrize("length", [1, 4])
def test_single_response_gives_exactly_zero(statistics: str, length: int) -> None:
    rewards_BT, mask_BT = on_last_tokens([0.1], [length])
    config = algorithm(statistics=statistics)
    advantages_BT, _ = trr_plus_plus(rewards_BT, mask_BT, uids([("solve", "deduction")]), config)
    assert advantages_BT.eq(0).all()


def test_single_valid_token_gives_exactly_zero_where_verl_raises() -> None:
    rewards_BT, mask_BT = on_last_tokens([0.1], [1])
    with pytest.raises(ValueError, match="sum of the mask is one"):
        core_algos.compute_reinforce_plus_plus_outcome_advantage(rewards_BT, mask_BT, config=algorithm())
    config = algorithm(statistics="token")
    advantages_BT, _ = trr_plus_plus(rewards_BT, mask_BT, uids([("solve", "deduction")]), config)
    assert advantages_BT.eq(0).all()


@pytest.mark.parametrize("statistics", Statistics)
def test_batch_without_a_valid_token_gives_exactly_zero(statistics: str) -> None:
    advantages_BT, returns_BT = trr_plus_plus(
        torch.ones(2, 3), torch.zeros(2, 3), ["pad0", "pad1"], algorithm(statistics=statistics)
    )
    assert advantages_BT.eq(0).all()
    assert returns_BT.eq(0).all()


# What may not change the result


@given(batches(), MODES)
@PROPERTY
def test_masked_tokens_are_zero(
    batch: tuple[torch.Tensor, torch.Tensor, list[tuple[str, str]]], mode: str
) -> None:
    rewards_BT, mask_BT, cells = batch
    for result in trr_plus_plus(rewards_BT, mask_BT, uids(cells), algorithm(statistics=mode)):
        assert result[mask_BT == 0].eq(0).all()
        assert result.isfinite().all()


@given(batches(), MODES)
@PROPERTY
def test_rewards_of_masked_tokens_change_nothing(
    batch: tuple[torch.Tensor, torch.Tensor, list[tuple[str, str]]], mode: str
) -> None:
    rewards_BT, mask_BT, cells = batch
    index, config = uids(cells), algorithm(statistics=mode)
    expected = trr_plus_plus(rewards_BT, mask_BT, index, config)
    for junk in (7.0, math.nan):
        result = trr_plus_plus(torch.where(mask_BT == 1, rewards_BT, junk), mask_BT, index, config)
        assert torch.equal(result[0], expected[0])
        assert torch.equal(result[1], expected[1])


@given(batches(), MODES, st.integers(1, 3))
@PROPERTY
def test_padding_rows_of_foreign_uid_change_nothing(
    batch: tuple[torch.Tensor, torch.Tensor, list[tuple[str, str]]], mode: str, extra: int
) -> None:
    rewards_BT, mask_BT, cells = batch
    index, config = uids(cells), algorithm(statistics=mode)
    padded_index = np.array([*index, *[PADDING_UID] * extra], dtype=object)
    padded_rewards_BT = torch.cat([rewards_BT, torch.full((extra, rewards_BT.shape[1]), 5.0)])
    padded_mask_BT = torch.cat([mask_BT, torch.zeros(extra, mask_BT.shape[1], dtype=mask_BT.dtype)])
    expected_BT, _ = trr_plus_plus(rewards_BT, mask_BT, index, config)
    advantages_BT, _ = trr_plus_plus(padded_rewards_BT, padded_mask_BT, padded_index, config)
    assert torch.equal(advantages_BT[: len(index)], expected_BT)
    assert advantages_BT[len(index) :].eq(0).all()


@given(batches(), MODES, st.sampled_from(Cells), st.sampled_from([*Scale, *Baseline]), st.data())
@PROPERTY_OF_ALL_CHOICES
def test_rewards_of_one_cell_move_no_other_cell(
    batch: tuple[torch.Tensor, torch.Tensor, list[tuple[str, str]]],
    mode: str,
    cells: Cells,
    choice: Scale | Baseline,
    data: st.DataObject,
) -> None:
    rewards_BT, mask_BT, origins = batch
    # A second row of an origin is another attempt at its record, or has another difficulty.
    pool = [make_uid(role, kind, label) for role, kind in SIX_CELLS for label in ("easy", "hard")]
    index = [
        data.draw(st.sampled_from([uid for uid in pool if uid.startswith(f"{role}.{kind}.")]))
        for role, kind in origins
    ]
    names = [cell_of(uid, cells) for uid in index]
    changed = data.draw(st.sampled_from(names))
    is_changed_B = torch.tensor([name == changed for name in names])
    new_rewards_BT = rewards_BT.clone()
    for row in is_changed_B.nonzero().squeeze(-1).tolist():
        new_rewards_BT[row] = torch.rand(rewards_BT.shape[1], generator=torch.Generator().manual_seed(row))

    def two_steps(first_BT: torch.Tensor) -> list[torch.Tensor]:
        # With a running mean the first step's rewards reach the second one, of the old rewards again.
        means, found = RunningMeans(cells), []
        for step_BT in (first_BT, rewards_BT):
            config = algorithm(cells, mode, scale=choice if isinstance(choice, Scale) else "std")
            if choice is Baseline.RUNNING_MEAN:
                before = means.advance(index, step_BT.sum(-1).tolist())
                config = algorithm(cells, mode, baseline=choice, scale="none", running_means=before)
            found.append(trr_plus_plus(step_BT, mask_BT, index, config)[0])
        return found

    for before_BT, after_BT in zip(two_steps(rewards_BT), two_steps(new_rewards_BT), strict=True):
        assert torch.equal(before_BT[~is_changed_B], after_BT[~is_changed_B])


@given(batches(), MODES, st.data())
@PROPERTY
def test_permuting_rows_permutes_the_result(
    batch: tuple[torch.Tensor, torch.Tensor, list[tuple[str, str]]], mode: str, data: st.DataObject
) -> None:
    rewards_BT, mask_BT, cells = batch
    rewards_BT = rewards_BT.double()
    index, config = uids(cells), algorithm(statistics=mode)
    order = data.draw(st.permutations(range(len(cells))))
    expected_BT, _ = trr_plus_plus(rewards_BT, mask_BT, index, config)
    advantages_BT, _ = trr_plus_plus(rewards_BT[order], mask_BT[order], index[order], config)
    torch.testing.assert_close(advantages_BT, expected_BT[order], atol=1e-9, rtol=0)


@given(batches(), MODES, st.data(), st.integers(-8, 8))
@PROPERTY
def test_constant_added_to_one_cell_changes_nothing(
    batch: tuple[torch.Tensor, torch.Tensor, list[tuple[str, str]]],
    mode: str,
    data: st.DataObject,
    quarters: int,
) -> None:
    rewards_BT, mask_BT, cells = batch
    rewards_BT = rewards_BT.double()
    index, config = uids(cells), algorithm(statistics=mode)
    shifted_cell = data.draw(st.sampled_from(cells))
    shifted_BT = rewards_BT.clone()
    for row, (cell, length) in enumerate(zip(cells, mask_BT.sum(-1).tolist(), strict=True)):
        if cell == shifted_cell and length > 0:
            shifted_BT[row, length - 1] += quarters / 4
    expected_BT, _ = trr_plus_plus(rewards_BT, mask_BT, index, config)
    advantages_BT, _ = trr_plus_plus(shifted_BT, mask_BT, index, config)
    torch.testing.assert_close(advantages_BT, expected_BT, atol=1e-9, rtol=0)


@given(batches(), MODES, st.sampled_from(["bool", "int64", "float32"]))
@PROPERTY
def test_type_of_the_mask_changes_nothing(
    batch: tuple[torch.Tensor, torch.Tensor, list[tuple[str, str]]], mode: str, dtype: str
) -> None:
    rewards_BT, mask_BT, cells = batch
    index, config = uids(cells), algorithm(statistics=mode)
    expected_BT, _ = trr_plus_plus(rewards_BT, mask_BT, index, config)
    advantages_BT, _ = trr_plus_plus(rewards_BT, mask_BT.to(getattr(torch, dtype)), index, config)
    assert torch.equal(advantages_BT, expected_BT)


@given(batches(), MODES)
@PROPERTY
def test_inputs_are_left_as_they_are(
    batch: tuple[torch.Tensor, torch.Tensor, list[tuple[str, str]]], mode: str
) -> None:
    rewards_BT, mask_BT, cells = batch
    rewards_before_BT, mask_before_BT = rewards_BT.clone(), mask_BT.clone()
    trr_plus_plus(rewards_BT, mask_BT, uids(cells), algorithm(statistics=mode))
    assert torch.equal(rewards_BT, rewards_before_BT)
    assert torch.equal(mask_BT, mask_before_BT)


@given(batches())
@PROPERTY
def test_both_statistics_differ_by_bessels_factor_for_responses_of_equal_length(
    batch: tuple[torch.Tensor, torch.Tensor, list[tuple[str, str]]],
) -> None:
    # n responses of L tokens each, S the sum of squared deviations of the n rewards: the variance is
    # S / (n - 1) by sequence and S * L / (n * L - 1) by token.
    # So A_token / A_sequence = sqrt((n * L - 1) / (L * (n - 1))).
    rewards_BT = batch[0].double()
    rows, length = rewards_BT.shape
    index = uids([("solve", "deduction")] * rows)
    mask_BT = torch.ones(rows, length)
    last_BT = torch.zeros_like(rewards_BT)
    last_BT[:, -1] = rewards_BT.sum(-1)
    by_sequence, _ = trr_plus_plus(last_BT, mask_BT, index, algorithm())
    by_token, _ = trr_plus_plus(last_BT, mask_BT, index, algorithm(statistics="token"))
    ratio = math.sqrt((rows * length - 1) / (length * (rows - 1))) if rows > 1 else 0.0
    torch.testing.assert_close(by_token, by_sequence * ratio, atol=1e-5, rtol=0)


# Together with verl


@given(batches())
@PROPERTY
def test_one_cell_by_token_equals_verls_reinforce_plus_plus(
    batch: tuple[torch.Tensor, torch.Tensor, list[tuple[str, str]]],
) -> None:
    keep_B = batch[1].any(-1)
    rewards_BT, mask_BT = batch[0][keep_B], batch[1][keep_B]
    assume(mask_BT.sum() > 1)
    expected_BT, expected_returns_BT = core_algos.compute_reinforce_plus_plus_outcome_advantage(
        rewards_BT, mask_BT, config=algorithm()
    )
    index = uids([("solve", "deduction")] * len(rewards_BT))
    for config in (algorithm(statistics="token"), algorithm(cells="global", statistics="token")):
        advantages_BT, returns_BT = trr_plus_plus(rewards_BT, mask_BT, index, config)
        assert torch.equal(advantages_BT, expected_BT)
        assert torch.equal(returns_BT, expected_returns_BT)


@pytest.mark.parametrize("statistics", Statistics)
def test_verl_calls_it_by_its_name(statistics: str) -> None:
    rewards_BT, mask_BT = on_last_tokens([1.0, 0.0, -1.0], [1, 8, 0])
    index = np.array([*uids([("solve", "deduction")] * 2), PADDING_UID], dtype=object)
    data = DataProto.from_dict(
        tensors={"token_level_rewards": rewards_BT, "response_mask": mask_BT}, non_tensors={"uid": index}
    )
    config = algorithm(statistics=statistics)
    data = compute_advantage(data, adv_estimator="trr_plus_plus", config=config)
    expected_BT, expected_returns_BT = trr_plus_plus(rewards_BT, mask_BT, index, config)
    assert torch.equal(data.batch["advantages"], expected_BT)
    assert torch.equal(data.batch["returns"], expected_returns_BT)


def test_verls_own_estimators_keep_their_names() -> None:
    for name in ("remax", "opo", "gpg", "rloo_vectorized", "grpo_vectorized", "reinforce_plus_plus_baseline"):
        assert core_algos.get_adv_estimator_fn(name).__module__ == core_algos.__name__
    assert core_algos.get_adv_estimator_fn("grpo") is core_algos.compute_grpo_outcome_advantage
    assert core_algos.get_adv_estimator_fn("rloo") is core_algos.compute_rloo_outcome_advantage
    assert (
        core_algos.get_adv_estimator_fn("reinforce_plus_plus")
        is core_algos.compute_reinforce_plus_plus_outcome_advantage
    )


def test_importing_again_registers_again() -> None:
    again = importlib.reload(estimator)
    assert core_algos.get_adv_estimator_fn("trr_plus_plus") is again.trr_plus_plus


def test_name_taken_by_someone_else_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(core_algos.ADV_ESTIMATOR_REGISTRY, "trr_plus_plus", math.fsum)
    with pytest.raises(ValueError, match="already been registered"):
        importlib.reload(estimator)


# Mistakes


@pytest.mark.parametrize("key", ["cells", "statistics", "baseline", "scale"])
@pytest.mark.parametrize("value", ["kind", "", None, 3])
def test_unknown_choice_is_refused_naming_the_key_and_the_choices(key: str, value: object) -> None:
    config = algorithm()
    config.trr[key] = value
    with pytest.raises(ValueError) as error:
        trr_plus_plus(torch.ones(1, 1), torch.ones(1, 1), uids([("solve", "deduction")]), config)
    choices = {
        "cells": "role-kind, role-difficulty, role, record, global",
        "statistics": "sequence, token",
        "baseline": "cell-mean, running-mean",
        "scale": "std, none",
    }[key]
    assert str(error.value) == f"algorithm.trr.{key} must be one of {choices}; got {value!r}"


def test_defaults_are_the_papers() -> None:
    rewards_BT, mask_BT = on_last_tokens([1.0, 0.0, 0.5, 0.25], [1, 8, 2, 3])
    index = uids([("solve", "deduction")] * 2 + [("propose", "deduction")] * 2)
    paper = algorithm("role-kind", "sequence", baseline="cell-mean", scale="std")
    expected_BT, _ = trr_plus_plus(rewards_BT, mask_BT, index, paper)
    without_trr = OmegaConf.create({"gamma": 1.0})
    # verl's own tree refuses unknown keys, and has no `trr`.
    OmegaConf.set_struct(without_trr, True)
    advantages_BT, _ = trr_plus_plus(rewards_BT, mask_BT, index, without_trr)
    assert torch.equal(advantages_BT, expected_BT)


def test_foreign_uid_on_a_row_with_tokens_is_refused_and_shown() -> None:
    foreign = "5f0c2a9e-8f9d-4c51-9a43-3d5b2d8b2f11"
    for cells in set(Cells) - {Cells.GLOBAL}:
        with pytest.raises(ValueError, match=foreign):
            trr_plus_plus(torch.ones(1, 1), torch.ones(1, 1), [foreign], algorithm(cells))


def test_global_cells_take_any_uid() -> None:
    rewards_BT, mask_BT = on_last_tokens([1.0, 0.0], [1, 1])
    advantages_BT, _ = trr_plus_plus(rewards_BT, mask_BT, ["a", "b"], algorithm("global"))
    # mean 1/2, var 1/2: +-0.5 / 0.707107
    expected_BT = torch.tensor([[0.707107], [-0.707107]])
    torch.testing.assert_close(advantages_BT, expected_BT, atol=1e-6, rtol=0)


def test_discount_is_refused() -> None:
    with pytest.raises(ValueError, match=r"algorithm\.gamma must be 1 for trr_plus_plus; got 0\.9"):
        trr_plus_plus(
            torch.ones(1, 1), torch.ones(1, 1), uids([("solve", "deduction")]), algorithm(gamma=0.9)
        )


def test_shapes_that_do_not_fit_are_refused() -> None:
    for rewards_BT, mask_BT, rows in (
        (torch.ones(2, 3), torch.ones(2, 4), 2),
        (torch.ones(2, 3), torch.ones(2, 3), 1),
    ):
        with pytest.raises(ValueError, match="must agree on"):
            trr_plus_plus(rewards_BT, mask_BT, uids([("solve", "deduction")] * rows), algorithm())
