"""What an update costs here, in parts: python -m benchmarks.update_cost MODEL [--tokens N] [--rows N]

Forward and backward of a model directory over the same number of random tokens, without a trainer around it,
in fp32 and bf16. Packed: all tokens are one sequence, as verl's `use_remove_padding=true` has them, at a cost
of attention that grows with its square. Rows: as many sequences, none padded. Few logits: log-probabilities
of every fifth position, as if the rest was prompt. Frozen: no gradients of matrices, the least that adapters
could cost. A line is the median of repetitions, which are interleaved.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import time
from typing import NamedTuple

import torch
from transformers import AutoModelForCausalLM, PreTrainedModel

REPETITIONS = 3
FEW = 5
"""One position of so many has a loss."""

TYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


class Variant(NamedTuple):
    """What is measured."""

    dtype: str
    layout: str  # packed or rows
    logits: str  # all or few
    trained: str  # all or frozen


VARIANTS = [
    Variant(dtype, layout, logits, trained)
    for dtype in TYPES
    for layout, logits, trained in (
        ("packed", "all", "all"),
        ("packed", "few", "all"),
        ("rows", "few", "all"),
        ("rows", "few", "frozen"),
    )
]


def measure(model: PreTrainedModel, tokens: torch.Tensor, variant: Variant) -> float:
    """Seconds of one forward and backward pass over (B, T) tokens."""
    for parameter in model.parameters():
        parameter.requires_grad_(variant.trained == "all" or parameter.ndim == 1)
    stride = FEW if variant.logits == "few" else 1
    began = time.perf_counter()
    hidden = model.model(input_ids=tokens, use_cache=False).last_hidden_state[:, ::stride]
    log_probs = torch.log_softmax(model.lm_head(hidden).float(), -1)
    log_probs.gather(-1, tokens[:, ::stride].unsqueeze(-1)).mean().backward()
    seconds = time.perf_counter() - began
    model.zero_grad(set_to_none=True)
    return seconds


def main() -> None:
    """Print a line a variant."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", help="directory of a model")
    parser.add_argument("--tokens", type=int, default=1024, help="of one pass (default 1024)")
    parser.add_argument("--rows", type=int, default=16, help="sequences that these are (default 16)")
    options = parser.parse_args()
    models = {
        name: AutoModelForCausalLM.from_pretrained(options.model, dtype=dtype, attn_implementation="sdpa")
        for name, dtype in TYPES.items()
    }
    generator = torch.Generator().manual_seed(1)
    tokens = torch.randint(models["fp32"].config.vocab_size, (options.tokens,), generator=generator)
    layouts = {"packed": tokens.view(1, -1), "rows": tokens.view(options.rows, -1)}
    found: dict[Variant, list[float]] = {variant: [] for variant in VARIANTS}
    # The first round is thrown away: it allocates.
    for round_number, variant in itertools.product(range(REPETITIONS + 1), VARIANTS):
        seconds = measure(models[variant.dtype], layouts[variant.layout], variant)
        if round_number:
            found[variant].append(seconds)
    print(f"{options.tokens} tokens, {options.rows} rows, {torch.get_num_threads()} threads")
    for variant, times in found.items():
        median = statistics.median(times)
        print(
            f"{variant.dtype}  {variant.layout:<6}  {variant.logits:<3} logits  {variant.trained:<6}  "
            f"{median:6.2f} s  {1000 * median / options.tokens:5.2f} ms a token"
        )


if __name__ == "__main__":
    main()
