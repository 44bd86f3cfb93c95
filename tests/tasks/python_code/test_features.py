"""What is measured of programs for extra rewards, by hand."""

from __future__ import annotations

import math
import sys
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.contract import TaskRecord
from tasks.guard import GuardedPack
from tasks.python_code import PythonCodePack
from tasks.python_code.features import common_length


def of(program: str, output: str = "9") -> TaskRecord:
    return TaskRecord("deduction", {"program": program, "input": "4", "output": output})


LINE = of("def f(x):\n    return x*2+1")
BRANCH = of("def f(x):\n    if x:\n        return 1\n    return 2")
PACK = PythonCodePack()


def measure(name: str, record: TaskRecord, *references: TaskRecord) -> float:
    return PACK.features(record, references, [name])[name]


def test_complexity_is_cognitive_complexity_over_15() -> None:
    assert measure("complexity", LINE) == 0.0
    assert measure("complexity", BRANCH) == pytest.approx(1 / 15)  # one `if`


def test_halstead_is_a_mean_of_three_sizes() -> None:
    # 2 operators (* and +), 4 operands: 6 of 6 kinds, so the volume is 6 * log2(6); the difficulty is
    # 2 / 2 * 4 / 4 = 1, so the effort is the volume; one path through the function.
    volume = 6 * math.log2(6)
    expected = 0.5 * volume / 10_000 + 0.3 * 1 / 10 + 0.2 * volume / 500
    assert measure("halstead", LINE) == pytest.approx(expected)


def test_edit_distance_is_the_mean_over_the_references() -> None:
    assert measure("edit-distance", LINE) == 0.0
    assert measure("edit-distance", LINE, LINE) == 0.0
    alone = measure("edit-distance", LINE, BRANCH)
    assert 0.0 < alone < 1.0
    assert measure("edit-distance", LINE, LINE, BRANCH) == pytest.approx(alone / 2)


def test_edit_distance_counts_nodes() -> None:
    # Module, FunctionDef f, arguments, arg x, Return, Name x: 6 nodes, all of them in the other tree of 8,
    # which has UnaryOp and USub as well. 1 - 2 * 6 / (6 + 8) = 1 / 7.
    plain, negated = of("def f(x): return x"), of("def f(x): return -x")
    assert measure("edit-distance", plain, negated) == pytest.approx(1 / 7)
    # Another name in both places: 4 of 6 nodes are common, 1 - 2 * 4 / 12 = 1 / 3.
    assert measure("edit-distance", plain, of("def f(y): return y")) == pytest.approx(1 / 3)


@given(st.text("abc", max_size=20), st.text("abc", max_size=20))
def test_common_length_is_that_of_the_table(first: str, second: str) -> None:
    table = [[0] * (len(second) + 1) for _ in range(len(first) + 1)]
    for i, x in enumerate(first):
        for j, y in enumerate(second):
            table[i + 1][j + 1] = table[i][j] + 1 if x == y else max(table[i][j + 1], table[i + 1][j])
    assert common_length(first, second) == table[-1][-1]


def test_large_programs_are_measured_at_once() -> None:
    # The worst there is for difflib, which takes minutes here.
    passes = of("def f(x):\n" + "    pass\n" * 1800)
    mixed = of("def f(x):\n" + "    pass\n    1\n" * 1200)
    start = time.process_time()
    assert measure("edit-distance", passes, *[mixed] * 6) > 0
    assert time.process_time() - start < 5


ODD = {
    "repeated_keyword": "def f(x):\n    return dict(a=1, a=2)",
    "repeated_parameter": "def f(x, x):\n    return x",
    "return_outside": "def f(x):\n    return x\nreturn 1",
    "nonlocal_outside": "def f(x):\n    def g():\n        return x\n    break",
    "yield_in_a_comprehension": "def f(x):\n    return [(yield y) for y in x]",
    "await_outside": "def f(x):\n    return await x",
    "star_outside": "def f(x):\n    return *x",
    "assigned_call": "def f(x):\n    return (lambda: (yield))",
    "deep": "def f(x):\n    return " + "-" * 90 + "x",
    "surrogate_escape": "def f(x):\n    return '\\ud800' + '\N{SNOWMAN}'",
    "deep_blocks": "def f(x):\n" + "".join(f"{' ' * n}if x:\n" for n in range(1, 19)) + " " * 19 + "pass",
}


@pytest.mark.parametrize("program", ODD.values(), ids=ODD.keys())
def test_feature_that_fails_is_a_missing_feature(program: str) -> None:
    guarded = GuardedPack(PACK)
    found = guarded.features(of(program), [LINE], PACK.feature_names)
    assert set(found) <= set(PACK.feature_names)
    assert "edit-distance" in found


def test_complexity_of_what_does_not_compile_is_missing() -> None:
    assert PACK.features(of(ODD["repeated_keyword"]), [], ["complexity", "halstead"]).keys() == {"halstead"}


def test_library_that_is_not_installed_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "complexipy", None)
    with pytest.raises(ImportError, match="complexipy"):
        PACK.features(LINE, [], ["complexity"])


def test_layout_makes_no_distance() -> None:
    assert measure("edit-distance", LINE, of("def f(x): return (x * 2) + 1  # odd")) == 0.0


def test_only_what_is_asked_for_is_measured() -> None:
    assert PACK.features(LINE, [], []) == {}
    assert set(PACK.features(LINE, [], PACK.feature_names)) == {"complexity", "halstead", "edit-distance"}


def test_answers_are_told_apart_by_what_the_solver_has_to_find() -> None:
    induction = {"program": "", "inputs": ["1", "2"], "outputs": ["3", "5"], "num_shown": 1, "message": ""}
    abduction = TaskRecord("abduction", dict(LINE.payload))
    assert PACK.answer_key(LINE) == "9"
    assert PACK.answer_key(abduction) == "4"
    assert PACK.answer_key(TaskRecord("induction", induction)) == "3; 5"
    assert PACK.answer_key(of("def f(x): return 9")) == PACK.answer_key(LINE) != PACK.answer_key(of("", "8"))
