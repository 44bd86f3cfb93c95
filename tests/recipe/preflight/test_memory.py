"""The estimate of memory: every part by hand for a small model, and what has to grow with what."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import DictConfig, OmegaConf

from recipe.preflight import memory
from recipe.preflight.memory import (
    ALL,
    GIB,
    Estimate,
    Phase,
    estimate_gpu,
    estimate_host,
    kv_tokens,
)
from recipe.preflight.model import ModelShape, published, shape_of

ROOT = Path(__file__).parents[3]
ACTOR, ROLLOUT = "actor_rollout_ref.actor", "actor_rollout_ref.rollout"
FUSED = "actor_rollout_ref.model.use_fused_kernels"

# 592 parameters a block, 264 outside, 1448 in all: tests/recipe/preflight/test_model.py.
SMALL = ModelShape(
    8, 16, 2, 2, 1, 4, 32, tied=True, num_parameters=1448, layer_parameters=592, linear_width=256
)


def change(config: DictConfig, changes: dict[str, Any]) -> DictConfig:
    for key, value in changes.items():
        OmegaConf.update(config, key, value, force_add=True)
    return config


@cache
def qwen_3b() -> ModelShape:
    shape = shape_of(published()["Qwen/Qwen2.5-3B-Instruct"])
    assert shape is not None
    return shape


def part_bytes(found: Estimate, name: str) -> int:
    return round(found.gib_of(name) * GIB)


@pytest.fixture
def on_gpus(config: DictConfig) -> DictConfig:
    """The demo's configuration as one for 2 GPUs, in verl's own types, with 100 tokens a micro-batch."""
    return change(
        config,
        {
            "cpu": None,
            "trainer.device": "cuda",
            "trainer.n_gpus_per_node": 2,
            "actor_rollout_ref.model.enable_gradient_checkpointing": True,
            "actor_rollout_ref.model.use_remove_padding": True,
            f"{ACTOR}.fsdp_config.mixed_precision": None,
            f"{ACTOR}.ppo_max_token_len_per_gpu": 100,
            f"{ROLLOUT}.dtype": "bfloat16",
            f"{ROLLOUT}.gpu_memory_utilization": 0.5,
            f"{ROLLOUT}.free_cache_engine": True,
        },
    )


def test_parts_of_a_gpu_by_hand(on_gpus: DictConfig) -> None:
    found = estimate_gpu(on_gpus, SMALL, 24.0)
    # fp32, half of 1448 on each of two GPUs; two moments.
    assert part_bytes(found, "weights") == 4 * 1448 / 2 == 2896
    assert part_bytes(found, "gradients") == 2896
    assert part_bytes(found, "optimizer") == 2 * 2896
    # bf16 weights, bf16 gradients and fp32 while they are reduced, of 264 + 2 * 592 parameters.
    assert part_bytes(found, "gathered weights and their gradients") == (2 + 2 + 4) * 1448
    # Inputs of 2 blocks: 100 * 8 * 2 bytes each. One block: 6 * 8 + 2 * 4 * (2 + 1) = 72 and 4 * 16 = 64
    # numbers of 2 bytes a token, 2 * 8 of 4 bytes. A mask of 100 * 100, of 1 and 2 bytes.
    assert part_bytes(found, "activations") == 2 * 1600 + 100 * (2 * 136 + 64) + 3 * 10_000
    # 100 tokens, 32 words: logits and gradient of 2 bytes, the log-softmax of 4.
    assert part_bytes(found, "logits") == (2 * 2 + 4) * 100 * 32
    assert part_bytes(found, "weights in vLLM") == 2 * 1448
    assert part_bytes(found, memory.VLLM_CACHE) == 12 * GIB - 2 * 1448
    # They take turns; weights, optimizer and contexts are always there.
    always = (2896 + 2 * 2896) / GIB + memory.CUDA_CONTEXT_GIB
    assert found.gib_while(Phase.GENERATING) == pytest.approx(always + 12)
    assert found.gib_while(Phase.UPDATING) < 2
    assert found.peak_gib == found.gib_while(Phase.GENERATING)


@pytest.mark.parametrize(
    ("changes", "part", "expected"),
    [
        # Adapters of rank 2 have 512 parameters; the weights do not move.
        ({"actor_rollout_ref.model.lora_rank": 2}, "weights", 4 * (1448 + 512) // 2),
        ({"actor_rollout_ref.model.lora_rank": 2}, "gradients", 4 * 512 // 2),
        ({"actor_rollout_ref.model.lora_rank": 2}, "optimizer", 8 * 512 // 2),
        ({"actor_rollout_ref.model.lora_rank": 2}, "gathered weights and their gradients", 2 * 1448),
        ({f"{ACTOR}.fsdp_config.model_dtype": "bf16"}, "optimizer", 4 * 1448 // 2),
        ({f"{ACTOR}.fsdp_config.fsdp_size": 1}, "weights", 4 * 1448),
        ({"trainer.nnodes": 4}, "weights", 4 * 1448 // 8),
        ({f"{ROLLOUT}.tensor_model_parallel_size": 2}, "weights in vLLM", 2 * 1448 // 2),
        # Both softmaxes and a product in fp32; a copy that is divided by the temperature.
        ({f"{ACTOR}.entropy_coeff": 0.001}, "logits", (2 * 2 + 3 * 4) * 100 * 32),
        ({f"{ROLLOUT}.temperature": 0.7}, "logits", (3 * 2 + 4) * 100 * 32),
        ({f"{ACTOR}.ppo_max_token_len_per_gpu": 14_336}, "logits", 8 * 14_336 * 32),
        # Chunks of 512 tokens, five numbers of 4 bytes an entry, with an entropy seven.
        ({FUSED: True}, "logits", 5 * 4 * 100 * 32),
        ({FUSED: True, f"{ACTOR}.ppo_max_token_len_per_gpu": 14_336}, "logits", 5 * 4 * 512 * 32),
        ({FUSED: True, f"{ACTOR}.entropy_coeff": 0.001}, "logits", 7 * 4 * 100 * 32),
        # Without checkpointing all blocks keep what one keeps.
        (
            {"actor_rollout_ref.model.enable_gradient_checkpointing": False},
            "activations",
            2 * 100 * (2 * 136 + 64) + 3 * 10_000,
        ),
        (
            {"actor_rollout_ref.model.override_config.attn_implementation": "flash_attention_2"},
            "activations",
            2 * 1600 + 100 * (2 * 136 + 64),
        ),
    ],
)
def test_settings_change_their_part(
    on_gpus: DictConfig, changes: dict[str, Any], part: str, expected: int
) -> None:
    assert part_bytes(estimate_gpu(change(on_gpus, changes), SMALL, 24.0), part) == expected


def test_offloaded_states_are_on_the_host_while_responses_are_generated(on_gpus: DictConfig) -> None:
    before = estimate_gpu(on_gpus, SMALL, 24.0)
    host_before = estimate_host(on_gpus, SMALL)
    keys = {f"{ACTOR}.fsdp_config.{name}_offload": True for name in ("param", "optimizer")}
    after = estimate_gpu(change(on_gpus, keys), SMALL, 24.0)
    moved = (2896 + 2 * 2896) / GIB
    assert after.gib_while(Phase.UPDATING) == before.gib_while(Phase.UPDATING)
    assert before.gib_while(Phase.GENERATING) - after.gib_while(Phase.GENERATING) == pytest.approx(moved)
    offloaded = "offloaded weights and optimizer"
    assert host_before.gib_of(offloaded) == 0
    assert estimate_host(on_gpus, SMALL).gib_of(offloaded) == pytest.approx(2 * moved)


def test_cpu_run_holds_everything_at_once(config: DictConfig) -> None:
    found = estimate_host(config, SMALL)
    # fp32 throughout. vLLM's CPU build has its weights twice.
    assert part_bytes(found, "weights") == 4 * 1448
    assert part_bytes(found, "optimizer") == 8 * 1448
    assert part_bytes(found, "weights in vLLM") == 2 * 4 * 1448
    assert part_bytes(found, "key-value cache") == GIB
    # Logits, their gradient in parts and whole, and that of the chosen tokens; rows are padded to twice.
    assert part_bytes(found, "logits") == 4 * 4 * 2 * 4096 * 32
    assert all(part.phases == ALL for part in found.parts)


def test_penalty_on_divergence_takes_a_second_model_but_not_with_adapters(config: DictConfig) -> None:
    before = estimate_host(config, SMALL).peak_gib
    change(config, {f"{ACTOR}.use_kl_loss": True})
    assert part_bytes(estimate_host(config, SMALL), "reference model") == 4 * 1448
    assert estimate_host(config, SMALL).peak_gib > before
    change(config, {"actor_rollout_ref.model.lora_rank": 2})
    assert all(part.name != "reference model" for part in estimate_host(config, SMALL).parts)


def test_tokens_of_a_cache_by_hand(config: DictConfig) -> None:
    # Keys and values of 2 blocks, 1 head of 4 numbers of 4 bytes: 64 bytes a token.
    assert kv_tokens(config, SMALL, 1.0) == GIB // 64
    # Qwen2.5-3B: 2 * 36 * 2 * 128 * 2 bytes; with two GPUs a replica each has one of the two heads.
    for name in ("half", "bfloat16"):
        change(config, {f"{ROLLOUT}.dtype": name})
        assert kv_tokens(config, qwen_3b(), 1.0) == GIB // 36_864
    assert (
        kv_tokens(change(config, {f"{ROLLOUT}.tensor_model_parallel_size": 2}), qwen_3b(), 1.0)
        == GIB // 18_432
    )


@settings(max_examples=25, deadline=None)
@given(workers=st.integers(1, 64), tokens=st.integers(288, 65536), utilization=st.floats(0.1, 0.9))
def test_more_workers_never_take_more_of_a_gpu_and_more_tokens_never_less(
    demo_config: DictConfig, workers: int, tokens: int, utilization: float
) -> None:
    config = change(demo_config.copy(), {f"{ROLLOUT}.gpu_memory_utilization": utilization})

    def found(workers: int, tokens: int) -> Estimate:
        sizes = {"trainer.n_gpus_per_node": workers, f"{ACTOR}.ppo_max_token_len_per_gpu": tokens}
        return estimate_gpu(change(config, sizes), qwen_3b(), 80.0)

    one = found(workers, tokens)
    assert found(workers + 1, tokens).peak_gib <= one.peak_gib
    assert found(workers, tokens + 1).gib_while(Phase.UPDATING) > one.gib_while(Phase.UPDATING)
    assert all(part.gib >= 0 for part in one.parts if part.name != memory.VLLM_CACHE)
