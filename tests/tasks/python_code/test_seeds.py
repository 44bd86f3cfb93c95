"""Built-in seeds, and files of one's own."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow
import pytest
from pyarrow import parquet

from tasks.python_code import PythonCodePack

GOOD = {"program": "def f(x):\n    return x + 1", "input": "1"}
INDUCTION = {"program": "def f(x):\n    return x + 1", "inputs": ["1", "2", "3"], "message": "adds one"}
COLUMNS = {"program": pyarrow.string(), "input": pyarrow.string(), "inputs": pyarrow.list_(pyarrow.string()),
           "message": pyarrow.string()}  # fmt: skip
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


LEFT_OUT: list[tuple[object, str]] = [
    ("no json", "must be JSON"),
    ("[1]", "must be an object"),
    ({"program": 3}, "must have a string 'program'"),
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
    ({**GOOD, "program": "def f(x): return x+1"}, "repeats the deduction task of an earlier row"),
]


def test_rows_that_make_no_task_are_said_and_the_others_are_seeds(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pack = pack_with(tmp_path / "seeds.jsonl", [GOOD, "", *(row for row, _ in LEFT_OUT), INDUCTION])
    assert [record.kind for record in pack.seeds()] == ["deduction", "abduction", "induction"]
    said = "\n".join(caplog.messages)
    assert [words for _, words in LEFT_OUT if words not in said] == []
    assert "seeds.jsonl: 3 left out, must have a kind that fits its fields; got" not in said
    assert "seeds.jsonl: 1 left out, must have 3 inputs; got 1: row 11" in said


def test_a_file_without_any_task_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=r"pack\.seed_path: .*seeds\.jsonl: 2 left out, must be JSON.*: row 1, 3"
    ):
        pack_with(tmp_path / "seeds.jsonl", ["{no json", "", "{nor this"]).seeds()


def test_the_method_s_own_seed_buffers_are_read_and_their_outputs_worked_out(tmp_path: Path) -> None:
    more = {"imports": [], "original_snippet": "def f(x): 0", "composite_functions": [], "_input_type": "int"}
    triplet = {"snippet": GOOD["program"], "input": "1", "output": "9", **more}
    function = {**INDUCTION, "snippet": INDUCTION["program"], "outputs": ["9"], "imports": []}
    del function["program"]
    seeds = pack_with(tmp_path / "seeds.jsonl", [triplet, function]).seeds()
    assert seeds == pack_with(tmp_path / "own.jsonl", [GOOD, INDUCTION]).seeds()
    assert [record.kind for record in seeds] == ["deduction", "abduction", "induction"]


def test_a_table_has_every_column_in_every_row(tmp_path: Path) -> None:
    path = tmp_path / "seeds.parquet"
    parquet.write_table(pyarrow.Table.from_pylist([GOOD, INDUCTION], pyarrow.schema(COLUMNS)), path)
    packed = PythonCodePack(num_inputs=3, seed_path=str(path))
    assert packed.seeds() == pack_with(tmp_path / "seeds.jsonl", [GOOD, INDUCTION]).seeds()


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"none\.jsonl"):
        PythonCodePack(seed_path=str(tmp_path / "none.jsonl")).seeds()
