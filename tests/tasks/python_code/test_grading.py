"""Which answers are right, and why the others are not."""

from __future__ import annotations

import asyncio
import pickle
import threading
import time
from dataclasses import replace

import pytest

from tasks.contract import Accepted, CheckBrokenError, Outcome, Rejected, TaskRecord, Verdict
from tasks.execution import SandboxBroken, process_sandbox
from tasks.guard import GuardedPack
from tasks.kit.response import Tags, block, wrap
from tasks.python_code import PythonCodePack
from tasks.python_code.checks import _read_call
from tasks.python_code.records import Example, to_record
from tasks.sandbox import Call, CallStatus, Program, SandboxConfig, SandboxUnavailable

PACK = PythonCodePack(time_limit_s=0.2)
STRICT = PythonCodePack(strict_equality=True)
SQUARE = "def f(x):\n    return x * x"
DEDUCTION = to_record("deduction", "def f(x):\n    return x", [Example("1", "[1, 'a']")])
ABDUCTION = to_record("abduction", SQUARE, [Example("3", "9")])
INDUCTION = to_record("induction", SQUARE, [Example(str(n), str(n * n)) for n in range(6)], "squares")
ERROR = to_record("error", "def f(x):\n    return x[9]", [Example("''", "IndexError")])
EQUAL_TO_ALL = """\
class E{}:
    def __eq__(self, other):
        return True
def f(x):
    return E()"""
CORRECT = Verdict(Outcome.CORRECT, "")


def judge(record: TaskRecord, label: str, answer: str, pack: PythonCodePack = PACK) -> Verdict:
    """The verdict on one answer."""
    response = wrap(block(label, answer), Tags.THINK_ANSWER, "thinking")
    return asyncio.run(pack.judge(record, response))


def wrong(reason: str) -> Verdict:
    """A verdict."""
    return Verdict(Outcome.WRONG, reason)


def held(verdict: Verdict, share: float) -> Verdict:
    """The verdict on a program that ran, with the share of the hidden examples that hold."""
    return replace(verdict, measures={"share": share})


def malformed(reason: str) -> Verdict:
    """A verdict."""
    return Verdict(Outcome.MALFORMED, reason)


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [
        ("[1, 'a']", CORRECT),
        ('[1,\n  "a"]', CORRECT),
        ("[1.0, 'a']", CORRECT),
        ("[True, 'a']", CORRECT),
        ("[2, 'a']", wrong("wrong-output")),
        ("(1, 'a')", wrong("wrong-output")),
        ("'[1, \"a\"]'", wrong("wrong-output")),
        ("[0+1, 'a']", malformed("answer-not-a-literal")),
        ("x", malformed("answer-not-a-literal")),
        ("", malformed("answer-not-a-literal")),
        ("9**9**9", malformed("answer-not-a-literal")),
        ("__import__('os').abort()", malformed("answer-not-a-literal")),
        ("[" * 500, malformed("answer-not-a-literal")),
        ("1" * 4001, malformed("answer-too-big")),
    ],
)
def test_deduction_compares_values(answer: str, verdict: Verdict) -> None:
    assert judge(DEDUCTION, "output", answer) == verdict


@pytest.mark.parametrize("output", ["1", "1.0", "True"])
@pytest.mark.parametrize("answer", ["1", "1.0", "True"])
def test_true_one_and_one_point_nought_are_one_value_unless_strict(output: str, answer: str) -> None:
    record = to_record("deduction", SQUARE, [Example("1", output)])
    assert judge(record, "output", answer) == CORRECT
    expected = CORRECT if output == answer else wrong("wrong-output")
    assert judge(record, "output", answer, STRICT) == expected


def test_deduction_runs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.execution.process_sandbox", pytest.fail)
    assert judge(DEDUCTION, "output", "[1, 'a']") == CORRECT


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [
        ("3", CORRECT),
        ("-3", CORRECT),
        (" 3.0 ", CORRECT),
        ("4", wrong("wrong-input")),
        ("'a'", wrong("raises")),
        ("3, 3", wrong("raises")),
        ("", malformed("no-input")),
        ("0) or True or (0", malformed("input-not-a-literal")),
        ("x = 4", wrong("wrong-input")),
        ("y = 3", malformed("input-not-a-literal")),
        ("x = 3, 4", malformed("input-not-a-literal")),
        ("x == 3", malformed("input-not-a-literal")),
        ("g(3)", malformed("input-not-a-literal")),
        ("f(f(1))", malformed("input-not-a-literal")),
        ("f(*[3])", malformed("input-not-a-literal")),
        ("f(**{'x': 3})", malformed("input-not-a-literal")),
        ("3 or 4", malformed("input-not-a-literal")),
        ("f(4) == 9", wrong("wrong-input")),
        ("1 + 2", malformed("input-not-a-literal")),
    ],
)
def test_abduction_runs_the_program(answer: str, verdict: Verdict) -> None:
    assert judge(ABDUCTION, "input", answer) == verdict


def test_strict_equality_holds_for_results_of_runs() -> None:
    assert judge(ABDUCTION, "input", "3.0", STRICT) == wrong("wrong-input")
    program = "def f(x):\n    return x * x * 1.0"
    assert judge(INDUCTION, "python", program, STRICT) == held(wrong("wrong-program"), 0.0)
    assert judge(INDUCTION, "python", program) == held(CORRECT, 1.0)


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [
        # Of 0 to 5, the hidden inputs are 3, 4 and 5.
        (SQUARE, held(CORRECT, 1.0)),
        ("import math\ndef f(n):\n    return math.prod([n, n])", held(CORRECT, 1.0)),
        ("def f(x):\n    return {0: 0, 1: 1, 2: 4}.get(x)", held(wrong("wrong-program"), 0 / 3)),
        ("def f(x):\n    return {3: 0, 4: 16}.get(x)", held(wrong("wrong-program"), 1 / 3)),
        ("def f(x):\n    return {0: 0, 1: 1, 2: 4, 3: 9, 4: 16}[x]", held(wrong("raises"), 2 / 3)),
        ("def f(x):\n    return {4: 16, 5: 25}[x]", held(wrong("raises"), 2 / 3)),
        ("def f(x):\n    while True:\n        pass", held(wrong("times-out"), 0.0)),
        ("def f(x):\n    import os", wrong("imports-os")),
        ("def f(x):\n    raise SystemExit", held(wrong("exits"), 0.0)),
        (EQUAL_TO_ALL.format(""), held(wrong("output-not-a-literal"), 0.0)),
        (EQUAL_TO_ALL.format("(int)"), held(wrong("output-not-a-literal"), 0.0)),
        ("def g(x):\n    return x", malformed("no-entry-function")),
        ("def f(x", malformed("syntax-error")),
        ("", malformed("no-entry-function")),
    ],
)
def test_induction_runs_the_hidden_half(answer: str, verdict: Verdict) -> None:
    assert judge(INDUCTION, "python", answer) == verdict


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [
        (" IndexError ", CORRECT),
        ("KeyError", wrong("wrong-error")),
        ("indexerror", malformed("answer-not-an-error")),
        ("IndexError: string index out of range", CORRECT),
        ("`IndexError`", CORRECT),
        ("**IndexError**", CORRECT),
        ("'IndexError'", CORRECT),
        ("IndexError('out of range')", CORRECT),
        ("<class 'IndexError'>", CORRECT),
        ("raise IndexError", CORRECT),
        ("builtins.IndexError.", CORRECT),
        ("error: IndexError", CORRECT),
        ("KeyError: IndexError", wrong("wrong-error")),
        ("IndexError or KeyError", malformed("answer-not-an-error")),
        ("not IndexError", malformed("answer-not-an-error")),
        ("int", malformed("answer-not-an-error")),
    ],
)
def test_error_compares_classes(answer: str, verdict: Verdict) -> None:
    assert judge(ERROR, "error", answer) == verdict


def test_every_name_of_an_error_is_right() -> None:
    record = to_record("error", "def f(x):\n    raise IOError", [Example("1", "OSError")])
    assert judge(record, "error", "IOError") == judge(record, "error", "OSError") == CORRECT
    assert judge(record, "error", "FileNotFoundError") == wrong("wrong-error")


def test_the_last_block_counts_and_others_do_not() -> None:
    two = wrap(f"{block('output', '1')}\n{block('output', '[1, 2]')}", Tags.THINK_ANSWER, "")
    record = to_record("deduction", SQUARE, [Example("1", "[1, 2]")])
    assert asyncio.run(PACK.judge(record, two)) == CORRECT
    assert judge(record, "input", "[1, 2]") == malformed("no-answer")
    assert asyncio.run(PACK.judge(record, "[1, 2]")) == malformed("no-think-tags")


def test_knobs_of_proposals_do_not_bound_answers() -> None:
    program = "K = 2\ndef f(x):\n    # squares, by way of a constant\n    return x ** K"
    narrow = PythonCodePack(max_literal_chars=16, max_program_chars=64, keep_globals=False)
    assert judge(INDUCTION, "python", program, narrow).outcome is Outcome.CORRECT
    record = to_record("deduction", SQUARE, [Example("1", repr("a" * 300))])
    assert judge(record, "output", repr("a" * 300), narrow) == CORRECT


def test_a_broken_sandbox_is_no_wrong_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken:
        def run(self, program: object, inputs: list[str], *_: object, **__: object) -> list[Call]:
            return [Call(CallStatus.BACKEND_ERROR, None, "the worker died", 0) for _ in inputs]

    monkeypatch.setattr("tasks.execution.process_sandbox", lambda config: Broken())
    with pytest.raises(SandboxBroken, match="the worker died"):
        judge(ABDUCTION, "input", "3")
    with pytest.raises(SandboxBroken):
        judge(INDUCTION, "python", SQUARE)
    with pytest.raises(SandboxBroken):
        asyncio.run(PACK.accept("deduction", PACK.gold_proposal(DEDUCTION), []))


def test_share_of_the_hidden_examples_takes_no_run_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    runs = []

    class Counting:
        def run(self, program: object, inputs: list[str], *_: object, **__: object) -> list[Call]:
            runs.append(list(inputs))
            return [Call(CallStatus.OK, "9", None, 0) for _ in inputs]

    monkeypatch.setattr("tasks.execution.process_sandbox", lambda config: Counting())
    assert judge(INDUCTION, "python", SQUARE) == held(wrong("wrong-program"), 1 / 3)
    assert runs == [["3", "4", "5"]]


def hashing(expression: str) -> str:
    """A program that is right for 7 and depends on the hash seed for all other inputs."""
    return f"def f(x):\n    return 1 if x == 7 else {expression}"


def under_first_seed(program: str, argument: str) -> str:
    """What a program returns under the first of the two hash seeds."""
    (call,) = process_sandbox(SandboxConfig()).run(Program(program), [argument])
    assert call.literal is not None
    return call.literal


def test_what_changes_from_run_to_run_is_no_right_answer() -> None:
    program = hashing("hash('a')")
    lucky = under_first_seed(program, "3")
    record = to_record("abduction", program, [Example("7", lucky)])
    assert judge(record, "input", "3") == wrong("not-deterministic")
    examples = [Example(str(n), "1" if n == 7 else lucky) for n in range(4, 8)]
    induction = to_record("induction", SQUARE, examples, "m")
    # Of 4 to 7, the hidden inputs are 6 and 7; the second holds in both runs.
    assert judge(induction, "python", program) == held(wrong("not-deterministic"), 1 / 2)
    admitted = to_record("abduction", program, [Example("7", "1")])
    assert judge(admitted, "input", "7") == CORRECT


def test_only_right_answers_are_run_a_second_time(monkeypatch: pytest.MonkeyPatch) -> None:
    seeds = []

    class Counting:
        def run(self, program: object, inputs: list[str], *_: object, hash_seed: int) -> list[Call]:
            seeds.append(hash_seed)
            return [Call(CallStatus.OK, "9", None, 0) for _ in inputs]

    monkeypatch.setattr("tasks.execution.process_sandbox", lambda config: Counting())
    assert judge(ABDUCTION, "input", "3") == CORRECT
    assert seeds == [0, 1]
    seeds.clear()
    wrong_record = to_record("abduction", SQUARE, [Example("3", "8")])
    assert judge(wrong_record, "input", "3") == wrong("wrong-input")
    assert seeds == [0]


def test_a_sandbox_that_stays_closed_is_no_fault_of_the_pack(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(config: SandboxConfig) -> None:
        raise SandboxUnavailable("no process can be started")

    monkeypatch.setattr("tasks.execution.process_sandbox", refuse)
    with pytest.raises(CheckBrokenError, match="no process can be started"):
        asyncio.run(GuardedPack(PACK).judge(ABDUCTION, wrap(block("input", "3"), Tags.THINK_ANSWER, "")))


def test_packs_of_a_process_share_a_sandbox_and_leave_it_behind_when_pickled() -> None:
    assert judge(ABDUCTION, "input", "3") == CORRECT
    config = SandboxConfig()
    assert process_sandbox(config) is process_sandbox(SandboxConfig())
    assert judge(ABDUCTION, "input", "3", pickle.loads(pickle.dumps(PACK))) == CORRECT


@pytest.mark.parametrize(
    ("keys", "most"),
    [
        ({"num_zygotes": 50}, 50),
        ({"backend": "http", "http_url": "http://127.0.0.1:1/run_code", "http_max_concurrent": 60}, 60),
    ],
)
def test_as_many_run_side_by_side_as_the_sandbox_takes(
    keys: dict[str, object], most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # More than asyncio's own threads, of which there are 32 at most. Who comes too late finds it broken.
    together = threading.Barrier(most, timeout=20)

    class Meeting:
        def run(self, program: object, inputs: list[str], *_: object, **__: object) -> list[Call]:
            together.wait()
            return [Call(CallStatus.OK, "9", None, 0) for _ in inputs]

    monkeypatch.setattr("tasks.execution.process_sandbox", lambda config: Meeting())
    pack = PythonCodePack(sandbox=keys)
    response = wrap(block("input", "3"), Tags.THINK_ANSWER, "")

    async def judge_many() -> list[Verdict]:
        return await asyncio.gather(*(pack.judge(ABDUCTION, response) for _ in range(most)))

    async def accept_many() -> list[Accepted | Rejected]:
        proposed = pack.gold_proposal(ABDUCTION)
        return await asyncio.gather(*(pack.accept("abduction", proposed, []) for _ in range(most)))

    assert set(asyncio.run(judge_many())) == {CORRECT}
    assert all(isinstance(found, Accepted) for found in asyncio.run(accept_many()))


def test_no_more_run_side_by_side_than_the_sandbox_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    running: list[int] = []
    peaks: list[int] = []

    class Watching:
        def run(self, program: object, inputs: list[str], *_: object, **__: object) -> list[Call]:
            running.append(1)
            peaks.append(len(running))
            time.sleep(0.01)
            running.pop()
            return [Call(CallStatus.OK, "9", None, 0) for _ in inputs]

    monkeypatch.setattr("tasks.execution.process_sandbox", lambda config: Watching())
    pack = PythonCodePack(sandbox={"num_zygotes": 3})
    response = wrap(block("input", "3"), Tags.THINK_ANSWER, "")

    async def many() -> list[Verdict]:
        return await asyncio.gather(*(pack.judge(ABDUCTION, response) for _ in range(20)))

    assert set(asyncio.run(many())) == {CORRECT}
    assert max(peaks) == 3


PAIR = to_record("deduction", "def f(x):\n    return x, 2", [Example("1", "(1, 2)")])
WRITTEN_VALUES = [
    "1, 2", "(1, 2,)", "f(1) == (1, 2)", "f(1) = (1, 2)", "f(1) -> (1, 2)", "assert f(1) == (1, 2)",
    "output: (1, 2)", "Output: 1, 2", "result = (1, 2)", "return (1, 2)", "`(1, 2)`", ">>> f(1)\n(1, 2)",
    "(\n    1,\n    2,\n)", "(1, 2)  # the pair",
]  # fmt: skip
OTHER_VALUES = [
    "f(1) == (1, 3)", "f(2) == (1, 2)", "(1, 2) or (1, 3)", "(1, 3) or (1, 2)", "f(1) != (1, 2)",
    "x = (1, 2)",
    "(1, 2)\n(1, 3)", "not (1, 2)", "f(1)", "'f(1) == (1, 2)'", "f(1) == f(1)", "(1, 2) if f(1) else 3",
]  # fmt: skip


def test_an_output_is_read_as_people_state_it() -> None:
    assert [text for text in WRITTEN_VALUES if judge(PAIR, "output", text) != CORRECT] == []
    assert [text for text in OTHER_VALUES if judge(PAIR, "output", text) == CORRECT] == []
    both = to_record("deduction", "def f(x):\n    return set(x)", [Example("[2, 1]", "{1, 2}")])
    for text in ("set([1, 2])", "set((2, 1))", "{2, 1}", "f([2, 1]) == {1, 2}"):
        assert judge(both, "output", text) == CORRECT, text
    for text in ("set([1, 2, 3])", "set([1, g()])", "list([1, 2])"):
        assert judge(both, "output", text) != CORRECT, text


DIFFERENCE = "def f(x, y=1):\n    return x - y"
WRITTEN_INPUTS = {
    "7, 4": "7, 4", "f(7, 4)": "7, 4", "f(7, 4) == 3": "7, 4", "f(7, 4) = 3": "7, 4", "f(7, 4) -> 3": "7, 4",
    "assert f(7, 4) == 3": "7, 4", "print(f(7, 4))": "7, 4", "f(7, 4)  # 3": "7, 4", "x=7, y=4": "7, 4",
    "y = 4, x = 7": "7, 4", "x = 7\ny = 4": "7, 4", "f(y=4, x=7)": "7, 4", "7, y=4": "7, 4", "x = 7": "7",
    "input: 7, 4": "7, 4", "Input: f(7, 4)": "7, 4", "`7, 4`": "7, 4", "f('a)= 1', ')')": "'a)= 1', ')'",
    "set([7]), 4": "{7}, 4",
    "y = 4": None, "x = 7, x = 4": None, "z = 4, x = 7": None, "7, x = 4": None, "f(7) + f(4)": None,
    "f(7, 4) or f(4, 7)": None, "x = y = 7": None, "x += 7": None, "f": None, "g(7, 4)": None,
}  # fmt: skip


def test_an_input_is_read_as_people_state_it() -> None:
    read = {text: _read_call(text, DIFFERENCE) for text in WRITTEN_INPUTS}
    found = {text: each if isinstance(each, str) else None for text, each in read.items()}
    assert found == WRITTEN_INPUTS


@pytest.mark.usefixtures("own_garbage")
@pytest.mark.parametrize(
    "part",
    ["1, ", "x=1, ", "x=1\n", "f(", "f(1) == ", ")=", "(", "-", "f'{1}' ", "set([", "a.", "'", ">>> \n"],
)
def test_stated_answers_are_read_in_time(part: str) -> None:
    for head, end in (("", ""), ("f(", ")"), ("set([", "])"), ("f(", ") = 1"), ("output: ", " or")):
        text = head + part * ((4_000 - len(head) - len(end)) // len(part)) + end
        for label, record in (("input", ABDUCTION), ("output", DEDUCTION), ("error", ERROR)):
            start = time.process_time()
            if label == "input":
                _read_call(text, SQUARE)
            else:
                judge(record, label, text)
            assert time.process_time() - start < 0.05, (label, head, end)
