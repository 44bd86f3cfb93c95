"""The environment variables of a CPU run. Imports nothing: they are set before anything that reads them."""

from __future__ import annotations


def cpu_environment(threads: int, kv_cache_gib: int) -> dict[str, str]:
    """Return the variables to set before verl or torch is imported, and to pass in Ray's runtime environment.

    Args:
        threads: Threads of each worker and vLLM process.
        kv_cache_gib: vLLM's key-value cache in GiB; each rollout server takes that much memory.
    """
    return {
        # Chooses the platform that recipe.plugin registers, and makes recipe.plugin load this package at all.
        "VERL_PLATFORM": "cpu",
        # verl registers its FSDP engine for cuda and npu only; the code is the same for every device.
        "VERL_ENGINE_DEVICE": "cuda",
        # vLLM would otherwise size its cache as if it had the machine to itself.
        "VLLM_CPU_KVCACHE_SPACE": str(kv_cache_gib),
        # vLLM would otherwise pin its threads to cores, each rollout server without knowing of the others.
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        # PyTorch would otherwise start one thread a core in every process that Ray does not limit.
        "OMP_NUM_THREADS": str(threads),
        # Idle threads would otherwise spin: with more of them than free cores a step takes ten times as long.
        "OMP_WAIT_POLICY": "PASSIVE",
        # glibc would otherwise give large blocks back at once and fetch them again, which for a model of 135
        # million parameters takes a tenth of an update (docs/performance.md). A process keeps its peak.
        "MALLOC_ARENA_MAX": "1",
        "MALLOC_MMAP_MAX_": "0",
        "MALLOC_TRIM_THRESHOLD_": str(2**34),
        "MALLOC_TOP_PAD_": str(2**28),
        # TransferQueue asks for 8 threads around every transfer and warns each time of having fewer cores.
        "TQ_NUM_THREADS": "1",
        # vLLM would otherwise refuse to run the model in the process that schedules: it binds threads to
        # cores in a process of the model's own. Nothing is bound here.
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
        # vLLM would otherwise compile one function of its sampler, with the system's C++ compiler.
        "TORCHDYNAMO_DISABLE": "1",
        # Of vLLM's output, warnings and errors.
        "VLLM_LOGGING_LEVEL": "WARNING",
        # No report of machine and model to vLLM's authors.
        "VLLM_NO_USAGE_STATS": "1",
    }
