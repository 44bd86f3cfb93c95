"""The merger of shards: what a damaged checkpoint ends in. tests/e2e has the whole one."""

from __future__ import annotations

from pathlib import Path

import pytest


def test_a_damaged_shard_is_named_in_one_line(tmp_path: Path) -> None:
    import torch

    from recipe.engine.merger import load_shard

    path = tmp_path / "model_world_size_1_rank_0.pt"
    torch.save({"weight": torch.ones(100)}, path)
    assert load_shard(path)["weight"].sum() == 100
    whole = path.read_bytes()
    for content in (
        whole[: len(whole) // 2],
        b"",
        b"version https://git-lfs.github.com/spec/v1\n",
        b"\x80\x04",
    ):
        path.write_bytes(content)
        with pytest.raises(OSError, match=r"rank_0\.pt is damaged \(.*\); export another step") as caught:
            load_shard(path)
        assert "\n" not in str(caught.value)
