"""Sizes of models, against the numbers of parameters that are published for them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from recipe.preflight.model import BLOCKS, ModelShape, built_shape, find_config, published, shape_of

CONFIG = {
    "model_type": "llama",
    "hidden_size": 8,
    "intermediate_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "vocab_size": 32,
    "tie_word_embeddings": True,
}


def shape(config: dict[str, Any] | None) -> ModelShape:
    found = shape_of(config or {})
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("name", "num_parameters"),
    [
        ("Qwen/Qwen2.5-0.5B-Instruct", 494_032_768),
        ("Qwen/Qwen2.5-1.5B-Instruct", 1_543_714_304),
        ("Qwen/Qwen2.5-3B-Instruct", 3_085_938_688),
        ("Qwen/Qwen2.5-7B", 7_615_616_512),
        ("Qwen/Qwen2.5-Coder-14B", 14_770_033_664),
        ("Qwen/Qwen3-0.6B", 596_049_920),
        ("meta-llama/Llama-3.1-8B", 8_030_261_248),
    ],
)
def test_published_models_have_as_many_parameters_as_published(name: str, num_parameters: int) -> None:
    assert shape(published()[name]).num_parameters == num_parameters


def test_parameters_by_hand() -> None:
    # q 8*8, k and v 8*4 each, o 8*8, gate, up and down 8*16 each; two norms of 8.
    small = shape(CONFIG)
    assert (small.num_layers, small.num_heads, small.num_kv_heads, small.head_size) == (2, 2, 1, 4)
    assert (small.hidden_size, small.intermediate_size, small.vocab_size, small.tied) == (8, 16, 32, True)
    assert small.layer_parameters == 64 + 32 + 32 + 64 + 3 * 128 + 16 == 592
    # Embedding 32*8, which is the output layer too, and the last norm.
    assert small.outer_parameters == 256 + 8
    assert small.num_parameters == 2 * 592 + 264 == 1448
    # Rank 2 on every linear layer of 2 blocks: in + out are 16, 12, 12, 16, and 24 three times.
    assert small.lora_parameters(2) == 2 * 2 * (16 + 12 + 12 + 16 + 3 * 24) == 512


def test_tiny_model_is_as_large_as_said() -> None:
    from recipe.tiny_model import TinyModelConfig
    from recipe.tiny_model.tokenizer import build_tokenizer
    from recipe.tiny_model.warmup import build_model

    config = TinyModelConfig()
    model = build_model(config, build_tokenizer(config.max_positions))
    assert (find_config("tiny") or {}).items() <= model.config.to_dict().items()
    assert shape(find_config("tiny")) == shape(model.config.to_dict())
    assert shape(find_config("tiny")).num_parameters == model.num_parameters()


def test_sizes_are_read_from_a_model_directory(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    assert find_config(str(tmp_path)) == CONFIG


@pytest.mark.parametrize(
    ("changes", "block", "head_size"),
    [
        # Biases of q, k and v: 8 + 4 + 4.
        ({"model_type": "qwen2"}, 592 + 16, 4),
        # Heads of 16 in place of 4: q, k, v and o are four times 192; and a norm each of queries and keys.
        ({"model_type": "qwen3", "head_dim": 16}, 592 + 3 * 192 + 2 * 16, 16),
        # Two key-value heads: k and v are 8*8.
        ({"num_key_value_heads": None}, 592 + 64, 4),
    ],
)
def test_families_differ_in_what_they_have(changes: dict[str, Any], block: int, head_size: int) -> None:
    found = shape(CONFIG | changes)
    assert (found.layer_parameters, found.head_size) == (block, head_size)


@pytest.mark.parametrize("family", BLOCKS)
@pytest.mark.parametrize(
    "changes", [{}, {"tie_word_embeddings": False, "head_dim": 8}, {"attention_bias": True}]
)
def test_known_block_is_what_transformers_builds(family: str, changes: dict[str, Any]) -> None:
    config = CONFIG | {"head_dim": 4, **changes, "model_type": family}
    assert shape_of(config) == built_shape(config)


@pytest.mark.parametrize(
    "config",
    [{"max_position_embeddings": 288}, CONFIG | {"num_experts": 8}, CONFIG | {"model_type": "nobodys"}],
)
def test_other_models_have_no_shape(config: dict[str, Any]) -> None:
    assert shape_of(config) is None


def test_name_that_is_nowhere_has_no_config() -> None:
    assert find_config("nobody/no-such-model") is None
    assert find_config("/no/such/model") is None
