"""The helper that replaces functions of other libraries: it must work late, once, and fail by name."""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from recipe.cpu.patching import Function, PatchError, replace_function, when_imported

VERSION = "library 1.2"


def make_module(name: str) -> ModuleType:
    module = ModuleType(name)

    def double(number: int) -> int:
        return 2 * number

    module.double = double
    return module


def negated(original: Function) -> Function:
    return lambda number: -original(number)


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A package on the path, not yet imported, whose `__init__` must not run before it is asked for."""
    package = tmp_path / "patched_library"
    package.mkdir()
    (package / "__init__.py").write_text("LOADED = True\n")
    (package / "inner.py").write_text("def double(number):\n    return 2 * number\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield "patched_library.inner"
    for name in ("patched_library.inner", "patched_library"):
        sys.modules.pop(name, None)


def test_a_function_is_replaced_once_however_often_it_is_asked() -> None:
    module = make_module("replaced_once")
    for _ in range(2):
        replace_function(module, "double", negated, parameters=("number",), written_for=VERSION)
    assert module.double(3) == -6


def test_a_method_is_replaced_for_all_instances() -> None:
    class Owner:
        def double(self, number: int) -> int:
            return 2 * number

    replace_function(
        Owner,
        "double",
        lambda original: lambda self, number: original(self, number) + 1,
        parameters=("self", "number"),
        written_for=VERSION,
    )
    assert Owner().double(3) == 7


def test_a_name_that_is_gone_fails_with_name_module_and_version() -> None:
    with pytest.raises(PatchError, match=r"gone_name must define the function `triple`.*library 1\.2"):
        replace_function(
            make_module("gone_name"), "triple", negated, parameters=("number",), written_for=VERSION
        )


def test_a_name_that_is_no_function_any_more_fails() -> None:
    module = make_module("no_function")
    module.double = 2
    with pytest.raises(PatchError, match="no_function must define the function `double`"):
        replace_function(module, "double", negated, parameters=("number",), written_for=VERSION)


def test_changed_parameters_fail_with_both_lists_and_leave_the_function_alone() -> None:
    module = make_module("changed_parameters")
    original = module.double
    with pytest.raises(PatchError, match=r"\('number', 'base'\); got \('number',\).*library 1\.2"):
        replace_function(module, "double", negated, parameters=("number", "base"), written_for=VERSION)
    assert module.double is original


def test_a_patch_waits_for_its_module_without_importing_it(library: str) -> None:
    patched: list[str] = []
    when_imported(library, lambda module: patched.append(module.__name__), written_for=VERSION)
    assert patched == []
    assert "patched_library" not in sys.modules

    module = importlib.import_module(library)

    assert patched == [library]
    assert "2 * number" in inspect.getsource(module.double)


def test_a_patch_of_an_imported_module_is_applied_at_once(library: str) -> None:
    module = importlib.import_module(library)
    patched: list[ModuleType] = []
    when_imported(library, patched.append, written_for=VERSION)
    assert patched == [module]


def test_an_error_of_a_waiting_patch_stops_the_import(library: str) -> None:
    def look_for_gone_name(module: ModuleType) -> None:
        replace_function(module, "triple", negated, parameters=("number",), written_for=VERSION)

    when_imported(library, look_for_gone_name, written_for=VERSION)
    with pytest.raises(PatchError, match=r"patched_library\.inner must define the function `triple`"):
        importlib.import_module(library)


def test_a_module_that_is_gone_fails_at_once(library: str) -> None:
    with pytest.raises(PatchError, match=r"patched_library\.renamed.*library 1\.2"):
        when_imported("patched_library.renamed", print, written_for=VERSION)
