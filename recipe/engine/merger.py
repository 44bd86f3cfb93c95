"""The weights of a checkpoint as a Hugging Face model: verl's merger of FSDP shards, in any number type.

verl's own merger makes bfloat16 of every weight. A policy that was trained and sampled in another type, as
all are on a CPU, would come out as another policy. Written for verl 0.9.1.
"""

from __future__ import annotations

import pickle
from pathlib import Path

import torch
from torch.distributed.tensor import DTensor
from transformers import AutoConfig
from verl.model_merger.base_model_merger import ModelMergerConfig
from verl.model_merger.fsdp_model_merger import FSDPModelMerger, merge_non_dtensor_shards


def merge(actor: Path, out: Path, dtype: str, *, trust_remote_code: bool) -> None:
    """Write weights of `dtype`, as torch spells it, configuration, tokenizer and chat template into `out`.

    `actor` is verl's folder of the checkpoint, with its shards and `huggingface/`; `out` is made if it is not
    there.
    """
    config = ModelMergerConfig(
        operation="merge",
        backend="fsdp",
        local_dir=str(actor),
        target_dir=str(out),
        hf_model_config_path=str(actor / "huggingface"),
        trust_remote_code=trust_remote_code,
    )
    TypedMerger(config, getattr(torch, dtype)).merge_and_save()


def load_shard(path: Path) -> dict[str, torch.Tensor]:
    """The weights of one worker, by name.

    Raises:
        OSError: There is no such file, or it is damaged.
    """
    try:
        # A DTensor is none of torch's safe types.
        shard: dict[str, torch.Tensor] = torch.load(path, map_location="cpu", weights_only=False)
    except (RuntimeError, EOFError, pickle.UnpicklingError) as error:
        what, *_ = str(error).split(". ")
        raise OSError(f"{path} is damaged ({what}); export another step, by --step") from error
    return shard


class TypedMerger(FSDPModelMerger):
    """verl's merger of FSDP shards, with weights of the type `dtype`."""

    def __init__(self, config: ModelMergerConfig, dtype: torch.dtype) -> None:
        super().__init__(config)
        self._dtype = dtype

    def _load_rank_zero_state_dict(self, world_size: int) -> dict[str, torch.Tensor]:
        """The first shard, off which verl reads how the others are cut."""
        return load_shard(Path(self.config.local_dir) / f"model_world_size_{world_size}_rank_0.pt")

    def _load_and_merge_state_dicts(
        self, world_size: int, total_shards: int, mesh_shape: tuple[int, ...], mesh_dim_names: tuple[str, ...]
    ) -> dict[str, torch.Tensor]:
        """The whole weights by name; verl's calls `bfloat16()` on each."""
        shards = [
            load_shard(Path(self.config.local_dir) / f"model_world_size_{world_size}_rank_{rank}.pt")
            for rank in range(total_shards)
        ]
        merged = {}
        for name in sorted(shards[0]):
            parts = [shard.pop(name) for shard in shards]
            if isinstance(parts[0], DTensor):
                # The last axis of the mesh is the one that is sharded over; ranks of the others hold copies.
                placement = parts[0].placements[-1]
                whole = self._merge_by_placement([part.to_local() for part in parts], placement)
            else:
                whole = merge_non_dtensor_shards(name, parts)
            merged[name] = whole.to(self._dtype)
        return merged

    def save_hf_model_and_tokenizer(self, state_dict: dict[str, torch.Tensor]) -> None:
        """As verl's, which also writes bfloat16 into the model's configuration."""
        super().save_hf_model_and_tokenizer(state_dict)
        config = AutoConfig.from_pretrained(
            self.config.target_dir, trust_remote_code=self.config.trust_remote_code
        )
        config.dtype = self._dtype
        config.save_pretrained(self.config.target_dir)
