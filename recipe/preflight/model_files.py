"""The files of the model that a run starts from, and the rules that they can be checked for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from recipe.config import TINY_MODEL
from recipe.preflight.model_shape import read_json
from recipe.preflight.problems import Problems, unless

WEIGHTS = ("model.safetensors", "pytorch_model.bin")
"""What transformers loads; in place of either, an index (its name with `.index.json`) and its shards."""


def problems_with_model(config: DictConfig) -> Problems:
    """The rules that a local model directory can be checked for."""
    path = config.actor_rollout_ref.model.path
    if path is None:
        yield "actor_rollout_ref.model.path must be set: a model directory, or a name on the hub"
    elif path == TINY_MODEL:
        # It is built after this check, by our own code.
        from recipe.tiny_model import TinyModelConfig  # torch comes with it

        yield from _problems_with_window(config, TinyModelConfig().max_positions)
    elif (folder := Path(path).expanduser()).is_dir():
        yield from _problems_with_folder(config, folder)
    else:
        # A name on the model hub has one slash; a path that is not there is a mistake.
        looks_like_path = folder.is_absolute() or path.startswith((".", "~")) or path.count("/") != 1
        yield from unless(
            not looks_like_path,
            f"actor_rollout_ref.model.path must be a model directory or a name on the hub; "
            f"{path} does not exist",
        )


def _problems_with_folder(config: DictConfig, folder: Path) -> Problems:
    for name, reason in (
        ("config.json", "a model directory holds one"),
        ("tokenizer_config.json", "the tokenizer is needed for the chat template"),
    ):
        yield from unless((folder / name).exists(), f"{folder / name} must exist: {reason}")
    missing = missing_weights(lambda name: folder / name if (folder / name).exists() else None)
    yield from unless(
        missing is None, f"{folder / (missing or '')} must exist: without it the weights are not whole"
    )
    tokenizer = _read_json(folder / "tokenizer_config.json")
    own = "chat_template" in tokenizer or (folder / "chat_template.jinja").exists()
    yield from unless(
        own or config.actor_rollout_ref.model.custom_chat_template is not None,
        f"{folder} must have a chat template, and its tokenizer has none. Use an instruct model, or add "
        "chat_template.jinja to the directory.",
    )
    yield from _problems_with_window(
        config, _read_json(folder / "config.json").get("max_position_embeddings")
    )


def _problems_with_window(config: DictConfig, window: int | None) -> Problems:
    whole = config.data.max_prompt_length + config.data.max_response_length
    yield from unless(
        window is None or whole <= window,
        f"data.max_prompt_length + data.max_response_length = {whole} must fit the model's context, {window}",
    )


def _read_json(path: Path) -> dict[str, Any]:
    """The file's content; nothing if it is not there, which is a problem of its own."""
    return read_json(path) if path.exists() else {}


def missing_weights(find: Callable[[str], Path | None]) -> str | None:
    """A file of weights that is not there; None if they are whole, in one file or in an index's shards.

    Args:
        find: A file of the model by its name; None if it is not there.

    Raises:
        PreflightError: The index holds no JSON object.
    """
    for name in WEIGHTS:
        if find(name) is not None:
            return None
        index = find(f"{name}.index.json")
        if index is not None:
            shards = sorted(set(read_json(index).get("weight_map", {}).values()))
            return next((shard for shard in shards if find(shard) is None), None)
    return WEIGHTS[0]
