"""What `import verl` loads of this recipe, in every process: target of the entry point `verl.plugins: azr`.

The driver, every Ray worker and every vLLM server import this module, and so does everybody else who uses
verl in the same environment. So it decides by one environment variable and, on a GPU, loads nothing.

verl loads the group after its own `verl.protocol` and `verl.utils.device` and before anything asks for the
platform; no other part of verl may be counted on at that moment.
"""

from __future__ import annotations

import os

if os.environ.get("VERL_PLATFORM", "").strip().lower() == "cpu":
    from recipe.cpu.install import install

    install()
