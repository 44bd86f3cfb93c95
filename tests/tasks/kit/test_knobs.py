"""Knobs as one dataclass: constructor arguments, defaults of the YAML file and the table in the docs."""

from __future__ import annotations

import inspect
import json
import pickle
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml
from omegaconf import OmegaConf

from tasks.kit.knobs import Knobs, check_count, takes_knobs
from tasks.registry import load_pack, own_packs
from tasks.sandbox import SandboxConfig

ROOT = Path(__file__).parents[3]

TABLES = {
    found[1]: found[2]
    for page in sorted(ROOT.glob("docs/*.md"))
    for found in re.finditer(
        r"<!-- knobs: (\S+) -->\n(.*?)\n<!-- end of knobs -->", page.read_text(encoding="utf-8"), re.DOTALL
    )
}
"""Tables of knobs in docs/, by the dotted name of their dataclass."""

Meanings = Callable[[type[Any]], dict[str, str]]


def defaults_of(knobs: type[Any]) -> dict[str, Any]:
    """The default of every knob, as a YAML file gives it."""
    return dict(json.loads(json.dumps(asdict(knobs()))))


def table_of(knobs: type[Any], meanings: dict[str, str]) -> str:
    """The knobs as a Markdown table: name, default, meaning."""
    rows = ["| knob | default | meaning |", "|---|---|---|"]
    defaults = defaults_of(knobs)
    for name, meaning in meanings.items():
        default = defaults[name] if isinstance(defaults[name], str) else json.dumps(defaults[name])
        rows.append(f"| `{name}` | `{default}` | {meaning} |")
    return "\n".join(rows)


@dataclass(frozen=True, kw_only=True)
class SizeKnobs(Knobs):
    """Knobs of a pack about sizes."""

    largest: int = 30
    """Largest number,
    9 to 99."""

    units: tuple[str, ...] = ("m", "km")
    """Units that are on."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_count("largest", self.largest, 9, 99)


class Sizes:
    """Stands for a pack."""

    @takes_knobs(SizeKnobs)
    def __init__(self, knobs: SizeKnobs) -> None:
        self.knobs = knobs


class MoreSizes(Sizes):
    """A pack on top of another."""

    def __init__(self, *, extra: int = 1, largest: int = 50) -> None:
        super().__init__(largest=largest)


def test_a_pack_is_built_by_its_knobs() -> None:
    assert Sizes(terse=True, largest=40).knobs == SizeKnobs(terse=True, largest=40)
    assert list(inspect.signature(Sizes).parameters) == ["terse", "held_out_path", "largest", "units"]
    assert list(inspect.signature(MoreSizes).parameters) == ["extra", "largest"]
    assert pickle.loads(pickle.dumps(MoreSizes())).knobs.largest == 50


@pytest.mark.parametrize(
    ("knobs", "message"),
    [
        ({"largest": 8}, "pack.largest must be an integer from 9 to 99; got 8"),
        ({"terse": "no"}, "pack.terse must be true or false; got 'no'"),
    ],
)
def test_a_value_that_a_knob_cannot_have_is_refused(knobs: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Sizes(**knobs)


def test_the_table_comes_from_the_fields(field_meanings: Meanings) -> None:
    assert defaults_of(SizeKnobs) == {
        "terse": False,
        "held_out_path": None,
        "largest": 30,
        "units": ["m", "km"],
    }
    assert table_of(SizeKnobs, field_meanings(SizeKnobs)).splitlines()[2:4] == [
        "| `largest` | `30` | Largest number, 9 to 99. |",
        '| `units` | `["m", "km"]` | Units that are on. |',
    ]


def test_every_knob_has_a_docstring(field_meanings: Meanings) -> None:
    @dataclass(frozen=True, kw_only=True)
    class Silent(Knobs):
        largest: int = 30

    with pytest.raises(ValueError, match="every field of Silent must have a docstring; largest has none"):
        field_meanings(Silent)


def find(dataclass_name: str) -> type[Any]:
    """The dataclass of that dotted name."""
    module, _, name = dataclass_name.rpartition(".")
    found: type[Any] = getattr(import_module(module), name)
    return found


def test_every_pack_has_a_table() -> None:
    assert {name.split(".")[1] for name in TABLES} == set(own_packs())


@pytest.mark.parametrize("name", TABLES)
def test_the_docs_have_the_table(name: str, field_meanings: Meanings) -> None:
    assert TABLES[name] == table_of(find(name), field_meanings(find(name)))


@pytest.mark.parametrize("name", TABLES)
def test_the_file_has_the_defaults(name: str) -> None:
    folder = ROOT / "conf" / "pack"
    pack = yaml.safe_load((folder / f"{name.split('.')[1]}.yaml").read_text(encoding="utf-8"))
    if pack.pop("defaults", None):
        pack["sandbox"] = yaml.safe_load((folder / "sandbox" / "default.yaml").read_text(encoding="utf-8"))
    whole = OmegaConf.create({"pack": pack, "terse_prompts": False})
    config = OmegaConf.to_container(whole.pack, resolve=True)
    assert isinstance(config, dict)
    defaults = defaults_of(find(name))
    if "sandbox" in defaults:
        defaults["sandbox"] = asdict(SandboxConfig())
    target = config.pop("_target_")
    assert config == defaults
    assert set(inspect.signature(type(load_pack(target))).parameters) == set(defaults)
