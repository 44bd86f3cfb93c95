"""The JavaScript that draws the page's charts: Vega, Vega-Lite and vega-embed, out of an installed package.

vl-convert carries them and bundles them on demand, which takes seconds; the bundle is kept for next time.
"""

from __future__ import annotations

import hashlib
import os
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path

from recipe.run.checkpoint import write_atomically

SNIPPET = "window.vegaEmbed = vegaEmbed;"
"""What the bundle does when it is run."""


def javascript() -> str:
    """A script that sets `window.vegaEmbed`."""
    made_of = f"vl-convert-python {version('vl-convert-python')}: {SNIPPET}"
    kept = cache_dir() / f"{hashlib.sha256(made_of.encode()).hexdigest()[:16]}.js"
    with suppress(OSError):  # not made yet, or not readable
        return kept.read_text(encoding="utf-8")
    import vl_convert

    bundle: str = vl_convert.javascript_bundle(snippet=SNIPPET)
    with suppress(OSError):  # a home that is read-only: the next report takes seconds again
        kept.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_atomically(kept, bundle)
    return bundle


def cache_dir() -> Path:
    """The user's cache folder for scripts: `$XDG_CACHE_HOME/azr-verl/report`, below `~/.cache` by default."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()) / "azr-verl" / "report"
