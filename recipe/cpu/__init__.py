"""The CPU room: what lets verl 0.9.1 and vLLM 0.27.1 train and generate without an accelerator.

verl has platforms for NVIDIA, AMD and Ascend, none for a CPU. This package adds one through the doors that
verl and vLLM offer to plugins, and mends the few places that only work on an accelerator; docs/cpu.md lists
them. Nothing outside this package knows about CPUs, and a run on GPUs loads none of it: `recipe.plugin`
installs it only under VERL_PLATFORM=cpu.

This file imports nothing, because vLLM's plugin loader passes through it in GPU processes too.
"""
