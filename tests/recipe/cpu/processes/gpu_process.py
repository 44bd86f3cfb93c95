"""A process of a GPU run: the installed package must not change it."""

from __future__ import annotations

import importlib.metadata
import sys

version = importlib.metadata.version

import verl  # noqa: E402, F401

import recipe.plugin  # noqa: E402, F401


def our_finders() -> list[object]:
    return [finder for finder in sys.meta_path if type(finder).__module__.startswith("recipe")]


def test_nothing_of_the_cpu_room_is_loaded() -> None:
    assert [name for name in sys.modules if name.startswith("recipe.cpu")] == []
    assert our_finders() == []
    assert importlib.metadata.version is version


def test_the_vllm_plugin_patches_nothing() -> None:
    from recipe.cpu.vllm_plugin import register

    register()
    assert our_finders() == []
    assert "vllm" not in sys.modules
