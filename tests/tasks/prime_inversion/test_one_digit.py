"""Inverses of numbers of one digit: their working, levels, held-out set and what the tiny model is shown."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.check.conformance import CHECKS, Check
from tasks.contract import Accepted, Outcome, TaskRecord
from tasks.held_out import main
from tasks.kit.held_out_file import build, render
from tasks.prime_inversion import PrimeInversionPack
from tasks.prime_inversion.kinds import primes_between
from tasks.prime_inversion.one_digit import possible_seeds, work_out
from tasks.registry import load_pack

KIND = "deduction"
NUMBERS = range(2, 10)


def small(**knobs: object) -> PrimeInversionPack:
    """The pack of the tiny model's preset, but for these knobs."""
    preset: dict[str, object] = {
        "terse": True,
        "kinds": [KIND],
        "max_prime": 99_991,
        "max_number": 9,
        "held_out": "one_digit_500",
    }
    pack = load_pack({"_target_": "prime_inversion", **preset, **knobs})
    assert isinstance(pack, PrimeInversionPack)
    return pack


PACK = small()


def task(number: int, p: int) -> TaskRecord:
    return TaskRecord(KIND, {"x": number, "p": p})


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("terse", [False, True])
def test_the_contract_is_kept_with_the_least_bounds(check: Check, terse: bool) -> None:
    check(lambda: PrimeInversionPack(terse=terse, max_number=3, max_prime=107))


def test_working_is_division_and_then_multiplication() -> None:
    """6 = 2*3 + 0, 1 = 0*3 + 1, 17 = 5*3 + 2: 617 = 205*3 + 2. 1*2 + 1 = 1*3, so y = 1*205 + 1.

    9973 = 1424*7 + 5 and 4*5 + 1 = 3*7, so y = 4*1424 + 3: 4*4 + 3 = 19, 2*4 + 1 = 9, 4*4 = 16, 1*4 + 1 = 5.
    """
    assert work_out(3, 617) == "6=2r0 1=0r1 7=5r2 1+1 5=06 0=00 2=02\n206"
    assert work_out(7, 9973) == "9=1r2 9=4r1 7=2r3 3=4r5 4+3 4=19 2=09 4=16 1=05\n5699"
    # 109 = 12*9 + 1, 8*1 + 1 = 1*9 and y = 8*12 + 1: no zero in front
    assert work_out(9, 109) == "1=0r1 0=1r1 9=2r1 8+1 2=17 1=09 0=00\n97"


@settings(max_examples=300, deadline=None)
@given(number=st.sampled_from(NUMBERS), p=st.sampled_from(primes_between(11, 99_991)))
def test_every_step_of_the_working_is_right_and_so_is_its_answer(number: int, p: int) -> None:
    steps, answer = work_out(number, p).split("\n")
    assert answer == str(pow(number, -1, p))
    num_digits = len(str(p))
    found = steps.split()
    assert len(found) == 2 * num_digits + 1
    left, quotient = 0, ""
    for digit, step in zip(str(p), found, strict=False):
        shown, rest = step.split("=")
        assert shown == digit
        quotient_digit, left_now = map(int, rest.split("r"))
        assert 10 * left + int(digit) == quotient_digit * number + left_now
        assert left_now < number and quotient_digit <= 9
        left, quotient = left_now, quotient + str(quotient_digit)
    factor, carried = map(int, found[num_digits].split("+"))
    assert factor * left + 1 == carried * number
    for digit, step in zip(reversed(quotient), found[num_digits + 1 :], strict=True):
        assert step == f"{digit}={int(digit) * factor + carried:02d}"
        carried = int(step[-2])
    assert carried == 0


def test_working_solves_every_task_there_is() -> None:
    for number, p in itertools.product(NUMBERS, primes_between(101, 99_991)):
        assert number * int(work_out(number, p).split("\n")[1]) % p == 1


def test_only_terse_answers_about_one_digit_show_their_working() -> None:
    assert PACK.gold_response(task(3, 617)) == work_out(3, 617)
    assert PACK.gold_response(task(32, 43)) == "39"
    assert small(terse=False).gold_response(task(3, 617)) == r"\boxed{206}"
    assert small(max_number=None).gold_response(task(3, 617)) == "206"
    assert PACK.answer_key(task(3, 617)) == small(terse=False).answer_key(task(3, 617)) == r"\boxed{206}"


@pytest.mark.parametrize(
    ("response", "outcome"),
    [
        ("6=2r0 1=0r1 7=5r2 1+1 5=06 0=00 2=02\n206", Outcome.CORRECT),
        ("206", Outcome.CORRECT),  # the answer is judged, not the steps
        ("6=1r9\n0206", Outcome.CORRECT),
        ("6=2r0 1=0r1 7=5r2 1+1 5=06 0=00 2=02\n205", Outcome.WRONG),
        ("6=2r0 1=0r1 7=5r2 1+1 5=06 0=00 2=02", Outcome.MALFORMED),
        ("6=2r0 1=0r1 7=5r2 1+1 5=06 0=00 2=02 206", Outcome.MALFORMED),
    ],
)
def test_answers(response: str, outcome: Outcome) -> None:
    assert asyncio.run(PACK.judge(task(3, 617), response)).outcome is outcome


@pytest.mark.parametrize(
    ("response", "reason"),
    [
        ("3 * y = 1 (mod 617)", ""),
        ("9 * y = 1 (mod 9973)", ""),
        ("2 * y = 1 (mod 101)", ""),
        ("9 * y = 1 (mod 99991)", ""),
        ("10 * y = 1 (mod 617)", "operand-out-of-range"),
        ("1 * y = 1 (mod 617)", "trivial-operand"),
        ("3 * y = 1 (mod 97)", "prime-out-of-range"),
        ("3 * y = 1 (mod 100003)", "prime-out-of-range"),
        ("3 * y = 1 (mod 1001)", "composite-modulus"),
    ],
)
def test_proposals(response: str, reason: str) -> None:
    found = asyncio.run(PACK.accept(KIND, response, []))
    assert ("" if isinstance(found, Accepted) else found.reason) == reason


def test_levels_are_the_digits_of_the_prime() -> None:
    """There are 143 primes of three digits, 1,061 of four and 8,363 of five; each goes with eight numbers."""
    assert dict(PACK.num_tasks(KIND)) == {"p-to-999": 1_144, "p-to-9999": 8_488, "p-to-99999": 66_904}
    assert PACK.levels(KIND) == tuple(PACK.num_tasks(KIND))
    few = small(max_prime=1009, max_number=3)
    assert dict(few.num_tasks(KIND)) == {"p-to-999": 286, "p-to-9999": 2}
    rng = random.Random(0)
    assert {few.task_key(few.sample_at(KIND, "p-to-9999", rng)) for _ in range(50)} == {
        "inverse 2 1009",
        "inverse 3 1009",
    }
    assert small(max_number=None).levels(KIND) == ()
    assert small(max_number=None).difficulty(task(3, 617)) == ""


def test_held_out_set_is_as_drawn_and_without_what_a_run_starts_from(
    capsys: pytest.CaptureFixture[str],
) -> None:
    pack = PrimeInversionPack(held_out="one_digit_500")
    records = list(pack.held_out())
    groups = Counter(group for record in records for group in pack.held_out_groups(record))
    assert groups == {"p-to-999": 100, "p-to-9999": 200, "p-to-99999": 200}
    assert render(pack, build(pack)).encode() == pack.held_out_path.read_bytes()
    keys = {pack.task_key(record) for record in records}
    assert len(keys) == 500
    assert not keys & {pack.task_key(seed) for seed in [*possible_seeds(), *pack.seeds(), *PACK.seeds()]}
    assert main(["prime_inversion", "--set", "one_digit_500", "--check"]) == 0
    assert "held_out_one_digit_500.jsonl: as drawn" in capsys.readouterr().out


def test_the_warm_up_thins_out_by_its_tail() -> None:
    """With tail 0.5 the weights of the three levels are 1, 1/2 and 1/4: shares 4/7, 2/7 and 1/7."""
    pack, rng = small(warmup_tail=0.5), random.Random(0)
    counts = Counter(pack.difficulty(pack.warmup_task(KIND, rng)) for _ in range(7_000))
    assert counts["p-to-999"] == pytest.approx(4_000, abs=150)
    assert counts["p-to-9999"] == pytest.approx(2_000, abs=150)
    assert counts["p-to-99999"] == pytest.approx(1_000, abs=150)
    assert set(PrimeInversionPack().warmup_task(KIND, rng).payload) == {"x", "p"}


@pytest.mark.parametrize(
    ("knob", "value"),
    [
        ("max_number", 2),
        ("max_number", 10),
        ("max_prime", 103),
        ("held_out", "small"),
        ("kinds", []),
        ("warmup_tail", 1),
    ],
)
def test_impossible_values_are_refused(knob: str, value: object) -> None:
    with pytest.raises(ValueError, match=rf"^pack prime_inversion: pack\.{knob} must be .*; got "):
        small(**{knob: value})
