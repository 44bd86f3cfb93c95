"""Log-probabilities of all tokens of a micro-batch in one call.

verl 0.9.1 without flash-attn takes a call for every packed token, which saves memory on a GPU. For a small
model on a CPU the calls cost more than the model: docs/performance.md.
"""

from __future__ import annotations

import torch
from torch.nn.functional import cross_entropy

from recipe.cpu.patching import Function


def log_probs_at_once(by_token: Function, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """The log-probability of each label.

    Args:
        by_token: verl's function of this signature.
        logits: Shape (..., vocabulary).
        labels: Indices into the vocabulary, of shape (...).

    Returns:
        Of the labels' shape and the logits' type.
    """
    flat = cross_entropy(logits.reshape(-1, logits.shape[-1]), labels.reshape(-1), reduction="none")
    return -flat.view(labels.shape)
