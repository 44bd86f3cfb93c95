"""The guard: a fault of a pack gets a name, what is no fault passes, and nothing else changes."""

from __future__ import annotations

import asyncio
import math
import pickle
import random
import re
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from tasks.arithmetic import ArithmeticPack
from tasks.contract import (
    RENAMED,
    Accepted,
    CheckBrokenError,
    KindSpec,
    Outcome,
    PackUnavailableError,
    Rejected,
    TaskPack,
    TaskRecord,
    Verdict,
)
from tasks.guard import ATTRIBUTES, GuardedPack, PackError, ThreadWatch

RECORD = TaskRecord("deduction", {"a": 7, "op": "+", "b": 1})


def faulty(method: str, fault: Callable[..., object]) -> ArithmeticPack:
    """An arithmetic pack of which one method is another."""
    return type("Faulty", (ArithmeticPack,), {method: fault})()


def judge(pack: TaskPack, response: str = "8") -> Verdict:
    return asyncio.run(pack.judge(RECORD, response))


def returns(value: object) -> Callable[..., object]:
    return lambda *arguments, **options: value


def returns_later(make: Callable[[], object]) -> Callable[..., object]:
    async def answer(*arguments: object, **options: object) -> object:
        return make()

    return answer


def raises(error: BaseException) -> Callable[..., object]:
    def fail(*arguments: object, **options: object) -> object:
        raise error

    return fail


def test_a_sound_pack_answers_as_it_does_without_a_guard() -> None:
    pack = ArithmeticPack(deduction_max=20)
    guarded = GuardedPack(pack, repeat_every=1)
    assert (guarded.name, guarded.held_out_version, guarded.kinds) == ("arithmetic", 2, pack.kinds)
    assert list(guarded.seeds()) == list(pack.seeds())
    assert list(guarded.held_out()) == list(pack.held_out())
    ours, theirs = random.Random(1), random.Random(1)
    for spec in pack.kinds:
        record = guarded.sample_record(spec.name, ours)
        assert record == pack.sample_record(spec.name, theirs)
        assert guarded.propose_prompt(spec.name, [record], ours) == pack.propose_prompt(
            spec.name, [record], theirs
        )
        for method in (
            "solve_prompt",
            "gold_response",
            "worked_response",
            "gold_proposal",
            "task_key",
            "held_out_groups",
        ):
            assert getattr(guarded, method)(record) == getattr(pack, method)(record)
        assert guarded.answer_key(record) == pack.answer_key(record)
        assert guarded.structure_key(record) == pack.structure_key(record) is not None
        assert guarded.difficulty(record) == pack.difficulty(record) != ""
        assert guarded.num_tasks(spec.name) == pack.num_tasks(spec.name)
        assert guarded.levels(spec.name) == pack.levels(spec.name)
        assert guarded.warmup_task(spec.name, ours) == pack.warmup_task(spec.name, theirs)
        proposals = [p.warmup_proposal(spec.name, [record], r) for p, r in ((guarded, ours), (pack, theirs))]
        assert proposals[0] == proposals[1]
        assert guarded.features(record, [], []) == {}
        assert asyncio.run(guarded.resolve(record, [])) == asyncio.run(pack.resolve(record, []))
        found = [asyncio.run(p.accept(spec.name, p.gold_proposal(record), [])) for p in (guarded, pack)]
        assert found[0] == found[1]
        assert asyncio.run(guarded.judge(record, guarded.gold_response(record))).outcome is Outcome.CORRECT
    # Calls that were made twice have drawn once: both generators stand at the same place.
    assert ours.getstate() == theirs.getstate()


def test_no_method_of_the_contract_goes_past_the_guard() -> None:
    unguarded = {"spec"}  # asks `kinds`
    public = {name for name in vars(TaskPack) if not name.startswith("_") and name not in RENAMED}
    assert public - unguarded - set(ATTRIBUTES) == {
        name for name in vars(GuardedPack) if not name.startswith("_") and name not in RENAMED
    }


def test_a_guarded_pack_pickles() -> None:
    back = pickle.loads(pickle.dumps(GuardedPack(ArithmeticPack())))
    assert judge(back).outcome is Outcome.CORRECT


WRONG_TYPES: Sequence[tuple[str, Any, str]] = [
    ("solve_prompt", "Solve it.", "returned 'Solve it.'; it must be a list of messages"),
    ("solve_prompt", [{"role": "user"}], "it must be a message with 'role' and 'content'"),
    ("solve_prompt", [{"role": "user", "content": ""}], "two strings that are not empty"),
    ("solve_prompt", [{"role": "user", "content": "8", "name": "x"}], "a message with 'role' and 'content'"),
    ("solve_prompt", [], "a list of messages, at least one"),
    ("gold_response", 8, "returned 8; it must be a string"),
    ("gold_proposal", None, "returned None; it must be a string"),
    ("task_key", b"8", "it must be a string"),
    ("answer_key", 8, "it must be a string or None"),
    ("structure_key", 8, "it must be a string or None"),
    ("difficulty", "Very hard", "it must be lower case letters, digits and hyphens"),
    ("difficulty", "none", "and not 'none'"),
    ("num_tasks", {"hard": 0}, "it must be a mapping of labels to integers from 1"),
    ("num_tasks", {"none": 8}, "it must be a mapping of labels to integers from 1"),
    ("num_tasks", 8, "it must be a mapping of labels to integers from 1"),
    ("held_out_groups", ("easy", "all"), "and not 'all'"),
    ("held_out_groups", ("",), "returned ''; it must be lower case letters, digits and hyphens"),
    ("held_out_groups", (), "it must be a tuple of strings, at least one"),
    ("held_out_groups", "easy", "it must be a tuple of strings"),
]


@pytest.mark.parametrize(("method", "value", "said"), WRONG_TYPES)
def test_wrong_types_are_named(method: str, value: object, said: str) -> None:
    pack = GuardedPack(faulty(method, returns(value)))
    with pytest.raises(PackError) as caught:
        getattr(pack, method)(RECORD)
    assert str(caught.value).startswith(f"pack arithmetic: {method}(TaskRecord(kind='deduction'")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


OTHER_KIND = TaskRecord("abduction", {})


@pytest.mark.parametrize(
    ("method", "value", "said"),
    [
        ("levels", ["easy"], "it must be a tuple of unlike labels"),
        ("levels", ("easy", "hard", "easy"), "it must be a tuple of unlike labels"),
        ("levels", ("easy", "Very hard"), "returned 'Very hard'; it must be a slug such as len-3"),
        ("levels", ("none",), "and not 'none'"),
        ("sample_at", RECORD, "it must be a TaskRecord of kind deduction and difficulty hard"),
        ("sample_at", OTHER_KIND, "it must be a TaskRecord of kind deduction and difficulty hard"),
        ("warmup_task", OTHER_KIND, "it must be a TaskRecord of kind deduction"),
        ("warmup_proposal", OTHER_KIND, "it must be a TaskRecord of kind deduction"),
    ],
)
def test_wrong_levels_and_draws_are_named(method: str, value: object, said: str) -> None:
    """`RECORD` is a medium one."""
    arguments = {"levels": (), "sample_at": ("hard", random.Random(0)), "warmup_task": (random.Random(0),)}
    given = arguments.get(method, ([RECORD], random.Random(0)))
    with pytest.raises(PackError) as caught:
        getattr(GuardedPack(faulty(method, returns(value))), method)("deduction", *given)
    assert str(caught.value).startswith(f"pack arithmetic: {method}('deduction'")
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: True, "returned True; it must be a Verdict"),
        (lambda: Verdict("correct", ""), "Verdict.outcome must be an Outcome; got 'correct'"),  # type: ignore[arg-type]
        (lambda: Verdict.wrong(""), "Verdict.reason must be a slug such as no-answer; got ''"),
        (lambda: Verdict.wrong("Not right!"), "Verdict.reason must be a slug such as no-answer"),
        (lambda: Verdict(Outcome.CORRECT, "well-done"), "Verdict.reason must be empty for CORRECT"),
        (lambda: Verdict.correct(3), "Verdict.measures must be numbers by name; got 3"),  # type: ignore[arg-type]
        (lambda: Verdict.wrong("no", {"size": 1.0}), "with measures out of measure_names: distance"),
        (lambda: Verdict.wrong("no", {"distance": math.nan}), "measures['distance'] must be a finite number"),
        (lambda: Verdict.wrong("no", {"distance": True}), "measures['distance'] must be a finite number"),
    ],
)
def test_wrong_verdicts_are_named(make: Callable[[], object], said: str) -> None:
    with pytest.raises(PackError, match=re.escape(said)) as caught:
        judge(GuardedPack(faulty("judge", returns_later(make))))
    assert str(caught.value).startswith("pack arithmetic: judge(TaskRecord(kind='deduction'")


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: RECORD, "it must be Accepted or Rejected"),
        (lambda: Accepted({}), "Accepted.record must be a TaskRecord"),  # type: ignore[arg-type]
        (lambda: Rejected(Outcome.CORRECT, "fine"), "Rejected.outcome must be MALFORMED or WRONG"),
        (lambda: Rejected.wrong("No majority"), "Rejected.reason must be a slug"),
        (lambda: Accepted(TaskRecord("induction", {})), "with a record of kind deduction"),
        (lambda: TaskRecord("deduction", {"pair": (1, 2)}), "what JSON does not change"),
        (lambda: TaskRecord("deduction", {"set": {1}}), "TaskRecord.payload must be JSON"),  # type: ignore[dict-item]
        (lambda: TaskRecord("deduction", {"nan": math.nan}), "TaskRecord.payload must be JSON"),
        (lambda: TaskRecord("deduction", "7 + 1"), "TaskRecord.payload must be a mapping"),  # type: ignore[arg-type]
        (lambda: TaskRecord(7, {}), "TaskRecord.kind must be a string; got 7"),  # type: ignore[arg-type]
    ],
)
@pytest.mark.parametrize("method", ["accept", "resolve"])
def test_wrong_answers_to_proposals_are_named(method: str, make: Callable[[], object], said: str) -> None:
    pack = GuardedPack(faulty(method, returns_later(make)))
    with pytest.raises(PackError, match=re.escape(said)) as caught:
        asyncio.run(pack.accept("deduction", "7 + 1", []) if method == "accept" else pack.resolve(RECORD, []))
    assert str(caught.value).startswith(f"pack arithmetic: {method}(")


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: (), "at least one"),
        (lambda: [KindSpec("a", (), 0)], "must be a tuple of KindSpec"),
        (lambda: (KindSpec("code_i", (), 0),), "KindSpec.name must be lower case letters"),
        (lambda: (KindSpec("a", (), 0), KindSpec("a", (), 0)), "with unlike names"),
        (lambda: (KindSpec("a", ("b",), 0),), "and references to kinds among them"),
        (lambda: (KindSpec("a", "a", 0),), "KindSpec.reference_kinds must be a tuple of strings; got 'a'"),  # type: ignore[arg-type]
        (lambda: (KindSpec("a", ("a",), -1),), "KindSpec.num_references must be an integer from 0; got -1"),
        (lambda: (KindSpec("a", ("a",), True),), "KindSpec.num_references must be an integer from 0"),
    ],
)
def test_wrong_kinds_are_named(make: Callable[[], object], said: str) -> None:
    with pytest.raises(PackError, match=r"^pack arithmetic: kinds\(\) .*" + re.escape(said)):
        _ = GuardedPack(faulty("kinds", property(lambda self: make()))).kinds  # type: ignore[arg-type]


def test_named_constructors_say_the_outcome() -> None:
    assert Rejected.malformed("no-task") == Rejected(Outcome.MALFORMED, "no-task")
    assert Rejected.wrong("too-large") == Rejected(Outcome.WRONG, "too-large")
    assert Verdict.correct() == Verdict(Outcome.CORRECT, "", {})
    assert Verdict.malformed("no-number") == Verdict(Outcome.MALFORMED, "no-number", {})
    assert Verdict.wrong("far-off", {"distance": 3}) == Verdict(Outcome.WRONG, "far-off", {"distance": 3})


@pytest.mark.parametrize("method", ["seeds", "held_out"])
def test_a_wrong_record_among_many_is_named(method: str) -> None:
    records = [RECORD] * 50 + [TaskRecord("no-kind", {})]
    said = (
        rf"{method}\(\) returned TaskRecord\(kind='no-kind', payload={{}}\); it must be a TaskRecord of kind"
    )
    with pytest.raises(PackError, match=said):
        getattr(GuardedPack(faulty(method, returns(records))), method)()
    # A setting may be wrong there, and is told as one; what the contract does not allow is no setting.
    with pytest.raises(PackError, match=rf"{method}\(\) raised ContractError: TaskRecord.payload must be"):
        getattr(GuardedPack(faulty(method, lambda self: [TaskRecord("deduction", None)])), method)()


def test_wrong_features_are_named() -> None:
    for value, said in (
        ({"height": 1.0}, r"returned {'height': 1.0}; it must be a"),
        ({"size": math.inf}, "finite number for some of size"),
    ):
        with pytest.raises(PackError, match=said):
            GuardedPack(faulty("features", returns(value))).features(RECORD, [], ["size"])


@pytest.mark.parametrize(
    ("attribute", "value"),
    [("name", "My Pack"), ("held_out_version", "1"), ("checks_repeat", None), ("resolves", "majority")],
)
def test_wrong_attributes_are_named(attribute: str, value: object) -> None:
    with pytest.raises(PackError, match=f"pack Faulty: {attribute} is {value!r}; it must be"):
        GuardedPack(faulty(attribute, value))  # type: ignore[arg-type]


def resolve(pack: TaskPack) -> Accepted | Rejected:
    return asyncio.run(pack.resolve(RECORD, ["8", "8"]))


@pytest.mark.parametrize(
    ("method", "said"),
    [
        (returns(Accepted(RECORD)), "resolve must be `async def`"),
        (raises(KeyError("answer")), "raised KeyError: 'answer'"),
    ],
)
def test_a_vote_gone_wrong_is_named(method: Callable[..., object], said: str) -> None:
    with pytest.raises(PackError, match=re.escape(said)) as caught:
        resolve(GuardedPack(faulty("resolve", method)))
    assert str(caught.value).startswith("pack arithmetic: resolve(TaskRecord(kind='deduction'")


def test_a_vote_that_never_ends_is_late_and_one_that_depends_on_more_is_found() -> None:
    async def wait_for_ever(*arguments: object) -> Accepted:
        await asyncio.sleep(60)
        raise AssertionError

    with pytest.raises(PackError, match=r"resolve\(.*, \['8', '8'\]\) did not return within 0.05 s"):
        resolve(GuardedPack(faulty("resolve", wait_for_ever), deadline_s=0.05))

    async def draw(*arguments: object) -> Accepted:
        return Accepted(TaskRecord("deduction", {"answer": random.random()}))

    with pytest.raises(PackError, match="the same for the same arguments"):
        resolve(GuardedPack(faulty("resolve", draw), repeat_every=1))
    with pytest.raises(CheckBrokenError, match="the server is gone"):
        resolve(GuardedPack(faulty("resolve", raises(CheckBrokenError("the server is gone")))))


@pytest.mark.parametrize("error", [KeyError("op"), ZeroDivisionError(), SystemExit(3), TimeoutError("busy")])
def test_whatever_a_method_raises_gets_the_packs_name(error: BaseException) -> None:
    told: list[PackError] = []
    pack = GuardedPack(faulty("judge", raises(error)), report=told.append)
    with pytest.raises(PackError, match=rf"pack arithmetic: judge\(.*, '8'\) raised {type(error).__name__}"):
        judge(pack)
    assert len(told) == 1
    with pytest.raises(PackError, match=r"solve_prompt\(.*\) raised"):
        GuardedPack(faulty("solve_prompt", raises(error))).solve_prompt(RECORD)


def test_arguments_of_any_length_make_one_short_line() -> None:
    with pytest.raises(PackError) as caught:
        judge(GuardedPack(faulty("judge", raises(KeyError("x\n" * 9000)))), "y\n" * 1_000_000)
    assert len(str(caught.value)) < 1000
    assert "\n" not in str(caught.value)


def test_broken_machinery_is_no_fault_of_the_pack() -> None:
    with pytest.raises(CheckBrokenError, match="the server is gone"):
        judge(GuardedPack(faulty("judge", raises(CheckBrokenError("the server is gone")))))
    with pytest.raises(PackUnavailableError, match="no kernel"):
        GuardedPack(
            faulty("require_available", raises(PackUnavailableError("no kernel")))
        ).require_available()
    for method in ("seeds", "held_out"):
        with pytest.raises(FileNotFoundError, match=r"^pack arithmetic: no file$"):
            getattr(GuardedPack(faulty(method, raises(FileNotFoundError("no file")))), method)()


def test_a_check_that_never_comes_back_is_late() -> None:
    async def wait_for_ever(*arguments: object) -> Verdict:
        await asyncio.sleep(60)
        raise AssertionError

    start = time.monotonic()
    with pytest.raises(PackError, match=r"judge\(.*, '8'\) did not return within 0.05 s"):
        judge(GuardedPack(faulty("judge", wait_for_ever), deadline_s=0.05))
    assert time.monotonic() - start < 5


def test_a_check_that_blocks_is_told_of_while_it_blocks_and_no_other_is_blamed() -> None:
    told: list[PackError] = []
    heard = threading.Event()

    def tell(error: PackError) -> None:
        told.append(error)
        heard.set()

    async def block_or_wait(self: object, record: TaskRecord, response: str) -> Verdict:
        if response == "block":
            assert heard.wait(timeout=30)  # the event loop stands still
        else:
            await asyncio.sleep(0.2)
        return Verdict(Outcome.WRONG, "wrong-value")

    pack = GuardedPack(faulty("judge", block_or_wait), 60, tell, ThreadWatch(0.1, tell))

    async def both() -> None:
        await asyncio.gather(pack.judge(RECORD, "wait"), pack.judge(RECORD, "block"))

    asyncio.run(both())
    assert [re.search(r"'(\w+)'\) did not return", str(error))[1] for error in told] == ["block"]  # type: ignore[index]


def test_a_call_that_hangs_in_one_thread_is_seen_beside_those_of_another() -> None:
    told: list[PackError] = []

    def measure(*arguments: object) -> dict[str, float]:
        time.sleep(1.0)
        return {"mid-range": 1.0}

    pack = GuardedPack(faulty("features", measure), 60, told.append, ThreadWatch(0.1, told.append))

    async def both() -> None:
        slow = asyncio.create_task(asyncio.to_thread(pack.features, RECORD, [], ["mid-range"]))
        while not slow.done():
            await pack.judge(RECORD, "8")
            await asyncio.sleep(0.001)

    asyncio.run(both())
    assert len(told) == 1
    assert "features(" in str(told[0]) and "did not return within 60 s" in str(told[0])


def test_a_cancellation_that_nobody_asked_for_is_a_fault() -> None:
    with pytest.raises(PackError, match=r"judge\(.*, '8'\) raised CancelledError"):
        judge(GuardedPack(faulty("judge", raises(asyncio.CancelledError()))))

    async def await_a_cancelled_task(*arguments: object) -> Verdict:
        inner = asyncio.create_task(asyncio.sleep(60))
        inner.cancel()
        await inner
        raise AssertionError

    with pytest.raises(PackError, match=r"judge\(.*, '8'\) raised CancelledError"):
        judge(GuardedPack(faulty("judge", await_a_cancelled_task)))
    with pytest.raises(PackError, match=r"solve_prompt\(.*\) raised CancelledError"):
        GuardedPack(faulty("solve_prompt", raises(asyncio.CancelledError()))).solve_prompt(RECORD)


def test_arguments_are_left_as_they_are_even_by_a_pack_that_is_not_asked_twice() -> None:
    class Altering(ArithmeticPack):
        checks_repeat = False

        async def judge(self, record: TaskRecord, response: str) -> Verdict:
            record.payload.clear()  # type: ignore[attr-defined]
            return Verdict(Outcome.WRONG, "wrong-value")

    with pytest.raises(
        PackError, match=r"must leave its arguments as they are; one was .*'a': 7.* and then .*\{\}"
    ):
        record = TaskRecord("deduction", {"a": 7, "op": "+", "b": 1})
        asyncio.run(GuardedPack(Altering(), repeat_every=1).judge(record, "9"))


def test_a_cancelled_check_is_cancelled_and_no_fault() -> None:
    cleaned: list[bool] = []

    async def tidy(*arguments: object) -> Verdict:
        try:
            await asyncio.sleep(60)
        finally:
            cleaned.append(True)
        raise AssertionError

    async def cancel() -> None:
        task = asyncio.create_task(GuardedPack(faulty("judge", tidy)).judge(RECORD, "8"))
        await asyncio.sleep(0.01)
        task.cancel()
        await task

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(cancel())
    assert cleaned == [True]


def test_every_so_many_calls_one_is_made_twice_and_compared() -> None:
    calls: list[str] = []

    async def forgetful(self: object, record: TaskRecord, response: str) -> Verdict:
        calls.append(response)
        return Verdict(Outcome.WRONG, f"call-{len(calls)}")

    pack = GuardedPack(faulty("judge", forgetful), repeat_every=4)
    for _ in range(3):
        judge(pack)
    assert len(calls) == 3
    with pytest.raises(PackError, match=r"the same for the same arguments.*call-4.*call-5"):
        judge(pack)


def test_a_prompt_that_depends_on_more_than_its_arguments_is_found() -> None:
    def draw(*arguments: object, step: int) -> list[dict[str, str]]:
        return [{"role": "user", "content": str(random.random())}]

    pack = GuardedPack(faulty("propose_prompt", draw), repeat_every=1)
    with pytest.raises(PackError, match="the same for the same arguments"):
        pack.propose_prompt("deduction", [], random.Random(0))


def test_checks_of_a_pack_that_runs_programs_are_not_repeated() -> None:
    calls: list[str] = []

    async def run(self: object, record: TaskRecord, response: str) -> Verdict:
        calls.append(response)
        return Verdict(Outcome.WRONG, f"call-{len(calls)}")

    pack = faulty("judge", run)
    type(pack).checks_repeat = False
    judge(GuardedPack(pack, repeat_every=1))
    assert len(calls) == 1
