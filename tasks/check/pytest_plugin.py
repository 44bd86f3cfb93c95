"""The checks of `tasks/check/conformance.py` as a pytest plugin, for the tests of a pack.

    pytest_plugins = ["tasks.check.pytest_plugin"]

    def test_pack_keeps_the_contract(pack_check):
        pack_check(lambda: load_pack("my_pack"))

runs once for each check.
"""

from __future__ import annotations

import sys

import pytest

from tasks.check.conformance import CHECKS

# What packs call this module (`tasks/moved.py`).
NAMES = frozenset({"tasks.check.pytest_plugin", "tasks.pytest_plugin"})


def pytest_plugin_registered(plugin: object, plugin_name: str, manager: pytest.PytestPluginManager) -> None:
    """Let tests of several packs call this module by either name: to pytest they are two plugins in one."""
    if plugin is sys.modules[__name__]:
        for name in NAMES - {plugin_name}:
            manager.set_blocked(name)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test that takes `pack_check` once for each check."""
    if "pack_check" in metafunc.fixturenames:
        metafunc.parametrize("pack_check", CHECKS, ids=[check.__name__ for check in CHECKS])
