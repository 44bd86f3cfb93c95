"""The environment of a CPU run: values are strings."""

from __future__ import annotations

from recipe.cpu.environment import cpu_environment


def test_platform_and_sizes_are_set() -> None:
    variables = cpu_environment(threads=2, kv_cache_gib=3)
    assert variables["VERL_PLATFORM"] == "cpu"
    assert variables["OMP_NUM_THREADS"] == "2"
    assert variables["VLLM_CPU_KVCACHE_SPACE"] == "3"
    assert all(isinstance(value, str) for value in variables.values())
