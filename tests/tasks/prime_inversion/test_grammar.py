"""The prime-inversion pack's grammar, string by string, and its checks against plain recomputation."""

from __future__ import annotations

import asyncio
import random
from math import gcd

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.contract import Accepted, Outcome, TaskRecord
from tasks.prime_inversion import PrimeInversionPack
from tasks.prime_inversion.kinds import primes_between

PACK = PrimeInversionPack()
CONGRUENT = "\N{IDENTICAL TO}"

PROPOSALS = [
    ("abduction", r"\boxed{x * 4 = 1 (mod 7)}", "correct", ""),
    ("abduction", r"\boxed{x \times 4 \equiv 1 \pmod{7}}", "correct", ""),
    ("abduction", r"\boxed{{x \cdot 4 \equiv 1 \pmod{{7}}}}", "correct", ""),
    ("abduction", rf"\boxed{{ x*4 {CONGRUENT} 1 ( mod 7 ) }}", "correct", ""),
    ("abduction", r"\[ x \times 4 \equiv 1 \pmod{7} \]", "correct", ""),
    ("abduction", "\\[\nx \\times 4 \\equiv 1 \\pmod{7}\n\\]", "correct", ""),
    ("abduction", "Mine is\nx * 4 = 1 (mod 7)", "correct", ""),
    ("abduction", r"$x \cdot 4 = 1 \pmod{7}$.", "correct", ""),
    ("abduction", r"\boxed{x * 4 = 1 (mod 6)} no, \boxed{x * 4 = 1 (mod 7)} it is", "correct", ""),
    ("abduction", r"$$\boxed{x * 4 = 1 (mod 7)}$$", "correct", ""),
    ("deduction", r"\boxed{4 * y = 1 (mod 7)}", "correct", ""),
    ("induction", r"\boxed{3 * 5 = 1 (mod p)}", "correct", ""),
    ("induction", r"\boxed{3 \times 5 \equiv 1 \pmod{p}}", "correct", ""),
    ("abduction", r"\boxed{x * 4 = 1 (mod 7)", "malformed", "no-task"),
    ("abduction", r"\boxed{x * 4 = 2 (mod 7)}", "malformed", "no-task"),
    ("abduction", r"\boxed{x + 4 = 1 (mod 7)}", "malformed", "no-task"),
    ("abduction", r"\boxed{x * 4 = 1}", "malformed", "no-task"),
    ("abduction", r"\boxed{x * 4 = 1 mod 7}", "malformed", "no-task"),
    ("abduction", r"\boxed{x * 4.5 = 1 (mod 7)}", "malformed", "no-task"),
    ("abduction", r"\boxed{x * -4 = 1 (mod 7)}", "malformed", "no-task"),
    ("abduction", r"\boxed{x * 4 = 1 (mod 7)} \boxed{}", "malformed", "no-task"),
    ("abduction", r"\boxed{x * 4 = 1 (mod 7), x * 3 = 1 (mod 11)}", "malformed", "no-task"),
    ("abduction", "A task: x * 4 = 1 (mod 7)", "malformed", "no-task"),
    ("abduction", r"\boxed{4 * y = 1 (mod 7)}", "malformed", "wrong-slots"),
    ("abduction", r"\boxed{2 * 4 = 1 (mod 7)}", "malformed", "wrong-slots"),
    ("abduction", r"\boxed{x * y = 1 (mod 7)}", "malformed", "wrong-slots"),
    ("abduction", r"\boxed{x * 4 = 1 (mod p)}", "malformed", "wrong-slots"),
    ("deduction", r"\boxed{x * 4 = 1 (mod 7)}", "malformed", "wrong-slots"),
    ("deduction", r"\boxed{4 * z = 1 (mod 7)}", "malformed", "wrong-slots"),
    ("induction", r"\boxed{3 * 5 = 1 (mod 7)}", "malformed", "wrong-slots"),
    ("induction", r"\boxed{3 * y = 1 (mod p)}", "malformed", "wrong-slots"),
    ("induction", r"\boxed{3 * 5 = 1 (mod p), 2 * 4 = 1 (mod p)}", "malformed", "number-of-pairs"),
    ("abduction", r"\boxed{x * 4 = 1 (mod 619)}", "malformed", "prime-out-of-range"),
    ("abduction", r"\boxed{x * 4 = 1 (mod 1)}", "malformed", "prime-out-of-range"),
    ("abduction", r"\boxed{x * 8 = 1 (mod 7)}", "malformed", "operand-out-of-range"),
    ("induction", r"\boxed{3 * 617 = 1 (mod p)}", "malformed", "operand-out-of-range"),
    ("induction", r"\boxed{0 * 5 = 1 (mod p)}", "malformed", "operand-out-of-range"),
    ("abduction", r"\boxed{x * 4 = 1 (mod 9)}", "wrong", "composite-modulus"),
    ("deduction", r"\boxed{3 * y = 1 (mod 9)}", "wrong", "composite-modulus"),
    ("abduction", r"\boxed{x * 0 = 1 (mod 7)}", "wrong", "multiple-of-p"),
    ("deduction", r"\boxed{14 * y = 1 (mod 7)}", "wrong", "multiple-of-p"),
    ("abduction", r"\boxed{x * 1 = 1 (mod 7)}", "wrong", "trivial-operand"),
    ("deduction", r"\boxed{6 * y = 1 (mod 7)}", "wrong", "trivial-operand"),
    ("induction", r"\boxed{6 * 6 = 1 (mod p)}", "wrong", "trivial-operand"),
    ("induction", r"\boxed{1 * 1 = 1 (mod p)}", "wrong", "every-prime"),
    ("induction", r"\boxed{3 * 4 = 1 (mod p)}", "correct", ""),
    ("induction", r"\boxed{7 * 7 = 1 (mod p)}", "wrong", "no-prime"),
    ("induction", r"\boxed{600 * 599 = 1 (mod p)}", "wrong", "no-prime"),
]

ABDUCTION = TaskRecord("abduction", {"y": 4, "p": 7})
DEDUCTION = TaskRecord("deduction", {"x": 4, "p": 7})
INDUCTION = TaskRecord("induction", {"pairs": [[3, 5]], "above": 5, "limit": 617})
ANY_PRIME = TaskRecord("induction", {"pairs": [[3, 5]], "above": 1, "limit": 617})

ANSWERS = [
    (ABDUCTION, r"\boxed{2}", "correct", ""),
    (ABDUCTION, r"\boxed{{2}}", "correct", ""),
    (ABDUCTION, r"\boxed{ 2 }", "correct", ""),
    (ABDUCTION, r"\boxed{x=2}", "correct", ""),
    (ABDUCTION, rf"\boxed{{x {CONGRUENT} 2}}", "correct", ""),
    (ABDUCTION, r"\boxed{x \equiv 2}", "correct", ""),
    (ABDUCTION, r"4 * 2 = 8, so $\boxed{2}$.", "correct", ""),
    (ABDUCTION, r"\boxed{3} or rather \boxed{2}", "correct", ""),
    (ABDUCTION, r"\boxed{\boxed{2}}", "correct", ""),
    (ABDUCTION, "2", "correct", ""),
    (ABDUCTION, "I try.\nx = 2.", "correct", ""),
    (ABDUCTION, r"\[ x = 2 \]", "correct", ""),
    (ABDUCTION, r"\boxed{9}", "correct", ""),
    (ABDUCTION, r"\boxed{-5}", "correct", ""),
    (ABDUCTION, r"\boxed{3}", "wrong", "wrong-value"),
    (ABDUCTION, r"\boxed{2} \boxed{3}", "wrong", "wrong-value"),
    (ABDUCTION, r"\boxed{0}", "wrong", "wrong-value"),
    (ABDUCTION, r"\boxed{x}", "malformed", "no-answer"),
    (ABDUCTION, r"\boxed{y=2}", "malformed", "no-answer"),
    (ABDUCTION, r"\boxed{2.0}", "correct", ""),
    (ABDUCTION, r"\boxed{2", "malformed", "no-answer"),
    (ABDUCTION, r"\boxed{two}", "malformed", "no-answer"),
    # Words, bold type, a congruence
    (ABDUCTION, "The answer is 2", "correct", ""),
    (ABDUCTION, "**2**", "correct", ""),
    (ABDUCTION, r"<think>\boxed{3}</think>2", "correct", ""),
    (ABDUCTION, "<think>2</think>", "malformed", "no-answer"),
    (ABDUCTION, r"<think>\boxed{2}</think>", "malformed", "no-answer"),
    (ABDUCTION, r"\boxed{2 (mod 7)}", "correct", ""),
    (ABDUCTION, r"\boxed{x \equiv 2 \pmod{7}}", "correct", ""),
    (ABDUCTION, r"\boxed{x\equiv2\pmod7}", "correct", ""),
    (ABDUCTION, r"\boxed{2 \bmod 7}", "correct", ""),
    (ABDUCTION, f"**x {CONGRUENT} 2 (mod 7)**", "correct", ""),
    (ABDUCTION, "so $x = 2$, modulo 7.", "correct", ""),
    (ABDUCTION, r"\boxed{\text{x} = 2 \text{ (mod 7)}}", "correct", ""),
    (ABDUCTION, "\\boxed{x \\equiv \u20135 \\pmod{7}}", "correct", ""),
    (ABDUCTION, "\\boxed{\u20132}", "wrong", "wrong-value"),
    *[
        (ABDUCTION, said, "correct", "")
        for said in (
            r"\boxed{\boxed{2}}",
            r"\boxed{x \equiv 4^{-1} \equiv 2 \pmod{7}}",
            "x = 4^{-1} = 2 (mod 7)",
            r"\boxed{x = 2 + 7k}",
            "x = 2 + 7k",
            r"\boxed{2\,(\bmod\,7)}",
            "x \u2261 2 (Mod 7)",
            "x = - 5",
            "minus 5",
            "2\n```",
            r"\boxed{3}, no: \boxed{2}",
        )
    ],
    *[
        (ABDUCTION, said, "malformed", "no-answer")
        for said in (
            r"\boxed{3} or \boxed{2}",
            r"\boxed{3}\text{ or }\boxed{2}",
            r"\boxed{3}, \boxed{2}",
            r"$\boxed{3}$ or $x = \boxed{2}$",
            "x = 3 or x = 2",
            "x > 2",
            "not 2",
            "x = 2 + 11k",
            "x = 2 + 7",
            "y = 4^{-1} = 2",
        )
    ],
    (ABDUCTION, r"\boxed{x \equiv 2 \pmod{11}}", "malformed", "no-answer"),
    (ABDUCTION, r"\boxed{y \equiv 2 \pmod{7}}", "malformed", "no-answer"),
    (ABDUCTION, r"\boxed{2 \pmod{x}}", "malformed", "no-answer"),
    (ABDUCTION, r"\boxed{2^{3}}", "malformed", "no-answer"),
    (ABDUCTION, "x = 2 or 9", "malformed", "no-answer"),
    # The task itself, or another congruence, is no answer
    (ABDUCTION, "x * 4 = 1 (mod 7)", "malformed", "no-answer"),
    (ABDUCTION, "4 * x = 1 (mod 7)", "malformed", "no-answer"),
    (ABDUCTION, "4x = 1 (mod 7)", "malformed", "no-answer"),
    (ABDUCTION, f"2 * 4 = 8 {CONGRUENT} 1 (mod 7)", "malformed", "no-answer"),
    (INDUCTION, "3 * 5 = 1 (mod 7)", "malformed", "no-answer"),
    (INDUCTION, "7 (mod 7)", "malformed", "no-answer"),
    (INDUCTION, "**p = 7**", "correct", ""),
    (DEDUCTION, r"\boxed{y=2}", "correct", ""),
    (DEDUCTION, r"\boxed{x=2}", "malformed", "no-answer"),
    (INDUCTION, r"\boxed{7}", "correct", ""),
    (INDUCTION, r"\boxed{p = 7}", "correct", ""),
    (INDUCTION, r"\boxed{2}", "wrong", "wrong-value"),
    (INDUCTION, r"\boxed{14}", "wrong", "wrong-value"),
    (INDUCTION, r"\boxed{-7}", "wrong", "wrong-value"),
    (ANY_PRIME, r"\boxed{7}", "correct", ""),
    (ANY_PRIME, r"\boxed{2}", "correct", ""),
    (ANY_PRIME, r"\boxed{14}", "wrong", "wrong-value"),
    (ANY_PRIME, r"\boxed{1}", "wrong", "wrong-value"),
]


@pytest.mark.parametrize(("kind", "response", "outcome", "reason"), PROPOSALS)
def test_proposals(kind: str, response: str, outcome: str, reason: str) -> None:
    found = asyncio.run(PACK.accept(kind, response, []))
    assert isinstance(found, Accepted) == (outcome == "correct")
    if not isinstance(found, Accepted):
        assert (found.outcome, found.reason) == (outcome, reason)


@pytest.mark.parametrize(("record", "response", "outcome", "reason"), ANSWERS)
def test_answers(record: TaskRecord, response: str, outcome: str, reason: str) -> None:
    verdict = asyncio.run(PACK.judge(record, response))
    assert (verdict.outcome, verdict.reason) == (outcome, reason)


def test_trivial_tasks_are_a_matter_of_the_flag() -> None:
    pack = PrimeInversionPack(refuse_trivial=False)
    for kind, congruence in (("abduction", "x * 6 = 1 (mod 7)"), ("induction", "6 * 6 = 1 (mod p)")):
        assert isinstance(asyncio.run(pack.accept(kind, congruence, [])), Accepted)
    assert "1 to p-1" in pack.propose_prompt("abduction", [], random.Random(0))[0]["content"]


def test_pairs_must_leave_one_prime() -> None:
    pack = PrimeInversionPack(induction_unique="n_pairs")
    expected = {
        "3 * 5 = 1 (mod p), 2 * 4 = 1 (mod p)": "",
        "3 * 5 = 1 (mod p)": "number-of-pairs",
        "3 * 5 = 1 (mod p), 5 * 3 = 1 (mod p)": "repeated-pair",
        "3 * 5 = 1 (mod p), 5 * 17 = 1 (mod p)": "ambiguous-prime",
        "3 * 5 = 1 (mod p), 3 * 4 = 1 (mod p)": "no-prime",
        "1 * 1 = 1 (mod p), 2 * 4 = 1 (mod p)": "every-prime",
    }
    for text, reason in expected.items():
        found = asyncio.run(pack.accept("induction", text, []))
        assert ("" if isinstance(found, Accepted) else found.reason) == reason, text


@pytest.mark.parametrize("unique", ["none", "larger_than_operands", "n_pairs"])
def test_every_mode_of_induction_samples_solvable_tasks(unique: str) -> None:
    pack = PrimeInversionPack(induction_unique=unique)
    rng = random.Random(5)
    for record in [*pack.seeds(), *(pack.sample_record("induction", rng) for _ in range(50))]:
        assert asyncio.run(pack.judge(record, pack.gold_response(record))).outcome is Outcome.CORRECT
        if record.kind == "induction":
            found = asyncio.run(pack.accept("induction", pack.gold_proposal(record), []))
            assert isinstance(found, Accepted)
            assert found.record == record


def test_prompts_stay_as_they_are() -> None:
    """Models are warmed up on this wording; a change needs a new held-out version as well."""
    rng = random.Random(0)
    prompts = [PACK.propose_prompt(kind, [], rng)[0]["content"] for kind in ("abduction", "induction")]
    assert prompts == [
        "Write one new task in the form of this one, with a prime p <= 617 and a number 2 to p-2.\n"
        r"\boxed{x * 4 = 1 (mod 7)}",
        "Write one new task in the form of this one: two numbers below a prime p <= 617 that solves it.\n"
        r"\boxed{3 * 5 = 1 (mod p)}",
    ]
    assert [
        PACK.solve_prompt(record)[0]["content"] for record in (ABDUCTION, DEDUCTION, INDUCTION, ANY_PRIME)
    ] == [
        "Solve for x: x * 4 = 1 (mod 7)\nAnswer as \\boxed{x}.",
        "Solve for y: 4 * y = 1 (mod 7)\nAnswer as \\boxed{y}.",
        "Solve for prime p > 5: 3 * 5 = 1 (mod p)\nAnswer as \\boxed{p}.",
        "Solve for prime p <= 617: 3 * 5 = 1 (mod p)\nAnswer as \\boxed{p}.",
    ]


def test_prompts_are_short_and_their_examples_parse() -> None:
    rng = random.Random(2)
    for spec in PACK.kinds:
        for _ in range(100):
            record = PACK.sample_record(spec.name, rng)
            prompt = PACK.propose_prompt(spec.name, [record], rng)[0]["content"]
            assert len(prompt.encode()) <= 160
            found = asyncio.run(PACK.accept(spec.name, prompt.splitlines()[-1], []))
            assert isinstance(found, Accepted)
            question = PACK.solve_prompt(record)[0]["content"]
            assert len(question.encode()) <= 68
            letter = {"abduction": "x", "deduction": "y", "induction": "p"}[spec.name]
            assert question.endswith(rf"Answer as \boxed{{{letter}}}.")


def test_abduction_and_deduction_of_a_number_are_one_task() -> None:
    assert PACK.task_key(ABDUCTION) == PACK.task_key(DEDUCTION)
    assert PACK.task_key(INDUCTION) == PACK.task_key(ANY_PRIME)
    swapped = TaskRecord("induction", {"pairs": [[5, 3]], "above": 5, "limit": 617})
    assert PACK.task_key(INDUCTION) == PACK.task_key(swapped)
    assert PACK.task_key(ABDUCTION) != PACK.task_key(TaskRecord("abduction", {"y": 4, "p": 11}))


def test_held_out_leaves_half_of_every_band_for_training() -> None:
    taken = {PACK.task_key(record) for record in [*PACK.held_out(), *PACK.seeds()]}
    for lowest, highest in ((5, 43), (44, 199), (200, 617)):
        primes = primes_between(lowest, highest)
        inverses = {f"inverse {x} {p}" for p in primes for x in range(2, p - 1)}
        moduli = {f"modulus {[sorted([x, pow(x, -1, p)])]}" for p in primes for x in range(2, p - 1)}
        for keys in (inverses, moduli):
            num_held_out = len(keys & {PACK.task_key(record) for record in PACK.held_out()})
            assert 0 < num_held_out <= len(keys) / 2
            assert len(keys - taken) > 0


@settings(max_examples=200, deadline=None)
@given(p=st.integers(2, 700), number=st.integers(0, 700), answer=st.integers(-900, 900))
def test_inverse_agrees_with_plain_arithmetic(p: int, number: int, answer: int) -> None:
    found = asyncio.run(PACK.accept("abduction", rf"\boxed{{x * {number} = 1 (mod {p})}}", []))
    prime = all(p % divisor for divisor in range(2, p))
    assert isinstance(found, Accepted) == (p <= 617 and prime and 2 <= number <= p - 2)
    if isinstance(found, Accepted):
        right = [x for x in range(p) if x * number % p == 1]
        assert PACK.gold_response(found.record) == rf"\boxed{{{right[0]}}}"
        for value in (answer, right[0]):
            verdict = asyncio.run(PACK.judge(found.record, rf"\boxed{{{value}}}"))
            assert (verdict.outcome is Outcome.CORRECT) == ((value * number - 1) % p == 0)


@settings(max_examples=200, deadline=None)
@given(x=st.integers(1, 616), y=st.integers(1, 616))
def test_the_prime_above_both_operands_is_unique(x: int, y: int) -> None:
    primes = [p for p in primes_between(max(x, y) + 1, 617) if x * y % p == 1]
    assert x * y == 1 or len(primes) <= 1
    found = asyncio.run(PACK.accept("induction", rf"\boxed{{{x} * {y} = 1 (mod p)}}", []))
    accepted = bool(primes) and x * y > 1 and not (x == y == primes[0] - 1)
    assert isinstance(found, Accepted) == accepted
    if isinstance(found, Accepted):
        assert PACK.gold_response(found.record) == rf"\boxed{{{primes[0]}}}"
        for value in range(2, 617, 7):
            verdict = asyncio.run(PACK.judge(found.record, str(value)))
            assert (verdict.outcome is Outcome.CORRECT) == (value in primes)


def test_pairs_mode_agrees_with_the_common_divisor() -> None:
    pack = PrimeInversionPack(induction_unique="n_pairs", refuse_trivial=False)
    rng = random.Random(9)
    for _ in range(200):
        a, b, c, d = (rng.randint(2, 60) for _ in range(4))
        if sorted((a, b)) == sorted((c, d)):
            continue
        common = gcd(a * b - 1, c * d - 1)
        primes = [p for p in primes_between(2, 617) if common % p == 0]
        found = asyncio.run(pack.accept("induction", f"{a} * {b} = 1 (mod p), {c} * {d} = 1 (mod p)", []))
        assert isinstance(found, Accepted) == (len(primes) == 1)
