"""The environment variables of a CPU run. Imports nothing: they are set before anything that reads them."""

from __future__ import annotations


def cpu_environment(threads: int, kv_cache_gib: int) -> dict[str, str]:
    """Return the variables to set before verl or torch is imported, and to pass in Ray's runtime environment.

    Args:
        threads: Threads of each worker and vLLM process, at least 1.
        kv_cache_gib: Size of vLLM's key-value cache in GiB, at least 1; taken from main memory per replica.

    Raises:
        ValueError: If an argument is below 1.
    """
    if threads < 1:
        raise ValueError(f"threads must be at least 1; got {threads!r}.")
    if kv_cache_gib < 1:
        raise ValueError(f"kv_cache_gib must be at least 1; got {kv_cache_gib!r}.")
    return {
        # Chooses the platform that recipe.plugin registers; also what makes it load this package at all.
        "VERL_PLATFORM": "cpu",
        # verl registers its FSDP engine for cuda and npu only; the code is the same for every device.
        "VERL_ENGINE_DEVICE": "cuda",
        # vLLM would otherwise take a share of the machine's memory as if it had it to itself.
        "VLLM_CPU_KVCACHE_SPACE": str(kv_cache_gib),
        # vLLM would otherwise bind its threads to cores of its choice, and replicas to each other's.
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        # PyTorch and vLLM would otherwise start one thread a core in every process; Ray sets 1 if unset.
        "OMP_NUM_THREADS": str(threads),
        # No report of machine and model to vLLM's authors.
        "VLLM_NO_USAGE_STATS": "1",
    }
