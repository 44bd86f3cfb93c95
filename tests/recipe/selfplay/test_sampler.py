"""Tasks that the pack draws in the place of proposals, and the rules that choose their levels."""

from __future__ import annotations

import json
import random
from collections import Counter
from typing import Any

import pytest

from recipe.selfplay.config import AzrConfig, SeedingConfig, TaskSource
from recipe.selfplay.credit import Cells, parse_uid
from recipe.selfplay.curriculum import SelfPlay
from recipe.selfplay.sampler import Even, Frontier, Ladder, TaskSampler
from recipe.selfplay.types import PROPOSAL, Attempt, Proposal, Request, Response
from rewards.profile import load_profile
from tasks.arithmetic import ArithmeticPack
from tasks.contract import Outcome, Role, TaskRecord


class Tens(ArithmeticPack):
    """Sums `a + b` with b to 9; the tens of a, to 5, are their level."""

    def __init__(self) -> None:
        super().__init__(kinds=["deduction"], operations=["+"], deduction_max=59)

    def levels(self, kind: str) -> tuple[str, ...]:
        return tuple(f"tens-{tens}" for tens in range(6))

    def difficulty(self, record: TaskRecord) -> str:
        return f"tens-{int(str(record.payload['a'])) // 10}"

    def sample_at(self, kind: str, level: str, rng: random.Random) -> TaskRecord:
        tens = int(level.removeprefix("tens-"))
        return TaskRecord(kind, {"a": 10 * tens + rng.randrange(10), "op": "+", "b": rng.randrange(10)})


def build(source: TaskSource, cells: Cells = Cells.ROLE_KIND, **fields: Any) -> SelfPlay:
    """4 tasks of 2 attempts a step."""
    azr = AzrConfig(tasks=source.value, proposals_per_kind=4, attempts_per_record=2, **fields)
    return SelfPlay(Tens(), load_profile("paper"), azr, cells=cells)


def answered(requests: list[Request], *, right: bool) -> dict[int, Proposal | Attempt]:
    outcome, reason = (Outcome.CORRECT, "") if right else (Outcome.WRONG, "wrong-value")
    return {request.index: Attempt(Response("an answer"), outcome, reason) for request in requests}


def tasks_of(selfplay: SelfPlay, requests: list[Request]) -> list[str]:
    return [selfplay.pack.task_key(request.record) for request in requests if request.record is not None]


# ------------------------------ rules ------------------------------


def test_every_level_is_drawn_alike() -> None:
    assert Even(3).weights() == [1.0, 1.0, 1.0]


def test_ladder_rises_by_one_level_where_nine_of_ten_are_right() -> None:
    rule = Ladder(6)
    assert rule.weights() == [1, 0, 0, 0, 0, 0]
    for _ in range(7):
        rule.learn(0, 1.0)
    rule.end_step()
    assert rule.weights() == [1, 0, 0, 0, 0, 0]  # 7 tasks are too few
    rule.learn(0, 0.2)
    rule.end_step()
    assert rule.weights() == [1, 1, 0, 0, 0, 0]  # the mean of 8 is (7 * 1 + 0.2) / 8 = 0.9
    for _ in range(8):
        rule.learn(0, 1.0)  # not of the top level: says nothing
        rule.learn(1, 0.89)
    rule.end_step()
    assert rule.weights() == [1, 1, 0, 0, 0, 0]


def test_ladder_draws_the_top_four_levels_and_ends_at_the_last() -> None:
    rule, tops = Ladder(6), []
    for _ in range(8):
        tops.append(rule.weights())
        for _ in range(8):
            rule.learn(sum(1 for _ in rule.weights()) - 1 - rule.weights()[::-1].index(1), 1.0)
        rule.end_step()
    assert tops[3] == [1, 1, 1, 1, 0, 0]
    assert tops[4] == [0, 1, 1, 1, 1, 0]
    assert tops[5:] == [[0, 0, 1, 1, 1, 1]] * 3


def test_frontier_prefers_levels_that_are_right_half_the_time() -> None:
    rule = Frontier(3)
    assert rule.weights() == [0.25] * 3  # p = 0.5 / 1
    for solved in (1.0, 1.0, 1.0, 1.0):
        rule.learn(0, solved)
    for solved in (0.0, 1.0):
        rule.learn(1, solved)
    # Level 0: p = 4.5 / 5 = 0.9, p(1 - p) = 0.09. Level 1: p = 1.5 / 3. Level 2 has not been tried.
    assert rule.weights() == pytest.approx([0.09, 0.25, 0.25])
    rule.end_step()
    # 4 tasks count 3.2: p = 3.7 / 4.2.
    assert rule.weights()[0] == pytest.approx(3.7 / 4.2 * 0.5 / 4.2)


# ------------------------------ draws ------------------------------


def test_drawn_tasks_are_new_not_held_out_and_evenly_spread() -> None:
    pack, rng = Tens(), random.Random(0)
    sampler = TaskSampler(pack, TaskSource.GENERATOR)
    had: set[str] = set()
    levels: Counter[str] = Counter()
    for _ in range(10):
        drawn = sampler.draw("deduction", 24, had, rng)
        keys = {pack.task_key(record) for record in drawn}
        assert len(keys) == 24
        assert not keys & had
        assert not keys & {pack.task_key(record) for record in pack.held_out()}
        had |= keys
        levels.update(pack.difficulty(record) for record in drawn)
    # 240 over 6 levels: 40 each, with a deviation of sqrt(240 * 1/6 * 5/6) = 5.8.
    assert all(20 < levels[level] < 60 for level in pack.levels("deduction"))


def test_level_that_is_used_up_gives_its_tasks_again() -> None:
    pack = Tens()
    sampler = TaskSampler(pack, TaskSource.ADAPTIVE)  # level 0 alone: 100 sums, held-out ones among them
    held_out = {pack.task_key(record) for record in pack.held_out()}
    drawn = sampler.draw("deduction", 120, set(), random.Random(0))
    keys = [pack.task_key(record) for record in drawn]
    assert len(keys) == 120 > len(set(keys)) > 40
    assert not held_out.intersection(keys)


def test_pack_that_draws_held_out_tasks_alone_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    pack = Tens()
    held = next(record for record in pack.held_out() if record.kind == "deduction")
    monkeypatch.setattr(pack, "sample_at", lambda kind, level, rng: held)
    sampler = TaskSampler(pack, TaskSource.GENERATOR)
    with pytest.raises(ValueError, match="pack arithmetic must draw tasks of deduction at the level tens-"):
        sampler.draw("deduction", 1, set(), random.Random(0))


def test_kind_without_levels_is_drawn_as_the_pack_samples_it() -> None:
    class Flat(ArithmeticPack):
        def levels(self, kind: str) -> tuple[str, ...]:
            return ()

    drawn = TaskSampler(Flat(), TaskSource.GENERATOR).draw("abduction", 5, set(), random.Random(0))
    assert [record.kind for record in drawn] == ["abduction"] * 5


# ------------------------------ in a run ------------------------------


def test_step_attempts_each_drawn_task_as_often_as_an_accepted_proposal() -> None:
    selfplay = build(TaskSource.GENERATOR)
    assert selfplay.seeding_wave() == []
    had: list[str] = selfplay.buffer.keys()
    for step in (1, 2, 3):
        requests = selfplay.begin_step(step)
        assert {request.role for request in requests} == {Role.SOLVE}
        counts = Counter(tasks_of(selfplay, requests))
        assert sorted(counts.values()) == [2, 2, 2, 2]
        assert not counts.keys() & set(had)
        had += counts
        settlement = selfplay.settle(step, requests, answered(requests, right=True))
        assert len(settlement.priced) == 8
        assert set(selfplay.buffer.keys()) == set(had)


def test_attempts_at_one_drawn_task_are_a_group() -> None:
    selfplay = build(TaskSource.GENERATOR, Cells.RECORD)
    requests = selfplay.begin_step(1)
    settlement = selfplay.settle(1, requests, answered(requests, right=True))
    groups: dict[str, list[int]] = {}
    for place, priced in settlement.priced.items():
        groups.setdefault(priced.uid, []).append(place.request)
    assert sorted(groups.values()) == [[0, 1], [2, 3], [4, 5], [6, 7]]
    assert len({line.cell for line in settlement.ledger}) == 4
    assert all(parse_uid(uid).difficulty.startswith("tens-") for uid in groups)


def test_levels_rise_with_the_solver_and_go_on_after_a_resume() -> None:
    selfplay = build(TaskSource.ADAPTIVE)
    for step in (1, 2, 3):
        requests = selfplay.begin_step(step)
        selfplay.settle(step, requests, answered(requests, right=True))
    resumed = build(TaskSource.ADAPTIVE, seed=2)
    resumed.load_state_dict(json.loads(json.dumps(selfplay.state_dict())))
    drawn = [run.begin_step(4) for run in (selfplay, resumed)]
    assert drawn[0] == drawn[1]
    # 4 tasks a step, 8 for the first rise
    assert {selfplay.pack.difficulty(request.record) for request in drawn[0] if request.record} <= {
        "tens-0",
        "tens-1",
    }
    for step in (4, 5):
        requests = selfplay.begin_step(step)
        selfplay.settle(step, requests, answered(requests, right=False))
    assert selfplay.state_dict()["sampler"]["deduction"]["top"] == 1


def test_base_proposals_are_attempted_in_their_order_each_in_one_step() -> None:
    selfplay = build(TaskSource.BASE_PROPOSALS, seeding=SeedingConfig(target=12))
    num_seeds = selfplay.buffer.size("deduction")
    number = 0
    while requests := selfplay.seeding_wave():
        results: dict[int, Proposal | Attempt] = {}
        for request in requests:
            record = TaskRecord("deduction", {"a": 20 + number, "op": "+", "b": 3})
            key = selfplay.pack.task_key(record)
            results[request.index] = Proposal(Response("a task"), Outcome.CORRECT, "", record, key)
            number += 1
        seeded = selfplay.settle(0, requests, results)
        assert {line.attempt for line in seeded.ledger} == {PROPOSAL}
    assert selfplay.buffer.size("deduction") == 12 + num_seeds
    attempted: list[str] = []
    for step in (1, 2, 3):
        requests = selfplay.begin_step(step)
        tasks = tasks_of(selfplay, requests)
        assert sorted(Counter(tasks).values()) == [2, 2, 2, 2]
        attempted += sorted(set(tasks), key=selfplay.buffer.keys().index)
        selfplay.settle(step, requests, answered(requests, right=False))
    assert attempted == selfplay.buffer.keys()[num_seeds:]
