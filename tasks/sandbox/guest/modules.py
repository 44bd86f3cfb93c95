"""Which modules a program can import, and how the others are kept from it."""

from __future__ import annotations

import contextlib
import encodings
import importlib
import os
import sys

PRELOAD = (
    "__future__", "abc", "array", "ast", "base64", "binascii", "bisect", "calendar", "cmath", "collections",
    "collections.abc", "contextlib", "copy", "copyreg", "dataclasses", "datetime", "decimal", "difflib",
    "enum", "fractions", "functools", "heapq", "inspect", "io", "itertools", "json", "keyword", "locale",
    "math", "numbers", "operator", "pprint", "queue", "random", "re", "reprlib", "statistics", "string",
    "struct", "sys", "textwrap", "time", "types", "typing", "unicodedata", "warnings", "weakref",
    # What the modules above load only when they need it.
    "_strptime", "atexit", "linecache", "stringprep", *(["_pylong"] if sys.version_info >= (3, 12) else []),
)  # fmt: skip
"""All that a program can import: nothing can be loaded later, and each module makes every fork dearer."""

LIBRARY_CODECS = frozenset({
    "big5", "big5hkscs", "bz2_codec", "cp932", "cp949", "cp950", "euc_jis_2004", "euc_jisx0213", "euc_jp",
    "euc_kr", "gb18030", "gb2312", "gbk", "hz", "iso2022_jp", "iso2022_jp_1", "iso2022_jp_2",
    "iso2022_jp_2004", "iso2022_jp_3", "iso2022_jp_ext", "iso2022_kr", "johab", "shift_jis",
    "shift_jis_2004", "shift_jisx0213", "zlib_codec",
})  # fmt: skip
"""Codecs that load shared libraries, nine in all: a fork would be a fifth dearer for every program."""


def import_codecs(left_out: frozenset[str]) -> None:
    """Import CPython's own codecs, which are loaded when a program names them first, but for some."""
    for file in sorted(os.listdir(encodings.__path__[0])):
        name = file.removesuffix(".py")
        if name != file and name not in left_out:
            # Two are there on Windows only, and without them their names are unknown, as elsewhere.
            with contextlib.suppress(ImportError):
                importlib.import_module(f"encodings.{name}")


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
