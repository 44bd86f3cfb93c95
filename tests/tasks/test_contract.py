"""What the recipe counts on, for every pack that `conf/pack` names: the checks of
`tasks/check/conformance.py`."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import yaml
from omegaconf import OmegaConf

from tasks.check.conformance import Check
from tasks.contract import TaskPack
from tasks.registry import load_pack

pytest_plugins = ["tasks.check.pytest_plugin"]

ROOT = Path(__file__).parents[2]
PACKS = sorted(path.stem for path in (ROOT / "conf" / "pack").glob("*.yaml"))
TERSE = " terse"

# Packs that run programs take seconds; what the tiny model is asked stands for them among the fast tests.
SLOW = ("math_word", "python_code")

pytestmark = pytest.mark.parametrize(
    "name",
    [
        *(pytest.param(name, marks=[pytest.mark.slow] if name in SLOW else []) for name in PACKS),
        *(name + TERSE for name in PACKS),
    ],
)


def build(name: str) -> TaskPack:
    """Build a pack from its file, as the recipe does, with or without terse prompts."""
    path = ROOT / "conf" / "pack" / f"{name.removesuffix(TERSE)}.yaml"
    file = yaml.safe_load(path.read_text(encoding="utf-8"))
    # Hydra's: where programs run, which is the sandbox's own default.
    file.pop("defaults", None)
    config = OmegaConf.create({"pack": file, "terse_prompts": name.endswith(TERSE)})
    return load_pack(config.pack)


def test_pack_keeps_the_contract(name: str, pack_check: Check) -> None:
    pack_check(lambda: build(name))


def test_pack_is_called_as_its_file(name: str) -> None:
    assert build(name).name == name.removesuffix(TERSE)


def test_name_alone_and_file_build_the_same_pack(name: str) -> None:
    by_name = load_pack({"_target_": name.removesuffix(TERSE), "terse": name.endswith(TERSE)})
    by_file = build(name)
    for spec in by_file.kinds:
        drawn = [pack.sample_record(spec.name, random.Random(0)) for pack in (by_name, by_file)]
        assert drawn[0] == drawn[1]
