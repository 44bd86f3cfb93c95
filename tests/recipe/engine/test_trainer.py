"""What the trainer checks of an update that begins from the log-probabilities of sampling."""

from __future__ import annotations

import pytest

from recipe.selfplay.curriculum import SelfPlayError


@pytest.fixture(scope="module", autouse=True)
def stack() -> None:
    """Import verl when a test runs: it takes seconds, and every pytest collects this file."""
    global MAX_KL, check_rollout
    from recipe.engine.trainer import MAX_KL, check_rollout


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
