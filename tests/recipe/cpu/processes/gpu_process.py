"""A process of a GPU run: the installed package must not change it. The last test installs the CPU room."""

from __future__ import annotations

import importlib.metadata
import logging
import sys

import pytest

version = importlib.metadata.version

import verl  # noqa: E402, F401

import recipe.plugin  # noqa: E402, F401


def our_finders() -> list[object]:
    return [finder for finder in sys.meta_path if type(finder).__module__.startswith("recipe")]


def test_nothing_of_the_cpu_room_is_loaded() -> None:
    assert [name for name in sys.modules if name.startswith("recipe.cpu")] == []
    assert our_finders() == []
    assert importlib.metadata.version is version


def test_trr_plus_plus_joins_verls_estimators_where_these_are_loaded() -> None:
    assert not {"verl.trainer.ppo.core_algos", "recipe.engine.estimator"} & sys.modules.keys()
    from verl.trainer.ppo.core_algos import get_adv_estimator_fn

    assert get_adv_estimator_fn("trr_plus_plus").__module__ == "recipe.engine.estimator"


def test_the_vllm_plugin_patches_nothing() -> None:
    from recipe.cpu.vllm_plugin import register

    register()
    assert our_finders() == []
    assert not {"vllm", "recipe.cpu.patching"} & sys.modules.keys()


def test_with_another_verl_the_platform_is_not_registered_and_the_reason_is_logged(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from verl.plugin.platform import PlatformRegistry

    from recipe.cpu import install
    from recipe.cpu.patching import PatchError

    monkeypatch.setattr(install, "PROCESS_GROUP_MODULE", "verl.utils.renamed")
    with pytest.raises(PatchError, match=r"verl\.utils\.renamed.*verl 0\.9\.1"):
        install.install()
    # verl swallows the error of a plugin; without the platform it cannot go on.
    assert "cpu" not in PlatformRegistry.registered_names()
    assert caplog.records[-1].levelno == logging.CRITICAL
    assert "verl.utils.renamed" in caplog.text
