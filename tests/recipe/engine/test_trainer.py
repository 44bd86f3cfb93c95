"""What the trainer checks of an update, and what it writes of an evaluation."""

from __future__ import annotations

from pathlib import Path

import pytest

from recipe.run.evaluations import Evaluation, read_evaluations
from recipe.run.files import RunFiles
from recipe.selfplay.config import AzrConfig, FailureConfig
from recipe.selfplay.curriculum import SelfPlayError


@pytest.fixture(scope="module", autouse=True)
def stack() -> None:
    """Import verl when a test runs: it takes seconds, and every pytest collects this file."""
    global ITEM, MAX_KL, AzrTrainer, check_rollout
    from recipe.engine.agent_loop import ITEM
    from recipe.engine.trainer import MAX_KL, AzrTrainer, check_rollout


def test_rounding_passes() -> None:
    for kl in (0.0, -2e-8, 1e-6, -1e-6):
        check_rollout(kl, clipped=0.0, step=1)


@pytest.mark.parametrize(
    ("kl", "clipped"), [(0.02, 0.0), (-0.02, 0.0), (float("nan"), 0.0), (1e-6, 0.001), (0.0, float("nan"))]
)
def test_log_probabilities_of_another_policy_or_of_other_tokens_stop_the_run(
    kl: float, clipped: float
) -> None:
    with pytest.raises(SelfPlayError, match=r"^step 7: vLLM's log-probabilities are not the trainer's, by "):
        check_rollout(kl, clipped, step=7)


def test_log_probabilities_of_other_tokens_have_the_same_mean_and_are_clipped() -> None:
    """By verl's own loss: each response's shifted by one token."""
    import torch
    from verl.trainer.ppo.core_algos import compute_policy_loss_vanilla
    from verl.workers.config import FSDPActorConfig

    trained = -torch.rand(4, 32, generator=torch.Generator().manual_seed(0)) * 3
    ones, config = (
        torch.ones(4, 32),
        FSDPActorConfig(strategy="fsdp2", rollout_n=1, ppo_micro_batch_size_per_gpu=1),
    )
    for sampled, is_other in ((trained + 1e-6, False), (trained.roll(1, dims=1), True)):
        _, found = compute_policy_loss_vanilla(sampled, trained, ones, ones, config=config)
        assert abs(found["actor/ppo_kl"]) < MAX_KL
        assert (found["actor/pg_clipfrac"] > 0) is is_other


def test_an_evaluation_is_written_by_item_in_whatever_order_responses_come(tmp_path: Path) -> None:
    # Of four items the third had no response. verl averages what it is told of responses: not their indices.
    trainer = AzrTrainer.__new__(AzrTrainer)
    trainer.azr = AzrConfig(held_out_samples=4, failures=FailureConfig(max_share=0.5))
    trainer.files = RunFiles(tmp_path)
    trainer.global_steps = 3
    trainer._held_out_digest, trainer._held_out_groups = "digest", ["a", "a", "b", "b"]
    infos = {
        "reward": [0.0, 1.0, 0.0],
        ITEM: [3, 0, 1],
        "acc": [0.0, 1.0, 0.0],
        "format": [0.0, 1.0, 1.0],
        "sampled": [0.0, 0.75, 0.5],
    }
    uids = ["u3", "u0", "u1"]
    found = trainer._val_metrics_update(
        ["b", "a", "a"],
        uids,
        infos,
        [2, 2, 2],
        expected_acc_counts={("b", "u3"): 1, ("a", "u0"): 1, ("a", "u1"): 1, ("b", "u2"): 1},
    )
    assert read_evaluations(tmp_path) == {
        3: Evaluation(3, "digest", ("a", "a", "b", "b"), "10-0", 4, (3, 2, None, 0), "11-0")
    }
    assert found["azr/held_out/all/accuracy"] == pytest.approx(1 / 3)
    assert found["azr/held_out/a/mean_at_4"] == pytest.approx((3 + 2) / 8)
    assert found["val-aux/a/sampled/mean@1"] == pytest.approx(0.625)
    assert not [name for name in found if ITEM in name.split("/")]
