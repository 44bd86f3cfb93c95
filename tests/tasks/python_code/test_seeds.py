"""Built-in seeds, and files of one's own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tasks.python_code import PythonCodePack

GOOD = {"program": "def f(x):\n    return x + 1", "input": "1"}
INDUCTION = {"program": "def f(x):\n    return x + 1", "inputs": ["1", "2", "3"], "message": "adds one"}
ERROR = {"kind": "error", "program": "def f(x):\n    return x['a']", "input": "{}"}


def pack_with(path: Path, rows: list[object], **knobs: object) -> PythonCodePack:
    """A pack whose seed file has these lines."""
    path.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows))
    return PythonCodePack(num_inputs=3, seed_path=str(path), **knobs)


def test_a_file_gives_a_record_a_kind_and_misses_none(tmp_path: Path) -> None:
    pack = pack_with(
        tmp_path / "seeds.jsonl", [GOOD, "", INDUCTION, {**GOOD, "kind": "abduction", "input": "2"}]
    )
    seeds = pack.seeds()
    assert [record.kind for record in seeds] == ["deduction", "abduction", "induction", "abduction"]
    assert [record.payload["output"] for record in seeds if record.kind != "induction"] == ["2", "2", "3"]
    assert seeds[2].payload["outputs"] == ["2", "3", "4"]
    assert pack.seeds() == seeds
    alone = pack_with(tmp_path / "one.jsonl", [INDUCTION]).seeds()
    assert sorted(record.kind for record in alone) == ["abduction", "deduction", "induction"]
    errors = pack_with(tmp_path / "errors.jsonl", [ERROR], kinds=["error"]).seeds()
    assert [record.payload["error"] for record in errors] == ["KeyError"]
    assert pack_with(tmp_path / "off.jsonl", [ERROR], kinds=["deduction"]).seeds()[0].kind == "deduction"


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("no json", "must be JSON"),
        ("[1]", "must be an object with a string 'program'"),
        ({"program": 3}, "must be an object with a string 'program'"),
        ({"program": "def f(x): return x"}, "must have a string 'input'"),
        ({**GOOD, "output": "2"}, "must not have the field 'output'"),
        ({**GOOD, "kind": "code_i"}, "must have a kind that fits"),
        ({**GOOD, "kind": "induction"}, "must have a kind that fits"),
        ({**INDUCTION, "kind": "deduction"}, "must have a kind that fits"),
        ({**INDUCTION, "inputs": ["1"]}, "must have 3 inputs; got 1"),
        ({**INDUCTION, "inputs": "123"}, "or a list of strings 'inputs'"),
        ({**INDUCTION, "message": None}, "must have a string 'message'"),
        ({**GOOD, "input": "x"}, "is no deduction task: input-not-a-literal"),
        ({**GOOD, "input": "'a'"}, "is no deduction task: raises"),
        ({**GOOD, "program": "import os\ndef f(x): return x"}, "is no deduction task: imports-os"),
        ({**GOOD, "program": "def f(x): return x+1"}, "repeats the deduction task of line 1"),
    ],
)
def test_a_bad_line_is_named_and_nothing_is_loaded(row: object, message: str, tmp_path: Path) -> None:
    path = tmp_path / "seeds.jsonl"
    with pytest.raises(ValueError, match=r"seeds\.jsonl:3 .*nothing was loaded") as caught:
        pack_with(path, [GOOD, "", row]).seeds()
    assert message in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"none\.jsonl"):
        PythonCodePack(seed_path=str(tmp_path / "none.jsonl")).seeds()
