"""The tiny model's tokenizer: bytes, markers and the chat template."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st


@pytest.fixture(scope="module", autouse=True)
def stack() -> None:
    """Import transformers when a test runs: it takes seconds, and every pytest collects this file."""
    global AutoTokenizer, PreTrainedTokenizerFast, Qwen2Config, build_tokenizer
    from transformers import AutoTokenizer, PreTrainedTokenizerFast, Qwen2Config

    from recipe.tiny_model.tokenizer import build_tokenizer


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> PreTrainedTokenizerFast:
    """The tokenizer as a user gets it: saved beside a model's configuration, and loaded again."""
    path: Path = tmp_path_factory.mktemp("tokenizer")
    build_tokenizer(256).save_pretrained(path)
    Qwen2Config().save_pretrained(path)
    return AutoTokenizer.from_pretrained(path)


@settings(deadline=None, derandomize=True)
@given(text=st.text().filter(lambda text: "<|" not in text))
def test_any_text_is_one_token_a_byte_and_comes_back(tokenizer: PreTrainedTokenizerFast, text: str) -> None:
    normalized = unicodedata.normalize("NFC", text)
    tokens = tokenizer.encode(text)
    assert len(tokens) == len(normalized.encode())
    assert tokenizer.decode(tokens) == normalized


def test_loading_changes_no_token(tokenizer: PreTrainedTokenizerFast) -> None:
    built = build_tokenizer(256)
    text = "<|im_start|>user\nFind: ? * ? = 12\n\n a  b's user <|im_end|><|endoftext|>"
    assert tokenizer.encode(text) == built.encode(text)
    assert tokenizer.get_vocab() == built.get_vocab()
    assert (tokenizer.eos_token_id, tokenizer.pad_token_id) == (built.eos_token_id, built.pad_token_id)


def test_newline_is_one_token(tokenizer: PreTrainedTokenizerFast) -> None:
    assert len(tokenizer.encode("\n", add_special_tokens=False)) == 1


def test_vocabulary_is_the_bytes_and_three_markers(tokenizer: PreTrainedTokenizerFast) -> None:
    assert len(tokenizer) == 256 + 3


def test_chat_prompt_costs_three_tokens(tokenizer: PreTrainedTokenizerFast) -> None:
    messages = [{"role": "user", "content": "1+1=?"}]
    prompt = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    assert prompt == "<|im_start|>1+1=?<|im_end|><|im_start|>"
    # Three markers.
    assert len(tokenizer.encode(prompt)) == len("1+1=?") + 3


def test_prompt_and_answer_render_as_the_prompt_continued(tokenizer: PreTrainedTokenizerFast) -> None:
    question = {"role": "user", "content": "1+1=?"}
    answer = {"role": "assistant", "content": "2"}
    prompt = tokenizer.apply_chat_template([question], tokenize=False, add_generation_prompt=True)
    whole = tokenizer.apply_chat_template([question, answer], tokenize=False)
    assert whole == prompt + "2<|im_end|>"


def test_a_response_ends_with_the_turn_marker(tokenizer: PreTrainedTokenizerFast) -> None:
    assert tokenizer.eos_token == "<|im_end|>"
    assert tokenizer.pad_token_id != tokenizer.eos_token_id
