"""Outputs of sessions that end at about the same time are stored together."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from recipe.engine.agent_loop import SelfPlayWorker
    from recipe.engine.rows import Row, Together, store


@pytest.fixture(scope="module", autouse=True)
def stack() -> None:
    """Import verl when a test runs: it takes seconds, and every pytest collects this file."""
    global Row, SelfPlayWorker, Together, store
    from recipe.engine.agent_loop import SelfPlayWorker
    from recipe.engine.rows import Row, Together, store


def row(key: str, *fields: str) -> Row:
    return Row(key, dict.fromkeys(fields, 0), {"status": "success"})


class Storage:
    """Keeps what it was given, call by call; fails at a key named `bad`."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, list[str]]] = []

    async def store(self, partition: str, rows: list[Row]) -> None:
        keys = [each.key for each in rows]
        if "bad" in keys:
            raise OSError
        self.calls.append((partition, keys))


def test_rows_of_the_same_fields_are_one_call_and_others_are_another() -> None:
    storage = Storage()

    async def sessions() -> None:
        together = Together(storage.store, wait_s=0.0)
        await asyncio.gather(
            together.put("train", [row("a_0_0", "x"), row("a_0_1", "x")]),
            together.put("train", [row("b_0_0", "x", "y")]),
            together.put("val", [row("c_0_0", "x")]),
            together.put("train", [row("d_0_0", "x")]),
        )
        assert len(storage.calls) == 3  # all of it is stored by now
        await together.put("train", [row("e_0_0", "x")])

    asyncio.run(sessions())
    assert storage.calls == [
        ("train", ["a_0_0", "a_0_1", "d_0_0"]),
        ("train", ["b_0_0"]),
        ("val", ["c_0_0"]),
        ("train", ["e_0_0"]),
    ]


def test_a_session_hears_that_its_rows_were_not_stored_and_the_next_are() -> None:
    storage = Storage()

    async def sessions() -> None:
        together = Together(storage.store, wait_s=0.0)
        with pytest.raises(OSError):
            await together.put("train", [row("bad", "x")])
        await together.put("train", [row("good", "x")])

    asyncio.run(sessions())
    assert storage.calls == [("train", ["good"])]


def test_a_session_that_is_cancelled_leaves_the_rows_of_others() -> None:
    storage = Storage()

    async def sessions() -> None:
        together = Together(storage.store, wait_s=0.01)
        first, second = (asyncio.create_task(together.put("train", [row(key, "x")])) for key in "ab")
        await asyncio.sleep(0)
        first.cancel()
        await second

    asyncio.run(sessions())
    assert storage.calls == [("train", ["a", "b"])]


def test_a_row_is_what_verl_stores(monkeypatch: pytest.MonkeyPatch) -> None:
    """verl's own worker and this one, for a session of two outputs; what they put is the same."""
    import torch
    from verl.experimental.agent_loop.agent_loop import AgentLoopMetrics, AgentLoopOutput
    from verl.trainer.ppo.v1 import agent_loop_tq

    session = {"uid": "u", "session_id": 0, "index": 3, "global_steps": 5, "request": "{}"}

    def outputs() -> list[AgentLoopOutput]:
        return [
            AgentLoopOutput(
                prompt_ids=[1, 2],
                response_ids=response,
                response_mask=[1] * len(response),
                response_logprobs=[-0.5] * len(response),
                reward_score=score,
                num_turns=2,
                metrics=AgentLoopMetrics(),
                extra_fields={
                    "azr_index": 3,
                    "min_global_steps": 4,
                    "max_global_steps": 4,
                    "reward_extra_info": facts,
                },
            )
            for response, score, facts in [([7, 8, 9], 0.0, {}), ([6], 1.0, {"acc": 1.0})]
        ]

    class Loop:
        async def run(self, sampling_params: dict[str, Any], **kwargs: Any) -> list[AgentLoopOutput]:
            return outputs()

    stored: list[dict[str, Any]] = []

    async def keep(**call: Any) -> None:
        stored.append(call)

    monkeypatch.setattr(agent_loop_tq.tq, "async_kv_batch_put", keep)
    worker: Any = object.__new__(SelfPlayWorker)
    vars(worker).update(
        processor=None,
        reward_loop_worker_handles=None,
        distillation_enabled=False,
        _together=Together(store, wait_s=0.0),
    )
    monkeypatch.setattr(SelfPlayWorker, "_loop", lambda self, name: Loop())
    trajectory = {"validate": False}
    asyncio.run(worker._run_agent_loop({}, trajectory, agent_name="any", **session))
    asyncio.run(worker._agent_loop_postprocess(outputs(), False, **session))
    ours, theirs = stored
    assert ours["keys"] == theirs["keys"] == ["u_0_0", "u_0_1"]
    assert ours["tags"] == theirs["tags"]
    assert ours["partition_id"] == theirs["partition_id"] == "train"
    assert set(ours["fields"].keys()) == set(theirs["fields"].keys())
    for place in range(2):
        found, expected = (call["fields"][place].to_dict() for call in stored)
        for name, value in expected.items():
            if isinstance(value, torch.Tensor):
                torch.testing.assert_close(found[name], value, msg=name)
            else:
                assert found[name] == value, name
