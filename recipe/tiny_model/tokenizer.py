"""A tokenizer without a vocabulary file: one token for each byte, and three markers.

Byte-level BPE with no merges, so every newline is one token (verl's Qwen-style chat handling asks for that)
and a prompt's length in tokens is its length in bytes plus three. The chat template is ChatML without role
words and newlines: with a token a byte, those would be half of what a tiny model reads, and turns alternate
anyway.

It is a `Qwen2Tokenizer` because transformers loads the tokenizer beside a Qwen2 model as that class, whatever
class the folder names. That class brings Unicode normalization (NFC) and a marker called `<|endoftext|>`,
which it adds beyond the model's vocabulary if it is not in it.
"""

from __future__ import annotations

from tokenizers import pre_tokenizers
from transformers import Qwen2Tokenizer

PAD = "<|endoftext|>"
TURN_START = "<|im_start|>"
TURN_END = "<|im_end|>"

CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['content'] }}<|im_end|>{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>{% endif %}"
)
"""Turns between markers, and nothing else: every character of a template is a token here."""


def build_tokenizer(max_positions: int) -> Qwen2Tokenizer:
    """Make the tokenizer; a response ends with `<|im_end|>`.

    Args:
        max_positions: Longest sequence the model takes, in tokens.
    """
    tokens = [*sorted(pre_tokenizers.ByteLevel.alphabet()), PAD, TURN_START, TURN_END]
    return Qwen2Tokenizer(
        vocab={token: index for index, token in enumerate(tokens)},
        merges=[],
        pad_token=PAD,
        unk_token=PAD,
        eos_token=TURN_END,
        additional_special_tokens=[TURN_START],
        chat_template=CHAT_TEMPLATE,
        model_max_length=max_positions,
    )
