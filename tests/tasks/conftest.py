"""A watch over this process, for tests that feed it programs of a model."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator

import pytest

# An outside distribution with tests of its own (test_moved.py).
collect_ignore = ["former_packs"]

_watched: list[str] | None = None


def _watch(event: str, arguments: tuple[object, ...]) -> None:
    """Note the code objects that this process executes, but for modules that it imports from files."""
    if _watched is not None and event == "exec":
        name = getattr(arguments[0], "co_filename", "?")
        if not name.endswith(".py") and not name.startswith("<frozen"):
            _watched.append(name)


sys.addaudithook(_watch)


@pytest.fixture
def code_that_ran() -> Iterator[list[str]]:
    """File names of the code objects that were executed here so far and that were no module's."""
    global _watched
    _watched = []
    yield _watched
    _watched = None


@pytest.fixture(scope="module")
def own_garbage() -> Iterator[None]:
    """What other tests have left is not walked on the time of those that are timed: it takes 0.3 s."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture
def nothing_runs_here(code_that_ran: list[str]) -> Iterator[None]:
    """Fail if this process executes code that was no module's."""
    yield
    assert code_that_ran == []
