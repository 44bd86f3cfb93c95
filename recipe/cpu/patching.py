"""Replace functions of somebody else's module, late and loudly.

A patch is a bet on the inside of another library. What is replaced must exist and have the parameters that
the patch was written for, or `PatchError` says what is missing and which version had it: a lost bet must not
turn into a wrong number. And a patch waits until its module is imported, so a process that does not need the
module does not pay for it.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from functools import partial, update_wrapper
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import wrapt

Function = Callable[..., Any]


class PatchError(RuntimeError):
    """The patched library no longer looks as the patch expects."""


def replace_function(module_name: str, name: str, replacement: Function, *, written_for: str) -> None:
    """Replace a module's function as soon as the module has been executed; at once if it already has.

    A second call with the same replacement does nothing.

    Args:
        module_name: Full name of the module that defines the function.
        name: The function's name in it.
        replacement: Takes the original function, then the original's parameters under their names, in order.
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
        if isinstance(original, partial) and original.func is replacement:
            return
        _, *expected = inspect.signature(replacement).parameters
        found = list(inspect.signature(original).parameters)
        if found != expected:
            raise PatchError(
                f"{module_name}.{name} must take the parameters {expected}; got {found}. "
                f"The CPU platform's patch was written for {written_for}."
            )
        setattr(module, name, update_wrapper(partial(replacement, original), original, updated=()))

    if module_name not in sys.modules and not _module_exists(module_name):
        raise PatchError(
            f"The module {module_name}, which the CPU platform patches, must exist; it was not found. "
            f"The patch was written for {written_for}."
        )
    wrapt.register_post_import_hook(replace, module_name)


def _module_exists(module_name: str) -> bool:
    """Look for a module's file, without executing any of its packages."""
    package, *inner = module_name.split(".")
    spec = find_spec(package)
    folders = (spec and spec.submodule_search_locations) or ()
    return any(Path(folder, *inner).with_suffix(".py").is_file() for folder in folders)
