"""The environment of a CPU run: values are strings, and wrong sizes are refused."""

from __future__ import annotations

import pytest

from recipe.cpu.environment import cpu_environment


def test_platform_and_sizes_are_set() -> None:
    variables = cpu_environment(threads=2, kv_cache_gib=3)
    assert variables["VERL_PLATFORM"] == "cpu"
    assert variables["OMP_NUM_THREADS"] == "2"
    assert variables["VLLM_CPU_KVCACHE_SPACE"] == "3"
    assert all(isinstance(value, str) for value in variables.values())


@pytest.mark.parametrize("name", ["threads", "kv_cache_gib"])
def test_sizes_below_one_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} must be at least 1; got 0"):
        cpu_environment(**{"threads": 1, "kv_cache_gib": 1, name: 0})
