"""A process whose verl is not the one the patches were written for: it must not get a platform "cpu"."""

from __future__ import annotations

import subprocess
import sys

# Stands for a verl without the patched module: the patch looks for a name that no version has.
SCRIPT = """
import os
os.environ["VERL_PLATFORM"] = "cpu"
import recipe.cpu.verl_patches as patches
patches.PROCESS_GROUP_MODULE = "verl.utils.renamed"
import verl
from verl.plugin.platform import get_platform
print(get_platform())
"""


def test_a_gone_name_ends_the_process_and_is_named() -> None:
    # verl swallows the errors of plugins that it finds by entry point, so the end comes later with them.
    result = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True)
    assert result.returncode != 0
    assert "verl.utils.renamed" in result.stderr
    assert "verl 0.9.1" in result.stderr
