"""The chain pack: its grammar, string by string, and its draws by level."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter

import pytest

from tasks.chain import ChainPack
from tasks.check.conformance import CHECKS, Check
from tasks.contract import Accepted, Outcome, TaskRecord
from tasks.kit.parsing import TAIL_CHARS

PACK = ChainPack()
KIND = "deduction"
TASK = TaskRecord(KIND, {"terms": "945"})


@pytest.mark.parametrize("check", CHECKS)
def test_the_contract_is_kept_with_the_fewest_levels_by_a_base_model(check: Check) -> None:
    check(lambda: ChainPack(prompts="base", longest=4))


@pytest.mark.parametrize(
    ("response", "terms"),
    [
        ("9+4+5=", "945"),
        ("Chain: 9+4+5=", "945"),
        ("Here is one:\nChain: 9 + 4 + 5 =\n", "945"),
        ("0+0+0=", "000"),
        ("1+" * 15 + "1=", "1" * 16),
        ("9+4=", "length-out-of-range"),
        ("1+" * 16 + "1=", "length-out-of-range"),
        ("9+4+5", "no-task"),
        ("9+4+5=8", "no-task"),
        ("9+14+5=", "no-task"),
        ("9+4-5=", "no-task"),
        ("9+4+5= yes", "no-task"),
        ("", "no-task"),
    ],
)
def test_proposals(response: str, terms: str) -> None:
    found = asyncio.run(PACK.accept(KIND, response, []))
    if isinstance(found, Accepted):
        assert found.record.payload == {"terms": terms}
    else:
        assert (found.outcome, found.reason) == (Outcome.MALFORMED, terms)


@pytest.mark.parametrize(
    ("response", "outcome", "reason"),
    [
        ("9+4=3 3+5=8", "correct", ""),
        ("The steps:\n9 + 4 = 3, 3 + 5 = 8\n", "correct", ""),
        ("9+4=3 3+5=9", "wrong", "wrong-step"),
        ("4+9=3 3+5=8", "wrong", "wrong-step"),
        ("9+4=2 2+6=8", "wrong", "wrong-step"),  # the right last digit
        ("9+9=8", "wrong", "number-of-steps"),
        ("9+4=3 3+5=8 8+0=8", "wrong", "number-of-steps"),
        ("8", "malformed", "no-steps"),  # the last sum alone
        ("9+4=13 3+5=8", "malformed", "no-steps"),
        ("9+4=3 3+5=8.", "malformed", "no-steps"),
        ("9+4=33+5=8", "malformed", "no-steps"),
        ("9+4+5=8", "malformed", "no-steps"),
    ],
)
@pytest.mark.parametrize("terse", [False, True])
def test_answers(response: str, outcome: str, reason: str, terse: bool) -> None:
    found = asyncio.run(ChainPack(terse=terse).judge(TASK, response))
    assert (found.outcome, found.reason) == (outcome, reason)


def test_every_sum_goes_on_with_the_last_digit_of_the_one_before() -> None:
    """9 + 4 = 13, 3 + 5 = 8, 8 + 7 = 15, 5 + 0 = 5."""
    assert PACK.gold_response(TaskRecord(KIND, {"terms": "94570"})) == "9+4=3 3+5=8 8+7=5 5+0=5"


def test_levels_are_lengths_and_sort_as_they_do() -> None:
    levels = PACK.levels(KIND)
    assert levels[0] == "len-03" and levels[-1] == "len-16"
    assert list(levels) == sorted(levels)
    assert ChainPack(longest=4).levels(KIND) == ("len-03", "len-04")
    assert dict(ChainPack(longest=4).num_tasks(KIND)) == {"len-03": 1_000, "len-04": 10_000}
    with pytest.raises(ValueError, match=r"level must be one of len-03, len-04; got 'len-05'"):
        ChainPack(longest=4).sample_at(KIND, "len-05", random.Random(0))


def test_held_out_tasks_are_reported_by_level() -> None:
    groups = Counter(group for record in PACK.held_out() for group in PACK.held_out_groups(record))
    assert groups == {f"len-{length:02d}": 90 for length in range(3, 15)}


def test_the_warm_up_thins_out_by_its_tail() -> None:
    """With tail 0.5 and lengths 3 to 5 the weights are 1, 1/2 and 1/4: shares 4/7, 2/7 and 1/7."""
    pack, rng = ChainPack(longest=5, warmup_tail=0.5), random.Random(0)
    counts = Counter(pack.difficulty(pack.warmup_task(KIND, rng)) for _ in range(7_000))
    assert counts["len-03"] == pytest.approx(4_000, abs=150)
    assert counts["len-04"] == pytest.approx(2_000, abs=150)
    assert counts["len-05"] == pytest.approx(1_000, abs=150)


@pytest.mark.parametrize(("terms", "lengths"), [("945", {3, 4}), ("94521", {4, 5, 6}), ("945213", {5, 6})])
def test_the_warm_up_proposes_about_the_references_length_within_the_bounds(
    terms: str, lengths: set[int]
) -> None:
    pack, rng = ChainPack(longest=6), random.Random(0)
    reference = TaskRecord(KIND, {"terms": terms})
    drawn = [pack.warmup_proposal(KIND, [reference], rng) for _ in range(200)]
    assert {len(str(record.payload["terms"])) for record in drawn} == lengths
    assert pack.warmup_proposal(KIND, [], rng).kind == KIND


@pytest.mark.parametrize("head", ["9", "9+4", "9+4=3", "9+4=3 3", "Chain:"])
@pytest.mark.parametrize("run", [" ", "\t", "+", "9", "9+", "9+4=3 ", "9+4=3", ", ", "="])
def test_long_runs_take_linear_time(head: str, run: str) -> None:
    start = time.process_time()
    for end in ("", "x", "="):
        response = head + run * ((TAIL_CHARS - len(head) - len(end)) // len(run)) + end
        assert not isinstance(asyncio.run(PACK.accept(KIND, response, [])), Accepted)
        assert asyncio.run(PACK.judge(TASK, response)).outcome is not Outcome.CORRECT
    assert time.process_time() - start < 0.1


@pytest.mark.parametrize("tail", [0, 1, True, "0.5", float("nan")])
def test_a_tail_outside_of_its_range_is_refused(tail: float) -> None:
    with pytest.raises(ValueError, match=r"pack.warmup_tail must be a number above 0 and below 1; got"):
        ChainPack(warmup_tail=tail)
