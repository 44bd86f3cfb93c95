"""Self-play of one request, with a scripted model."""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections.abc import Sequence
from dataclasses import replace

import pytest

from recipe.selfplay.rollout import (
    CheckClock,
    Claim,
    GenerationFailedError,
    PromptTooLongError,
    propose_once,
    solve,
    with_fewer_references,
)
from recipe.selfplay.types import Attempt, Proposal, Refusal, Request, Response, share_correct
from tasks.arithmetic import ArithmeticPack
from tasks.contract import (
    Accepted,
    CheckBrokenError,
    Message,
    Outcome,
    Rejected,
    Role,
    TaskRecord,
    Verdict,
)

RECORD = TaskRecord("deduction", {"a": 70, "op": "+", "b": 1})
PROPOSE = Request(3, Role.PROPOSE, "deduction", [{"role": "user", "content": "Write one."}], (), None, 4)
SOLVE = Request(5, Role.SOLVE, "deduction", [{"role": "user", "content": "Solve it."}], (), RECORD)

Answer = str | None
"""The text of a response; None for a request that failed."""


class Script:
    """A model that gives the texts it was told to, one list a call, but where 0 are asked for.

    Attributes:
        calls: The prompts it was given and how many responses were asked for.
    """

    def __init__(self, *answers: Sequence[Answer]) -> None:
        self._answers = list(answers)
        self.calls: list[tuple[str, int]] = []

    async def __call__(self, messages: Sequence[Message], *, num_responses: int) -> list[Response]:
        self.calls.append((messages[0]["content"], num_responses))
        if not num_responses:
            return []
        return [Response(text) for text in self._answers.pop(0) if text is not None]


def claim(refusal: Refusal | None = None) -> Claim:
    """Gives one answer to every key."""

    async def answer(kind: str, key: str) -> Refusal | None:
        return refusal

    return answer


def propose(
    pack: ArithmeticPack, model: Script, refusal: Refusal | None = None, request: Request = PROPOSE
) -> Proposal:
    return asyncio.run(propose_once(pack, request, model, claim(refusal)))


# ------------------------------ proposals ------------------------------


class MeasuringPack(ArithmeticPack):
    """Measures how long a task's question is."""

    feature_names = ("length",)

    def features(
        self, record: TaskRecord, references: Sequence[TaskRecord], names: Sequence[str]
    ) -> dict[str, float]:
        return {name: float(len(self.solve_prompt(record)[0]["content"])) for name in names}


@pytest.mark.parametrize(("names", "expected"), [((), {}), (("length",), {"length": 72.0})])
def test_only_the_features_asked_for_are_measured(names: Sequence[str], expected: dict[str, float]) -> None:
    script = Script(["Calculate: 40 + 1 ="], ["41", "41", "40", None])
    proposal = asyncio.run(propose_once(MeasuringPack(), PROPOSE, script, claim(), names))
    assert proposal.outcome is Outcome.CORRECT
    # "Calculate: 40 + 1 =" has 19 characters, "Reply with one integer, in digits, on the last line." has 52,
    # and a line break is between.
    assert proposal.features == expected


def test_features_are_measured_beside_the_event_loop_and_on_the_clock() -> None:
    going_on = threading.Event()

    class Slow(MeasuringPack):
        def features(
            self, record: TaskRecord, references: Sequence[TaskRecord], names: Sequence[str]
        ) -> dict[str, float]:
            assert going_on.wait(10), "the event loop stands still"
            time.sleep(0.05)
            return {"length": 1.0}

    async def both() -> Proposal:
        script = Script(["Calculate: 40 + 1 ="], ["41"] * 4)
        measuring = asyncio.create_task(propose_once(Slow(), PROPOSE, script, claim(), ["length"], clock))
        await asyncio.sleep(0.05)
        going_on.set()
        return await measuring

    clock = CheckClock()
    assert asyncio.run(both()).features == {"length": 1.0}
    assert clock.take() >= 0.05


def test_accepted_task_is_attempted_in_one_call(arithmetic: ArithmeticPack) -> None:
    model = Script([arithmetic.gold_proposal(RECORD)], ["71", "70", "none", "71"])
    proposal = propose(arithmetic, model)
    question = arithmetic.solve_prompt(RECORD)
    # Before the task is claimed, whether it fits is found out.
    assert model.calls == [("Write one.", 1), (question[0]["content"], 0), (question[0]["content"], 4)]
    assert (proposal.outcome, proposal.reason, proposal.record) == (Outcome.CORRECT, "", RECORD)
    assert proposal.key == arithmetic.task_key(RECORD)
    assert proposal.messages == question
    outcomes = [attempt.outcome for attempt in proposal.attempts]
    assert outcomes == [Outcome.CORRECT, Outcome.WRONG, Outcome.MALFORMED, Outcome.CORRECT]
    assert [attempt.response.text for attempt in proposal.attempts] == ["71", "70", "none", "71"]
    assert proposal.num_failed == 0
    assert proposal.solve_rate == 0.5


def test_malformed_proposal_is_not_attempted(arithmetic: ArithmeticPack) -> None:
    model = Script(["I would rather not."])
    proposal = propose(arithmetic, model)
    assert model.calls == [("Write one.", 1)]
    assert (proposal.outcome, proposal.reason) == (Outcome.MALFORMED, "no-task")
    assert (proposal.record, proposal.key, proposal.attempts, proposal.num_failed) == (None, "", (), 0)
    assert proposal.solve_rate is None


@pytest.mark.parametrize(
    ("refusal", "outcome"),
    [
        (Refusal.DUPLICATE, Outcome.WRONG),
        # No fault of the proposer: valid, and without a solve rate never priced.
        (Refusal.HELD_OUT, Outcome.CORRECT),
        (Refusal.SURPLUS, Outcome.CORRECT),
    ],
)
def test_task_that_is_refused_is_not_attempted(
    arithmetic: ArithmeticPack, refusal: Refusal, outcome: Outcome
) -> None:
    model = Script([arithmetic.gold_proposal(RECORD)])
    proposal = propose(arithmetic, model, refusal)
    assert [num_responses for _, num_responses in model.calls] == [1, 0]
    assert (proposal.outcome, proposal.reason, proposal.record) == (outcome, refusal, None)
    assert (proposal.attempts, proposal.num_failed, proposal.solve_rate) == ((), 0, None)


def test_claim_is_for_the_packs_key(arithmetic: ArithmeticPack) -> None:
    asked = []

    async def remember(kind: str, key: str) -> Refusal:
        asked.append((kind, key))
        return Refusal.DUPLICATE

    # 1 + 70 is 70 + 1 to the pack.
    asyncio.run(propose_once(arithmetic, PROPOSE, Script(["Calculate: 1 + 70 ="]), remember))
    assert asked == [("deduction", arithmetic.task_key(RECORD))]


def test_malformed_proposal_claims_nothing(arithmetic: ArithmeticPack) -> None:
    async def refuse(kind: str, key: str) -> Refusal:
        raise AssertionError(key)

    asyncio.run(propose_once(arithmetic, PROPOSE, Script(["no"]), refuse))


def test_proposal_of_the_seeding_is_not_attempted(arithmetic: ArithmeticPack) -> None:
    request = Request(0, Role.PROPOSE, "deduction", PROPOSE.messages)
    model = Script([arithmetic.gold_proposal(RECORD)], [])
    proposal = propose(arithmetic, model, request=request)
    assert [num_responses for _, num_responses in model.calls] == [1, 0, 0]
    assert (proposal.record, proposal.attempts, proposal.num_failed) == (RECORD, (), 0)
    assert proposal.solve_rate is None


def test_pack_sees_the_references_and_the_step_of_the_request() -> None:
    seen = []

    class Watching(ArithmeticPack):
        async def accept(self, kind, response, references, *, step=0):  # type: ignore[no-untyped-def]
            seen.append((kind, response, references, step))
            return await super().accept(kind, response, references, step=step)

    request = Request(0, Role.PROPOSE, "deduction", PROPOSE.messages, (RECORD,), step=7)
    propose(Watching(), Script(["no task"]), request=request)
    assert seen == [("deduction", "no task", (RECORD,), 7)]


@pytest.mark.parametrize(
    ("answers", "solve_rate", "num_failed"),
    [
        (["71", None, "70", None], 1 / 2, 2),
        (["71", "70", "no", None], 1 / 3, 1),
        ([None, None, None, "71"], 1.0, 3),
        (["70", "70", "70", "70"], 0.0, 0),
        ([None, None, None, None], None, 4),
    ],
)
def test_solve_rate_is_the_mean_over_attempts_that_came_back(
    arithmetic: ArithmeticPack, answers: Sequence[Answer], solve_rate: float | None, num_failed: int
) -> None:
    proposal = propose(arithmetic, Script([arithmetic.gold_proposal(RECORD)], answers))
    assert proposal.solve_rate == solve_rate
    assert proposal.num_failed == num_failed
    assert proposal.record == RECORD


def test_equal_attempts_are_judged_once() -> None:
    judged: list[str] = []

    class Counting(ArithmeticPack):
        async def judge(self, record: TaskRecord, response: str) -> Verdict:
            judged.append(response)
            return await super().judge(record, response)

    answers = ["2", "5", "2", "2"]
    proposal = propose(Counting(), Script(["Calculate: 1 + 1 ="], answers))
    assert judged == ["2", "5"]
    assert [attempt.response.text for attempt in proposal.attempts] == answers
    outcomes = [attempt.outcome for attempt in proposal.attempts]
    assert outcomes == [Outcome.CORRECT, Outcome.WRONG, Outcome.CORRECT, Outcome.CORRECT]


def test_task_whose_question_does_not_fit_is_wrong(arithmetic: ArithmeticPack) -> None:
    async def generate(messages: Sequence[Message], *, num_responses: int) -> list[Response]:
        if messages != PROPOSE.messages:
            raise PromptTooLongError
        return [Response(arithmetic.gold_proposal(RECORD))]

    async def refuse(kind: str, key: str) -> Refusal:
        raise AssertionError(f"a task that cannot be attempted claims a place: {key}")

    proposal = asyncio.run(propose_once(arithmetic, PROPOSE, generate, refuse))
    assert (proposal.outcome, proposal.reason, proposal.record) == (Outcome.WRONG, Refusal.TOO_LONG, None)
    assert (proposal.attempts, proposal.num_failed) == ((), 0)


# ------------------------------ prompts that are too long ------------------------------

REFERENCES = tuple(TaskRecord("deduction", {"a": 10 + number, "op": "+", "b": 2}) for number in range(4))


def ask_with_references(pack: ArithmeticPack, room: int) -> tuple[Proposal, list[str], list[int]]:
    """A proposal with four references where `room` fit; the prompts tried, the references `accept` saw."""
    tried: list[str] = []
    seen: list[int] = []

    class Watching(ArithmeticPack):
        async def accept(
            self, kind: str, response: str, references: Sequence[TaskRecord], *, step: int = 0
        ) -> Accepted | Rejected:
            seen.append(len(references))
            return await super().accept(kind, response, references, step=step)

    async def generate(messages: Sequence[Message], *, num_responses: int) -> list[Response]:
        if "Write one new task" in messages[0]["content"]:
            tried.append(messages[0]["content"])
            if tried[-1].count("Calculate:") > room:
                raise PromptTooLongError
        return [Response("Calculate: 40 + 1 =")] * num_responses

    messages = pack.propose_prompt("deduction", REFERENCES, random.Random(0))
    request = Request(3, Role.PROPOSE, "deduction", messages, REFERENCES, None, 1)
    return asyncio.run(propose_once(Watching(), request, generate, claim())), tried, seen


@pytest.mark.parametrize("room", [4, 3, 1])
def test_prompt_that_is_too_long_drops_references_until_it_fits(room: int) -> None:
    pack = ArithmeticPack()
    proposal, tried, seen = ask_with_references(pack, room)
    assert (proposal.outcome, proposal.num_dropped, seen) == (Outcome.CORRECT, 4 - room, [room])
    prompts = [
        pack.propose_prompt("deduction", REFERENCES[:shown], random.Random(0))[0]["content"]
        for shown in range(4, room - 1, -1)
    ]
    assert tried == prompts


def test_prompt_that_is_too_long_without_references_is_an_error_and_no_outcome() -> None:
    # Without references this pack shows a seed as an example, so that one does not fit either.
    with pytest.raises(PromptTooLongError):
        ask_with_references(ArithmeticPack(), room=0)


def test_whoever_asks_for_a_shortened_prompt_writes_the_same() -> None:
    class Chancy(ArithmeticPack):
        """Leaves part of a prompt to chance."""

        def propose_prompt(
            self, kind: str, references: Sequence[TaskRecord], rng: random.Random, *, step: int = 0
        ) -> list[Message]:
            return [{"role": "user", "content": f"{len(references)} references, {step}, {rng.random()}"}]

    messages = Chancy().propose_prompt("deduction", REFERENCES, random.Random(5), step=7)
    request = Request(3, Role.PROPOSE, "deduction", messages, REFERENCES, None, 1, 7)
    shortened = [with_fewer_references(Chancy(), request, number) for number in (0, 1, 1, 4)]
    assert shortened[0] == request and shortened[1] == shortened[2]
    assert [len(each.references) for each in shortened] == [4, 3, 3, 0]
    assert shortened[1].messages[0]["content"].startswith("3 references, 7, ")
    other = replace(request, messages=[{"role": "user", "content": "another"}])
    assert with_fewer_references(Chancy(), other, 1).messages != shortened[1].messages


# ------------------------------ failures ------------------------------


def test_proposal_that_never_came_is_an_error_and_no_outcome(arithmetic: ArithmeticPack) -> None:
    with pytest.raises(GenerationFailedError, match=r"request 3 \(deduction\)"):
        propose(arithmetic, Script([None]))


def test_attempt_that_never_came_is_an_error_and_no_outcome(arithmetic: ArithmeticPack) -> None:
    with pytest.raises(GenerationFailedError, match=r"request 5 \(deduction\)"):
        asyncio.run(solve(arithmetic, SOLVE, Script([None])))


def test_broken_check_is_an_error_and_no_outcome() -> None:
    class Broken(ArithmeticPack):
        async def judge(self, record: TaskRecord, response: str) -> Verdict:
            raise OSError("the sandbox is gone")

    with pytest.raises(OSError, match="the sandbox is gone"):
        asyncio.run(solve(Broken(), SOLVE, Script(["71"])))


def test_attempt_that_cannot_be_checked_is_left_out() -> None:
    class BreaksAtOne(ArithmeticPack):
        async def judge(self, record: TaskRecord, response: str) -> Verdict:
            if response == "3":
                raise CheckBrokenError("the sandbox is gone")
            return await super().judge(record, response)

    proposal = propose(BreaksAtOne(), Script(["Calculate: 1 + 1 ="], ["2", "3", "5", "3"]))
    assert [attempt.response.text for attempt in proposal.attempts] == ["2", "5"]
    assert (proposal.solve_rate, proposal.num_failed) == (1 / 2, 2)
    with pytest.raises(GenerationFailedError):
        asyncio.run(solve(BreaksAtOne(), SOLVE, Script(["3"])))


def test_accuracy_of_samples_is_over_those_that_came_back(arithmetic: ArithmeticPack) -> None:
    # 2 of the 3 that came back are right.
    model = Script(["71", "71", "70", None])
    attempts = asyncio.run(solve(arithmetic, SOLVE, model, 4))
    assert share_correct(attempts) == pytest.approx(2 / 3)
    assert model.calls == [("Solve it.", 4)]
    with pytest.raises(GenerationFailedError, match="no attempt for request 5"):
        asyncio.run(solve(arithmetic, SOLVE, Script([None, None]), 2))


def test_solve_request_without_a_record_is_refused(arithmetic: ArithmeticPack) -> None:
    with pytest.raises(ValueError, match="request 3 has no record"):
        asyncio.run(solve(arithmetic, PROPOSE, Script(["71"])))


# ------------------------------ attempts ------------------------------


@pytest.mark.parametrize(
    ("text", "outcome", "reason", "measures"),
    [
        ("71", Outcome.CORRECT, "", {"distance": 0.0}),
        ("70", Outcome.WRONG, "wrong-value", {"distance": 1.0}),
        ("", Outcome.MALFORMED, "no-answer", {}),
    ],
)
def test_attempt_is_judged_and_measured(
    arithmetic: ArithmeticPack, text: str, outcome: Outcome, reason: str, measures: dict[str, float]
) -> None:
    model = Script([text])
    (found,) = asyncio.run(solve(arithmetic, SOLVE, model))
    assert found == Attempt(Response(text), outcome, reason, measures)
    assert model.calls == [("Solve it.", 1)]


# ------------------------------ concurrency ------------------------------


def test_requests_of_a_wave_are_in_flight_together(arithmetic: ArithmeticPack) -> None:
    # Nobody gets a response before all 20 have asked: one request after the other would wait for ever.
    num_requests = 20
    waiting = 0
    all_asked = asyncio.Event()

    async def generate(messages: Sequence[Message], *, num_responses: int) -> list[Response]:
        nonlocal waiting
        waiting += 1
        if waiting == num_requests:
            all_asked.set()
        await all_asked.wait()
        return [Response("no task")]

    async def wave() -> list[Proposal]:
        requests = [propose_once(arithmetic, PROPOSE, generate, claim()) for _ in range(num_requests)]
        return await asyncio.wait_for(asyncio.gather(*requests), timeout=10)

    assert len(asyncio.run(wave())) == num_requests


def test_attempts_do_not_wait_for_other_proposals(arithmetic: ArithmeticPack) -> None:
    # The second proposal comes when the first one's attempts have been asked for, and not before.
    attempted = asyncio.Event()

    async def generate(messages: Sequence[Message], *, num_responses: int) -> list[Response]:
        if messages[0]["content"] == "slow":
            await attempted.wait()
        elif num_responses > 1:
            attempted.set()
        text = arithmetic.gold_proposal(RECORD) if num_responses == 1 else "71"
        return [Response(text)] * num_responses

    async def wave() -> list[Proposal]:
        slow = Request(4, Role.PROPOSE, "deduction", [{"role": "user", "content": "slow"}], (), None, 4)
        both = [propose_once(arithmetic, request, generate, claim()) for request in (slow, PROPOSE)]
        return await asyncio.wait_for(asyncio.gather(*both), timeout=10)

    assert [proposal.solve_rate for proposal in asyncio.run(wave())] == [1.0, 1.0]


# ------------------------------ time of checks ------------------------------


class Time:
    """A clock that stands still until it is told."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_only_time_without_generation_counts() -> None:
    time = Time()
    clock = CheckClock(time)
    with clock.checking():
        time.now = 1.0  # alone: 1 s
        with clock.generating():
            time.now = 3.0  # beside generation: nothing
            with clock.checking():
                time.now = 6.0  # nothing
        time.now = 6.5  # alone again: 0.5 s
        with clock.checking():
            time.now = 7.0  # two checks at once: 0.5 s, counted once
    time.now = 9.0  # neither
    assert clock.take() == pytest.approx(2.0)


def test_taken_time_is_not_counted_again_and_a_running_check_goes_on() -> None:
    time = Time()
    clock = CheckClock(time)
    with clock.checking():
        time.now = 1.0
        assert clock.take() == 1.0
        time.now = 3.0
    assert clock.take() == 2.0
    assert clock.take() == 0.0


def test_a_check_or_a_request_that_fails_is_over() -> None:
    time = Time()
    clock = CheckClock(time)
    for around in (clock.checking, clock.generating):
        with pytest.raises(ValueError, match="broken"), around():
            raise ValueError("broken")
    time.now = 5.0
    assert clock.take() == 0.0
