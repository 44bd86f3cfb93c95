"""Which modules a program can import, and how the others are kept from it."""

from __future__ import annotations

import sys

PRELOAD = (
    "__future__", "abc", "array", "ast", "base64", "binascii", "bisect", "calendar", "cmath", "collections",
    "collections.abc", "contextlib", "copy", "copyreg", "dataclasses", "datetime", "decimal", "difflib",
    "enum", "fractions", "functools", "heapq", "inspect", "io", "itertools", "json", "keyword", "locale",
    "math", "numbers", "operator", "pprint", "queue", "random", "re", "reprlib", "statistics", "string",
    "struct", "sys", "textwrap", "time", "types", "typing", "unicodedata", "warnings", "weakref",
    # What the modules above load only when they need it.
    "_strptime", "encodings.ascii", "encodings.base64_codec", "encodings.cp1252", "encodings.hex_codec",
    "encodings.latin_1", "encodings.punycode", "encodings.raw_unicode_escape", "encodings.rot_13",
    "encodings.unicode_escape", "encodings.utf_16", "encodings.utf_16_le", "encodings.utf_16_be",
    "encodings.utf_32", "encodings.utf_8_sig", "linecache",
)  # fmt: skip
"""All that a program can import: nothing can be loaded later, and each module makes every fork dearer."""


class _NoImport:
    """Stands alone in `sys.meta_path`: what is not loaded does not exist."""

    @staticmethod
    def find_spec(name: str, path: object = None, target: object = None) -> None:
        """Find nothing, in the words of Python's own error."""
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)


def hide_modules(allowed: set[str]) -> None:
    """Take from `sys.modules` what a program has no business with.

    This keeps honest programs honest and gives them a clear error; a hostile one finds its way around it and
    then meets the kernel's layers, or WebAssembly's, which do not depend on it.
    """
    for name in _HIDDEN:
        for module in list(sys.modules):
            if (module == name or module.startswith(f"{name}.")) and module not in allowed:
                del sys.modules[module]
    sys.meta_path[:] = [_NoImport]
    sys.path.clear()
    sys.path_hooks.clear()
    sys.path_importer_cache.clear()


# Not `resource`: `os.wait4` imports it at every call, and under the filter it can raise no limit.
_HIDDEN = (
    "_ctypes", "_posixsubprocess", "_signal", "_socket", "ctypes", "importlib", "mmap", "multiprocessing",
    "os", "posix", "select", "selectors", "signal", "socket", "subprocess", "tasks",
)  # fmt: skip
