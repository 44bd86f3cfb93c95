"""Responses end with the token that completes a stop string, in vLLM and in what is trained on."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

STOP = ("</answer>", "\n")


@pytest.fixture(scope="module", autouse=True)
def stack() -> None:
    """Import vLLM when a test runs: it takes seconds, and every pytest collects this file."""
    global end_at_stop, ending
    from recipe.engine.ending import end_at_stop, ending


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


@given(
    st.lists(st.sampled_from(["a", "ab", "b", "\n", "</", "answer", ">", ">\n", "\n\n", ""]), max_size=12),
    st.lists(st.sampled_from(["\n", "</answer>", "ab", "ba"]), max_size=3),
)
def test_it_is_the_shortest_beginning_that_holds_one(pieces: list[str], stop: list[str]) -> None:
    found = end_at_stop(range(len(pieces)), stop, words(*pieces))
    beginnings = ["".join(pieces[:count]) for count in range(len(pieces) + 1)]
    with_one = [i for i, text in enumerate(beginnings) if any(mark in text for mark in stop)]
    assert found == list(range(with_one[0] if with_one else len(pieces)))


def vllm_stops_after(
    tokenizer: Any, prompt: Sequence[int], response: Sequence[int], stop: Sequence[str]
) -> int:
    """Tokens of a response that vLLM's own machinery asks for; all if it finds no stop string."""
    from vllm import SamplingParams
    from vllm.v1.engine.detokenizer import IncrementalDetokenizer

    params = SamplingParams(max_tokens=99, **ending(stop))
    request: Any = SimpleNamespace(sampling_params=params, prompt_token_ids=list(prompt), request_id="one")
    detokenizer = IncrementalDetokenizer.from_new_request(tokenizer, request)
    for count, token in enumerate(response, start=1):
        if detokenizer.update([token], stop_terminated=False):
            return count
    return len(response)


@settings(max_examples=50, deadline=None)
@given(
    st.text(st.sampled_from("ab\n</answer>\N{LATIN SMALL LETTER E WITH ACUTE}\N{PILE OF POO}"), max_size=30)
)
def test_vllm_ends_where_the_trained_tokens_end(text: str) -> None:
    """Token by token, as vLLM generates, with a byte-level tokenizer whose characters take up to four."""
    from recipe.tiny_model.tokenizer import build_tokenizer

    tokenizer = build_tokenizer(512)
    prompt, response = tokenizer("Calculate: 1 + 2 =")["input_ids"], tokenizer(text)["input_ids"]

    def decode(token_ids: Sequence[int]) -> str:
        return str(tokenizer.decode(token_ids, skip_special_tokens=True))

    for stop in (("\n",), ("</answer>",), STOP, ("\N{LATIN SMALL LETTER E WITH ACUTE}",)):
        trained = end_at_stop(response, stop, decode)
        assert vllm_stops_after(tokenizer, prompt, response, stop) == len(trained)
        assert decode(trained) == text[: len(decode(trained))]


def test_without_stop_strings_vllm_makes_no_text() -> None:
    assert ending(())["detokenize"] is False
    assert ending(STOP)["stop"] == list(STOP)
