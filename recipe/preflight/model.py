"""The model that a run starts from, looked at without loading it and without the network: files and sizes."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, cast

from omegaconf import OmegaConf

from recipe.config import CONF, TINY_MODEL
from recipe.preflight import PreflightError

WEIGHTS = ("model.safetensors", "pytorch_model.bin")
"""What transformers loads; in place of either, an index (its name with `.index.json`) and its shards."""

SIZES = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "vocab_size")
OF_EXPERTS = {"num_experts", "num_local_experts", "n_routed_experts"}

ModelConfig = dict[str, Any]  # what a model's config.json holds


@dataclass(frozen=True, slots=True)
class ModelShape:
    """A dense decoder with gated feed-forward blocks and grouped-query attention."""

    hidden_size: int  # width of the residual stream
    intermediate_size: int  # width inside a feed-forward block
    num_layers: int  # blocks
    num_heads: int  # query heads of a block
    num_kv_heads: int  # key and value heads of a block
    head_size: int
    vocab_size: int  # rows of the embedding
    tied: bool  # whether the output layer is the embedding
    num_parameters: int
    layer_parameters: int  # those of one block
    linear_width: int  # inputs and outputs of all linear layers of all blocks, summed

    @property
    def outer_parameters(self) -> int:
        """Parameters outside the blocks: embedding, last norm, and the output layer unless it is tied."""
        return self.num_parameters - self.num_layers * self.layer_parameters

    def lora_parameters(self, rank: int) -> int:
        """Parameters of adapters on all linear layers of the blocks: rank * (in + out) (arXiv:2106.09685)."""
        return rank * self.linear_width


def find_config(path: str) -> ModelConfig | None:
    """What config.json says of `actor_rollout_ref.model.path`; None where it is nowhere on this machine.

    It comes from a model directory, from the hub's cache, or from `published()`, in this order.

    Raises:
        PreflightError: It holds no JSON object.
    """
    if path == TINY_MODEL:
        from recipe.tiny_model import TinyModelConfig  # torch comes with it
        from recipe.tiny_model.tokenizer import build_tokenizer
        from recipe.tiny_model.warmup import architecture

        tiny = TinyModelConfig()
        return cast(ModelConfig, architecture(tiny, build_tokenizer(tiny.max_positions)).to_dict())
    folder = Path(path).expanduser()
    found = folder / "config.json" if folder.is_dir() else cached_file(path, "config.json")
    if found is not None and found.exists():
        return read_json(found)
    return published().get(path)


@cache
def published() -> dict[str, ModelConfig]:
    """What models of the hub say of their sizes, for a plan before any of them is downloaded."""
    found = OmegaConf.to_container(OmegaConf.load(CONF / "published_models.yaml"))
    return cast(dict[str, ModelConfig], found)


def head_counts(config: ModelConfig) -> tuple[int, int] | None:
    """Query heads, and key and value heads, of a block; None if it is not the config.json of a decoder."""
    heads = config.get("num_attention_heads")
    return None if heads is None else (heads, config.get("num_key_value_heads") or heads)


def shape_of(config: ModelConfig) -> ModelShape | None:
    """Sizes, counted on a model without storage; None if no decoder is known or its blocks hold experts."""
    if not config.keys() >= set(SIZES) or config.keys() & OF_EXPERTS:
        return None
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    try:
        known = AutoConfig.for_model(**config)
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(known)
    except Exception:  # the boundary to transformers: whatever it makes of a config, the run is not over yet
        return None

    def count(module: Any) -> int:
        return sum(parameter.numel() for parameter in module.parameters())

    blocks = max((m for m in model.modules() if isinstance(m, torch.nn.ModuleList)), key=count)
    linear = [layer for layer in blocks.modules() if isinstance(layer, torch.nn.Linear)]
    hidden, heads = config["hidden_size"], config["num_attention_heads"]
    return ModelShape(
        hidden_size=hidden,
        intermediate_size=config["intermediate_size"],
        num_layers=config["num_hidden_layers"],
        num_heads=heads,
        num_kv_heads=config.get("num_key_value_heads") or heads,
        head_size=getattr(known, "head_dim", None) or hidden // heads,
        vocab_size=config["vocab_size"],
        tied=known.tie_word_embeddings,
        num_parameters=count(model),
        layer_parameters=count(blocks[0]),
        linear_width=sum(layer.in_features + layer.out_features for layer in linear),
    )


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


def missing_weights(find: Callable[[str], Path | None]) -> str | None:
    """A file of weights that `find` lacks; None if they are whole, in one file or in an index's shards.

    Raises:
        PreflightError: The index holds no JSON object.
    """
    for name in WEIGHTS:
        if find(name) is not None:
            return None
        if (index := find(f"{name}.index.json")) is not None:
            shards = sorted(set(read_json(index).get("weight_map", {}).values()))
            return next((shard for shard in shards if find(shard) is None), None)
    return WEIGHTS[0]


def is_on_hub(path: str) -> bool:
    """Whether a path that is no directory can be the name of a model on the hub, which has one slash."""
    return not (Path(path).expanduser().is_absolute() or path.startswith((".", "~")) or path.count("/") != 1)
