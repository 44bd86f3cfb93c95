"""Held-out responses: a beginning that the model did not write."""

from __future__ import annotations

import asyncio
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
    global ITEM, HeldOutLoop
    from recipe.engine.agent_loop import ITEM, HeldOutLoop


class Server:
    """Answers every request with one text, and keeps what it was asked."""

    def __init__(self, tokenizer: Any, text: str) -> None:
        self._ids = tokenizer.encode(text)
        self.asked: list[tuple[list[int], float]] = []

    async def generate(self, request_id: str, prompt_ids: list[int], sampling_params: dict[str, Any]) -> Any:
        self.asked.append((prompt_ids, sampling_params["temperature"]))
        return SimpleNamespace(token_ids=self._ids, stop_reason="completed", log_probs=None, extra_fields={})


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
    return asyncio.run(loop.run({"temperature": 0.0}, request=request.to_json()))


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


def test_examples_are_earlier_turns_of_a_held_out_row(config: DictConfig) -> None:
    from recipe.engine.dataset import AzrDataset

    config.azr.elicit.examples = 2
    OmegaConf.resolve(config.data)
    row = AzrDataset("held-out", None, None, config.data, max_samples=3)[1]
    assert [turn["role"] for turn in row["raw_prompt"]] == ["user", "assistant", "user", "assistant", "user"]
    assert Request.from_json(row["request"]).messages == row["raw_prompt"]
