"""GGUF files by their headers: what is read of one, where it is found, and what the rules say of it.

The files are written here byte by byte, by the format's own description (ggml, docs/gguf.md).
"""

from __future__ import annotations

import importlib.util
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from omegaconf import DictConfig
from transformers.integrations.ggml import GGUF_CONFIG_MAPPING, GGUF_TO_FAST_CONVERTERS

from recipe.life import survey_nodes
from recipe.preflight import PreflightError
from recipe.preflight.gguf_file import (
    ARCHITECTURES,
    NAMES,
    Tensor,
    config_of,
    faults_of,
    find_gguf,
    read_header,
)
from recipe.preflight.memory import BUCKET
from recipe.preflight.model import find_config, shape_of
from recipe.preflight.rules import find_problems, model
from recipe.preflight.rules.register import RULES
from recipe.preflight.setup import Setup

F32, Q8_0 = 0, 8

SMOLLM2: dict[str, Any] = {
    "general.architecture": "llama",
    "llama.block_count": 30,
    "llama.context_length": 8192,
    "llama.embedding_length": 576,
    "llama.feed_forward_length": 1536,
    "llama.attention.head_count": 9,
    "llama.attention.head_count_kv": 3,
    "llama.rope.dimension_count": 64,
    "llama.rope.freq_base": 100000.0,
    "tokenizer.ggml.add_bos_token": False,
    "tokenizer.ggml.tokens": ["a", "bc", ""],
    "tokenizer.ggml.token_type": [1, 1, 3],
    "tokenizer.ggml.merges": ["b c"],
    "tokenizer.chat_template": "{{ messages }}",
    "llama.vocab_size": 49152,
}


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value.encode())) + value.encode()


def typed(value: Any) -> bytes:
    """A value behind the number of its type; numbers as 32 bits."""
    match value:
        case bool():
            return struct.pack("<I?", 7, value)
        case int():
            return struct.pack("<II", 4, value)
        case float():
            return struct.pack("<If", 6, value)
        case str():
            return struct.pack("<I", 8) + text(value)
    (kind,) = {typed(item)[:4] for item in value}
    return struct.pack("<I", 9) + kind + struct.pack("<Q", len(value)) + b"".join(typed(v)[4:] for v in value)


def header_bytes(values: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> bytes:
    written = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(values))
    for key, value in values.items():
        written += text(key) + typed(value)
    for name, tensor in tensors.items():
        written += text(name) + struct.pack(f"<I{len(tensor.shape)}Q", len(tensor.shape), *tensor.shape)
        written += struct.pack("<IQ", tensor.kind, tensor.offset)
    return written


EMBEDDING = {"token_embd.weight": Tensor((32, 2), F32, 0)}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A header of SmolLM2's sizes, whose one weight is 256 bytes of the 32 that follow: it is cut short."""
    path = tmp_path / "folder" / "model.gguf"
    path.parent.mkdir()
    path.write_bytes(header_bytes(SMOLLM2, EMBEDDING) + bytes(32))
    return path


@pytest.fixture
def without_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)


def rewrite(file: Path, tensors: Mapping[str, Tensor] = EMBEDDING, **changes: Any) -> None:
    """The same header with other values; None takes one out. `__` stands for a dot."""
    named = {key.replace("__", "."): value for key, value in changes.items()}
    values = {key: value for key, value in (SMOLLM2 | named).items() if value is not None}
    file.write_bytes(header_bytes(values, tensors))


# ------------------------------ the header ------------------------------


def test_header_is_read(file: Path) -> None:
    header = read_header(file)
    assert header.tensors == EMBEDDING
    assert header.size == len(header_bytes(SMOLLM2, EMBEDDING))
    arrays = {key: tuple(value) for key, value in SMOLLM2.items() if isinstance(value, list)}
    assert header.values == SMOLLM2 | arrays


def test_header_becomes_the_sizes_of_a_config(file: Path) -> None:
    assert find_config(str(file)) == {
        "model_type": "llama",
        "tie_word_embeddings": True,
        "hidden_size": 576,
        "intermediate_size": 1536,
        "num_hidden_layers": 30,
        "num_attention_heads": 9,
        "num_key_value_heads": 3,
        "max_position_embeddings": 8192,
        "vocab_size": 49152,
        "head_dim": 64,
    }


def test_parameters_are_as_many_as_published(file: Path) -> None:
    shape = shape_of(config_of(read_header(file)))
    assert shape is not None
    assert shape.num_parameters == 134_515_008  # SmolLM2-135M


def test_output_layer_of_its_own_and_words_counted(file: Path) -> None:
    rewrite(file, EMBEDDING | {"output.weight": Tensor((32, 2), F32, 256)}, llama__vocab_size=None)
    config = config_of(read_header(file))
    assert (config["tie_word_embeddings"], config["vocab_size"]) == (False, 3)


def test_header_that_ends_early_is_said_wherever_it_ends(file: Path) -> None:
    whole = header_bytes(SMOLLM2, EMBEDDING)
    for size in range(len(whole)):
        file.write_bytes(whole[:size])
        fault = (
            "is damaged or cut short; " if size >= 4 else "must be a GGUF file, and does not begin as one; "
        )
        with pytest.raises(PreflightError, match=fault):
            read_header(file)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_names_of_sizes_are_those_of_transformers(architecture: str) -> None:
    theirs = GGUF_CONFIG_MAPPING[architecture]
    assert NAMES.items() <= theirs.items()
    head_size = ["rope.dimension_count"] if architecture == "llama" else []
    assert [key for key, name in theirs.items() if name == "head_dim"] == head_size
    assert architecture in GGUF_TO_FAST_CONVERTERS


# ------------------------------ where a file is found ------------------------------


def test_file_is_found_by_its_name_and_by_its_directory(file: Path) -> None:
    (file.parent / "README.md").touch()
    assert find_gguf(str(file)) == find_gguf(str(file.parent)) == file


@pytest.mark.parametrize("path", [None, "tiny", "somebody/model", "models/model.gguf", "/no/such/model.gguf"])
def test_other_paths_have_no_file(path: str | None) -> None:
    assert find_gguf(path) is None


def test_directory_with_a_config_is_what_it_says(file: Path) -> None:
    (file.parent / "config.json").write_text("{}")
    assert find_gguf(str(file.parent)) is None
    assert find_gguf(str(file)) == file


def test_two_files_are_one_too_many(file: Path) -> None:
    (file.parent / "mmproj.gguf").touch()
    with pytest.raises(PreflightError, match=r"must name one GGUF file; .* holds mmproj.gguf, model.gguf"):
        find_gguf(str(file.parent))


# ------------------------------ what the rules say ------------------------------


def problems(config: DictConfig, path: Path) -> list[str]:
    config.actor_rollout_ref.model.path = str(path)
    rules = [rule for rule in RULES if rule.find.__module__ == model.__name__]
    return find_problems(Setup(config, survey_nodes), rules)


PACKAGE = "is read with the package gguf, which is not installed: pip install 'azr-verl[gguf]'"
FAULTS: dict[str, tuple[dict[str, Any], str]] = {
    "architecture": (
        {"general__architecture": "mamba"},
        "must be of one of the architectures llama, qwen2, ",
    ),
    "part": ({"split__count": 3}, "is one of 3 parts; "),
    "no vocabulary": ({"tokenizer__ggml__tokens": None}, "must hold a vocabulary, and has none; "),
    "large vocabulary without merges": (
        {"tokenizer__ggml__tokens": [""] * 65_537, "tokenizer__ggml__merges": None},
        "has no merges for 65537 words, ",
    ),
    "YaRN": ({"llama__rope__scaling__type": "yarn"}, "has scaled rotary frequencies, "),
}


@pytest.mark.usefixtures("without_package")
@pytest.mark.parametrize(("changes", "said"), FAULTS.values(), ids=FAULTS)
def test_what_cannot_be_read_is_said(file: Path, changes: dict[str, Any], said: str) -> None:
    rewrite(file, **changes)
    package, fault = faults_of(file)
    assert package == f"{file} {PACKAGE}"
    assert fault.startswith(f"{file} {said}")


@pytest.mark.usefixtures("without_package")
def test_frequencies_of_llama_3_are_said(file: Path) -> None:
    frequencies = {"rope_freqs.weight": Tensor((32,), F32, 256)}
    rewrite(file, EMBEDDING | frequencies, llama__rope__scaling__type="none")
    _, fault = faults_of(file)
    assert fault.startswith(f"{file} has scaled rotary frequencies, ")


@pytest.mark.usefixtures("without_package")
@pytest.mark.parametrize("name", ["", "model.gguf"])
def test_rules_know_a_model_by_its_header(config: DictConfig, file: Path, name: str) -> None:
    config.actor_rollout_ref.rollout.max_model_len = 8193
    config.actor_rollout_ref.rollout.checkpoint_engine.update_weights_bucket_megabytes = 64
    needs = f"{file} {PACKAGE}"
    context = "actor_rollout_ref.rollout.max_model_len must fit the model's context, 8192; got 8193"
    bucket = f"{BUCKET} must be at least 108, "  # 49,152 * 576 numbers of 4 bytes
    found = problems(config, file.parent / name)
    assert found[:2] == [needs, context]
    assert found[2].startswith(bucket)
    assert len(found) == 3


@pytest.mark.usefixtures("without_package")
def test_chat_template_is_the_headers_or_the_runs(config: DictConfig, file: Path) -> None:
    rewrite(file, tokenizer__chat_template="{% if %}")
    _, fault = problems(config, file)
    assert fault.startswith(f"the chat template of {file} must be a Jinja template; got Expected an ")
    rewrite(file, tokenizer__chat_template=None)
    _, fault = problems(config, file)
    assert fault.startswith(f"{file} must have a chat template, ")
    config.actor_rollout_ref.model.custom_chat_template = "{{ messages }}"
    assert problems(config, file) == [f"{file} {PACKAGE}"]
