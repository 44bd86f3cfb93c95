"""Responses end with the token that completes a stop string, in vLLM and in what is judged and trained on."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import cache
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

STOP = ("</answer>", "\n")
E_ACUTE = "\N{LATIN SMALL LETTER E WITH ACUTE}"
LENGTH = 8  # of a response, in tokens


@pytest.fixture(scope="module", autouse=True)
def stack() -> None:
    """Import vLLM when a test runs: it takes seconds, and every pytest collects this file."""
    global end_at_stop, end_with
    from recipe.engine.ending import end_at_stop, end_with


def words(*pieces: str) -> Any:
    """A tokenizer's `decode` whose token i is the i-th of these pieces."""
    return lambda token_ids: "".join(pieces[i] for i in token_ids)


@pytest.mark.parametrize(
    ("pieces", "ended"),
    [
        (["7", "\n", "8"], ["7", "\n"]),
        (["5", "</", "answer", ">", " User"], ["5", "</", "answer", ">"]),
        # The token that completes it holds more: it is trained on and judged whole.
        (["5", "</", "answer", ">\n\n", "User"], ["5", "</", "answer", ">\n\n"]),
        (["\n\n", "7"], ["\n\n"]),
        (["no", "end"], ["no", "end"]),
        (["<", "/answer"], ["<", "/answer"]),
        ([], []),
    ],
)
def test_tokens_end_with_the_one_that_completes_a_stop_string(pieces: list[str], ended: list[str]) -> None:
    found = end_at_stop(range(len(pieces)), STOP, words(*pieces))
    assert [pieces[i] for i in found] == ended


# ------------------------------ vLLM's own machinery ------------------------------

SPECIAL = "<|end|>"
BYTES = ["Ã", "©", "ð", "Ł", "Ĵ", "©"]
"""Of two characters, as byte-level tokenizers spell bytes: tokens may end inside one."""
PIECES = ["a", "<", "/", "answer", ">", "Ċ", "</", ">Ċ", "ĊĊ", "ĊÃ", *dict.fromkeys(BYTES)]


@cache
def tokenizer() -> Any:
    """Byte-level, with tokens that hold the end of a stop string and more, and one that is no text."""
    from tokenizers import AddedToken, Tokenizer, decoders, models
    from transformers import PreTrainedTokenizerFast

    vocab = {piece: i for i, piece in enumerate(PIECES)}
    built = Tokenizer(models.BPE(vocab, []))
    built.decoder = decoders.ByteLevel()
    built.add_special_tokens([AddedToken(SPECIAL, special=True)])
    return PreTrainedTokenizerFast(tokenizer_object=built, eos_token=SPECIAL)


def ids_of(*pieces: str) -> list[int]:
    """Token ids of these pieces."""
    return list(tokenizer().convert_tokens_to_ids(list(pieces)))


def decode(token_ids: Sequence[int]) -> str:
    """As the agent loop makes text of tokens."""
    return str(tokenizer().decode(token_ids, skip_special_tokens=True))


def sampled(response: Sequence[int], stop: Sequence[str]) -> list[int]:
    """The tokens of this response that vLLM samples, one by one, before it finds a stop string."""
    from vllm import SamplingParams
    from vllm.v1.engine.detokenizer import IncrementalDetokenizer

    params = SamplingParams(max_tokens=99, **end_with(stop))
    request: Any = SimpleNamespace(
        sampling_params=params, prompt_token_ids=ids_of("a", "Ċ"), request_id="one"
    )
    detokenizer = IncrementalDetokenizer.from_new_request(tokenizer(), request)
    for count, token in enumerate(response, start=1):
        if detokenizer.update([token], stop_terminated=token == tokenizer().eos_token_id):
            return list(response[:count])
    return list(response)


@pytest.mark.parametrize(
    ("pieces", "num_sampled", "text"),
    [
        (["a", "</", "answer", ">Ċ", "a"], 4, "a</answer>\n"),
        (["a", "</", "answer", ">", SPECIAL], 4, "a</answer>"),
        (["</", SPECIAL, "answer", ">", "a"], 4, "</answer>"),
        (["a", "ĊĊ", "a"], 2, "a\n\n"),
        (["a", "</", "answer", SPECIAL], 4, "a</answer"),
        # Half a character before it is none; half a one behind it makes vLLM wait for the rest.
        (["Ã", "Ċ", "a"], 2, "\N{REPLACEMENT CHARACTER}\n"),
        (["a", "ĊÃ", "©", "a"], 3, "a\n\N{REPLACEMENT CHARACTER}"),
    ],
)
def test_vllm_samples_up_to_the_token_that_completes_a_stop_string(
    pieces: list[str], num_sampled: int, text: str
) -> None:
    found = sampled(ids_of(*pieces), STOP)
    assert len(found) == num_sampled
    assert decode(end_at_stop(found, STOP, decode)) == text


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from([*PIECES, SPECIAL]), max_size=12))
def test_what_is_trained_on_ends_where_vllm_does_or_inside_a_character_before(pieces: list[str]) -> None:
    response = ids_of(*pieces)
    for stop in (("\n",), ("</answer>",), STOP, (E_ACUTE,), ()):
        found = sampled(response, stop)
        trained = end_at_stop(found, stop, decode)
        # The shortest beginning that holds a stop string; the same whatever vLLM samples behind it.
        texts = [decode(response[:count]) for count in range(len(response) + 1)]
        holding = [count for count, text in enumerate(texts) if any(mark in text for mark in stop)]
        assert trained == response[: holding[0] if holding else len(response)]
        assert found == trained or "\N{REPLACEMENT CHARACTER}" in decode(trained)[-3:]


def test_vllm_hands_a_response_over_when_it_is_finished() -> None:
    from vllm import SamplingParams
    from vllm.sampling_params import RequestOutputKind

    from recipe.engine.server import _generate_many

    asked: list[dict[str, Any]] = []

    class Server:
        async def generate(self, prompt_ids: list[int], params: dict[str, Any], request_id: str) -> str:
            asked.append(
                params | {"temperature": params.pop("temperature")}
            )  # as verl's server takes them out
            return request_id

    found = asyncio.run(_generate_many(Server(), [1], {"temperature": 0.5, **end_with(STOP)}, 2))
    assert len(set(found)) == 2
    for params in asked:
        assert SamplingParams(**params).output_kind is RequestOutputKind.FINAL_ONLY
        assert params["temperature"] == 0.5


def test_without_stop_strings_vllm_makes_no_text() -> None:
    assert end_with(())["detokenize"] is False


# ------------------------------ the agent loop ------------------------------


@pytest.mark.parametrize(
    ("pieces", "kept"),
    [
        (["a", "</", "answer", ">Ċ"], 4),
        (["a", "Ċ", "a", "a"], 2),  # vLLM gave more than it was to
        (["a"] * 6 + ["answer", "Ċ"], LENGTH),
        (["a"] * LENGTH + ["Ċ"], LENGTH),  # the stop string would come one token too late
        (["a", SPECIAL], 2),
    ],
)
def test_tokens_log_probabilities_and_text_of_a_response_are_of_one_length(
    pieces: list[str], kept: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    from verl.workers.rollout.replica import TokenOutput

    from recipe.engine import agent_loop
    from recipe.engine.agent_loop import SolveLoop
    from recipe.selfplay.rollout import CheckClock

    async def answer(
        client: None, prompt_ids: list[int], params: dict[str, Any], count: int
    ) -> list[TokenOutput]:
        assert params["stop"] == list(STOP)
        ids = ids_of(*pieces)
        return [TokenOutput(token_ids=ids, log_probs=[-float(i) for i in range(len(ids))])] * count

    monkeypatch.setattr(agent_loop, "generate_many", answer)
    loop: Any = object.__new__(SolveLoop)
    loop.tokenizer, loop.server_manager, loop.stop, loop.retries = tokenizer(), None, STOP, 0
    loop.rollout_config = SimpleNamespace(prompt_length=1, response_length=LENGTH)
    loop.clock = CheckClock()
    loop.continuous_token_builder = SimpleNamespace(build_initial_tokens=lambda messages: ids_of("a"))
    (response,) = asyncio.run(loop.generate({}, [], num_responses=1))
    tokens = response.tokens
    assert tokens.response_ids == ids_of(*pieces[:kept])
    assert tokens.response_mask == [1] * kept
    assert tokens.response_logprobs == [-float(i) for i in range(kept)]
    assert response.text == decode(tokens.response_ids)
