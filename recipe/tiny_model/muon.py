"""Muon in fp32. That of torch multiplies in bfloat16, which a CPU may not have: docs/tiny_model.md has times.

Algorithm and constants: Keller Jordan, https://kellerjordan.github.io/posts/muon/
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

COEFFICIENTS = 3.4445, -4.7750, 2.0315
ROUNDS = 5
MOMENTUM = 0.95


def muon(matrices: Sequence[torch.nn.Parameter], lr: float, weight_decay: float) -> torch.optim.Optimizer:
    """Make an optimizer that does what `torch.optim.Muon` does with its defaults, in another precision.

    SGD takes the steps. Before each, a hook makes every gradient its Nesterov momentum, orthogonalized.
    """
    optimizer = torch.optim.SGD(matrices, lr=lr, weight_decay=weight_decay)
    momenta = [torch.zeros_like(matrix) for matrix in matrices]

    def replace_gradients(*_: object) -> None:
        for matrix, momentum in zip(matrices, momenta, strict=True):
            momentum.lerp_(matrix.grad, 1 - MOMENTUM)
            update = orthogonalize(matrix.grad.lerp(momentum, MOMENTUM))
            rows, columns = matrix.shape
            matrix.grad.copy_(update * math.sqrt(max(1, rows / columns)))

    optimizer.register_step_pre_hook(replace_gradients)
    return optimizer


def orthogonalize(matrix: torch.Tensor) -> torch.Tensor:
    """Bring the singular values of a matrix (rows, columns) near 1, most of them between 0.7 and 1.2.

    Newton-Schulz: with X = U S V^T, a X + b (X X^T) X + c (X X^T)^2 X is U p(S) V^T for p(s) = a s + b s^3 +
    c s^5. X is scaled so that no singular value is above 1; a few rounds of p bring them near 1.
    """
    a, b, c = COEFFICIENTS
    is_tall = matrix.shape[0] > matrix.shape[1]
    found = matrix.T if is_tall else matrix
    found = found / found.norm().clamp(min=1e-7)
    for _ in range(ROUNDS):
        gram = found @ found.T
        found = a * found + (b * gram + c * gram @ gram) @ found
    return found.T if is_tall else found
