"""Benchmarks as they are published: their rows become tasks that their own answers solve, or are left out."""

from __future__ import annotations

import asyncio
import gzip
import json
from pathlib import Path

import pytest

from tasks.contract import Outcome, PackUnavailableError, TaskRecord
from tasks.execution import Runner
from tasks.kit.data_file import describe_left_out
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


def is_solved(record: TaskRecord) -> bool:
    pack = PythonCodePack()
    return asyncio.run(pack.judge(record, pack.gold_response(record))).outcome is Outcome.CORRECT


def test_rows_of_both_become_solvable_tasks(tmp_path: Path) -> None:
    records = load_benchmark(write(tmp_path / "rows.jsonl", CRUX, LIVE))
    assert [record.kind for record in records] == ["deduction", "abduction"] * 2
    assert records[0].payload == {"program": CRUX["code"], "input": "'x', 'y'", "output": "'yx'"}
    assert records[2].payload["input"] == "[3, 1, 2], 1"
    assert str(records[2].payload["program"]).endswith("\n\nf = lowest")
    assert all(map(is_solved, records)) and records.left_out == {}


def test_positional_arguments_and_a_function_called_f_pass(tmp_path: Path) -> None:
    row = {**LIVE, "input": "f([3, 1], k=0)", "function_name": "f", "code": "def f(nums, k): return nums[k]"}
    row["output"] = "3"
    (record,) = load_benchmark(write(tmp_path / "rows.jsonl", row), ["deduction"])
    assert record.payload == {"program": row["code"], "input": "[3, 1], 0", "output": "3"}


EXPRESSIONS = {
    "''.join(['b'] * 4), 2": "'bbbb', 2",
    "'a-b-' + 'c-', 2": "'a-b-c-', 2",
    "dict(a=1), 2": "{'a': 1}, 2",
    "x=[1] * 3, k=2": "[1, 1, 1], 2",
    "*('ab', 2)": "'ab', 2",
    "NAME[1:], 1 + 1": "'y', 2",
    "list(range(2, 6)), 2": "[2, 3, 4, 5], 2",
    "Counter('aab').most_common(), 2": "[('a', 2), ('b', 1)], 2",
    "'ab', 2,": "'ab', 2",
    "'\\n' 'x', 2": "'\\nx', 2",
}


def test_arguments_that_are_expressions_are_worked_out_in_the_sandbox(tmp_path: Path) -> None:
    rows = [
        {
            # No two programs are the same: the second task would repeat the first.
            "code": f"NAME = 'xy'\ndef f(x, k):\n    return [x, k] + [][{i}:]",
            "input": text,
            "output": f"[{value.removesuffix(', 2')}] + [4 - 2]",
        }
        for i, (text, value) in enumerate(EXPRESSIONS.items())
    ]
    records = load_benchmark(write(tmp_path / "rows.jsonl", *rows))
    assert [record.payload["input"] for record in records[::2]] == list(EXPRESSIONS.values())
    assert all(str(record.payload["output"]).endswith(", 2]") for record in records)
    assert all(map(is_solved, records)) and records.left_out == {}


GRANTED = [
    ("def g(words: List[str]) -> int:\n    return sum(len(w) > 3 for w in words)", "words=['abcd']", "1"),
    ("def g(n: Optional[int]):\n    c = Counter(n)\n    return [c[x] for x in n]", "n=[1, 1]", "[2, 2]"),
    ("def g(n):\n    best = inf\n    for t in accumulate(n):\n        best = min(best, t)\n    return best",
     "n=[1, -3, 2]", "-2"),
    ("def g(n):\n    heapify(n)\n    return heappop(n) + comb(4, 2) + gcd(4, 6)", "n=[3, 1]", "9"),
    ("def g(n):\n    return bisect(n, 2) + bisect_left(n, 2)", "n=[1, 2, 3]", "3"),
    ("def g(n):\n    return bisect.bisect(n, 2) + math.floor(sqrt(9))", "n=[1, 2, 3]", "5"),
    ("def g(n):\n    d = defaultdict(list)\n    d[1] += copy.deepcopy(n)\n    return reduce(sub, d[1])",
     "n=[9, 4]", "5"),
    ("@cache\ndef g(n):\n    return ascii_lowercase[:n] + str(re_search('a', 'b'))", "2", "'abNone'"),
    ("'Doc.'\nfrom __future__ import annotations\ndef g(n: List):\n    return __doc__ + str(Counter(n)[1])",
     "n=[1, 1]", "'Doc.2'"),
]  # fmt: skip


def test_livecodebench_s_programs_get_the_names_that_they_take_for_granted(tmp_path: Path) -> None:
    rows = [
        {"function_name": "g", "code": code, "input": f"g({arguments})", "output": output}
        for code, arguments, output in GRANTED
    ]
    records = load_benchmark(write(tmp_path / "rows.jsonl", *rows), ["abduction"])
    assert describe_left_out("rows", records.left_out) == []
    assert len(records) == len(rows) and all(map(is_solved, records))
    first = "from typing import List\n\ndef g(words: List[str]) -> int:\n"
    assert str(records[0].payload["program"]).startswith(first)


CALLS = {  # a function's parameters and its arguments, in the order of the parameters
    ("a, b=2, k=1", "3, k=4"): "3, 2, 4",
    ("a, b=[0] * 2, k=1", "a=3"): "3",
    ("a, /, b=2, *, k=1", "3, b=4"): "3, 4",
    ("a, *b", "3, 4, 5"): "3, 4, 5",
    ("b, a", "a=3, b=4"): "4, 3",
}


def test_keywords_and_defaults_become_arguments_in_order(tmp_path: Path) -> None:
    rows = [
        {"code": f"def f():\n    pass\ndef f({names}): return [a, b]", "input": given, "output": output}
        for (names, given), output in zip(
            CALLS, ("[3, 2]", "[3, [0, 0]]", "[3, 4]", "[3, (4, 5)]", "[3, 4]"), strict=True
        )
    ]
    records = load_benchmark(write(tmp_path / "rows.jsonl", *rows), ["abduction"])
    assert records.left_out == {}
    assert [record.payload["input"] for record in records] == list(CALLS.values())
    assert all(map(is_solved, records))


NO_LITERAL = "expression that gives no literal"
LEFT_OUT = [
    ({**CRUX, "code": None}, "field 'code' must be a string; got None"),
    ({**CRUX, "input": 3}, "field 'input' must be a string; got 3"),
    ({**CRUX, "code": "def"}, "'code' must be a program (syntax-error)"),
    ({**CRUX, "code": "def f(a, a):\n    return a"}, "'code' must be a program (duplicate argument"),
    ({**CRUX, "code": "\udcff"}, "'code' must be a program (not-unicode)"),
    ({**CRUX, "code": "x = 1"}, "'code' must define the function that is called"),
    ({**LIVE, "function_name": "highest"}, "'code' must define the function that is called"),
    ({**LIVE, "function_name": 3}, "'code' must define the function that is called"),
    ({**LIVE, "input": "[3, 1, 2], k = 1"}, "'input' must be arguments, or a call"),
    ({**LIVE, "input": "sorted(lowest([[2]], 0))"}, "'input' must be arguments, or a call"),
    ({**LIVE, "input": "lowest(k = 1)"}, "'input' must give values to the first parameters"),
    ({**LIVE, "input": "lowest(nums = [3], j = 0)"}, "'input' must give values to the first parameters"),
    ({**CRUX, "input": "**{'a': 'x', 'b': 'y'}"}, "'input' must give values to the first parameters"),
    ({**CRUX, "code": "def f(*, a, b): return b + a", "input": "a='x', b='y'"}, "'input' must give values"),
    ({**CRUX, "input": "'a'), ('b'"}, "'input' must be arguments"),
    ({**CRUX, "input": "'a', lambda x: x"}, f"its input is an {NO_LITERAL} (output-not-a-literal: function"),
    ({**CRUX, "input": "range(3), []"}, f"its input is an {NO_LITERAL} (output-not-a-literal: range"),
    ({**CRUX, "input": "open('x'), 1"}, f"its input is an {NO_LITERAL} (raises"),
    ({**CRUX, "input": "1 / 0, 1"}, f"its input is an {NO_LITERAL} (raises: ZeroDivisionError"),
    ({**CRUX, "output": "yx"}, f"its output is an {NO_LITERAL} (raises: NameError"),
    ({**CRUX, "output": "'yx"}, "'output' must be an expression"),
    ({**CRUX, "output": "'xy'"}, "its program does not return its output"),
    ({**CRUX, "input": "'x', 1"}, "its program gives no literal (raises: TypeError"),
    ({**CRUX, "code": "def f(a, b):\n    return SortedList(a)"}, "gives no literal (raises: NameError"),
    ({**CRUX, "code": "def f(a, b):\n    return range(3)"}, "program gives no literal (output-not"),
    ({"code": "def f(): return 1", "input": "", "output": "1"}, "own answer does not solve its abduction"),
]  # fmt: skip


def test_rows_that_make_no_task_are_left_out_by_number_and_reason(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.jsonl", CRUX, *(row for row, _ in LEFT_OUT), LIVE)
    records = load_benchmark(path)
    reasons = {number: reason for reason, numbers in records.left_out.items() for number in numbers}
    wrong = [
        (number, said, reasons.get(number))
        for number, (_, said) in enumerate(LEFT_OUT, start=2)
        if said not in reasons.get(number, "")
    ]
    assert wrong == []
    assert str(records[-1].payload["program"]).endswith("f = lowest")


def test_a_program_that_gives_other_values_by_hash_order_is_left_out(tmp_path: Path) -> None:
    code = "def f(a, b):\n    return list({a, b, 'pear', 'fig', 'plum'})"
    orders = {
        call.literal
        for seed in (0, 1)
        for call in PythonCodePack().runner.run(code, ["'x', 'y'"], hash_seed=seed)
    }
    assert len(orders) == 2
    rows = [{"code": code, "input": "'x', 'y'", "output": order} for order in orders]
    records = load_benchmark(write(tmp_path / "rows.jsonl", CRUX, *rows))
    assert len(records) == 2
    assert sum(map(len, records.left_out.values())) == len(rows)


def test_the_same_task_of_another_row_is_said(tmp_path: Path) -> None:
    same_output = {**CRUX, "input": "'', 'yx'"}
    records = load_benchmark(write(tmp_path / "rows.jsonl", CRUX, CRUX, same_output))
    assert [record.kind for record in records] == ["deduction", "abduction", "deduction"]
    assert records.left_out == {
        "repeats the deduction task of an earlier row": [2],
        "repeats the abduction task of an earlier row": [2, 3],
    }


def test_the_program_writes_a_held_out_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows, out = write(tmp_path / "rows.jsonl", CRUX, LIVE, {**CRUX, "output": "1"}), tmp_path / "out.jsonl"
    packed = tmp_path / "rows.jsonl.gz"
    packed.write_bytes(gzip.compress(b"\xef\xbb\xbf" + rows.read_bytes()))
    assert (
        main(
            [str(rows), str(packed), "--kinds", "deduction", "--sandbox", "num_zygotes=1", "--out", str(out)]
        )
        == 0
    )
    printed = capsys.readouterr().out
    assert printed.count("1 left out, its program does not return its output: row 3") == 2
    assert "2 records" in printed
    assert len(PythonCodePack(held_out_path=str(out)).held_out()) == 2


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (
            b'{"task_id": "HumanEval/0", "prompt": "def g():", "test": ""}',
            "the first row has task_id, prompt, test",
        ),
        (b"", "it is empty"),
        (b"PK\x03\x04", "it is a zip archive; unpack it first"),
        (b"code,input,output\n1,2,3\n", "it holds no JSON"),
        (None, "No such file"),
    ],
)
def test_a_file_of_another_form_is_refused_by_one_line(
    content: bytes | None, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, out = tmp_path / "rows.jsonl", tmp_path / "out.jsonl"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SystemExit) as ended:
        main([str(path), "--out", str(out)])
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert ended.value.code == 2 and said in last and str(path) in last
    assert not out.exists()


def test_without_a_sandbox_nothing_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(runner: Runner) -> None:
        raise PackUnavailableError("no sandbox here")

    monkeypatch.setattr(Runner, "check", refuse)
    with pytest.raises(SystemExit):
        main([str(write(tmp_path / "rows.jsonl", CRUX)), "--out", str(tmp_path / "out.jsonl")])
    assert "no sandbox here" in capsys.readouterr().err
