"""verl's fused log-probabilities are the same numbers, in chunks of tokens, under FSDP2 as well."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

TOKENS = 1100  # three chunks


class Calls(TorchDispatchMode):
    """Counts calls of PyTorch's operations by name."""

    def __init__(self) -> None:
        super().__init__()
        self.counted: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.counted[func.name().partition(".")[0]] += 1
        return func(*args, **(kwargs or {}))


def build(family: str, **options: Any) -> Any:
    """A decoder of two small blocks, the same weights each time."""
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "vocab_size": 97}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2}
    return AutoModelForCausalLM.from_config(AutoConfig.for_model(family, **sizes, **heads, **options))


def token_by_token(
    model: Any, input_ids: torch.Tensor, labels: torch.Tensor, temperature: float
) -> torch.Tensor:
    """What verl does without the fused form and without flash-attn, on one packed row."""
    from verl.utils.torch_functional import logprobs_from_logits_v2

    logits = model(input_ids=input_ids).logits.squeeze(0) / temperature
    return logprobs_from_logits_v2(logits, labels.squeeze(0))


def fused(model: Any, input_ids: torch.Tensor, labels: torch.Tensor, temperature: float) -> torch.Tensor:
    """The fused form, as verl's engine asks for it."""
    from verl.models.transformers.dense_common import forward_with_torch_backend

    found = forward_with_torch_backend(
        model, input_ids=input_ids, shift_labels=labels, temperature=temperature, return_dict=True
    )
    return found.log_probs.squeeze(0)


@pytest.mark.parametrize("family", ["qwen2", "llama"])
@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_fused_log_probabilities_and_their_gradients_are_the_same(family: str, temperature: float) -> None:
    torch.manual_seed(1)
    input_ids = torch.randint(97, (1, TOKENS))
    labels = input_ids.roll(-1, dims=1)
    found, gradients = [], []
    for log_probs in (token_by_token, fused):
        model = build(family)
        found.append(log_probs(model, input_ids, labels, temperature))
        found[-1].mean().backward()
        gradients.append({name: parameter.grad for name, parameter in model.named_parameters()})
    torch.testing.assert_close(found[1], found[0])
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient, msg=name)


def test_fused_log_probabilities_take_a_call_for_512_tokens_in_place_of_one_each() -> None:
    input_ids = torch.randint(97, (1, TOKENS))
    labels = input_ids.roll(-1, dims=1)
    counts = []
    for log_probs in (token_by_token, fused):
        model = build("qwen2").to(torch.bfloat16)
        with Calls() as calls, torch.no_grad():
            log_probs(model, input_ids, labels, 1.0)
        counts.append(calls.counted["aten::_log_softmax"])
    assert counts == [TOKENS, 3]


@pytest.fixture
def process_group(tmp_path: Path) -> Iterator[None]:
    """One process, on a CPU."""
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{tmp_path / 'store'}", rank=0, world_size=1
    )
    yield
    torch.distributed.destroy_process_group()


@pytest.mark.parametrize("tied", [True, False])
def test_an_update_of_several_micro_batches_under_fsdp2(
    monkeypatch: pytest.MonkeyPatch, process_group: None, tied: bool
) -> None:
    """verl's own sharding, with gradients that are shared after the last micro-batch alone."""
    from torch.distributed.device_mesh import init_device_mesh
    from transformers import Qwen2ForCausalLM
    from verl.models.transformers.dense_common import forward_with_torch_backend
    from verl.utils.fsdp_utils import apply_fsdp2

    from recipe.engine import output_layer  # noqa: F401  (as verl does)

    input_ids = torch.randint(97, (1, 64))
    labels = input_ids.roll(-1, dims=1)
    plain, sharded = build("qwen2", tie_word_embeddings=tied), build("qwen2", tie_word_embeddings=tied)
    token_by_token(plain, input_ids, labels, 1.0).mean().backward()

    monkeypatch.setattr(Qwen2ForCausalLM, "forward", forward_with_torch_backend)
    apply_fsdp2(sharded, {"mesh": init_device_mesh("cpu", (1,)), "reshard_after_forward": True}, {})
    for is_last in (False, True):
        sharded.set_requires_gradient_sync(is_last)
        found = sharded(input_ids=input_ids, shift_labels=labels, temperature=1.0, return_dict=True)
        (found.log_probs.mean() / 2).backward()
    for (name, expected), parameter in zip(plain.named_parameters(), sharded.parameters(), strict=True):
        torch.testing.assert_close(parameter.grad.full_tensor(), expected.grad, msg=name)
