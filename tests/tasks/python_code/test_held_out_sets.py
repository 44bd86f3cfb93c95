"""The two committed sets, as far as a fast test goes; `tests/tasks/test_held_out.py` draws the large one."""

from __future__ import annotations

import asyncio
import random
from collections import Counter

import pytest

from tasks.contract import Outcome
from tasks.kit.held_out_file import build, load, render
from tasks.python_code import PythonCodePack
from tasks.python_code.records import read_program
from tasks.python_code.terse_programs import parse_rule

KINDS = ("deduction", "abduction", "induction")


@pytest.mark.parametrize(("terse", "per_kind"), [(False, 225), (True, 240)])
def test_sets_are_large_distinct_and_free_of_seeds(terse: bool, per_kind: int) -> None:
    pack = PythonCodePack(terse=terse)
    records = pack.held_out()
    assert Counter(record.kind for record in records) == dict.fromkeys(KINDS, per_kind)
    keys = [pack.task_key(record) for record in [*records, *pack.seeds()]]
    assert len(set(keys)) == len(keys)


def test_terse_set_is_what_its_seed_draws() -> None:
    pack = PythonCodePack(terse=True)
    assert render(pack, build(pack)).encode() == pack.terse_held_out_path.read_bytes()
    assert all(parse_rule(read_program(each).removeprefix("def f(x): return ")) for each in pack.held_out())


def test_large_set_starts_with_what_its_seed_draws() -> None:
    pack = PythonCodePack()
    stratum = pack.held_out_strata()[0]
    rng = random.Random(pack.held_out_seed)
    assert [stratum.draw(rng) for _ in range(10)] == list(pack.held_out())[:10]


def test_a_part_of_both_sets_is_solved_by_gold() -> None:
    for terse in (False, True):
        pack = PythonCodePack(terse=terse)
        for record in pack.held_out()[::15]:
            verdict = asyncio.run(pack.judge(record, pack.gold_response(record)))
            assert verdict.outcome is Outcome.CORRECT, record


def test_another_file_may_hold_programs_of_several_lines_under_terse_prompts() -> None:
    pack = PythonCodePack(terse=True, held_out_path=str(PythonCodePack.default_held_out_path))
    records = load(PythonCodePack.default_held_out_path, "python_code", 1)
    assert list(pack.held_out()) == records
    for record in records[::50]:
        assert pack.solve_prompt(record)[0]["content"]
        verdict = asyncio.run(pack.judge(record, pack.gold_response(record)))
        assert record.kind == "induction" or verdict.outcome is Outcome.CORRECT, record
