"""Held-out responses: a beginning that the model did not write."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from omegaconf import DictConfig, OmegaConf

from recipe.preflight.model import find_tokenizer
from recipe.selfplay.rollout import CheckClock, PromptTooLongError
from recipe.selfplay.types import Request
from tasks.arithmetic import ArithmeticPack
from tasks.contract import TaskRecord

RECORD = TaskRecord("deduction", {"a": 4, "op": "+", "b": 1})


@pytest.fixture(scope="module", autouse=True)
def stack() -> None:
    """Import verl when a test runs: it takes seconds, and every pytest collects this file."""
    global ActorDiedError, HeldOutLoop, ITEM, TokenOutput
    from ray.exceptions import ActorDiedError
    from verl.workers.rollout.replica import TokenOutput

    from recipe.engine.agent_loop import ITEM, HeldOutLoop


class Server:
    """A client and its one server, which answers with one text and keeps what it was asked.

    `answered` says how many responses of each call come back with something in them; None: the call fails.
    """

    def __init__(self, tokenizer: Any, text: str, answered: Sequence[int | None] = ()) -> None:
        self._ids = tokenizer.encode(text)
        self._answered = iter(answered)
        self.asked: list[tuple[list[int], float]] = []
        self.log_probs_asked: set[bool] = set()
        self.generate_many = SimpleNamespace(remote=self._generate_many)
        self.num_busy = 0

    async def _acquire_server(self, request_id: str, **fields: Any) -> tuple[str, Any]:
        self.num_busy += 1
        return "one", self

    def _release_server(self, server_id: str, request_id: str) -> None:
        self.num_busy -= 1

    async def _generate_many(
        self, prompt_ids: list[int], sampling_params: dict[str, Any], num_responses: int
    ) -> list[TokenOutput]:
        self.asked += num_responses * [(prompt_ids, sampling_params["temperature"])]
        self.log_probs_asked.add(sampling_params["logprobs"])
        answered = next(self._answered, num_responses)
        if answered is None:
            raise ActorDiedError
        return [
            TokenOutput(token_ids=self._ids if number < answered else [], stop_reason="completed")
            for number in range(num_responses)
        ]


def held_out_loop(config: DictConfig, text: str, longest_prompt: int = 224) -> Any:
    """A held-out loop whose model writes `text`, as far as its `run` needs one."""
    loop = object.__new__(HeldOutLoop)
    tokenizer: Any = find_tokenizer("tiny")

    def build(messages: list[dict[str, str]]) -> list[int]:
        return list(tokenizer.apply_chat_template(messages, add_generation_prompt=True)["input_ids"])

    vars(loop).update(
        config=config,
        pack=ArithmeticPack(terse=True),
        stop=(),
        clock=CheckClock(),
        retries=0,
        tokenizer=tokenizer,
        continuous_token_builder=SimpleNamespace(build_initial_tokens=build),
        rollout_config=SimpleNamespace(prompt_length=longest_prompt, response_length=64),
        server_manager=Server(tokenizer, text),
    )
    return loop


def run(loop: Any) -> Any:
    request = Request.solve(0, RECORD, loop.pack.solve_prompt(RECORD))
    return asyncio.run(loop.run({"temperature": 0.0, "logprobs": True}, request=request.to_json()))


def measured(output: Any) -> dict[str, float]:
    """What an output says of its attempts, but for which task it was."""
    return {name: value for name, value in output.extra_fields["reward_extra_info"].items() if name != ITEM}


def test_forced_beginning_is_behind_the_prompt_and_judged_with_the_response(config: DictConfig) -> None:
    config.azr.elicit.beginning = "(4+1=5"
    config.azr.held_out_samples = 2
    loop = held_out_loop(config, "):5")
    output = run(loop)
    decode = loop.tokenizer.decode
    assert measured(output) == {"acc": 1.0, "format": 1.0, "sampled": 1.0}
    assert decode(output.prompt_ids) == "<|im_start|>4 + 1 =<|im_end|><|im_start|>(4+1=5"
    assert decode(output.response_ids) == "):5"
    assert loop.server_manager.asked == [(output.prompt_ids, 0.0)] + 2 * [(output.prompt_ids, 1.0)]


def test_what_is_judged_is_not_the_response_alone(config: DictConfig) -> None:
    config.azr.elicit.beginning = ":1"
    assert measured(run(held_out_loop(config, "5"))) == {"acc": 0.0, "format": 1.0}


def test_forced_beginning_counts_as_prompt(config: DictConfig) -> None:
    config.azr.elicit.beginning = "(4"
    fits = len("4 + 1 =") + 3 + len("(4")  # a byte a token, and three markers
    run(held_out_loop(config, "):5", fits))
    with pytest.raises(PromptTooLongError):
        run(held_out_loop(config, "):5", fits - 1))


def test_greedy_answer_out_of_form_is_followed_by_sampled_tries(config: DictConfig) -> None:
    config.azr.elicit.format_tries = 3
    loop = held_out_loop(config, "oh")
    assert measured(run(loop)) == {"acc": 0.0, "format": 0.0}
    assert [temperature for _, temperature in loop.server_manager.asked] == [0.0, 1.0, 1.0]


def test_an_evaluation_asks_for_no_probabilities(config: DictConfig) -> None:
    config.azr.held_out_samples = 2
    loop = held_out_loop(config, "):5")
    run(loop)
    assert loop.server_manager.log_probs_asked == {False}


@pytest.mark.parametrize(
    ("answered", "retries", "received", "asked"),
    [
        ([4], 2, 4, 4),
        ([3, 1], 2, 4, 5),  # the missing one alone is asked again
        ([None, 2, 2], 2, 4, 10),  # a server died with all four
        ([3, 0], 1, 3, 5),  # and is left out where that does not help
        ([None, None], 1, 0, 8),
    ],
)
def test_what_did_not_come_back_is_asked_again(
    config: DictConfig, answered: list[int | None], retries: int, received: int, asked: int
) -> None:
    loop = held_out_loop(config, ":5")
    loop.retries = retries
    loop.server_manager = server = Server(loop.tokenizer, ":5", answered)
    prompt = loop.pack.solve_prompt(RECORD)
    params = {"temperature": 1.0, "logprobs": True}
    responses = asyncio.run(loop.generate(params, prompt, num_responses=4))
    assert [response.text for response in responses] == received * [":5"]
    assert len(server.asked) == asked
    assert server.num_busy == 0


def test_examples_are_earlier_turns_of_a_held_out_row(config: DictConfig) -> None:
    from recipe.engine.dataset import AzrDataset

    config.azr.elicit.examples = 2
    OmegaConf.resolve(config.data)
    row = AzrDataset("held-out", None, None, config.data, max_samples=3)[1]
    assert [turn["role"] for turn in row["raw_prompt"]] == ["user", "assistant", "user", "assistant", "user"]
    assert Request.from_json(row["request"]).messages == row["raw_prompt"]
