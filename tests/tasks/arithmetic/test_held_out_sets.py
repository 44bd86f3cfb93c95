"""The sets beside the default one: what is in them, and that each is drawn again as it is."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from tasks.arithmetic import ArithmeticPack
from tasks.arithmetic.held_out_sets import (
    PRODUCTS,
    SETS,
    SIZES_1100,
    TIERS_200,
    TIERS_2000,
    possible_seeds,
)
from tasks.contract import Outcome, TaskRecord
from tasks.held_out import main
from tasks.kit.held_out_file import build, render

SIZES = {
    TIERS_200: {"very-easy": 10, "easy": 40, "medium": 50, "hard": 50, "very-hard": 50},
    TIERS_2000: {"very-easy": 5, "easy": 80, "medium": 200, "hard": 854, "very-hard": 861},
    PRODUCTS: {"deduction": 1000},
    SIZES_1100: {"size-0-9": 80, "size-10-49": 340, "size-50-99": 340, "size-100-999": 340},
}
BOUNDS = {"very-easy": (0, 5), "easy": (0, 10), "medium": (0, 20), "hard": (10, 50), "deduction": (100, 999)}


def tasks(name: str) -> list[TaskRecord]:
    return list(ArithmeticPack(held_out=name).held_out())


@pytest.mark.parametrize("name", SIZES)
def test_set_has_its_sizes_and_is_as_drawn(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    pack = ArithmeticPack(held_out=name)
    assert Counter(pack.held_out_groups(record)[0] for record in pack.held_out()) == SIZES[name]
    assert render(pack, build(pack)).encode() == pack.held_out_path.read_bytes()
    assert main(["arithmetic", "--set", name, "--check"]) == 0
    assert f"held_out_{name}.jsonl: as drawn" in capsys.readouterr().out


@pytest.mark.parametrize("name", SIZES)
def test_gold_solves_every_task_and_none_is_proposed_that_is_not_on(name: str) -> None:
    pack = ArithmeticPack(held_out=name)
    for record in tasks(name):
        verdict = asyncio.run(pack.judge(record, pack.gold_response(record)))
        assert verdict.outcome is Outcome.CORRECT
        a, op, b = (record.payload[field] for field in ("a", "op", "b"))
        assert isinstance(a, int) and isinstance(b, int)
        assert op != "/" or a % b == 0
        group = pack.held_out_groups(record)[0]
        if name == SIZES_1100:
            assert ArithmeticPack(difficulty="sizes").difficulty(record) == group
            continue
        low, high = BOUNDS.get(group, (2 if op == "/" else 20, 100))
        assert low <= min(a, b) <= max(a, b) <= high


def test_no_task_is_in_two_sets_or_twice_in_one_or_a_seed() -> None:
    pack = ArithmeticPack()
    found = {name: {pack.task_key(record) for record in tasks(name)} for name in SIZES}
    apart = [found[name] for name in (TIERS_200, TIERS_2000, PRODUCTS)]
    assert len(set.union(*apart)) == sum(map(len, apart)) == 3200
    for name, keys in found.items():
        assert len(keys) == sum(SIZES[name].values())
        assert not keys & {pack.task_key(seed) for seed in possible_seeds(name)}


def test_smallest_operand_that_makes_a_seed_of_a_held_out_task_is_refused() -> None:
    key = ArithmeticPack().task_key
    held_out = {key(record) for record in ArithmeticPack().held_out()}
    # The first seed is 3 + 4, moved up.
    minimum = next(low for low in range(1, 40) if f"deduction {low + 3} + {low + 4}" in held_out)
    with pytest.raises(ValueError, match=r"pack\.deduction_min must be another one.*'Calculate: "):
        ArithmeticPack(deduction_min=minimum, deduction_product_max=49).held_out()


def test_tiers_have_all_operations_and_negative_answers() -> None:
    pack = ArithmeticPack(held_out=TIERS_200)
    records = pack.held_out()
    by_operation = Counter(pack.held_out_groups(record)[1] for record in records)
    assert by_operation == {"op-sum": 72, "op-difference": 60, "op-product": 58, "op-quotient": 10}
    assert sum(pack.gold_response(record).startswith("-") for record in records) >= 20


def test_sizes_are_told_by_operation_and_leave_most_tasks_of_one_digit() -> None:
    pack = ArithmeticPack(held_out=SIZES_1100, kinds=["deduction"], difficulty="sizes", deduction_max=999)
    groups = Counter(group for record in pack.held_out() for group in pack.held_out_groups(record)[1:])
    operations = {"sum": 20 + 3 * 113, "difference": 40 + 3 * 114, "product": 20 + 3 * 113}
    assert {name: groups.pop(f"op-{name}") for name in operations} == operations
    assert groups == {
        f"{name}-{size}": count
        for name, one_digit, others in (("sum", 20, 113), ("difference", 40, 114), ("product", 20, 113))
        for size, count in {"0-9": one_digit, "10-49": others, "50-99": others, "100-999": others}.items()
    }
    # 80 of 55 sums, 100 differences and 55 products
    assert 80 <= 0.4 * pack.num_tasks("deduction")["size-0-9"] == 0.4 * (55 + 100 + 55)


def test_self_play_never_sees_the_tier_and_may_not_have_the_task() -> None:
    pack = ArithmeticPack(held_out=TIERS_200)
    record = next(record for record in pack.held_out() if record.payload["op"] == "+")
    plain = TaskRecord("deduction", {field: record.payload[field] for field in ("a", "op", "b")})
    assert pack.task_key(plain) == pack.task_key(record)
    assert pack.solve_prompt(plain) == pack.solve_prompt(record)
    assert pack.held_out_groups(plain) == ("deduction", "op-sum")


def test_default_set_is_told_by_kind_and_operation() -> None:
    pack = ArithmeticPack()
    groups = Counter(group for record in pack.held_out() for group in pack.held_out_groups(record))
    kinds = {"deduction": 380, "abduction": 220, "induction": 450}
    # 150 + 80, 200 + 80, 30 + 60: of a deduction and of an abduction
    assert groups == kinds | {"op-sum": 230, "op-difference": 280, "op-product": 90}


def test_unknown_set_is_told_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match=f"pack.held_out must be one of {', '.join(SETS)}; got 'tiers'"):
        ArithmeticPack(held_out="tiers")


def test_set_without_a_task_of_the_kinds_is_refused() -> None:
    with pytest.raises(ValueError, match=r"held_out_tiers_200\.jsonl must have tasks of induction"):
        ArithmeticPack(held_out=TIERS_200, kinds=["induction"]).held_out()
