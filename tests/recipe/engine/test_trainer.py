"""What the trainer checks of an update that begins from the log-probabilities of sampling."""

from __future__ import annotations

import pytest

from recipe.selfplay.curriculum import SelfPlayError


@pytest.fixture(scope="module", autouse=True)
def stack() -> None:
    """Import verl when a test runs: it takes seconds, and every pytest collects this file."""
    global check_rollout
    from recipe.engine.trainer import check_rollout


def test_rounding_passes() -> None:
    for kl in (0.0, -2e-8, 1e-6, -1e-6):
        check_rollout(kl, step=1)


@pytest.mark.parametrize("kl", [0.02, -0.02, float("nan")])
def test_another_policy_stops_the_run(kl: float) -> None:
    with pytest.raises(SelfPlayError, match=r"^step 7: vLLM sampled from another policy .* nats a token"):
        check_rollout(kl, step=7)
