"""Packs are found by name, by class and by entry point; mistakes get one line that helps."""

from __future__ import annotations

import random
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from tasks import registry
from tasks.arithmetic import ArithmeticPack
from tasks.guard import PackError
from tasks.registry import available_packs, load_pack


def test_a_mapping_sets_the_knobs() -> None:
    pack = load_pack({"_target_": "tasks.arithmetic.ArithmeticPack", "deduction_max": 20})
    assert isinstance(pack, ArithmeticPack)
    assert "0 to 20" in str(pack.propose_prompt("deduction", [], random.Random(0)))


def test_own_packs_are_available() -> None:
    assert {"arithmetic", "prime_inversion", "python_code"} <= set(available_packs())


@pytest.mark.parametrize(
    "target",
    [
        "no_such_pack",
        "tasks.no_such_pack.Pack",
        "tasks.arithmetic.NoSuchPack",
        "json.JSONDecoder",
        "",
        ".a",
        "a/b",
    ],
)
def test_unknown_packs_get_the_available_ones(target: str) -> None:
    for config in (target, {"_target_": target}):
        with pytest.raises(ValueError, match=r"Available packs: .*arithmetic, .*prime_inversion") as caught:
            load_pack(config)
        assert "\n" not in str(caught.value)


def test_missing_target_is_refused() -> None:
    with pytest.raises(ValueError, match="_target_"):
        load_pack({"deduction_max": 20})


def test_unknown_knob_gets_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"pack\.maximum .*deduction_max") as caught:
        load_pack({"_target_": "arithmetic", "maximum": 3})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("pack", "knob", "value"),
    [
        ("arithmetic", "deduction_max", 8),
        ("arithmetic", "induction_max", 10_000),
        ("arithmetic", "abduction_max", "many"),
        ("prime_inversion", "max_prime", 22),
        ("prime_inversion", "max_prime", 99_992),
        ("prime_inversion", "max_number", 10),
        ("prime_inversion", "induction_unique", "sometimes"),
    ],
)
def test_impossible_values_are_refused_by_name(pack: str, knob: str, value: object) -> None:
    with pytest.raises(ValueError, match=rf"^pack {pack}: pack\.{knob} must .*; got {value!r}"):
        load_pack({"_target_": pack, knob: value})


def test_a_complaint_without_a_knob_is_told_with_those_given(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: ArithmeticPack, *, deduction_max: str) -> None:
        int(deduction_max)

    monkeypatch.setattr(ArithmeticPack, "__init__", refuse)
    said = r"^pack arithmetic \(it was given \{'deduction_max': 'many'\}\): invalid literal for int"
    with pytest.raises(ValueError, match=said):
        load_pack({"_target_": "arithmetic", "deduction_max": "many"})


def test_entry_points_add_packs(monkeypatch: pytest.MonkeyPatch) -> None:
    point = EntryPoint("elsewhere", "tasks.arithmetic:ArithmeticPack", "azr.packs")

    def found(group: str, name: str = "elsewhere") -> list[EntryPoint]:
        return [point] if (group, name) == ("azr.packs", "elsewhere") else []

    monkeypatch.setattr(registry, "entry_points", found)
    assert isinstance(load_pack("elsewhere"), ArithmeticPack)
    assert isinstance(load_pack({"_target_": "elsewhere", "induction_max": 12}), ArithmeticPack)
    assert "elsewhere" in available_packs()


def test_a_pack_that_lacks_a_dependency_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broken_pack.py").write_text("import no_such_dependency\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ModuleNotFoundError, match="no_such_dependency"):
        load_pack("broken_pack.Pack")


def test_a_pack_that_breaks_the_contract_where_it_is_imported_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "early_pack.py").write_text(
        "from tasks.contract import *\nKINDS = (KindSpec('a_b', (), 0),)\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    said = r"^pack early_pack.Pack: importing it raised ContractError: KindSpec.name must be .*; got 'a_b'$"
    with pytest.raises(PackError, match=said):
        load_pack("early_pack.Pack")
