"""The helper that replaces functions of other libraries: it must work late, once, and fail by name."""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from recipe.cpu.patching import Function, PatchError, replace_function

VERSION = "library 1.2"


@pytest.fixture
def module(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """An imported module, named after the test."""
    module = ModuleType(request.node.name)

    def double(number: int) -> int:
        return 2 * number

    module.double = double
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return module


def negative(original: Function, number: int) -> int:
    """What the function gives, negated."""
    return -original(number)


def negate(module_name: str, name: str = "double") -> None:
    """Replace a function by one that gives the negative of what it gives."""
    replace_function(module_name, name, negative, written_for=VERSION)


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


def test_a_function_is_replaced_once_however_often_it_is_asked(module: ModuleType) -> None:
    for _ in range(2):
        negate(module.__name__)
    assert module.double(3) == -6


def test_a_name_that_is_gone_fails_with_name_module_and_version(module: ModuleType) -> None:
    with pytest.raises(PatchError, match=rf"{module.__name__} must define the function `triple`.*{VERSION}"):
        negate(module.__name__, "triple")


def test_a_name_that_is_no_function_any_more_fails(module: ModuleType) -> None:
    module.double = 2
    with pytest.raises(PatchError, match=f"{module.__name__} must define the function `double`"):
        negate(module.__name__)


def test_changed_parameters_fail_with_both_lists_and_leave_the_function_alone(module: ModuleType) -> None:
    original = module.double
    with pytest.raises(PatchError, match=r"\['number', 'base'\]; got \['number'\].*library 1\.2"):
        replace_function(module.__name__, "double", lambda original, number, base: 0, written_for=VERSION)
    assert module.double is original


def test_a_patch_waits_for_its_module_without_importing_it(library: str) -> None:
    negate(library)
    assert "patched_library" not in sys.modules

    module = importlib.import_module(library)

    assert module.double(3) == -6
    assert "LOADED" in inspect.getsource(sys.modules["patched_library"])
    assert "2 * number" in inspect.getsource(module)


def test_an_error_of_a_waiting_patch_stops_the_import(library: str) -> None:
    negate(library, "triple")
    with pytest.raises(PatchError, match=rf"{library} must define the function `triple`"):
        importlib.import_module(library)
    assert library not in sys.modules


def test_a_module_that_is_gone_fails_at_once(library: str) -> None:
    with pytest.raises(PatchError, match=r"patched_library\.renamed.*library 1\.2"):
        negate("patched_library.renamed")
