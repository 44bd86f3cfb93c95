"""Build the tiny model once for each configuration, and find it again.

A model's folder is named after everything that decides its weights. It is written aside and renamed into
place, so a folder of that name is always whole; if two processes build the same model, the first to finish
wins and the other's copy is dropped.
"""

from __future__ import annotations

import hashlib
import json
import platform
import time
from dataclasses import asdict
from pathlib import Path

import torch
import torch.distributed as dist
import torch.multiprocessing
import transformers

from recipe.run.model_folder import written_aside
from recipe.tiny_model.config import TinyModelConfig
from recipe.tiny_model.tokenizer import CHAT_TEMPLATE, build_tokenizer
from recipe.tiny_model.transcripts import digest_transcripts, stream_warmup
from recipe.tiny_model.warmup import build_model, warm_up
from tasks.contract import TaskPack

MANIFEST = "tiny_model.json"

WARMUP_VERSION = 3
"""Raise it with every change to the warm-up that changes weights."""


def model_path(pack: TaskPack, config: TinyModelConfig, cache_dir: Path) -> Path:
    """Where the model of this pack and configuration is or will be."""
    key = {
        "warmup": WARMUP_VERSION,
        "chat_template": CHAT_TEMPLATE,
        "torch": torch.__version__,
        "config": asdict(config),
        "pack": digest_transcripts(pack, config),
    }
    digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()
    return cache_dir / f"{pack.name}-{digest[:16]}"


def ensure_tiny_model(pack: TaskPack, config: TinyModelConfig, cache_dir: Path) -> Path:
    """Return the folder of the model, building it first if `cache_dir` does not hold it.

    The folder is one that transformers and vLLM load: weights, configuration, tokenizer, chat template; and
    `tiny_model.json`, which says how the model came about. `cache_dir` is made if missing.
    """
    path = model_path(pack, config, cache_dir)
    if path.is_dir():
        return path
    with written_aside(path) as aside:
        if config.num_processes == 1:
            _build(pack, config, aside)
        else:
            torch.multiprocessing.spawn(_build_in_group, (pack, config, aside), nprocs=config.num_processes)
    return path


def _build_in_group(rank: int, pack: TaskPack, config: TinyModelConfig, path: Path) -> None:
    # Of a relative path torch takes the first folder for a host
    rendezvous = path.absolute() / "rendezvous"
    dist.init_process_group(
        "gloo", init_method=f"file://{rendezvous}", rank=rank, world_size=config.num_processes
    )
    try:
        _build(pack, config, path, rank)
    finally:
        dist.destroy_process_group()
        if rank == 0:
            rendezvous.unlink(missing_ok=True)


def _build(pack: TaskPack, config: TinyModelConfig, path: Path, rank: int = 0) -> None:
    """Warm a model up; the first process saves it in `path`."""
    wall_start = time.perf_counter()
    tokenizer = build_tokenizer(config.max_positions)
    model = build_model(config, tokenizer)
    result = warm_up(model, tokenizer, stream_warmup(pack, config), config)
    if rank != 0:
        return
    model.save_pretrained(path)
    tokenizer.save_pretrained(path)
    manifest = {
        "pack": pack.name,
        "held_out_version": pack.held_out_version,
        "config": asdict(config),
        "num_parameters": model.num_parameters(),
        "warmup": asdict(result),
        "wall_s": round(time.perf_counter() - wall_start, 1),
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "transformers": transformers.__version__,
        },
    }
    (path / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
