"""Benchmarks on a user's disk: their lines become records of ours."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from tasks.contract import Outcome
from tasks.python_code import PythonCodePack
from tasks.python_code.benchmarks import load_benchmark, main

CRUX = {"id": "sample_0", "code": "def f(a, b):\n    return b + a", "input": "'x',  'y'", "output": "'yx'"}
LIVE = {
    "question_id": 1,
    "function_name": "lowest",
    "code": "def lowest(nums: list[int], k: int) -> int:\n    return sorted(nums)[k]\n",
    "input": "lowest(nums = [3, 1, 2], k = 1)",
    "output": "2",
}


def write(path: Path, *rows: object) -> Path:
    """A JSONL file."""
    path.write_text("\n".join(map(json.dumps, rows)) + "\n")
    return path


def test_lines_of_both_become_solvable_records(tmp_path: Path) -> None:
    records = load_benchmark(write(tmp_path / "rows.jsonl", CRUX, LIVE))
    assert [record.kind for record in records] == ["deduction", "abduction"] * 2
    assert records[0].payload == {"program": CRUX["code"], "input": "'x', 'y'", "output": "'yx'"}
    assert records[2].payload["input"] == "[3, 1, 2], 1"
    assert str(records[2].payload["program"]).endswith("\n\nf = lowest")
    pack = PythonCodePack()
    for record in records:
        verdict = asyncio.run(pack.judge(record, pack.gold_response(record)))
        assert verdict.outcome is Outcome.CORRECT, record


def test_positional_arguments_and_a_function_called_f_pass(tmp_path: Path) -> None:
    row = {**LIVE, "input": "f([3, 1], k=0)", "function_name": "f", "code": "def f(nums, k): return nums[k]"}
    (record,) = load_benchmark(write(tmp_path / "rows.jsonl", row), ["deduction"])
    assert record.payload["input"] == "[3, 1], 0"
    assert record.payload["program"] == row["code"]


@pytest.mark.parametrize(
    "change",
    [
        {"code": None},
        {"input": 3},
        {"output": None},
        {"output": "x"},
        {"code": "def"},
        {"code": "x = 1"},
        {"input": "[3, 1, 2], k = 1"},
        {"input": "lowest(k = 1)"},
        {"input": "lowest(nums = [3, 1, 2], j = 1)"},
        {"input": "lowest(nums = open('x'), k = 1)"},
        {"function_name": "highest"},
    ],
)
def test_other_lines_are_named(change: dict[str, object], tmp_path: Path) -> None:
    path = write(tmp_path / "rows.jsonl", CRUX, {**LIVE, **change})
    with pytest.raises(ValueError, match=r"rows\.jsonl:2 .*; nothing was loaded"):
        load_benchmark(path)


def test_the_program_writes_a_held_out_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows, out = write(tmp_path / "rows.jsonl", CRUX, LIVE, CRUX), tmp_path / "out.jsonl"
    assert main([str(rows), "--kinds", "deduction", "--out", str(out)]) == 0
    assert "2 records" in capsys.readouterr().out
    assert len(PythonCodePack(held_out_path=str(out)).held_out()) == 2
    with pytest.raises(SystemExit):
        main([str(tmp_path / "none.jsonl"), "--out", str(out)])
