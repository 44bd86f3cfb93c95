"""Supervised next-token training of the tiny model on a stream of transcripts.

Shapes in this file: B transcripts of one microbatch, T tokens of its longest one, R response tokens in it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice

import torch
import torch.distributed as dist
from torch.nn.functional import cross_entropy
from transformers import Qwen2Config, Qwen2ForCausalLM, Qwen2Tokenizer

from recipe.tiny_model.config import TinyModelConfig
from recipe.tiny_model.muon import muon
from recipe.tiny_model.tokenizer import TURN_END
from recipe.tiny_model.transcripts import Transcript

IGNORED = -100
"""Target of a position that carries no loss; torch's own default."""

MICROBATCH_TOKENS = 1024
"""Bound on B x T, padding included, of one forward pass: its activations stay in a core's cache."""

_LOSS_WINDOW = 50


@dataclass(frozen=True, slots=True)
class Example:
    """One transcript as tokens."""

    tokens: list[int]  # prompt and response
    num_prompt_tokens: int  # these carry no loss


@dataclass(frozen=True, slots=True)
class WarmupResult:
    """What the warm-up did."""

    loss: float  # mean over the last steps, in nats a response token
    num_tokens: int  # prompts included, padding not
    num_response_tokens: int


def build_model(config: TinyModelConfig, tokenizer: Qwen2Tokenizer) -> Qwen2ForCausalLM:
    """Make an untrained model; its weights depend on `config.seed` and on nothing else."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        return Qwen2ForCausalLM(architecture(config, tokenizer))


def architecture(config: TinyModelConfig, tokenizer: Qwen2Tokenizer) -> Qwen2Config:
    """What the model's config.json says."""
    return Qwen2Config(
        **config.sizes(),
        initializer_range=config.hidden_size**-0.5,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        dtype="float32",
    )


def encode(tokenizer: Qwen2Tokenizer, transcripts: Sequence[Transcript], max_tokens: int) -> list[Example]:
    """Turn transcripts into tokens, in order; each response ends with `<|im_end|>`.

    Raises:
        ValueError: A transcript is longer than `max_tokens`.
    """
    texts = []
    for transcript in transcripts:
        texts.append(
            tokenizer.apply_chat_template(transcript.messages, tokenize=False, add_generation_prompt=True)
        )
        texts.append(transcript.response + TURN_END)
    encodings = tokenizer.backend_tokenizer.encode_batch(texts, add_special_tokens=False)
    examples = []
    for prompt, response in zip(encodings[::2], encodings[1::2], strict=True):
        tokens = prompt.ids + response.ids
        if len(tokens) > max_tokens:
            raise ValueError(
                f"max_positions must hold every transcript; got {max_tokens} for one of {len(tokens)} tokens"
            )
        examples.append(Example(tokens, len(prompt.ids)))
    return examples


def microbatches(examples: Sequence[Example]) -> Iterator[list[Example]]:
    """Split one step's examples into groups of like length, each within `MICROBATCH_TOKENS`."""
    group: list[Example] = []
    for example in sorted(examples, key=lambda example: len(example.tokens)):
        if group and (len(group) + 1) * len(example.tokens) > MICROBATCH_TOKENS:
            yield group
            group = []
        group.append(example)
    if group:
        yield group


def collate(examples: Sequence[Example], pad_id: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Make inputs and next-token targets, both (B, T - 1), padded on the right.

    Targets are `IGNORED` wherever the next token is part of the prompt or padding.
    """
    length = max(len(example.tokens) for example in examples)
    inputs = torch.full((len(examples), length - 1), pad_id)
    targets = torch.full((len(examples), length - 1), IGNORED)
    for row, example in enumerate(examples):
        tokens = torch.tensor(example.tokens)
        inputs[row, : len(tokens) - 1] = tokens[:-1]
        first = example.num_prompt_tokens
        targets[row, first - 1 : len(tokens) - 1] = tokens[first:]
    return inputs, targets


def summed_loss(model: Qwen2ForCausalLM, inputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Sum of the cross entropy of one microbatch's response tokens, in nats."""
    # Padding is on the right and attention is causal, so no mask is needed.
    hidden = model.model(input_ids=inputs, use_cache=False).last_hidden_state
    carries_loss = targets != IGNORED
    logits = model.lm_head(hidden[carries_loss])  # (R, vocabulary): prompts need no logits
    return cross_entropy(logits, targets[carries_loss], reduction="sum")


def learning_rate_scale(step: int, config: TinyModelConfig) -> float:
    """Factor on the peak rate at `step` (from 0): a linear rise, then a cosine down to 0."""
    rise_steps = config.rise_share * config.steps
    if step < rise_steps:
        return (step + 1) / (rise_steps + 1)
    return 0.5 * (1 + math.cos(math.pi * (step - rise_steps) / (config.steps - rise_steps)))


def warm_up(
    model: Qwen2ForCausalLM,
    tokenizer: Qwen2Tokenizer,
    transcripts: Iterator[Transcript],
    config: TinyModelConfig,
) -> WarmupResult:
    """Train `model` in place on the first `steps x batch_size` transcripts, which it takes off the stream.

    A step's loss is the mean over the response tokens of its whole batch. Inside a process group every
    process takes its share of each batch, and all of them end with the same weights. All must come with the
    same model and stream.
    """
    rank, size = (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)
    optimizers = build_optimizers(model, config)
    schedules = [
        torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: learning_rate_scale(step, config))
        for optimizer in optimizers
    ]
    losses = torch.zeros(config.steps)  # summed over tokens
    num_tokens = torch.zeros(config.steps, dtype=torch.int64)
    num_response_tokens = torch.zeros(config.steps, dtype=torch.int64)
    model.train()
    with deterministic_torch():
        for step in range(config.steps):
            share = list(islice(transcripts, config.batch_size))[rank::size]
            examples = encode(tokenizer, share, config.max_positions)
            for group in microbatches(examples):
                loss = summed_loss(model, *collate(group, tokenizer.pad_token_id))
                loss.backward()
                losses[step] += loss.detach()
            num_tokens[step] = sum(len(example.tokens) for example in examples)
            num_response_tokens[step] = num_tokens[step] - sum(e.num_prompt_tokens for e in examples)
            average_gradients(model, num_response_tokens[step])
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            for optimizer, schedule in zip(optimizers, schedules, strict=True):
                optimizer.step()
                optimizer.zero_grad()
                schedule.step()
    model.eval()
    if size > 1:
        for tensor in (losses, num_tokens, num_response_tokens):
            dist.all_reduce(tensor)
    last = slice(-_LOSS_WINDOW, None)
    return WarmupResult(
        loss=(losses[last].sum() / num_response_tokens[last].sum()).item(),
        num_tokens=int(num_tokens.sum()),
        num_response_tokens=int(num_response_tokens.sum()),
    )


def build_optimizers(model: Qwen2ForCausalLM, config: TinyModelConfig) -> list[torch.optim.Optimizer]:
    """Muon for the matrices inside the blocks, AdamW for all else; docs/tiny_model.md compares."""
    matrices: list[torch.nn.Parameter] = []
    others: list[torch.nn.Parameter] = []
    for name, parameter in model.named_parameters():
        inside = parameter.ndim == 2 and "embed" not in name
        (matrices if inside else others).append(parameter)
    return [
        muon(matrices, lr=config.matrix_learning_rate, weight_decay=0.01),
        torch.optim.AdamW(others, lr=config.learning_rate, betas=(0.9, 0.98), weight_decay=0.0),
    ]


def average_gradients(model: Qwen2ForCausalLM, num_tokens: torch.Tensor) -> None:
    """Turn the gradients of a sum over `num_tokens`, a scalar, into those of the mean over all processes."""
    gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    # One message for all of it: the count rides along, exact in float32 up to 16 million.
    flat = torch.cat([*(gradient.view(-1) for gradient in gradients), num_tokens.view(1).float()])
    if dist.is_initialized():
        dist.all_reduce(flat)
    flat /= flat[-1].clone()
    sizes = [gradient.numel() for gradient in gradients]
    for gradient, mean in zip(gradients, flat[:-1].split(sizes), strict=True):
        gradient.copy_(mean.view_as(gradient))


@contextmanager
def deterministic_torch() -> Iterator[None]:
    """Fix what makes torch's CPU results differ between runs, and put the process's own settings back."""
    threads_before = torch.get_num_threads()
    was_deterministic = torch.are_deterministic_algorithms_enabled()
    was_warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    # One: matrices this small gain nothing from more threads, and the order of sums stays fixed.
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(was_deterministic, warn_only=was_warn_only)
        torch.set_num_threads(threads_before)
