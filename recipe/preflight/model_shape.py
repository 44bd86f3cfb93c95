"""The sizes of a model, read without loading it, and without the network."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recipe.config import TINY_MODEL
from recipe.preflight.problems import PreflightError

SIZES = {"hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "vocab_size"}
OF_EXPERTS = {"num_experts", "num_local_experts", "n_routed_experts"}
WITH_QKV_BIAS = ("qwen2",)
WITH_QK_NORM = ("qwen3",)

TINY_VOCABULARY = 259
"""The 256 bytes, and the three marks of the tiny model's tokenizer."""


@dataclass(frozen=True, slots=True)
class ModelShape:
    """A dense decoder with gated feed-forward blocks and grouped-query attention: Llama, Qwen2, Qwen3.

    Attributes:
        hidden_size: Width of the residual stream.
        intermediate_size: Width inside a feed-forward block.
        num_layers: Blocks.
        num_heads: Query heads of a block.
        num_kv_heads: Key and value heads of a block.
        head_size: Width of a head.
        vocab_size: Rows of the embedding.
        tied: Whether the output layer is the embedding.
        qkv_bias: Whether queries, keys and values have a bias.
        qk_norm: Whether queries and keys are normalised.
    """

    hidden_size: int
    intermediate_size: int
    num_layers: int
    num_heads: int
    num_kv_heads: int
    head_size: int
    vocab_size: int
    tied: bool
    qkv_bias: bool = False
    qk_norm: bool = False

    @property
    def linear_sizes(self) -> list[tuple[int, int]]:
        """(in, out) of the linear layers of one block: q, k, v, o, gate, up, down."""
        hidden, inner = self.hidden_size, self.intermediate_size
        queries, keys = self.num_heads * self.head_size, self.num_kv_heads * self.head_size
        attention = [(hidden, queries), (hidden, keys), (hidden, keys), (queries, hidden)]
        return [*attention, (hidden, inner), (hidden, inner), (inner, hidden)]

    @property
    def layer_parameters(self) -> int:
        """Parameters of one block."""
        weights = sum(wide * long for wide, long in self.linear_sizes)
        biases = sum(out for _, out in self.linear_sizes[:3]) if self.qkv_bias else 0
        norms = 2 * self.hidden_size + (2 * self.head_size if self.qk_norm else 0)
        return weights + biases + norms

    @property
    def outer_parameters(self) -> int:
        """Parameters outside the blocks: embedding, last norm, and the output layer unless it is tied."""
        return (1 if self.tied else 2) * self.vocab_size * self.hidden_size + self.hidden_size

    @property
    def num_parameters(self) -> int:
        """All parameters."""
        return self.num_layers * self.layer_parameters + self.outer_parameters

    def lora_parameters(self, rank: int) -> int:
        """Parameters of adapters on all linear layers of the blocks: rank * (in + out) (arXiv:2106.09685)."""
        return self.num_layers * rank * sum(wide + long for wide, long in self.linear_sizes)


def _qwen2(hidden: int, inner: int, layers: int, heads: int, kv_heads: int, *, tied: bool) -> ModelShape:
    vocab = 151936 if tied else 152064
    return ModelShape(hidden, inner, layers, heads, kv_heads, hidden // heads, vocab, tied, qkv_bias=True)


# From the models' own config.json, so that a run can be planned before a model is downloaded.
QWEN_05B = _qwen2(896, 4864, 24, 14, 2, tied=True)
QWEN_15B = _qwen2(1536, 8960, 28, 12, 2, tied=True)
QWEN_3B = _qwen2(2048, 11008, 36, 16, 2, tied=True)
QWEN_7B = _qwen2(3584, 18944, 28, 28, 4, tied=False)
QWEN_14B = _qwen2(5120, 13824, 48, 40, 8, tied=False)
PUBLISHED = {
    "Qwen/Qwen2-0.5B-Instruct": QWEN_05B,
    "Qwen/Qwen2.5-0.5B-Instruct": QWEN_05B,
    "Qwen/Qwen2.5-1.5B-Instruct": QWEN_15B,
    "Qwen/Qwen2.5-3B-Instruct": QWEN_3B,
    "Qwen/Qwen2.5-Coder-1.5B-Instruct": QWEN_15B,
    "Qwen/Qwen2.5-Coder-3B": QWEN_3B,
    "Qwen/Qwen2.5-Coder-3B-Instruct": QWEN_3B,
    "Qwen/Qwen2.5-7B": QWEN_7B,
    "Qwen/Qwen2.5-Coder-7B": QWEN_7B,
    "Qwen/Qwen2.5-Coder-14B": QWEN_14B,
    "Qwen/Qwen3-0.6B": ModelShape(1024, 3072, 28, 16, 8, 128, 151936, tied=True, qk_norm=True),
    "meta-llama/Llama-3.1-8B": ModelShape(4096, 14336, 32, 32, 8, 128, 128256, tied=False),
}


def find_shape(path: str) -> ModelShape | None:
    """The sizes of `actor_rollout_ref.model.path`; None where they can be read nowhere on this machine.

    They come from a model directory, from the hub's cache, or from `PUBLISHED`, in this order.

    Raises:
        PreflightError: Its config.json holds no JSON object.
    """
    if path == TINY_MODEL:
        return _tiny_shape()
    folder = Path(path).expanduser()
    found = folder / "config.json" if folder.is_dir() else cached_file(path, "config.json")
    if found is not None and found.exists():
        return shape_of(read_json(found))
    return PUBLISHED.get(path)


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in a file.

    Raises:
        PreflightError: It holds none; an interrupted download leaves such files.
    """
    try:
        values: Any = json.loads(path.read_text())
    except ValueError:  # no JSON, or no text
        values = None
    if not isinstance(values, dict):
        raise PreflightError(f"{path} must hold a JSON object, and holds none; fetch the model again")
    return values


def cached_file(name: str, file: str) -> Path | None:
    """A file of a model of the hub in this machine's cache; None if it is not there."""
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        found = try_to_load_from_cache(name, file)
    except HFValidationError:  # no name on the hub; the rules on the model say so
        return None
    return Path(found) if isinstance(found, str) else None


def shape_of(config: dict[str, Any]) -> ModelShape | None:
    """The sizes that a config.json says; None if it is not that of a dense decoder."""
    if not config.keys() >= SIZES or config.keys() & OF_EXPERTS:
        return None
    hidden, heads = config["hidden_size"], config["num_attention_heads"]
    kind = config.get("model_type")
    return ModelShape(
        hidden_size=hidden,
        intermediate_size=config["intermediate_size"],
        num_layers=config["num_hidden_layers"],
        num_heads=heads,
        num_kv_heads=config.get("num_key_value_heads") or heads,
        head_size=config.get("head_dim") or hidden // heads,
        vocab_size=config["vocab_size"],
        tied=config.get("tie_word_embeddings", False),
        qkv_bias=kind in WITH_QKV_BIAS or config.get("attention_bias", False),
        qk_norm=kind in WITH_QK_NORM,
    )


def _tiny_shape() -> ModelShape:
    from recipe.tiny_model.config import HEAD_SIZE, TinyModelConfig  # torch comes with it

    tiny = TinyModelConfig()
    heads = tiny.hidden_size // HEAD_SIZE
    sizes = (tiny.hidden_size, tiny.intermediate_size, tiny.num_layers, heads, heads, HEAD_SIZE)
    return ModelShape(*sizes, TINY_VOCABULARY, tied=True, qkv_bias=True)
