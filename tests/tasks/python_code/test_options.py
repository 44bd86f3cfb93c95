"""Every knob of the pack, and what it changes."""

from __future__ import annotations

import asyncio
import random

import pytest

from tasks.contract import Accepted, Outcome, PackUnavailableError, Rejected, TaskRecord
from tasks.kit.response import Tags, block, wrap
from tasks.python_code import PythonCodePack
from tasks.python_code.composite import choose_given, define_given, ramp
from tasks.python_code.knobs import PythonCodeKnobs
from tasks.python_code.records import Example, to_record
from tasks.registry import load_pack
from tasks.sandbox import SandboxUnavailable


def deduction(program: str, argument: str = "2", output: str = "2") -> TaskRecord:
    """A record."""
    return to_record("deduction", program, [Example(argument, output)])


def proposal(program: str, argument: str = "1") -> str:
    """A proposer's response."""
    return wrap(f"{block('python', program)}\n{block('input', argument)}", Tags.THINK_ANSWER, "")


def prompt(pack: PythonCodePack, kind: str, references: list[TaskRecord]) -> str:
    """A proposer's prompt."""
    return pack.propose_prompt(kind, references, random.Random(0))[0]["content"]


@pytest.mark.parametrize(
    ("knob", "value", "message"),
    [
        ("kinds", [], "must be a list of some of"),
        ("kinds", "deduction", "must be a list of some of"),
        ("kinds", ["deduction", "deduction"], "must be a list of some of"),
        ("kinds", ["code_i"], "must be a list of some of"),
        ("kinds", [["deduction"]], "must be a list of some of"),
        ("kinds", [None], "must be a list of some of"),
        ("kinds", 3, "must be a list of some of"),
        ("num_references", -1, "from 0 to 64"),
        ("num_references", True, "from 0 to 64"),
        ("num_inputs", 1, "from 2 to 64"),
        ("tags", "xml", "must be one of think_answer, answer, none"),
        ("keep_comments", "no", "must be true or false"),
        ("keep_globals", 1, "must be true or false"),
        ("strict_equality", None, "must be true or false"),
        ("terse", "yes", "must be true or false"),
        ("max_program_chars", 10, "from 64 to 20000"),
        ("max_literal_chars", 5000, "from 16 to 4000"),
        ("composite_share", 1.5, "from 0 to 1"),
        ("composite_max", 0, "from 1 to 8"),
        ("composite_from_step", -1, "from 0 to 1000000"),
        ("composite_until_step", 1.5, "from 0 to 1000000"),
        ("time_limit_s", 0, "from 0.05 to 60"),
        ("time_limit_s", "1", "must be a number"),
        ("memory_mb", 10, "from 96 to"),
        ("sandbox", {"backend": "none"}, "sandbox.backend must be one of"),
        ("sandbox", {"url": ""}, "sandbox.url is no key of the sandbox; it has backend, "),
    ],
)
def test_impossible_values_are_refused(knob: str, value: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load_pack({"_target_": "python_code", knob: value})


def test_composites_need_references_and_instructions() -> None:
    for knobs in ({"num_references": 0}, {"terse": True}):
        with pytest.raises(ValueError, match="composite_share must be 0"):
            PythonCodePack(composite_share=0.5, **knobs)


def test_kinds_are_switched_on_and_off() -> None:
    pack = PythonCodePack(kinds=["error", "deduction"])
    assert [spec.name for spec in pack.kinds] == ["deduction", "error"]
    assert {record.kind for record in pack.seeds()} == {"deduction", "error"}
    assert {record.kind for record in pack.held_out()} == {"deduction"}
    with pytest.raises(ValueError, match="deduction, error"):
        pack.propose_prompt("induction", [], random.Random(0))
    assert "error" not in [spec.name for spec in PythonCodePack().kinds]
    assert PythonCodePack(kinds=["induction"]).kinds[0].reference_kinds == ("induction",)


def test_references_are_shown_or_not() -> None:
    pack, without = PythonCodePack(), PythonCodePack(num_references=0)
    assert [spec.num_references for spec in pack.kinds] == [6, 6, 1]
    assert [spec.num_references for spec in without.kinds] == [0, 0, 1]
    shown = prompt(pack, "deduction", [deduction("def f(x):\n    return 7 * x", "6", "42")] * 6)
    assert shown.count("return 7 * x") == 6 and "Example 6" in shown and "\n42\n" in shown
    assert "Example" not in prompt(without, "deduction", [])
    assert "return 7 * x" in prompt(without, "induction", [deduction("def f(x):\n    return 7 * x")])


def test_number_of_inputs_is_asked_for_and_checked() -> None:
    pack = PythonCodePack(num_inputs=4)
    text = prompt(pack, "induction", [])
    assert "write 4 different inputs" in text and text.count("```input") == 4
    seed = next(record for record in pack.seeds() if record.kind == "induction")
    assert len(seed.payload["inputs"]) == 4
    found = asyncio.run(PythonCodePack(num_inputs=5).accept("induction", pack.gold_proposal(seed), []))
    assert found == Rejected(Outcome.MALFORMED, "number-of-inputs")
    assert len(PythonCodePack(num_inputs=40).seeds()[-1].payload["inputs"]) == 40


@pytest.mark.parametrize("tags", list(Tags))
def test_tags_are_asked_for_and_read(tags: Tags) -> None:
    pack = PythonCodePack(tags=tags)
    record = pack.seeds()[0]
    for text in (prompt(pack, "deduction", [record]), pack.solve_prompt(record)[0]["content"]):
        assert ("<think>" in text) is (tags is Tags.THINK_ANSWER)
        assert ("<answer>" in text) is (tags is not Tags.NONE)
    response = f"thoughts </think>\n{wrap(block('output', record.payload['output']), tags, '')}"
    assert asyncio.run(pack.judge(record, response)).outcome is Outcome.CORRECT
    assert isinstance(asyncio.run(pack.accept("deduction", pack.gold_proposal(record), [])), Accepted)


def test_comments_and_globals_are_kept_or_stripped() -> None:
    program = "K = 1\ndef f(x):\n    # why\n    return x"

    def stored(**knobs: bool) -> str:
        found = asyncio.run(PythonCodePack(**knobs).accept("deduction", proposal(program), []))
        assert isinstance(found, Accepted)
        return str(found.record.payload["program"])

    assert stored() == program
    assert stored(keep_comments=False) == "K = 1\n\ndef f(x):\n    return x"
    assert stored(keep_globals=False) == "def f(x):\n    # why\n    return x"
    used = proposal("K = 1\ndef f(x):\n    return x + K")
    pack = PythonCodePack(keep_globals=False)
    assert asyncio.run(pack.accept("deduction", used, [])) == Rejected(Outcome.WRONG, "raises")


def test_sizes_are_limits_and_nothing_is_cut() -> None:
    pack = PythonCodePack(max_literal_chars=16, max_program_chars=64)
    asked = prompt(pack, "abduction", [])
    assert "at most 64 characters" in asked and "at most 16 each" in asked and "0.5 seconds" in asked

    def ask(program: str, argument: str) -> object:
        found = asyncio.run(pack.accept("deduction", proposal(program, argument), []))
        return found.reason if isinstance(found, Rejected) else found.record.payload["output"]

    assert ask("def f(x): return x", "'" + "a" * 14 + "'") == "'" + "a" * 14 + "'"
    assert ask("def f(x): return x", "'" + "a" * 15 + "'") == "input-too-big"
    assert ask("def f(x): return x * 2", "'" + "a" * 8 + "'") == "output-too-big"
    assert ask("def f(x): return x" + " " * 60, "1") == "program-too-big"
    # A size in characters, whatever their bytes.
    assert ask("def f(x): return x", "'" + "\N{SNOWMAN}" * 14 + "'") == "'" + "\N{SNOWMAN}" * 14 + "'"


ALL = PythonCodeKnobs(composite_share=1.0)
TWO = [
    deduction("def f(x):\n    return x + 1"),
    deduction("K = 2\ndef f(x):\n    return h(x)\ndef h(x):\n    return x * K"),
]


def test_given_functions_do_what_their_programs_do() -> None:
    given = define_given([str(record.payload["program"]) for record in TWO])
    pack = PythonCodePack(composite_share=1.0)
    program = f"{given}\n\ndef f(x):\n    return [g_0(x), g_1(x), g_1(g_0(x))]"
    found = asyncio.run(PythonCodePack().accept("deduction", proposal(program, "5"), []))
    assert isinstance(found, Accepted)
    assert found.record.payload["output"] == "[6, 10, 12]"
    assert pack.spec("deduction").num_references == 6


def test_composite_proposals_call_all_that_they_are_given() -> None:
    pack = PythonCodePack(composite_share=1.0, composite_max=2)
    references = next(
        [*TWO, deduction(f"def f(x):\n    return x - {n}")]
        for n in range(50)
        if len(choose_given("abduction", [*TWO, deduction(f"def f(x):\n    return x - {n}")], ALL, 1)) == 2
    )
    text = prompt(pack, "abduction", references)
    assert "must call every one of them" in text and "def g_1(" in text and "def g_2(" not in text

    def ask(program: str) -> Accepted | Rejected:
        return asyncio.run(pack.accept("abduction", proposal(program, "5"), references))

    both = ask("def f(x):\n    return g_0(g_1(x))")
    assert isinstance(both, Accepted)
    assert str(both.record.payload["program"]).startswith("def g_0(")
    assert asyncio.run(pack.judge(both.record, pack.gold_response(both.record))).outcome is Outcome.CORRECT
    not_called = Rejected(Outcome.WRONG, "given-function-not-called")
    assert ask("def f(x):\n    return g_0(x)") == not_called
    assert ask("def f(x):\n    return [g_0(x), g_1]") == not_called
    redefined = Rejected(Outcome.WRONG, "given-function-redefined")
    assert ask("def g_1(x):\n    return 0\ndef f(x):\n    return g_0(g_1(x))") == redefined
    assert ask("def f(g_0):\n    g_1 = g_0\n    return g_0(g_1(1))") == redefined
    assert ask("from math import floor as g_0\ndef f(x):\n    return g_0(g_1(x))") == redefined
    assert (
        ask("def f(x):\n    match x:\n        case {**g_0}:\n            pass\n    return g_0(g_1(x))")
        == redefined
    )
    # The keyword of a call binds nothing, and whether a call ever happens is not looked at.
    assert isinstance(ask("def f(x):\n    return g_0(g_1(x)) if x else dict(g_0=1)"), Accepted)
    assert isinstance(ask("def f(x):\n    if 0:\n        g_0(g_1(x))\n    return x"), Accepted)


@pytest.mark.parametrize("depth", [90, 93, 94, 95])
def test_composites_of_deep_programs_have_a_key_or_are_refused(depth: int) -> None:
    pack = PythonCodePack(composite_share=1.0)
    references = [deduction(f"def f(x):\n    return {'-' * depth}x")]
    found = asyncio.run(pack.accept("deduction", proposal("def f(x):\n    return g_0(x)"), references))
    if isinstance(found, Rejected):
        assert found.reason == "composite-too-big"
    else:
        assert pack.task_key(found.record)


def test_share_of_composites_is_drawn_from_the_references() -> None:
    groups = [[deduction(f"def f(x):\n    return x + {n}")] for n in range(200)]
    for share, low, high in ((0.0, 0, 0), (0.3, 35, 85), (1.0, 200, 200)):
        knobs = PythonCodeKnobs(composite_share=share)
        drawn = [bool(choose_given("deduction", group, knobs, 1)) for group in groups]
        assert low <= sum(drawn) <= high
        assert drawn == [bool(choose_given("deduction", group, knobs, 1)) for group in groups]
    assert "must call" not in prompt(PythonCodePack(), "deduction", TWO)
    assert "must call" not in prompt(PythonCodePack(composite_share=1.0), "induction", TWO)
    with_global = [deduction("n = 0\ndef f(x):\n    global n\n    return x")]
    assert choose_given("deduction", with_global, ALL, 1) == []


@pytest.mark.parametrize(
    ("step", "share", "maximum"),
    [
        (0, 0.0, 0),  # seeding
        (100, 0.0, 0),
        (101, 0.01, 1),  # (101 - 100) / (200 - 100) of both; ceil(0.01 * 3)
        (150, 0.5, 2),  # ceil(0.5 * 3)
        (200, 1.0, 3),
        (900, 1.0, 3),
    ],
)
def test_composites_grow_in_a_straight_line(step: int, share: float, maximum: int) -> None:
    knobs = PythonCodeKnobs(
        composite_share=1.0, composite_max=3, composite_from_step=100, composite_until_step=200
    )
    assert ramp(knobs, step) == pytest.approx(share)
    chosen = [
        choose_given(
            "deduction", [deduction(f"def f(x):\n    return x + {n + i}") for i in range(3)], knobs, step
        )
        for n in range(400)
    ]
    assert max(map(len, chosen)) == maximum
    assert sum(map(bool, chosen)) / 400 == pytest.approx(share, abs=0.1)


def test_ramp_of_no_length_is_a_start() -> None:
    knobs = PythonCodeKnobs(composite_share=1.0, composite_from_step=10, composite_until_step=10)
    assert [ramp(knobs, step) for step in (0, 9, 10, 11)] == [0.0, 0.0, 1.0, 1.0]
    with pytest.raises(ValueError, match="composite_until_step must be an integer from 10 to"):
        PythonCodePack(composite_share=0.5, composite_from_step=10, composite_until_step=9)


def test_prompt_and_check_agree_at_every_step() -> None:
    pack = PythonCodePack(composite_share=1.0, composite_from_step=2, composite_until_step=12)
    answer = proposal("def f(x):\n    return x + 5")
    asked = []
    for step in range(14):
        content = pack.propose_prompt("deduction", TWO, random.Random(0), step=step)[0]["content"]
        found = asyncio.run(pack.accept("deduction", answer, TWO, step=step))
        asked.append("must call" in content)
        refused = found == Rejected(Outcome.WRONG, "given-function-not-called")
        assert refused if asked[-1] else isinstance(found, Accepted)
    # The same references are asked from some step on, and then for good.
    assert asked == sorted(asked) and not asked[2] and asked[12]


def test_a_machine_with_a_sandbox_passes() -> None:
    PythonCodePack().require_available()


def test_a_machine_without_one_is_told_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(config: object) -> None:
        raise SandboxUnavailable("this kernel refuses seccomp filters; choose one: ...")

    monkeypatch.setattr("tasks.execution.open_sandbox", refuse)
    with pytest.raises(PackUnavailableError, match="refuses seccomp filters; choose one"):
        PythonCodePack().require_available()
