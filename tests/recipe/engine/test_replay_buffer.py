"""A pack's fault, reported in verl's store, stops whoever waits for the rollout."""

from __future__ import annotations

from typing import Any

import pytest
from omegaconf import OmegaConf

from tasks.guard import PackError


@pytest.fixture(scope="module", autouse=True)
def stack() -> None:
    """Import verl when a test runs: it takes seconds, and every pytest collects this file."""
    global replay_buffer, AzrReplayBuffer, report_pack_error
    from recipe.engine import replay_buffer
    from recipe.engine.replay_buffer import AzrReplayBuffer, report_pack_error


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> dict[str, dict[str, Any]]:
    """verl's store as a dictionary: partition -> key -> tag."""
    held: dict[str, dict[str, Any]] = {}

    def put(key: str, partition_id: str, tag: dict[str, str]) -> None:
        held.setdefault(partition_id, {})[key] = tag

    monkeypatch.setattr(replay_buffer.tq, "kv_put", put)
    monkeypatch.setattr(replay_buffer.tq, "kv_list", lambda: held)
    return held


@pytest.fixture
def buffer() -> AzrReplayBuffer:
    return AzrReplayBuffer(
        trainer_mode="sync",
        trainer_config=OmegaConf.create(),
        max_off_policy_threshold=None,
        max_off_policy_strategy="drop",
        sampler_kwargs=OmegaConf.create({"poll_interval_s": 0.01}),
    )


def test_whoever_waits_gets_the_fault(store: dict[str, dict[str, Any]], buffer: AzrReplayBuffer) -> None:
    store["train"] = {"a": {"is_prompt": True, "status": "running", "global_steps": 1}}
    report_pack_error(PackError("pack p: judge('x') returned None; it must be a Verdict"))
    with pytest.raises(PackError, match=r"^pack p: judge\('x'\) returned None"):
        buffer.wait_for(["a"], "train")
    with pytest.raises(PackError, match=r"^pack p: judge\('x'\) returned None"):
        buffer.sample(global_steps=1, partition_id="val", batch_size=1)


def test_without_one_a_missing_response_is_waited_over(
    store: dict[str, dict[str, Any]], buffer: AzrReplayBuffer
) -> None:
    store["train"] = {"a": {"is_prompt": True, "status": "failure", "global_steps": 1}}
    store["pack-error"] = {"pack-error": {}}  # about to be reported
    assert buffer.wait_for(["a"], "train") == []
