"""What the rules say of model directories: their context, largest weight, files and chat template."""

from __future__ import annotations

import ast
import importlib.util
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy
import pytest
from omegaconf import DictConfig, OmegaConf
from safetensors.numpy import save_file

from recipe.config import CONF
from recipe.life import survey_nodes
from recipe.preflight import memory
from recipe.preflight.memory import BUCKET
from recipe.preflight.model import (
    LFS_POINTER,
    chat_template_of,
    context_length,
    fault_of,
    fill_context,
    find_config,
    finder,
    largest_weight,
    template_fault,
)
from recipe.preflight.rules import find_problems, model
from recipe.preflight.rules.register import RULES
from recipe.preflight.setup import Setup

MODEL = "actor_rollout_ref.model.path"
SMOLLM2 = {"hidden_size": 576, "intermediate_size": 1536, "vocab_size": 49152}


def problems(config: DictConfig, folder: Path) -> list[str]:
    config.actor_rollout_ref.model.path = str(folder)
    rules = [rule for rule in RULES if rule.find.__module__ == model.__name__]
    return find_problems(Setup(config, survey_nodes), rules)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model directory that passes."""
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"max_position_embeddings": 288}))
    (folder / "tokenizer_config.json").write_text(json.dumps({"chat_template": "{{ messages }}"}))
    save_file({"weight": numpy.zeros(8, numpy.float32)}, folder / "model.safetensors")
    return folder


# ------------------------------ heads ------------------------------


@pytest.mark.parametrize(
    ("sizes", "said"),
    [
        ({"hidden_size": 576, "num_attention_heads": 9}, None),
        ({"hidden_size": 64, "num_attention_heads": 4}, 16),
        ({"hidden_size": 64, "num_attention_heads": 4, "head_dim": 32}, None),
        ({"text_config": {"head_dim": 48}}, 48),
        ({}, None),
    ],
)
def test_heads_are_of_a_size_that_vllm_has_on_a_cpu(
    config: DictConfig, folder: Path, sizes: dict[str, Any], said: int | None
) -> None:
    (folder / "config.json").write_text(json.dumps({"max_position_embeddings": 288, **sizes}))
    found = problems(config, folder)
    key = "actor_rollout_ref.model.path must have heads of a size that vLLM has on a CPU, one of 32, "
    assert [(line.startswith(key), line.rpartition(" ")[2]) for line in found] == (
        [] if said is None else [(True, str(said))]
    )


def test_sizes_of_heads_are_those_of_the_installed_vllm() -> None:
    spec = importlib.util.find_spec("vllm")
    assert spec is not None and spec.submodule_search_locations is not None
    path = Path(spec.submodule_search_locations[0]) / "v1" / "attention" / "backends" / "cpu_attn.py"
    (function,) = (
        node
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef) and node.name == "get_supported_head_sizes"
    )
    assert tuple(ast.literal_eval(function.body[-1].value)) == model.CPU_HEAD_SIZES


# ------------------------------ context ------------------------------


@pytest.mark.parametrize(
    ("config", "positions"),
    [
        ({}, None),
        ({"max_position_embeddings": 128}, 128),
        # Qwen2.5 with the YaRN of its model card: 32,768 * 4.
        (
            {
                "max_position_embeddings": 32768,
                "rope_scaling": {"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32768},
            },
            131072,
        ),
        # The result is in config.json already; the factor counts from the original.
        (
            {
                "max_position_embeddings": 131072,
                "rope_parameters": {
                    "rope_type": "yarn",
                    "factor": 4.0,
                    "original_max_position_embeddings": 32768,
                },
            },
            131072,
        ),
        ({"max_position_embeddings": 128, "rope_scaling": {"type": "yarn", "factor": 8.0}}, 1024),
        ({"max_position_embeddings": 128, "rope_scaling": {"rope_type": "linear", "factor": 2.0}}, 256),
        ({"max_position_embeddings": 128, "rope_scaling": {"rope_type": "linear", "factor": None}}, 128),
        # Llama 3.1: 131,072 is after scaling. Phi-3 the same.
        ({"max_position_embeddings": 131072, "rope_scaling": {"rope_type": "llama3", "factor": 8.0}}, 131072),
        ({"max_position_embeddings": 131072, "rope_scaling": {"type": "longrope"}}, 131072),
        # Trainer and vLLM differ beyond the original positions.
        ({"max_position_embeddings": 128, "rope_scaling": {"type": "dynamic", "factor": 4.0}}, 128),
        # Gemma 3: by layer type, and inside text_config.
        (
            {
                "text_config": {
                    "model_type": "gemma3_text",
                    "max_position_embeddings": 131072,
                    "rope_scaling": {"rope_type": "linear", "factor": 8.0},
                }
            },
            131072,
        ),
        (
            {
                "max_position_embeddings": 32768,
                "rope_parameters": {"full_attention": {"rope_type": "linear", "factor": 8.0}},
            },
            32768,
        ),
    ],
)
def test_context_is_reckoned_as_vllm_does(config: dict[str, Any], positions: int | None) -> None:
    assert context_length(config) == positions


def test_yarn_model_is_accepted_up_to_positions_times_factor(config: DictConfig, folder: Path) -> None:
    yarn = {"type": "yarn", "factor": 8.0, "original_max_position_embeddings": 128}
    values = {"max_position_embeddings": 128, "rope_scaling": yarn}
    (folder / "config.json").write_text(json.dumps(values))
    assert problems(config, folder) == []  # the demo's 288 tokens in 1,024
    # verl looks at the number alone, so it is told the product.
    fill_context(config, find_config(str(folder)))
    assert config.actor_rollout_ref.model.override_config.max_position_embeddings == 1024
    yarn["factor"] = 2.0  # 256
    (folder / "config.json").write_text(json.dumps(values))
    assert any("= 288 must fit the model's context, 256" in line for line in problems(config, folder))


def test_verl_is_told_nothing_of_a_model_without_scaling(config: DictConfig, folder: Path) -> None:
    before = OmegaConf.to_yaml(config)
    fill_context(config, find_config(str(folder)))
    fill_context(config, None)
    assert OmegaConf.to_yaml(config) == before


# ------------------------------ the bucket of weights ------------------------------


def test_largest_weight_by_hand() -> None:
    # The embedding, 49,152 * 576.
    assert largest_weight(SMOLLM2) == 28_311_552
    # A matrix of a feed-forward block, 16 * 8, is larger than the embedding of 4 * 8.
    assert largest_weight({"hidden_size": 8, "intermediate_size": 16, "vocab_size": 4}) == 128
    assert largest_weight({"text_config": SMOLLM2}) == 28_311_552
    assert largest_weight({"hidden_size": 8}) is None


@pytest.mark.parametrize(
    ("sizes", "mib"),
    [
        (SMOLLM2, 108),  # 28,311,552 * 4 bytes are 108 MiB exactly
        (SMOLLM2 | {"vocab_size": 49153}, 109),
        ({"hidden_size": 8, "vocab_size": 32}, 64),  # never less
        ({}, 2048),  # nothing is known: verl's own default
        (None, 2048),
    ],
)
def test_bucket_follows_from_the_largest_weight(
    config: DictConfig, sizes: dict[str, Any] | None, mib: int
) -> None:
    assert OmegaConf.select(config, BUCKET) is None
    memory.fill_bucket(config, sizes)
    assert OmegaConf.select(config, BUCKET) == mib


def test_bucket_of_a_gpu_is_verls(config: DictConfig) -> None:
    config.cpu = None
    memory.fill_bucket(config, SMOLLM2)
    assert OmegaConf.select(config, BUCKET) == 2048


def test_cpu_settings_leave_verls_own_trainer_a_bucket() -> None:
    # `python -m verl.trainer.main_ppo +cluster=cpu_1` fills in nothing: a null would end it.
    assert OmegaConf.select(OmegaConf.load(CONF / "cluster" / "cpu_1.yaml"), BUCKET, default=0) == 0


def test_bucket_that_is_given_stays_and_has_to_hold_the_largest_weight(
    config: DictConfig, folder: Path
) -> None:
    (folder / "config.json").write_text(json.dumps(SMOLLM2))
    for given, said in ((107, 1), (108, 0), (None, 0)):
        OmegaConf.update(config, BUCKET, given)
        assert len(problems(config, folder)) == said
    OmegaConf.update(config, BUCKET, 64)
    (problem,) = problems(config, folder)
    assert problem.startswith(
        f"{BUCKET} must be at least 108, the MiB of the model's largest weight, or null "
    )
    memory.fill_bucket(config, SMOLLM2)
    assert OmegaConf.select(config, BUCKET) == 64


def test_on_a_gpu_a_larger_weight_goes_by_itself(config: DictConfig, folder: Path) -> None:
    (folder / "config.json").write_text(json.dumps(SMOLLM2))
    config.trainer.device = "cuda"
    OmegaConf.update(config, BUCKET, 1)
    assert problems(config, folder) == []


# ------------------------------ files ------------------------------


def test_files_that_are_not_what_they_are_called_are_told(folder: Path) -> None:
    weights = folder / "model.safetensors"
    whole = weights.read_bytes()
    assert fault_of(weights) is None
    with zipfile.ZipFile(folder / "pytorch_model.bin", "w") as written:
        written.writestr("data.pkl", "0")
    torchs = (folder / "pytorch_model.bin").read_bytes()
    assert fault_of(folder / "pytorch_model.bin") is None
    cases = {
        ("model.safetensors", b""): "is empty",
        ("model.safetensors", LFS_POINTER + b"v1\noid sha256:00\nsize 42\n"): "is what Git LFS leaves",
        ("model.safetensors", whole[:-1]): "is damaged or cut short",
        ("model.safetensors", whole[:12]): "is damaged or cut short",
        ("model.safetensors", b"<html>not found</html>"): "is damaged or cut short",
        ("pytorch_model.bin", torchs[:-8]): "is cut short",
        ("tokenizer.json", LFS_POINTER + b"v1\n"): "is what Git LFS leaves",
    }
    found = {}
    for name, content in cases:
        (folder / name).write_bytes(content)
        found[name, content] = fault_of(folder / name) or ""
    assert {case: said for case, said in cases.items() if not found[case].startswith(said)} == {}


def test_pointer_in_the_place_of_a_vocabulary_is_told(config: DictConfig, folder: Path) -> None:
    (folder / "tokenizer.json").write_bytes(LFS_POINTER + b"v1\n")
    (problem,) = problems(config, folder)
    assert problem.startswith(
        f"{folder / 'tokenizer.json'} is what Git LFS leaves in the place of a file; run"
    )


def test_pointer_that_nobody_reads_is_nobodys_business(config: DictConfig, folder: Path) -> None:
    # As after `git lfs pull --include model.safetensors`
    (folder / "pytorch_model.bin").write_bytes(LFS_POINTER + b"v1\n")
    assert problems(config, folder) == []


def test_index_without_shards_is_told(config: DictConfig, folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}}))
    assert (
        f"{folder / 'model.safetensors.index.json'} must name the files of the weights"
        in problems(config, folder)[0]
    )


# ------------------------------ chat template ------------------------------


@pytest.mark.parametrize(
    ("tokenizer", "jinja", "template"),
    [
        ({}, None, None),
        ({"chat_template": None}, None, None),
        ({"chat_template": ""}, None, None),
        ({"chat_template": "a"}, None, "a"),
        ({"chat_template": None}, "b", "b"),
        ({"chat_template": "a"}, "b", "b"),
        ({}, "", None),
        ({"chat_template": [{"name": "tool_use", "template": "a"}]}, None, None),
        ({"chat_template": [{"name": "default", "template": "a"}]}, None, "a"),
    ],
)
def test_chat_template_is_found_where_transformers_looks(
    folder: Path, tokenizer: dict[str, Any], jinja: str | None, template: str | None
) -> None:
    (folder / "tokenizer_config.json").write_text(json.dumps(tokenizer))
    if jinja is not None:
        (folder / "chat_template.jinja").write_text(jinja)
    assert chat_template_of(finder(str(folder))) == template


def test_template_that_cannot_be_read_is_told_with_its_line() -> None:
    assert template_fault("{% for message in messages %}{{ message }}{% endfor %}") is None
    # Tags of transformers and of its extensions.
    assert (
        template_fault(
            "{% for m in messages %}{%- generation %}{{ m }}{% endgeneration -%}{% break %}{% endfor %}"
        )
        is None
    )
    assert (template_fault("a\n{% if %}") or "").endswith("(line 2)")
    assert template_fault("{% for message in messages %}") is not None
