"""The model that a run starts from, looked at without loading it and without the network: files and sizes."""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, cast

from jinja2 import Environment, TemplateSyntaxError
from omegaconf import DictConfig, OmegaConf, open_dict

from recipe.config import CONF, TINY_MODEL
from recipe.preflight import PreflightError
from recipe.preflight.gguf_file import config_of, find_gguf, load_tokenizer, read_header
from recipe.pretrained import FOLDER, MODELS
from recipe.tiny_model import TinyModelConfig

WEIGHTS = ("model.safetensors", "pytorch_model.bin")
"""What transformers loads; in place of either, an index (its name with `.index.json`) and its shards."""

SIZES = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "vocab_size")
OF_EXPERTS = {"num_experts", "num_local_experts", "n_routed_experts"}


class Block(NamedTuple):
    """What a family of decoders adds to the block of Llama."""

    biased: bool = False  # biases of queries, keys and values
    normed_heads: bool = False  # a norm for the heads of queries, and one for those of keys


BLOCKS = {
    "llama": Block(),
    "mistral": Block(),
    "qwen2": Block(biased=True),
    "qwen3": Block(normed_heads=True),
}
"""Families whose sizes are worked out here, without the seconds that torch and transformers take to load."""

MADE = {str(FOLDER / name): f"python -m recipe.pretrained {name}" for name in MODELS}
"""Directories that a command makes, each with the command."""

LFS_POINTER = b"version https://git-lfs.github.com/spec/"
"""How the file begins that Git leaves in the place of a large one."""

# What else of a model is large, and read by transformers if it is there.
VOCABULARIES = ("tokenizer.json", "tokenizer.model", "vocab.json", "merges.txt")

ModelConfig = dict[str, Any]  # what a model's config.json holds
FindFile = Callable[[str], Path | None]  # a file of a model by its name; None if it is not on this machine


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

    It comes from a GGUF file, a model directory, the hub's cache, or `published()`, in this order.

    Raises:
        PreflightError: It holds no JSON object.
    """
    if path == TINY_MODEL:
        return {"model_type": "qwen2", **TinyModelConfig().sizes()}
    if (file := find_gguf(path)) is not None:
        return config_of(read_header(file))
    found = finder(path)("config.json")
    return published().get(path) if found is None else read_json(found)


def find_tokenizer(path: str) -> Any | None:
    """The tokenizer of a model that is on this machine, in a directory or in the hub's cache; else None."""
    if path == TINY_MODEL:
        from recipe.tiny_model import TinyModelConfig  # torch comes with it
        from recipe.tiny_model.tokenizer import build_tokenizer

        return build_tokenizer(TinyModelConfig().max_positions)
    file = find_gguf(path)
    if file is None and finder(path)("tokenizer_config.json") is None:
        return None
    from transformers import AutoTokenizer

    try:
        if file is not None:
            return load_tokenizer(file)
        return AutoTokenizer.from_pretrained(str(Path(path).expanduser()), local_files_only=True)
    except Exception:  # the boundary to transformers: whatever it makes of a file, the run is not over yet
        return None


def finder(path: str) -> FindFile:
    """How files are found of a model directory, or of a model of the hub that is in this machine's cache."""
    folder = Path(path).expanduser()
    if folder.is_dir():
        return lambda name: folder / name if (folder / name).exists() else None
    return lambda name: cached_file(path, name)


@cache
def published() -> dict[str, ModelConfig]:
    """What models of the hub say of their sizes, for a plan before any of them is downloaded."""
    found = OmegaConf.to_container(OmegaConf.load(CONF / "published_models.yaml"))
    return cast(dict[str, ModelConfig], found)


def head_counts(config: ModelConfig) -> tuple[int, int] | None:
    """Query heads, and key and value heads, of a block; None if it is not the config.json of a decoder."""
    heads = config.get("num_attention_heads")
    return None if heads is None else (heads, config.get("num_key_value_heads") or heads)


def head_size_of(config: ModelConfig) -> int | None:
    """Numbers of a query in one attention head; None if it is not the config.json of a decoder."""
    text = config.get("text_config") or config
    if (size := text.get("head_dim")) is not None:
        return int(size)
    hidden, heads = text.get("hidden_size"), text.get("num_attention_heads")
    return hidden // heads if isinstance(hidden, int) and isinstance(heads, int) else None


def context_length(config: ModelConfig) -> int | None:
    """Positions that a model is made for; None if its config.json does not say.

    As vLLM 0.27.1 reckons (`_get_and_verify_max_len`), positions of YaRN (arXiv:2309.00071) are those of the
    original model times the factor, and those of linear scaling times the factor. Of other scalings
    config.json has the result already (llama3, longrope, Gemma 3), or trainer and vLLM would take different
    frequencies beyond the original positions (dynamic).
    """
    text = config.get("text_config") or config
    positions, rope = (
        text.get("max_position_embeddings"),
        text.get("rope_parameters") or text.get("rope_scaling") or {},
    )
    kind = rope.get("rope_type", rope.get("type"))
    if positions is None or kind not in ("yarn", "linear") or "gemma3" in text.get("model_type", ""):
        return cast("int | None", positions)
    if kind == "yarn":
        original = text.get("original_max_position_embeddings")
        positions = original or rope.get("original_max_position_embeddings") or positions
    return int(positions * (rope.get("factor") or 1))


def fill_context(config: DictConfig, model: ModelConfig | None) -> None:
    """Tell verl the positions of a model whose rotary embedding is scaled.

    verl 0.9.1 holds `rollout.max_model_len` against `max_position_embeddings` as it stands. The frequencies
    of YaRN and of linear scaling do not depend on that number.
    """
    positions = context_length(model or {})
    overrides = config.actor_rollout_ref.model.override_config
    if model is not None and positions != (model.get("text_config") or model).get("max_position_embeddings"):
        with open_dict(config):
            overrides.setdefault("max_position_embeddings", positions)


def largest_weight(config: ModelConfig) -> int | None:
    """Numbers in the largest weight of a dense decoder; None if its config.json does not say.

    That is the embedding (vocabulary * width), or a matrix of a feed-forward block (inner width * width).
    """
    text = config.get("text_config") or config
    hidden, *others = (text.get(name) for name in ("hidden_size", "vocab_size", "intermediate_size"))
    known = [size for size in others if isinstance(size, int)]
    return hidden * max(known) if isinstance(hidden, int) and known else None


def shape_of(config: ModelConfig) -> ModelShape | None:
    """Sizes of a decoder; None if no decoder is known or its blocks hold experts.

    Those of `BLOCKS` are worked out; others are counted on a model without storage, which takes seconds.
    """
    if not config.keys() >= set(SIZES) or config.keys() & OF_EXPERTS:
        return None
    family = BLOCKS.get(config.get("model_type", ""))
    if family is None or config.get("attention_bias") or config.get("mlp_bias"):
        return built_shape(config)
    heads, kv_heads = head_counts(config) or (1, 1)
    hidden, inner, vocabulary = (config[name] for name in ("hidden_size", "intermediate_size", "vocab_size"))
    head_size = config.get("head_dim") or hidden // heads
    queries, keys = heads * head_size, kv_heads * head_size
    linear = [(hidden, queries), (hidden, keys), (hidden, keys), (queries, hidden), *3 * [(hidden, inner)]]
    block = sum(rows * columns for rows, columns in linear) + 2 * hidden  # and the norms before each half
    block += family.biased * (queries + 2 * keys) + family.normed_heads * 2 * head_size
    layers, tied = config["num_hidden_layers"], bool(config.get("tie_word_embeddings", False))
    return ModelShape(
        hidden_size=hidden,
        intermediate_size=inner,
        num_layers=layers,
        num_heads=heads,
        num_kv_heads=kv_heads,
        head_size=head_size,
        vocab_size=vocabulary,
        tied=tied,
        num_parameters=layers * block + (1 if tied else 2) * vocabulary * hidden + hidden,
        layer_parameters=block,
        linear_width=layers * sum(rows + columns for rows, columns in linear),
    )


def built_shape(config: ModelConfig) -> ModelShape | None:
    """Sizes of whatever decoder transformers makes of it; None if it makes none."""
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


def weight_names(find: FindFile) -> list[str]:
    """The files that hold the weights: one, or an index's shards; the usual one if there is neither.

    Raises:
        PreflightError: The index holds no JSON object, or names no shard.
    """
    for name in WEIGHTS:
        if find(name) is not None:
            return [name]
        if (index := find(f"{name}.index.json")) is not None:
            shards = set(read_json(index).get("weight_map", {}).values())
            if not shards:
                raise PreflightError(
                    f"{index} must name the files of the weights, and names none; fetch the model again"
                )
            return sorted(shards)
    return [WEIGHTS[0]]


def missing_weights(find: FindFile) -> str | None:
    """A file of weights that `find` lacks; None if they are there, in one file or in an index's shards.

    Raises:
        PreflightError: The index holds no JSON object, or names no shard.
    """
    return next((name for name in weight_names(find) if find(name) is None), None)


def fault_of(file: Path) -> str | None:
    """What keeps a file of a model from being read; None if nothing is seen. Only its ends are looked at."""
    with file.open("rb") as opened:
        start = opened.read(len(LFS_POINTER))
    if not start:
        return "is empty; fetch the model again"
    if start == LFS_POINTER:
        return "is what Git LFS leaves in the place of a file; run `git lfs pull` in the model's directory"
    if file.suffix == ".safetensors":
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(file, framework="np"):  # reads the header, and compares it to the file's length
                return None
        except SafetensorError as error:
            return f"is damaged or cut short ({error}); fetch the model again"
    if start.startswith(b"PK") and not zipfile.is_zipfile(file):  # torch's, whose directory stands at the end
        return "is cut short; fetch the model again"
    return None


def chat_template_of(find: FindFile) -> str | None:
    """The chat template of a model, from where transformers looks for it; None without any.

    Raises:
        PreflightError: tokenizer_config.json holds no JSON object.
    """
    if (file := find("chat_template.jinja")) is not None:
        return file.read_text(encoding="utf-8") or None
    if (tokenizer := find("tokenizer_config.json")) is None:
        return None
    found = read_json(tokenizer).get("chat_template")
    if isinstance(found, list):  # several, by name
        found = {each["name"]: each["template"] for each in found}.get("default")
    return found or None


def template_fault(template: str) -> str | None:
    """What keeps a chat template from being read, and in which line; None if nothing does."""
    # transformers adds one tag to Jinja's own, which marks what the assistant said.
    plain = re.sub(r"{%-?\s*(end)?generation\s*-?%}", "", template)
    try:
        Environment(extensions=["jinja2.ext.loopcontrols"]).parse(plain)
    except TemplateSyntaxError as error:
        return f"{error.message} (line {error.lineno})"
    return None


def hub_is_offline() -> bool:
    """Whether models are not to be fetched (`HF_HUB_OFFLINE`, `TRANSFORMERS_OFFLINE`)."""
    from huggingface_hub import constants

    return bool(constants.HF_HUB_OFFLINE)


def is_on_hub(path: str) -> bool:
    """Whether a path that is no directory can be the name of a model on the hub, which has one slash."""
    is_file = Path(path).expanduser().is_absolute() or path.startswith((".", "~")) or path.endswith(".gguf")
    return not is_file and path.count("/") == 1 and path not in MADE
