"""Log-probabilities of a micro-batch in one call: verl's own numbers and gradients."""

from __future__ import annotations

import inspect
from collections.abc import Callable

import pytest
import torch

from recipe.cpu.log_probs import log_probs_at_once

SHAPES = {"packed": (40, 17), "rows": (4, 10, 17)}  # the last axis is the vocabulary


def never(*_: object) -> torch.Tensor:
    raise AssertionError


def at_once(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    return log_probs_at_once(never, logits, labels)


def by_token() -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
    """verl's function, also where the CPU room has replaced it."""
    from verl.utils.torch_functional import logprobs_from_logits_v2

    return inspect.unwrap(logprobs_from_logits_v2)


def test_three_equal_logits_are_a_third_each() -> None:
    # ln(1/3) = -1.0986; and of logits 0 and ln 3 the second has 3/4: ln(3/4) = -0.2877.
    found = at_once(torch.zeros(2, 3), torch.tensor([0, 2]))
    torch.testing.assert_close(found, torch.tensor([-1.0986, -1.0986]), atol=1e-4, rtol=0)
    found = at_once(torch.tensor([[0.0, 1.0986]]), torch.tensor([1]))
    torch.testing.assert_close(found, torch.tensor([-0.2877]), atol=1e-4, rtol=0)


@pytest.mark.parametrize("layout", SHAPES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_numbers_and_gradients_are_those_of_verl(layout: str, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    shape = SHAPES[layout]
    logits, labels = (torch.randn(shape) * 5).to(dtype), torch.randint(shape[-1], shape[:-1])
    weights = torch.randn(shape[:-1]).to(dtype)
    found, gradients = [], []
    for log_probs in (by_token(), at_once):
        leaf = logits.clone().requires_grad_()
        found.append(log_probs(leaf, labels))
        (found[-1] * weights).sum().backward()
        gradients.append(leaf.grad)
    torch.testing.assert_close(found[1], found[0])
    torch.testing.assert_close(gradients[1], gradients[0])
