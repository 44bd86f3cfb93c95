"""Replace attributes of somebody else's module, late and loudly.

A patch is a bet on the inside of another library. What is replaced must exist and have the parameters that
the patch was written for, or `PatchError` says what is missing and which version had it: a lost bet must not
turn into a wrong number. And a patch waits until its module is imported, so a process that does not need the
module does not pay for it.
"""

from __future__ import annotations

import importlib.util
import inspect
import sys
from collections.abc import Callable, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

Function = Callable[..., Any]
"""Any function or method of the patched library; its parameters are checked by name."""


class PatchError(RuntimeError):
    """The patched library no longer looks as the patch expects."""


def replace_function(
    owner: ModuleType | type,
    name: str,
    make_replacement: Callable[[Function], Function],
    *,
    parameters: Sequence[str],
    written_for: str,
) -> None:
    """Replace `owner.name` by what `make_replacement` builds around it; a second call does nothing.

    Args:
        owner: The module or class that defines the function.
        name: The function's name in `owner`.
        make_replacement: Takes the original function and returns the one to put in its place.
        parameters: Names of the original's parameters, in order, `self` included.
        written_for: Distribution and version that the patch was written for, for the error message.

    Raises:
        PatchError: If the function is gone or its parameters have changed.
    """
    where = f"{owner.__module__}.{owner.__qualname__}" if isinstance(owner, type) else owner.__name__
    original = vars(owner).get(name)
    if not callable(original):
        raise PatchError(
            f"{where} must define the function `{name}`, which the CPU platform replaces; it does not. "
            f"The patch was written for {written_for}."
        )
    if (where, name) in _REPLACED:
        return
    found = tuple(inspect.signature(original).parameters)
    if found != tuple(parameters):
        raise PatchError(
            f"{where}.{name} must take the parameters {tuple(parameters)}; got {found}. "
            f"The CPU platform's patch was written for {written_for}."
        )
    setattr(owner, name, make_replacement(original))
    _REPLACED.add((where, name))


def when_imported(module_name: str, apply: Callable[[ModuleType], None], *, written_for: str) -> None:
    """Call `apply` with a module as soon as it has been executed; at once if it already has.

    An error of `apply` propagates out of the import statement that brought the module in.

    Args:
        module_name: Full name of the module.
        apply: What to do with the module.
        written_for: Distribution and version that has the module, for the error message.

    Raises:
        PatchError: If there is no such module. It is looked for now, and without importing its packages: a
            renamed module would otherwise leave the patch waiting for ever.
    """
    if module_name in sys.modules:
        apply(sys.modules[module_name])
        return
    if not _module_exists(module_name):
        raise PatchError(
            f"The module {module_name}, which the CPU platform patches, must exist; it was not found. "
            f"The patch was written for {written_for}."
        )
    if _WAITING not in sys.meta_path:
        sys.meta_path.insert(0, _WAITING)
    _WAITING.patches[module_name] = apply


class _WaitingPatches(MetaPathFinder):
    """Finds no module itself: lets the others find it and adds the patch behind its execution."""

    def __init__(self) -> None:
        self.patches: dict[str, Callable[[ModuleType], None]] = {}

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return the spec that the other finders have for a patched module, and None for every other name."""
        if fullname not in self.patches:
            return None
        apply = self.patches.pop(fullname)  # before asking the other finders, or the question comes back here
        spec = importlib.util.find_spec(fullname)
        if spec is None or spec.loader is None:
            return spec
        execute = spec.loader.exec_module

        def execute_and_patch(module: ModuleType) -> None:
            execute(module)
            apply(module)

        # On this one loader object and not by a loader class of our own, so that the module keeps a loader
        # that can show its source.
        spec.loader.exec_module = execute_and_patch  # type: ignore[method-assign]
        return spec


_WAITING = _WaitingPatches()
_REPLACED: set[tuple[str, str]] = set()


def _module_exists(module_name: str) -> bool:
    """Look a module up on the path, package by package, without executing any of them."""
    path: Sequence[str] | None = None
    parts = module_name.split(".")
    for depth in range(1, len(parts) + 1):
        name = ".".join(parts[:depth])
        if name in sys.modules:
            path = sys.modules[name].__path__
            continue
        spec = PathFinder.find_spec(name, path)
        if spec is None:
            return False
        path = spec.submodule_search_locations
    return True
