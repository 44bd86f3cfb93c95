"""The application of the backend "wasm": an interpreter that runs one program, as a WebAssembly component.

componentize-py imports it once, when it builds the component, and then freezes the interpreter as it is, with
its modules, its hash seed, its random state and its memory. Every program starts from a copy of that.
"""

from __future__ import annotations

import errno
import gc
import importlib
import io
import json
import linecache
import random
import sys
import warnings

# Both are made by `tasks/sandbox/wasm_image.py`: from the interface by componentize-py, and for each image.
import image
import wit_world

from tasks.sandbox.guest import harness
from tasks.sandbox.guest.addresses import fill_gaps
from tasks.sandbox.guest.modules import PRELOAD, hide_modules, import_codecs


class _Nowhere(io.TextIOBase):
    """Takes what a program prints: there is no stream to write it to, and trying would end the program."""

    def write(self, text: str) -> int:
        """Drop the text."""
        return len(text)


class WitWorld:
    """What the component exports; componentize-py looks for this name."""

    def run(self, request: str) -> None:
        """Run a program; the request is the JSON list of the arguments of `harness.run_program`."""
        del sys.modules["os"]
        source, entry, inputs, result_bytes, depth = json.loads(request)
        # The few that came free after the interpreter had filled its gaps.
        kept = [[[], {}, set(), (number,)] for number in range(_NUM_MORE)]
        harness.run_program(source, entry, inputs, result_bytes, depth, _emit)
        del kept


def _emit(line: bytes) -> None:
    wit_world.emit(line.decode())


def _prepare() -> None:
    for name in PRELOAD:
        importlib.import_module(name)
    import_codecs(frozenset())
    sys.stdin, sys.stdout, sys.stderr = io.StringIO(), _Nowhere(), _Nowhere()
    warnings.simplefilter("ignore")
    # A traceback would look for the sources of its frames, and there are no files.
    linecache.updatecache = lambda *_: []
    harness.prepare()
    # componentize-py imports `os` once more before the interpreter is frozen.
    hide_modules({*PRELOAD, "os"})
    sys.addaudithook(_refuse_files)
    gc.collect()
    gc.freeze()


def _refuse_files(event: str, _: object) -> None:
    """Refuse to open a file, where trying would end the program; Python tries at every syntax error."""
    if event == "open":
        raise PermissionError(errno.EPERM, "Operation not permitted")


_prepare()
_KEPT = fill_gaps(random.randrange(400, 600))
_NUM_MORE = 16 * image.NUMBER + random.randrange(16)  # never the same in two images
