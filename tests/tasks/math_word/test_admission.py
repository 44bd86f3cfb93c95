"""Which proposals are problems, and for what reason the others are none. Programs run in the sandbox."""

from __future__ import annotations

import asyncio
import logging
import re
from pathlib import Path

import pytest

from tasks.contract import Accepted, Outcome, PackUnavailableError, Rejected, TaskRecord
from tasks.execution import SandboxBroken
from tasks.kit.response import Tags, block, wrap
from tasks.math_word import MathWordPack
from tasks.math_word.pack import warn_of
from tasks.sandbox import Call, CallStatus, SandboxUnavailable

ROOT = Path(__file__).parents[3]
PACK = MathWordPack(time_limit_s=0.2)
QUESTION = "Ann has 16 eggs and eats 3. She sells the rest at $2 each. 7 hens, 10 days, 14 km, 6 m. What?"


def proposal(program: str, question: str = QUESTION) -> str:
    """A proposal in good form."""
    return wrap(f"{block('question', question)}\n{block('python', program)}", Tags.THINK_ANSWER, "")


def accept(response: str, pack: MathWordPack = PACK) -> TaskRecord | str:
    """The record, or outcome and reason."""
    found = asyncio.run(pack.accept("problem", response, []))
    if isinstance(found, Rejected):
        return f"{found.outcome} {found.reason}"
    assert isinstance(found, Accepted)
    return found.record


def answer(program: str) -> str:
    """The stored answer of an accepted program."""
    record = accept(proposal(program))
    assert isinstance(record, TaskRecord), record
    return str(record.payload["answer"])


@pytest.mark.parametrize(
    ("program", "expected"),
    [
        ("(16 - 3) * 2", "26"),
        ("(16 -\n 3) * 2  # eggs", "26"),
        ("def f():\n    '''Sell 999.'''\n    left = 16 - 3  # 998\n    return left * 2", "26"),
        ("import math\ndef f():\n    return math.ceil(16 / 3)", "6"),
        ("16 / 2", "8"),
        ("3 - 16", "-13"),
        ("0", "0"),
        ("7 / 16", "0.4375"),
        ("1 / 3", "0.3333333333333333"),
        ("1 / 10 ** 3 / 2", "0.0005"),
        ("3 / 10 ** 6", "0.000003"),
        ("10 ** 14", "1" + "0" * 14),
        ("sum(x for x in range(16))", "120"),
    ],
)
def test_a_program_computes_the_answer(program: str, expected: str) -> None:
    assert answer(program) == expected


def test_a_record_holds_question_answer_and_the_program_without_comments() -> None:
    record = accept(proposal("(16-3)*2 # sold", f"\n {QUESTION} \n"))
    assert isinstance(record, TaskRecord)
    program = "def f():\n    return (16 - 3) * 2"
    assert record.payload == {"question": QUESTION, "answer": "26", "program": program}


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        ("print(16)", "wrong uses-print"),
        ("def f():\n    print(16)\n    return 16", "wrong uses-print"),
        ("import time\ndef f():\n    time.sleep(100)\n    return 16", "wrong imports-time"),
        ("import os\ndef f():\n    return 16", "wrong imports-os"),
        ("__import__('time').sleep(100)", "wrong dunder-name"),
        ("open(16)", "wrong uses-open"),
        ("eval('16')", "wrong uses-eval"),
        ("def f():\n    while True: pass", "wrong times-out"),
        ("10 ** 10 ** 10", "wrong times-out"),
        ("[0] * 10 ** 10", "wrong too-much-memory"),
        ("1 / 0", "wrong raises"),
        ("16 - eggs", "wrong raises"),
        ("def f(x):\n    return 16", "wrong raises"),
        ("def f():\n    return f()", "wrong recursion-limit"),
        ("def f():\n    raise SystemExit", "wrong exits"),
        ("float(-16) ** 10 ** 3", "wrong raises"),
        ("10.0 ** 100 ** 2", "wrong raises"),
        ("1e308 * 10", "wrong unmentioned-number"),
        ("1e9999", "wrong unmentioned-number"),
        ("float('nan')", "wrong uses-text"),
        ("import math\ndef f():\n    return math.nan", "wrong answer-not-a-number"),
        ("import math\ndef f():\n    return -math.inf", "wrong answer-not-a-number"),
        ("import fractions\ndef f():\n    return fractions.Fraction(16, 3)", "wrong answer-not-a-number"),
        ("16 > 3", "wrong answer-not-a-number"),
        ("None", "wrong answer-not-a-number"),
        ("(16, 3)", "wrong answer-not-a-number"),
        ("str(16)", "wrong answer-not-a-number"),
        ("(0 - 16) ** (1 / 2)", "wrong answer-not-a-number"),
        ("lambda: 16", "wrong answer-not-a-number"),
        ("def f():\n    yield 16", "wrong answer-not-a-number"),
        ("10 ** 16", "wrong answer-out-of-range"),
        ("0 - 10 ** 100", "wrong answer-out-of-range"),
        ("1 / 10 ** 7", "wrong answer-out-of-range"),
        ("hash(object()) + 16", "wrong not-deterministic"),
        ("16 - 4", "wrong unmentioned-number"),
        ("16 +", "malformed syntax-error"),
        ("x = 16", "malformed no-entry-function"),
        ("", "malformed no-entry-function"),
        ("def answer():\n    return 16", "malformed no-entry-function"),
        ("async def f():\n    return 16", "malformed entry-function-async"),
        ("1" * 5_000, "malformed program-too-big"),
        ("-" * 400 + "1", "malformed program-too-deep"),
        ("0x" + "f" * 900, "malformed program-too-big"),
        ("0x" + "f" * 90, "wrong unmentioned-number"),
        ("16\0", "malformed nul-character"),
        ("'\ud800'", "malformed not-unicode"),
    ],
)
def test_other_programs_are_refused_with_a_reason(program: str, reason: str) -> None:
    assert accept(proposal(program)) == reason


def test_a_program_may_neither_remember_nor_draw() -> None:
    program = "calls = []\ndef f():\n    calls.append(1)\n    return hash(frozenset((len(calls), type)))"
    assert accept(proposal(program)) == "wrong not-deterministic"


@pytest.mark.parametrize(
    ("response", "reason"),
    [
        ("", "no-think-tags"),
        ("<think></think>", "no-answer-tags"),
        (wrap("", Tags.THINK_ANSWER, ""), "no-question"),
        (wrap(block("question", "a?"), Tags.THINK_ANSWER, ""), "no-program"),
        (wrap("```question\na?", Tags.THINK_ANSWER, ""), "unclosed-block"),
        (wrap(block("question", "a?") * 2, Tags.THINK_ANSWER, ""), "unclosed-block"),
        (wrap("\n".join([block("question", "a?")] * 2), Tags.THINK_ANSWER, ""), "several-questions"),
        (proposal("1").replace("```python", "```python\n2\n```\n```python"), "several-programs"),
        (proposal("1", "  "), "no-question"),
        (proposal("1", "a" * 2_001), "question-too-big"),
        (proposal("1", "a\ud800"), "question-not-unicode"),
        ("x" * 200_000, "response-too-big"),
    ],
)
def test_other_responses_are_malformed(response: str, reason: str) -> None:
    assert accept(response) == f"malformed {reason}"


def test_a_dead_sandbox_is_no_outcome(monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken:
        def run(self, *arguments: object, **keywords: object) -> list[Call]:
            return [Call(CallStatus.BACKEND_ERROR, None, "gone", 0)]

    monkeypatch.setattr("tasks.execution.process_sandbox", lambda config: Broken())
    with pytest.raises(SandboxBroken, match="gone"):
        accept(proposal("16"))


def test_a_machine_without_a_sandbox_can_only_claim_or_vote(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(config: object) -> None:
        raise SandboxUnavailable("this kernel refuses")

    monkeypatch.setattr("tasks.execution.open_sandbox", refuse)
    with pytest.raises(PackUnavailableError, match="this kernel refuses"):
        PACK.require_available()
    MathWordPack(verify="claimed").require_available()
    MathWordPack(verify="majority").require_available()


def claim(number: str) -> str:
    """A proposal that says its answer."""
    return wrap(f"{block('question', 'How many?')}\n{block('answer', number)}", Tags.THINK_ANSWER, "")


@pytest.mark.parametrize(
    ("number", "expected"),
    [("26", "26"), ("$1,234.50", "1234.50"), ("1/2", "1/2"), ("50%", "50%"), ("26 eggs", "26")],
)
def test_a_claim_is_believed(number: str, expected: str) -> None:
    pack = MathWordPack(verify="claimed")
    record = accept(claim(number), pack)
    assert isinstance(record, TaskRecord)
    assert record.payload == {"question": "How many?", "answer": expected}
    assert asyncio.run(pack.judge(record, pack.gold_response(record))).outcome is Outcome.CORRECT


@pytest.mark.parametrize(
    ("response", "reason"),
    [
        (claim("many"), "wrong no-number"),
        (claim("10**10**10"), "wrong several-numbers"),
        (claim("1e9999"), "wrong not-a-number"),
        (claim("9" * 300), "wrong answer-too-big"),
        (claim("1").replace("How many?", ""), "malformed no-question"),
        (proposal("1"), "malformed no-answer"),
        (claim("1").replace("```answer", "```answer\n2\n```\n```answer"), "malformed several-answers"),
    ],
)
def test_a_claim_has_to_be_a_number(response: str, reason: str) -> None:
    assert accept(response, MathWordPack(verify="claimed")) == reason


def test_claims_run_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.execution.process_sandbox", pytest.fail)
    assert isinstance(accept(claim("1"), MathWordPack(verify="claimed")), TaskRecord)


@pytest.mark.parametrize(
    ("verify", "risk"),
    [("claimed", "rewarded for agreeing with wrong ones"), ("majority", "A common mistake is rewarded")],
)
def test_answers_that_nobody_checks_are_warned_of_once(
    verify: str, risk: str, caplog: pytest.LogCaptureFixture
) -> None:
    warn_of.cache_clear()
    MathWordPack()
    assert caplog.records == []
    MathWordPack(verify=verify)
    MathWordPack(verify=verify)
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    message = record.getMessage()
    assert message.startswith(f"pack.verify={verify}: ") and risk in message and "\n" not in message


def test_the_page_names_every_reason() -> None:
    """Reasons in the code of the pack, as far as they are written out there."""
    page = (ROOT / "docs" / "math_word.md").read_text(encoding="utf-8")
    folder = ROOT / "tasks" / "math_word"
    calls = r'(?:Error|wrong|malformed|return )\(?"([a-z]+(?:-[a-z]+)+)"'
    reasons = {
        reason
        for path in folder.glob("*.py")
        for reason in re.findall(calls, path.read_text(encoding="utf-8"))
    }
    assert len(reasons) > 12
    assert {reason for reason in reasons if f"`{reason}`" not in page} == set()
