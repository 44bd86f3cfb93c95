"""Import paths that packs and their tests may still use: a module that moved is found under its old name.

The old name gives the very module of the new one, and a `DeprecationWarning` that says where it is now.
"""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Sequence
from importlib.abc import InspectLoader, Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import CodeType, ModuleType

MOVED = {
    "tasks.conformance": "tasks.check.conformance",
    "tasks.gallery": "tasks.check.gallery",
    "tasks.guard_types": "tasks.guard",
    "tasks.held_out_file": "tasks.kit.held_out_file",
    "tasks.kinds_pack": "tasks.kit.kinds",
    "tasks.knobs": "tasks.kit.knobs",
    "tasks.leaks": "tasks.check.leaks",
    "tasks.number": "tasks.kit.numbers",
    "tasks.parsing": "tasks.kit.parsing",
    "tasks.payload": "tasks.kit.payload",
    "tasks.program": "tasks.kit.program",
    "tasks.pytest_plugin": "tasks.check.pytest_plugin",
    "tasks.response": "tasks.kit.response",
    "tasks.samples": "tasks.check.gallery",
    "tasks.syntax": "tasks.kit.syntax",
}
"""Old name -> new name."""


class Finder(MetaPathFinder, Loader):
    """Finds a module by its old name, and loads it by importing it under its new one."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        spec = find_spec(MOVED[fullname]) if fullname in MOVED else None
        return spec and ModuleSpec(fullname, self, origin=spec.origin, loader_state=spec)

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        warnings.warn(f"{spec.name} is now {MOVED[spec.name]}", DeprecationWarning, stacklevel=2)
        return importlib.import_module(MOVED[spec.name])

    def exec_module(self, module: ModuleType) -> None:
        # Importlib has just written the old name's spec into it.
        assert module.__spec__ is not None
        module.__spec__ = module.__spec__.loader_state

    def get_code(self, fullname: str) -> CodeType | None:
        """The module's code, for `python -m`."""
        spec = find_spec(MOVED[fullname])
        assert spec is not None and isinstance(spec.loader, InspectLoader)
        return spec.loader.get_code(spec.name)
