"""Put the CPU room into the running process. Called once, by `recipe.plugin`, inside `import verl`."""

from __future__ import annotations

import logging

from verl.plugin.platform.platform_manager import PlatformRegistry

from recipe.cpu.distribution import alias_vllm
from recipe.cpu.patching import PatchError
from recipe.cpu.platform import CpuPlatform
from recipe.cpu.verl_patches import patch_verl

logger = logging.getLogger(__name__)


def install() -> None:
    """Alias the vLLM distribution, patch verl and register the platform "cpu".

    The platform comes last. verl 0.9.1 catches every error of a plugin and mentions it at debug level only; a
    process without the platform stops at its first question for a device, and the reason is logged here.

    Raises:
        PatchError: If verl no longer looks as the patches expect.
    """
    try:
        alias_vllm()
        patch_verl()
    except PatchError:
        logger.critical("The CPU platform cannot be installed; verl will not know 'cpu'.", exc_info=True)
        raise
    PlatformRegistry.register(platform="cpu")(CpuPlatform)
