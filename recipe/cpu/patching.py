"""Replace functions of somebody else's module, late and loudly.

A patch is a bet on the inside of another library. What is replaced must exist and have the parameters that
the patch was written for, or `PatchError` says what is missing and which version had it: a lost bet must not
turn into a wrong number. And a patch waits until its module is imported, so a process that does not need the
module does not pay for it.
"""

from __future__ import annotations

import inspect
import itertools
import sys
from collections.abc import Callable, Sequence
from importlib.machinery import PathFinder
from types import ModuleType
from typing import Any

import wrapt

Function = Callable[..., Any]
"""Any function of the patched library; its parameters are checked by name."""

_REPLACED: set[tuple[str, str]] = set()


class PatchError(RuntimeError):
    """The patched library no longer looks as the patch expects."""


def replace_function(
    module_name: str,
    name: str,
    make_replacement: Callable[[Function], Function],
    *,
    parameters: Sequence[str],
    written_for: str,
) -> None:
    """Replace a module's function as soon as the module has been executed; at once if it already has.

    A second call for the same function does nothing.

    Args:
        module_name: Full name of the module that defines the function.
        name: The function's name in it.
        make_replacement: Takes the original function and returns the one to put in its place.
        parameters: Names of the original's parameters, in order.
        written_for: Distribution and version that the patch was written for, for the error message.

    Raises:
        PatchError: If there is no such module. It is looked for now, and without importing its packages: a
            renamed module would otherwise leave the patch waiting for ever. And, out of the import statement
            that brings the module in, if the function is gone or its parameters have changed.
    """

    def replace(module: ModuleType) -> None:
        original = vars(module).get(name)
        if not callable(original):
            raise PatchError(
                f"{module_name} must define the function `{name}`, which the CPU platform replaces; it does "
                f"not. The patch was written for {written_for}."
            )
        if (module_name, name) in _REPLACED:
            return
        found = tuple(inspect.signature(original).parameters)
        if found != tuple(parameters):
            raise PatchError(
                f"{module_name}.{name} must take the parameters {tuple(parameters)}; got {found}. "
                f"The CPU platform's patch was written for {written_for}."
            )
        setattr(module, name, make_replacement(original))
        _REPLACED.add((module_name, name))

    if not _module_exists(module_name):
        raise PatchError(
            f"The module {module_name}, which the CPU platform patches, must exist; it was not found. "
            f"The patch was written for {written_for}."
        )
    wrapt.register_post_import_hook(replace, module_name)


def _module_exists(module_name: str) -> bool:
    """Look a module up on the path, package by package, without executing any of them."""
    path: Sequence[str] | None = None
    for name in itertools.accumulate(module_name.split("."), "{}.{}".format):
        if name in sys.modules:
            path = getattr(sys.modules[name], "__path__", None)
            continue
        spec = PathFinder.find_spec(name, path)
        if spec is None:
            return False
        path = spec.submodule_search_locations
    return True
