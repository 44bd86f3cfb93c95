"""What a step asks for, and what its results are worth.

The results are written down by hand: `propose` and `attempt` make the facts that agent loops would bring.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from recipe.selfplay.config import AzrConfig, BonusConfig, FailureConfig, SeedingConfig, SolveOn
from recipe.selfplay.credit import Cells, RunningMeans, parse_uid
from recipe.selfplay.curriculum import SelfPlay, SelfPlayError
from recipe.selfplay.plan import StepPlan
from recipe.selfplay.types import PROPOSAL, Attempt, Proposal, Refusal, Request, Response, Settlement
from rewards.bonus import Term
from rewards.profile import PROFILES, ByLearnability, ByShare, PriceTable, load_profile
from tasks.arithmetic import ArithmeticPack
from tasks.contract import KindSpec, Message, Outcome, Role, TaskRecord
from tasks.python_code import PythonCodePack
from tasks.python_code.records import Example, to_record

KINDS = ("deduction", "abduction", "induction")
NUM_SEEDS = {"deduction": 4, "abduction": 4, "induction": 5}

Build = Callable[..., SelfPlay]


@pytest.fixture
def build(arithmetic: ArithmeticPack) -> Build:
    """Makes a `SelfPlay` with 2 proposals a kind and 3 attempts a record, unless told otherwise."""

    def build(profile: str = "paper", **fields: Any) -> SelfPlay:
        sizes = {"proposals_per_kind": 2, "attempts_per_record": 3, "solve_on": "attempts"}
        return SelfPlay(arithmetic, load_profile(profile), AzrConfig(**(sizes | fields)))

    return build


def addition(a: int, b: int) -> TaskRecord:
    return TaskRecord("deduction", {"a": a, "op": "+", "b": b})


def attempt(outcome: Outcome) -> Attempt:
    reasons = {Outcome.CORRECT: "", Outcome.WRONG: "wrong-value", Outcome.MALFORMED: "no-answer"}
    return Attempt(Response(f"a {outcome} answer"), outcome, reasons[outcome])


def accepted(record: TaskRecord, *outcomes: Outcome, num_failed: int = 0) -> Proposal:
    """An accepted proposal and its attempts."""
    attempts = tuple(attempt(outcome) for outcome in outcomes)
    messages = [{"role": "user", "content": f"solve {record.payload}"}]
    key = f"{record.kind} {record.payload}"
    return Proposal(Response("a task"), Outcome.CORRECT, "", record, key, messages, attempts, num_failed)


def refused(outcome: Outcome, reason: str) -> Proposal:
    return Proposal(Response("no task"), outcome, reason)


RIGHT, WRONG, MALFORMED = Outcome.CORRECT, Outcome.WRONG, Outcome.MALFORMED


def new_record(kind: str, number: int) -> TaskRecord:
    """A record of `kind` unlike those of other numbers, and unlike the seeds."""
    payloads: dict[str, dict[str, Any]] = {
        "deduction": {"a": 50 + number, "op": "+", "b": 1},
        "abduction": {"op": "+", "result": 50 + number, "max": 199},
        "induction": {"rule": "multiplication", "shown": [[2, 3], [5, 2], [3, 4]], "query": [9, number]},
    }
    return TaskRecord(kind, payloads[kind])


def all_accepted(requests: Sequence[Request], *outcomes: Outcome, first: int = 0) -> dict[int, Any]:
    """Every proposal accepted with these attempts, every solve request answered right."""
    results: dict[int, Any] = {}
    for request in requests:
        if request.role is Role.SOLVE:
            results[request.index] = attempt(RIGHT)
        else:
            results[request.index] = accepted(new_record(request.kind, first + request.index), *outcomes)
    return results


def rewards(settlement: Settlement) -> dict[tuple[int, int | None], float]:
    return {place: priced.reward for place, priced in settlement.priced.items()}


# ------------------------------ drawing ------------------------------


# 3 kinds with 2 proposals each are 6, and a solve request for each makes 12; replay adds 3 * 2.
@pytest.mark.parametrize(
    ("solve_on", "replay", "num_requests"),
    [("fresh", 0, 12), ("previous", 0, 12), ("attempts", 0, 6), ("attempts", 2, 12)],
)
def test_step_has_as_many_requests_as_verl_is_told(
    build: Build, solve_on: str, replay: int, num_requests: int
) -> None:
    sizes = {"solve_on": solve_on, "proposals_per_kind": 2, "replay_per_kind": replay}
    assert StepPlan.of(AzrConfig(**sizes), len(KINDS)).prompts == num_requests
    selfplay = build(**sizes)
    for step in (1, 2):
        requests = selfplay.begin_step(step)
        results = all_accepted(requests, RIGHT, first=100 * step)
        requests += selfplay.second_wave(requests, results)
        assert [request.index for request in requests] == list(range(num_requests))
        selfplay.settle(step, requests, all_accepted(requests, RIGHT, first=100 * step))


# Without proposals: 2 records of each of 3 kinds, and the 3 attempts at each that are trained on otherwise.
@pytest.mark.parametrize(("solve_on", "num_attempts"), [("fresh", 1), ("previous", 1), ("attempts", 3)])
def test_step_without_proposals_attempts_what_the_buffer_holds(
    build: Build, arithmetic: ArithmeticPack, solve_on: str, num_attempts: int
) -> None:
    sizes = {"solve_on": solve_on, "proposals_per_kind": 2, "attempts_per_record": 3, "tasks": "buffer"}
    assert StepPlan.of(AzrConfig(**sizes), len(KINDS)).prompts == 6 * num_attempts
    selfplay = build(**sizes)
    drawn = []
    for step in (1, 2):
        requests = selfplay.begin_step(step)
        assert selfplay.second_wave(requests, {}) == []
        assert [request.index for request in requests] == list(range(6 * num_attempts))
        assert {request.role for request in requests} == {Role.SOLVE}
        counts = Counter(str(request.record) for request in requests)
        assert set(counts.values()) == {num_attempts}
        assert counts.keys() <= {str(record) for record in arithmetic.seeds()}
        assert Counter(request.kind for request in requests) == dict.fromkeys(KINDS, 2 * num_attempts)
        results = {request.index: attempt(WRONG) for request in requests}
        settlement = selfplay.settle(step, requests, results)
        assert set(rewards(settlement).values()) == {-0.5}
        assert len(settlement.priced) == len(requests)
        drawn.append(requests)
    assert drawn[0] != drawn[1]
    assert [selfplay.buffer.size(kind) for kind in KINDS] == list(NUM_SEEDS.values())


@pytest.mark.parametrize("solve_on", SolveOn)
def test_every_kind_is_proposed_and_attempted_as_often(build: Build, solve_on: SolveOn) -> None:
    requests = build(solve_on=solve_on.value).begin_step(1)
    proposed = [request for request in requests if request.role is Role.PROPOSE]
    assert Counter(request.kind for request in proposed) == dict.fromkeys(KINDS, 2)
    assert {request.num_attempts for request in proposed} == {3}
    assert all(request.record is None for request in proposed)


def test_references_come_from_the_kinds_asked_for() -> None:
    class CrossPack(ArithmeticPack):
        """Induction is proposed from deductions and abductions."""

        @property
        def kinds(self) -> tuple[KindSpec, ...]:
            deduction, abduction, induction = super().kinds
            crossed = KindSpec(induction.name, (deduction.name, abduction.name), 5)
            return deduction, KindSpec(abduction.name, (abduction.name,), 0), crossed

    selfplay = SelfPlay(CrossPack(), load_profile("paper"), AzrConfig(proposals_per_kind=20))
    kinds_shown: dict[str, Counter[str]] = {kind: Counter() for kind in KINDS}
    for request in selfplay.begin_step(1):
        kinds_shown[request.kind].update(record.kind for record in request.references)
        assert len({str(record) for record in request.references}) == len(request.references)
    assert kinds_shown["deduction"] == {"deduction": 20 * 2}
    assert kinds_shown["abduction"] == {}
    assert kinds_shown["induction"].keys() == {"deduction", "abduction"}
    assert kinds_shown["induction"].total() == 20 * 5


def test_proposers_prompt_shows_its_references(build: Build, arithmetic: ArithmeticPack) -> None:
    for request in build().begin_step(1):
        lines = request.messages[0]["content"].split("\n")
        assert lines[1:] == [arithmetic.gold_proposal(record) for record in request.references]


def test_prompts_are_of_their_step_and_of_step_0_while_seeding() -> None:
    class StepPack(ArithmeticPack):
        """Says the step in the prompt."""

        def propose_prompt(
            self, kind: str, references: Sequence[TaskRecord], rng: random.Random, *, step: int = 0
        ) -> list[Message]:
            return [{"role": "user", "content": f"step {step}"}]

    selfplay = SelfPlay(StepPack(), load_profile("paper"), AzrConfig(proposals_per_kind=1))
    for step, requests in ((0, selfplay.seeding_wave()), (3, selfplay.begin_step(3))):
        assert len(requests) == 3
        assert {request.step for request in requests} == {step}
        assert {request.messages[0]["content"] for request in requests} == {f"step {step}"}


def test_resumed_run_draws_the_composites_that_the_whole_one_drew() -> None:
    def build() -> SelfPlay:
        pack = PythonCodePack(composite_share=1.0, composite_from_step=1, composite_until_step=5)
        selfplay = SelfPlay(pack, load_profile("paper"), AzrConfig(proposals_per_kind=40))
        for number in range(30):
            example = Example("1", str(1 + number))
            record = to_record("deduction", f"def f(x):\n    return x + {number}", [example])
            selfplay.buffer.add(record, pack.task_key(record), step=0)
        return selfplay

    def num_composites(requests: Sequence[Request]) -> int:
        return sum("must call" in r.messages[0]["content"] for r in requests if r.kind == "deduction")

    whole = build()
    drawn = {step: whole.begin_step(step) for step in (1, 2, 3)}
    state = json.loads(json.dumps(whole.state_dict()))
    resumed = build()
    resumed.load_state_dict(state)
    for step in (4, 5):
        drawn[step] = whole.begin_step(step)
        assert resumed.begin_step(step) == drawn[step]
    # The share grows from 0 in step 1 to 1 in step 5; in step 3 it is one half, of 40.
    counts = [num_composites(drawn[step]) for step in (1, 3, 5)]
    assert counts[0] == 0 and 10 <= counts[1] <= 30 and counts[2] == 40


def test_two_steps_draw_different_references(build: Build) -> None:
    selfplay = build(proposals_per_kind=8)
    first, second = selfplay.begin_step(1), selfplay.begin_step(2)
    assert [request.references for request in first] != [request.references for request in second]


@pytest.mark.parametrize("solve_on", ["previous", "attempts"])
def test_one_wave_is_enough_without_fresh(build: Build, solve_on: str) -> None:
    selfplay = build(solve_on=solve_on)
    requests = selfplay.begin_step(1)
    assert selfplay.second_wave(requests, all_accepted(requests, RIGHT)) == []


def test_fresh_takes_records_of_this_step_first(build: Build) -> None:
    selfplay = build(solve_on="fresh", proposals_per_kind=3)
    requests = selfplay.begin_step(1)
    new = {"deduction": [addition(70, 1), addition(70, 2), addition(70, 3)], "abduction": [], "induction": []}
    results: dict[int, Proposal] = {}
    for request in requests:
        records = new[request.kind]
        results[request.index] = (
            accepted(records[request.index], RIGHT) if records else refused(MALFORMED, "no-task")
        )
    wave = selfplay.second_wave(requests, results)
    solved = {kind: [request.record for request in wave if request.kind == kind] for kind in KINDS}
    assert sorted(map(str, solved["deduction"])) == sorted(map(str, new["deduction"]))


def test_fresh_gives_every_kind_its_own_records(build: Build) -> None:
    selfplay = build(solve_on="fresh")
    requests = selfplay.begin_step(1)
    results = all_accepted(requests, RIGHT)
    wave = selfplay.second_wave(requests, results)
    made = Counter(str(result.record) for result in results.values())
    assert Counter(str(request.record) for request in wave) == made
    assert all(request.record is not None and request.record.kind == request.kind for request in wave)


def test_fresh_is_topped_up_from_the_buffer(build: Build, arithmetic: ArithmeticPack) -> None:
    selfplay = build(solve_on="fresh", proposals_per_kind=3)
    requests = selfplay.begin_step(1)
    results = {request.index: refused(MALFORMED, "no-task") for request in requests}
    results[0] = accepted(addition(70, 1), RIGHT)
    del results[1]
    wave = selfplay.second_wave(requests, results)
    seeds = [record for record in arithmetic.seeds() if record.kind == "deduction"]
    deductions = [request.record for request in wave if request.kind == "deduction"]
    assert deductions[0] == addition(70, 1)
    assert len(deductions) == 3
    assert all(record in seeds for record in deductions[1:])
    assert deductions[1] != deductions[2]


def test_solve_request_asks_the_packs_question(build: Build, arithmetic: ArithmeticPack) -> None:
    selfplay = build(solve_on="previous")
    solve = [request for request in selfplay.begin_step(1) if request.role is Role.SOLVE]
    assert len(solve) == 6
    for request in solve:
        assert request.record is not None
        assert request.messages == arithmetic.solve_prompt(request.record)
        assert request.record.kind == request.kind
        assert request.num_attempts == 0


def test_previous_takes_records_of_the_step_before(build: Build) -> None:
    selfplay = build(solve_on="previous", proposals_per_kind=3)
    made = {}
    for step in (1, 2, 3):
        requests = selfplay.begin_step(step)
        results = all_accepted(requests, RIGHT, first=100 * step)
        made[step] = {str(results[request.index].record) for request in requests[:9]}
        if step > 1:
            # 3 proposals a kind were accepted before, and 3 tasks a kind are solved: all of them, no other.
            assert {str(request.record) for request in requests[9:]} == made[step - 1]
        selfplay.settle(step, requests, results)


def test_previous_is_topped_up_from_the_buffer(build: Build) -> None:
    selfplay = build(solve_on="previous", proposals_per_kind=3)
    requests = selfplay.begin_step(1)
    results = {request.index: refused(WRONG, "no-rule") for request in requests[:9]}
    results |= {request.index: attempt(WRONG) for request in requests[9:]}
    results[0] = accepted(addition(70, 1), RIGHT)
    selfplay.settle(1, requests, results)
    solve = [request for request in selfplay.begin_step(2) if request.role is Role.SOLVE]
    deductions = [request.record for request in solve if request.kind == "deduction"]
    assert deductions[0] == addition(70, 1)
    assert [len([r for r in solve if r.kind == kind]) for kind in KINDS] == [3, 3, 3]


def test_replay_draws_from_the_buffer(build: Build, arithmetic: ArithmeticPack) -> None:
    selfplay = build(replay_per_kind=4)
    replay = [request for request in selfplay.begin_step(1) if request.role is Role.SOLVE]
    assert len(replay) == 12
    for kind in KINDS:
        drawn = [str(request.record) for request in replay if request.kind == kind]
        assert len(set(drawn)) == 4
        assert set(drawn) <= {str(record) for record in arithmetic.seeds() if record.kind == kind}


def test_replay_is_priced_as_one_attempt(build: Build) -> None:
    selfplay = build(replay_per_kind=1)
    requests = selfplay.begin_step(1)
    results = all_accepted(requests, RIGHT) | {6: attempt(RIGHT), 7: attempt(WRONG), 8: attempt(MALFORMED)}
    settled = rewards(selfplay.settle(1, requests, results))
    assert [settled[index, 0] for index in (6, 7, 8)] == [1.0, -0.5, -1.0]


def test_results_that_arrive_in_another_order_change_nothing(build: Build) -> None:
    outcomes = []
    for seed in (None, 1, 2):
        selfplay = build("random", solve_on="fresh", proposals_per_kind=4)
        requests = selfplay.begin_step(1)
        results = all_accepted(requests, RIGHT, WRONG, MALFORMED)
        del results[5]
        results = shuffled(results, seed)
        requests += selfplay.second_wave(requests, results)
        results |= {request.index: attempt(WRONG) for request in requests[12:]}
        settlement = selfplay.settle(1, requests, shuffled(results, seed))
        outcomes.append((requests, rewards(settlement), settlement.ledger, selfplay.state_dict()))
    assert outcomes[0] == outcomes[1] == outcomes[2]


def shuffled(results: dict[int, Any], seed: int | None) -> dict[int, Any]:
    items = list(results.items())
    if seed is not None:
        random.Random(seed).shuffle(items)
    return dict(items)


@pytest.mark.parametrize("solve_on", SolveOn)
def test_prices_do_not_move_which_prompts_are_drawn(build: Build, solve_on: SolveOn) -> None:
    drawn, priced = [], []
    for profile in ("paper", "azr_code", "random"):
        selfplay = build(profile, solve_on=solve_on.value)
        asked: list[Request] = []
        for step in (1, 2, 3):
            requests = selfplay.begin_step(step)
            results = all_accepted(requests, RIGHT, RIGHT, RIGHT, first=100 * step)
            requests += selfplay.second_wave(requests, results)
            results |= {request.index: attempt(WRONG) for request in requests if request.role is Role.SOLVE}
            asked += requests
            priced.append(rewards(selfplay.settle(step, requests, results)))
        drawn.append(asked)
    assert drawn[0] == drawn[1] == drawn[2]
    assert priced[0] != priced[3] != priced[6]


# ------------------------------ settling ------------------------------


def test_every_response_gets_the_price_of_its_outcome(build: Build) -> None:
    selfplay = build()
    requests = selfplay.begin_step(1)
    results: dict[int, Any] = {
        0: accepted(addition(70, 1), RIGHT, WRONG, MALFORMED),
        1: accepted(addition(70, 2), RIGHT, RIGHT, RIGHT),
        2: refused(MALFORMED, "no-task"),
        3: refused(WRONG, "duplicate"),
        4: accepted(new_record("induction", 4), WRONG, WRONG, WRONG),
        5: accepted(new_record("induction", 5), RIGHT, RIGHT, WRONG),
    }
    settlement = selfplay.settle(1, requests, results)
    # Profile `paper`. Learnability: 1 - 1/3 = 2/3; always and never solved 0; 1 - 2/3 = 1/3.
    assert rewards(settlement) == pytest.approx(
        {
            (0, PROPOSAL): 2 / 3,
            (0, 0): 1.0,
            (0, 1): -0.5,
            (0, 2): -1.0,
            (1, PROPOSAL): 0.0,
            (1, 0): 1.0,
            (1, 1): 1.0,
            (1, 2): 1.0,
            (2, PROPOSAL): -1.0,
            (3, PROPOSAL): -0.5,
            (4, PROPOSAL): 0.0,
            (4, 0): -0.5,
            (4, 1): -0.5,
            (4, 2): -0.5,
            (5, PROPOSAL): 1 / 3,
            (5, 0): 1.0,
            (5, 1): 1.0,
            (5, 2): -0.5,
        }
    )
    assert settlement.num_failed == 0


@pytest.mark.parametrize("profile", [*PROFILES])
@pytest.mark.parametrize("refusal", [Refusal.HELD_OUT, Refusal.SURPLUS])
def test_no_profile_prices_what_is_refused_without_fault(
    build: Build, profile: str, refusal: Refusal
) -> None:
    selfplay = build(profile)
    requests = selfplay.begin_step(1)
    results: dict[int, Any] = {request.index: refused(MALFORMED, "no-task") for request in requests}
    results[0] = Proposal.refused(Response("a task"), refusal)
    settlement = selfplay.settle(1, requests, results)
    assert settlement.priced.keys() == {(index, PROPOSAL) for index in range(1, 6)}
    line = settlement.ledger[0]
    assert (line.outcome, line.reason, line.reward, line.record) == (RIGHT, refusal, None, None)
    assert settlement.num_failed == 0


def test_duplicate_has_the_price_of_a_wrong_proposal_or_its_own(arithmetic: ArithmeticPack) -> None:
    paper = load_profile("paper")
    assert isinstance(paper, PriceTable)
    for profile, price in ((paper, -0.5), (replace(paper, proposal_duplicate=-0.1), -0.1)):
        selfplay = SelfPlay(arithmetic, profile, AzrConfig(proposals_per_kind=1))
        requests = selfplay.begin_step(1)
        results = {
            0: Proposal.refused(Response("a task"), Refusal.DUPLICATE),
            1: Proposal.refused(Response("a task"), Refusal.TOO_LONG),
            2: refused(WRONG, "no-rule"),
        }
        settled = rewards(selfplay.settle(1, requests, results))
        assert settled == {(0, PROPOSAL): price, (1, PROPOSAL): -0.5, (2, PROPOSAL): -0.5}


def test_exhausted_is_the_share_of_all_tasks_that_the_buffer_holds(build: Build) -> None:
    class Counted(ArithmeticPack):
        """Has 8 easy and 20 medium deductions, and does not know of the rest."""

        def num_tasks(self, kind: str) -> dict[str, int]:
            return {"easy": 8, "medium": 20} if kind == "deduction" else {}

    selfplay = SelfPlay(Counted(), load_profile("paper"), AzrConfig())
    # Its seeds are 3 + 4, which is easy, and 9 - 5, 2 * 3 and 2 - 8, which are medium.
    assert selfplay.exhausted() == {("deduction", "easy"): 1 / 8, ("deduction", "medium"): 3 / 20}
    selfplay.buffer.add(addition(5, 1), "new", step=1)
    assert selfplay.exhausted()["deduction", "easy"] == 2 / 8
    assert build().exhausted().keys() >= {("deduction", "hard"), ("abduction", "easy")}


def test_wrong_attempts_are_graded_by_their_measures_and_stay_wrong(arithmetic: ArithmeticPack) -> None:
    prices = PriceTable(-1.0, -0.5, ByLearnability(0.0), -1.0, -0.5, 1.0, ByShare("share"))
    config = AzrConfig(proposals_per_kind=1)
    selfplay = SelfPlay(arithmetic, prices, config)
    requests = selfplay.begin_step(1)
    results = all_accepted(requests, RIGHT)
    near, far = (replace(attempt(WRONG), measures={"share": share}) for share in (0.75, 0.0))
    results[0] = replace(results[0], attempts=(near, far, attempt(WRONG), attempt(RIGHT)))
    settlement = selfplay.settle(1, requests, results)
    settled = rewards(settlement)
    assert [settled[0, number] for number in range(4)] == [0.75, -0.5, -0.5, 1.0]
    assert settled[0, PROPOSAL] == 0.75  # 1 - 1/4: one of four is correct, whatever the grades
    assert [line.measures for line in settlement.ledger[1:5]] == [{"share": 0.75}, {"share": 0.0}, {}, {}]


def test_uid_spells_who_responded_to_what(build: Build) -> None:
    selfplay = build(replay_per_kind=1)
    requests = selfplay.begin_step(1)
    settlement = selfplay.settle(1, requests, all_accepted(requests, RIGHT, WRONG))
    for (index, number), priced in settlement.priced.items():
        is_proposal = number == PROPOSAL
        role, kind, _ = parse_uid(priced.uid)
        assert role is (Role.PROPOSE if is_proposal else Role.SOLVE)
        assert kind == requests[index].kind
    uids = [priced.uid for priced in settlement.priced.values()]
    # Each of 6 proposals and 3 replayed tasks has its own; the two attempts at a proposal share theirs.
    assert len(uids) == 6 + 6 * 2 + 3
    assert len(set(uids)) == 6 + 6 + 3
    of_first = [settlement.priced[0, number].uid for number in (0, 1)]
    assert of_first[0] == of_first[1]


def test_uid_spells_the_difficulty_of_the_task(build: Build) -> None:
    selfplay = build(replay_per_kind=1)
    requests = selfplay.begin_step(1)
    results: dict[int, Any] = all_accepted(requests, RIGHT)
    results[0] = accepted(addition(5, 1), RIGHT, WRONG)
    results[1] = accepted(addition(70, 1), RIGHT)
    results[2] = refused(MALFORMED, "no-task")
    settlement = selfplay.settle(1, requests, results)
    labels = {place: parse_uid(priced.uid).difficulty for place, priced in settlement.priced.items()}
    assert (labels[0, PROPOSAL], labels[0, 0], labels[0, 1]) == ("easy", "easy", "easy")
    assert (labels[1, PROPOSAL], labels[1, 0]) == ("hard", "hard")
    assert labels[2, PROPOSAL] == "none"
    # A replayed record has its own label as well: 3 + 4, 9 - 5 or 2 - 8 under its operands, 2 * 3 for `*`.
    replayed = requests[6].record
    assert replayed is not None
    largest = max(replayed.payload["a"], replayed.payload["b"])
    assert labels[6, 0] == ("easy" if largest <= 5 and replayed.payload["op"] != "*" else "medium")


def test_attempts_of_the_solve_rate_are_the_samples_and_none_is_thrown_away(build: Build) -> None:
    selfplay = build()
    requests = selfplay.begin_step(1)
    results = all_accepted(requests, RIGHT, WRONG)
    settlement = selfplay.settle(1, requests, results)
    responses = {(index, PROPOSAL) for index in results}
    responses |= {(index, number) for index in results for number in (0, 1)}
    assert settlement.priced.keys() == responses
    assert all(line.reward is not None for line in settlement.ledger)
    assert len(settlement.ledger) == len(responses)


@pytest.mark.parametrize("solve_on", ["fresh", "previous"])
def test_other_modes_estimate_with_attempts_and_train_on_one_each(build: Build, solve_on: str) -> None:
    selfplay = build(solve_on=solve_on)
    requests = selfplay.begin_step(1)
    results = all_accepted(requests, RIGHT, WRONG)
    requests += selfplay.second_wave(requests, results)
    results |= {request.index: attempt(RIGHT) for request in requests[6:]}
    settlement = selfplay.settle(1, requests, results)
    proposals = {(index, PROPOSAL) for index in range(6)}
    solutions = {(index, 0) for index in range(6, 12)}
    assert settlement.priced.keys() == proposals | solutions
    # The ledger keeps the other 12 attempts, without a reward.
    assert sum(line.reward is None for line in settlement.ledger) == 12
    assert len(settlement.ledger) == 6 + 12 + 6


def test_failed_request_is_left_out_and_counted(build: Build) -> None:
    selfplay = build(replay_per_kind=1, failures=FailureConfig(max_share=0.5))
    requests = selfplay.begin_step(1)
    results = all_accepted(requests, RIGHT)
    del results[0], results[8]
    settlement = selfplay.settle(1, requests, results)
    assert settlement.num_failed == 2
    assert {index for index, _ in settlement.priced} == {1, 2, 3, 4, 5, 6, 7}
    assert {line.index for line in settlement.ledger} == {1, 2, 3, 4, 5, 6, 7}


def test_solve_rate_is_over_the_attempts_that_came_back(build: Build) -> None:
    selfplay = build(failures=FailureConfig(max_share=0.5))
    requests = selfplay.begin_step(1)
    results = all_accepted(requests, RIGHT)
    results[0] = accepted(addition(70, 1), RIGHT, WRONG, num_failed=1)
    settlement = selfplay.settle(1, requests, results)
    # One right of two: 1 - 1/2. Counting the third as wrong would give 1 - 1/3.
    assert settlement.priced[0, PROPOSAL].reward == 0.5
    assert settlement.num_failed == 1
    assert (0, 2) not in settlement.priced


def test_accepted_task_without_any_attempt_is_kept_and_its_proposal_left_out(build: Build) -> None:
    selfplay = build(failures=FailureConfig(max_share=0.5))
    requests = selfplay.begin_step(1)
    results = all_accepted(requests, RIGHT)
    results[0] = accepted(addition(70, 1), num_failed=3)
    settlement = selfplay.settle(1, requests, results)
    assert not any(index == 0 for index, _ in settlement.priced)
    assert settlement.num_failed == 3
    line = settlement.ledger[0]
    assert (line.index, line.reward, line.solve_rate, line.outcome) == (0, None, None, RIGHT)
    assert addition(70, 1) in selfplay.buffer.added_at("deduction", 1)


def test_too_many_failures_stop_the_run_and_name_the_key(build: Build) -> None:
    # 6 proposals of 3 attempts: 6 + 18 = 24 responses asked for, of which an eighth are 3.
    def settle(num_failed: int) -> Settlement:
        selfplay = build(failures=FailureConfig(max_share=0.125))
        requests = selfplay.begin_step(1)
        results = all_accepted(requests, RIGHT, RIGHT, RIGHT)
        for index in range(num_failed):
            results[index] = accepted(new_record(requests[index].kind, index), RIGHT, RIGHT, num_failed=1)
        return selfplay.settle(1, requests, results)

    assert settle(3).num_failed == 3
    with pytest.raises(SelfPlayError, match=r"step 1: 4 of 24 responses .* azr\.failures\.max_share=0\.125 "):
        settle(4)


def test_refused_proposals_ask_for_no_attempts_in_the_share_of_failures(build: Build) -> None:
    # 5 refused and 1 missing: 1 of 6 responses failed, and not 1 of 6 + 15.
    selfplay = build(failures=FailureConfig(max_share=0.1))
    requests = selfplay.begin_step(1)
    results = {request.index: refused(MALFORMED, "no-task") for request in requests[1:]}
    with pytest.raises(SelfPlayError, match="1 of 6 responses"):
        selfplay.settle(1, requests, results)


def test_accepted_records_enter_the_buffer_with_their_step(build: Build) -> None:
    selfplay = build()
    requests = selfplay.begin_step(4)
    results = {request.index: refused(WRONG, "duplicate") for request in requests}
    results[1] = accepted(addition(70, 1), RIGHT)
    selfplay.settle(4, requests, results)
    assert selfplay.buffer.added_at("deduction", 4) == [addition(70, 1)]
    sizes = {kind: selfplay.buffer.size(kind) for kind in KINDS}
    assert sizes == NUM_SEEDS | {"deduction": 5}


@pytest.mark.parametrize(
    ("keep_tasks", "kept"),
    [("all", [70, 71, 72, 73]), ("non-one", [70, 71, 73]), ("non-extremes", [71, 73])],
)
def test_solve_rate_decides_which_tasks_are_kept(build: Build, keep_tasks: str, kept: list[int]) -> None:
    selfplay = build(proposals_per_kind=4, keep_tasks=keep_tasks)
    requests = selfplay.begin_step(1)
    results: dict[int, Any] = {request.index: refused(WRONG, "duplicate") for request in requests}
    results[0] = accepted(addition(70, 1), WRONG, MALFORMED)
    results[1] = accepted(addition(71, 1), RIGHT, WRONG)
    results[2] = accepted(addition(72, 1), RIGHT, RIGHT)
    results[3] = accepted(addition(73, 1))  # no attempt came back: its solve rate is not known
    settlement = selfplay.settle(1, requests, results)
    assert [record.payload["a"] for record in selfplay.buffer.added_at("deduction", 1)] == kept
    assert (2, PROPOSAL) in settlement.priced  # priced all the same


def test_frozen_proposer_is_asked_and_not_trained(build: Build) -> None:
    selfplay = build(train_proposer=False)
    requests = selfplay.begin_step(1)
    settlement = selfplay.settle(1, requests, all_accepted(requests, RIGHT, WRONG))
    assert {parse_uid(priced.uid)[0] for priced in settlement.priced.values()} == {Role.SOLVE}
    assert len(settlement.priced) == 2 * len(requests)
    proposals = [line for line in settlement.ledger if line.role is Role.PROPOSE]
    assert len(proposals) == len(requests)
    assert {line.reward for line in proposals} == {None}
    assert selfplay.buffer.added_at("deduction", 1)


def test_surplus_tasks_are_asked_for_and_written_down_and_no_more(build: Build) -> None:
    selfplay = build(oversample=1.5)  # 3 proposals of every kind in place of 2
    requests = selfplay.begin_step(1)
    assert [request.kind for request in requests] == [kind for kind in KINDS for _ in range(3)]
    results: dict[int, Any] = {request.index: refused(WRONG, "duplicate") for request in requests}
    results[0] = accepted(addition(70, 1), RIGHT, WRONG)
    results[1] = refused(RIGHT, "surplus")
    size = selfplay.buffer.size("deduction")
    settlement = selfplay.settle(1, requests, results)
    assert (0, PROPOSAL) in settlement.priced
    assert (1, PROPOSAL) not in settlement.priced
    assert settlement.priced[2, PROPOSAL].reward == -0.5
    line = next(line for line in settlement.ledger if line.reason == "surplus")
    assert (line.outcome, line.reward, line.solve_rate, line.record) == (RIGHT, None, None, None)
    assert selfplay.buffer.size("deduction") == size + 1
    assert settlement.num_failed == 0


def test_rare_answers_earn_more_where_the_run_says_so(build: Build) -> None:
    bonus = BonusConfig("sum", {"answer-diversity": Term(coefficient=0.5, maximum=1.0)})
    selfplay = build(bonus=bonus)
    requests = selfplay.begin_step(1)
    results: dict[int, Any] = {request.index: refused(WRONG, "duplicate") for request in requests}
    results[0] = accepted(addition(70, 1), RIGHT, WRONG)
    results[1] = accepted(addition(6, 1), RIGHT, WRONG)
    settlement = selfplay.settle(1, requests, results)
    priced = rewards(settlement)
    shown = [line.features for line in settlement.ledger if line.role is Role.PROPOSE]
    assert shown[:3] == [{"answer-diversity": 1.0}, {"answer-diversity": 0.75}, {}]
    # The buffer's four answers are 7, 4, 6 and -6: none is 71. 1 - 1/2 + 0.5 * (1 - 0/4) = 1.
    assert priced[0, PROPOSAL] == pytest.approx(1.0)
    # One of them is 7: 1 - 1/2 + 0.5 * (1 - 1/4) = 0.875. The 71 of this step does not count yet.
    assert priced[1, PROPOSAL] == pytest.approx(0.875)


def test_structures_that_the_buffer_lacks_earn_more_where_the_run_says_so(build: Build) -> None:
    bonus = BonusConfig("sum", {"structure-diversity": Term(coefficient=0.5, maximum=1.0)})
    selfplay = build(bonus=bonus)
    requests = selfplay.begin_step(1)
    results: dict[int, Any] = {request.index: refused(WRONG, "duplicate") for request in requests}
    results[0] = accepted(addition(70, 1), RIGHT, WRONG)
    results[1] = accepted(TaskRecord("deduction", {"a": 7, "op": "-", "b": 1}), RIGHT, WRONG)
    settlement = selfplay.settle(1, requests, results)
    shown = [line.features for line in settlement.ledger if line.role is Role.PROPOSE]
    assert shown[:3] == [{"structure-diversity": 1.0}, {"structure-diversity": 0.5}, {}]
    # The buffer's four: a sum, a product and two differences, all below ten. None is a sum in the seventies.
    assert rewards(settlement)[0, PROPOSAL] == pytest.approx(1 - 1 / 2 + 0.5 * (1 - 0 / 4))
    assert rewards(settlement)[1, PROPOSAL] == pytest.approx(1 - 1 / 2 + 0.5 * (1 - 2 / 4))


def test_packs_features_are_priced_and_only_for_learnable_tasks(build: Build) -> None:
    bonus = BonusConfig("multiply", {"length": Term(coefficient=2.0, maximum=1.5)})
    selfplay = build(bonus=bonus, profile="azr_code")
    requests = selfplay.begin_step(1)
    results: dict[int, Any] = {request.index: refused(WRONG, "duplicate") for request in requests}
    results[0] = replace(accepted(addition(70, 1), RIGHT, WRONG), features={"length": 0.6})
    results[1] = replace(accepted(addition(71, 1), RIGHT, RIGHT), features={"length": 0.6})
    settlement = selfplay.settle(1, requests, results)
    shown = [line.features for line in settlement.ledger if line.role is Role.PROPOSE]
    assert shown[:3] == [{"length": 0.6}, {"length": 0.6}, {}]
    priced = rewards(settlement)
    assert priced[0, PROPOSAL] == pytest.approx(0.5 * 2.0 * 0.6)
    assert priced[1, PROPOSAL] == -0.5  # always solved: its price has no terms
    assert priced[2, PROPOSAL] == -1.0


def test_feature_that_a_pack_could_not_measure_is_worth_nothing(build: Build) -> None:
    selfplay = build(bonus=BonusConfig("sum", {"length": Term()}))
    requests = selfplay.begin_step(1)
    settlement = selfplay.settle(1, requests, all_accepted(requests, RIGHT, WRONG))
    assert settlement.priced[0, PROPOSAL].reward == 0.5


def test_recent_sampling_reaches_the_buffer(build: Build) -> None:
    drawn: list[int] = []
    selfplay = build(buffer_sampling="recent", proposals_per_kind=50)
    selfplay.buffer.add(addition(99, 1), "late", step=1000)
    for request in selfplay.begin_step(1):
        drawn += [request.references[0].payload["a"] == 99] if request.kind == "deduction" else []
    assert sum(drawn) >= 45  # it weighs 1001, the four seeds 1 each


def test_ledger_lines_stand_in_the_order_of_requests_and_attempts(build: Build) -> None:
    selfplay = build(replay_per_kind=1)
    requests = selfplay.begin_step(3)
    results = all_accepted(requests, RIGHT, WRONG)
    results[1] = refused(WRONG, "held-out")
    lines = selfplay.settle(3, requests, results).ledger
    places = [(line.index, line.attempt) for line in lines]
    assert places[:4] == [(0, None), (0, 0), (0, 1), (1, None)]
    assert places == sorted(places, key=lambda place: (place[0], -1 if place[1] is None else place[1]))
    assert {line.step for line in lines} == {3}


def test_ledger_line_says_what_was_asked_and_answered(build: Build) -> None:
    selfplay = build()
    requests = selfplay.begin_step(1)
    results = all_accepted(requests, RIGHT)
    results[0] = accepted(addition(70, 1), RIGHT, WRONG)
    proposal, _, second, *_ = selfplay.settle(1, requests, results).ledger
    assert (proposal.role, proposal.prompt, proposal.response) == ("propose", requests[0].messages, "a task")
    assert (proposal.solve_rate, proposal.reward, proposal.record) == (0.5, 0.5, addition(70, 1).payload)
    assert (second.role, second.prompt) == ("solve", results[0].messages)
    assert (second.response, second.outcome, second.reason) == ("a wrong answer", WRONG, "wrong-value")
    assert (second.solve_rate, second.reward, second.record) == (None, -0.5, addition(70, 1).payload)


def test_ledger_shows_the_prompt_that_had_room_for_its_references(
    build: Build, arithmetic: ArithmeticPack
) -> None:
    selfplay = build()
    requests = selfplay.begin_step(1)
    results = all_accepted(requests, RIGHT)
    results[0] = replace(accepted(addition(70, 1), RIGHT), num_dropped=1)
    results[1] = replace(refused(MALFORMED, "no-task"), num_dropped=2)
    settlement = selfplay.settle(1, requests, results)
    assert settlement.num_dropped == {"deduction": 3, "abduction": 0, "induction": 0}
    first, _, second, *_ = settlement.ledger
    assert len(requests[0].references) == 2
    for line, shown in ((first, requests[0].references[:1]), (second, ())):
        assert line.prompt == arithmetic.propose_prompt("deduction", shown, random.Random(0))


# Of 1 solved and 1 unsolved attempt at `70 + 1`, which is hard, and a proposal that made no task.
@pytest.mark.parametrize(
    ("cells", "named"),
    [
        (Cells.ROLE_KIND, ["propose/deduction", "solve/deduction", "solve/deduction", "propose/deduction"]),
        (Cells.ROLE_DIFFICULTY, ["propose/hard", "solve/hard", "solve/hard", "propose/none"]),
        (Cells.ROLE, ["propose", "solve", "solve", "propose"]),
        (Cells.RECORD, ["propose/deduction", "solve/deduction/0", "solve/deduction/0", "propose/deduction"]),
        (Cells.GLOBAL, ["all", "all", "all", "all"]),
    ],
)
def test_ledger_names_the_cells_that_the_run_compares_in(
    arithmetic: ArithmeticPack, cells: Cells, named: list[str]
) -> None:
    means = RunningMeans(cells)
    selfplay = SelfPlay(arithmetic, load_profile("paper"), AzrConfig(proposals_per_kind=2), means, cells)
    requests = selfplay.begin_step(1)
    results = all_accepted(requests, RIGHT)
    results[0] = accepted(addition(70, 1), RIGHT, WRONG)
    results[1] = refused(MALFORMED, "no-task")
    settlement = selfplay.settle(1, requests, results)
    assert [line.cell for line in settlement.ledger[:4]] == named
    if cells is not Cells.RECORD:  # where the estimator's name is a uid, which is random
        assert set(settlement.baselines) == {line.cell for line in settlement.ledger}


# ------------------------------ seeding ------------------------------


def test_seeding_asks_for_kinds_below_the_target_only(build: Build) -> None:
    # Induction has 5 seeds, the others 4.
    requests = build(seeding=SeedingConfig(target=5)).seeding_wave()
    assert [request.kind for request in requests] == ["deduction"] * 2 + ["abduction"] * 2
    assert {request.num_attempts for request in requests} == {0}
    assert [request.index for request in requests] == [0, 1, 2, 3]


def test_seeds_that_are_enough_leave_the_model_to_be_tried(build: Build) -> None:
    def asked(**fields: Any) -> list[str]:
        return [request.kind for request in build(**fields).seeding_wave()]

    enough = SeedingConfig(target=4)
    assert asked(seeding=enough) == [kind for kind in KINDS for _ in range(2)]
    assert asked(seeding=SeedingConfig(target=4, max_waves=0)) == []
    assert asked(seeding=enough, tasks="buffer") == []
    selfplay = build(seeding=enough)
    requests = selfplay.seeding_wave()
    selfplay.settle(0, requests, {request.index: refused(MALFORMED, "no-task") for request in requests})
    requests = selfplay.seeding_wave()
    assert len(requests) == 6
    results: dict[int, Any] = {request.index: refused(MALFORMED, "no-task") for request in requests}
    results[5] = accepted(new_record("induction", 5))
    selfplay.settle(0, requests, results)
    assert selfplay.seeding_wave() == []
    resumed = build(seeding=enough)
    resumed.load_state_dict(build().state_dict())
    assert resumed.seeding_wave() == []


def test_seeding_ends_at_the_target(build: Build) -> None:
    selfplay = build(seeding=SeedingConfig(target=8))
    num_waves = 0
    while requests := selfplay.seeding_wave():
        selfplay.settle(0, requests, all_accepted(requests, first=10 * num_waves))
        num_waves += 1
    # 4 of 8 are there, 2 a wave come.
    assert num_waves == 2
    assert min(selfplay.buffer.size(kind) for kind in KINDS) == 8


def test_seeding_prices_nothing_and_writes_everything_down(build: Build) -> None:
    selfplay = build(seeding=SeedingConfig(target=8), failures=FailureConfig(max_share=0.5))
    requests = selfplay.seeding_wave()
    results: dict[int, Any] = all_accepted(requests)
    results[0] = refused(MALFORMED, "no-task")
    del results[1]
    settlement = selfplay.settle(0, requests, results)
    assert settlement.priced == {}
    assert settlement.num_failed == 1
    assert [line.index for line in settlement.ledger] == [0, 2, 3, 4, 5]
    assert {(line.step, line.reward, line.solve_rate) for line in settlement.ledger} == {(0, None, None)}
    assert [selfplay.buffer.size(kind) for kind in KINDS] == [4, 6, 7]


def test_seeding_with_too_many_failures_stops_the_run(build: Build) -> None:
    selfplay = build(seeding=SeedingConfig(target=8), failures=FailureConfig(max_share=0.1))
    requests = selfplay.seeding_wave()
    with pytest.raises(SelfPlayError, match=r"seeding: 6 of 6 responses .* azr\.failures\.max_share=0\.1 "):
        selfplay.settle(0, requests, {})


def test_loaded_state_decides_the_draws_and_not_the_seed(build: Build) -> None:
    def settle(selfplay: SelfPlay, step: int) -> dict[tuple[int, int], float]:
        requests = selfplay.begin_step(step)
        return rewards(selfplay.settle(step, requests, all_accepted(requests, RIGHT, first=100 * step)))

    whole = build("random")
    settle(whole, 1)
    state = whole.state_dict()
    resumed = build("random", seed=99)
    resumed.load_state_dict(state)
    assert settle(resumed, 2) == settle(whole, 2)
    assert resumed.begin_step(3) == whole.begin_step(3)
