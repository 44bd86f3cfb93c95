"""What a run does in the driver's order: no signal from the evaluation set, seeding that ends in one line."""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from recipe.engine.claims import Claims
from recipe.engine.driver import Driver
from recipe.run.files import RunFiles
from recipe.selfplay.config import AzrConfig, FailureConfig, SeedingConfig, SolveOn
from recipe.selfplay.credit import Cells, RunningMeans, parse_uid
from recipe.selfplay.curriculum import SelfPlay, SelfPlayError
from recipe.selfplay.rollout import GenerationFailedError, propose_once, solve
from recipe.selfplay.types import (
    PROPOSAL,
    Attempt,
    Place,
    Proposal,
    Refusal,
    Request,
    Response,
    Settlement,
)
from rewards.profile import PROFILES, load_profile
from tasks.arithmetic import ArithmeticPack
from tasks.arithmetic.kind import OPERATIONS
from tasks.contract import Message, Role, TaskRecord

PACK = ArithmeticPack(kinds=["deduction", "abduction"])
TASK = re.compile(r"Calculate: ([0-9]+) ([-+]) ([0-9]+) =")

Write = Callable[[int, int], str | None]
"""The proposal at a step and a request's index; None for one that never comes."""


class Run:
    """A run without verl, whose model writes by a script and answers by the task alone.

    Attributes:
        waves: Number of requests of every wave.
        settled: What each step came to.
    """

    def __init__(
        self,
        folder: Path,
        write: Write,
        held_out: Sequence[TaskRecord] = (),
        profile: str = "paper",
        **azr: Any,
    ) -> None:
        sizes = {"proposals_per_kind": 6, "attempts_per_record": 4, "failures": FailureConfig(max_share=0.5)}
        self.azr = AzrConfig(**(sizes | azr))
        means = RunningMeans(Cells.ROLE_KIND)
        self.selfplay = SelfPlay(PACK, load_profile(profile), self.azr, means)
        self.driver = Driver(self.selfplay, self, RunFiles(folder))
        self.claims = Claims(map(PACK.task_key, held_out), self.azr.proposals_per_kind)
        self.write = write
        self.step = 0
        self.waves: list[int] = []
        self.sent: dict[str, Request] = {}
        self.answers: dict[str, Proposal | Attempt | None] = {}
        self.settled: dict[int, Settlement] = {}

    def train(self, num_steps: int) -> None:
        self.reset_claims(self.selfplay.buffer.keys())
        for self.step in range(1, num_steps + 1):
            self.driver.begin_step(self.step)
            self.driver.begin_second_wave()
            self.settled[self.step] = self.driver.finish_step(self.collect(list(self.sent)))
            self.discard(list(self.sent))

    def earned(self, step: int) -> dict[Place, Any]:
        """What is trained on: role, kind and difficulty, and reward, by place."""
        priced = self.settled[step].priced.items()
        return {place: (parse_uid(one.uid), one.reward) for place, one in priced}

    def refused_as(self, refusal: Refusal) -> dict[tuple[int, int], float | None]:
        """By step and index, the reward of each proposal that the ledger calls so."""
        lines = [line for step in self.settled.values() for line in step.ledger]
        return {(line.step, line.index): line.reward for line in lines if line.reason == refusal}

    # ------------------------------ the driver's engine ------------------------------

    def submit(self, requests: Sequence[Request]) -> list[str]:
        self.waves.append(len(requests))
        uids = [f"{self.step} {len(self.waves)} {request.index}" for request in requests]
        self.sent |= zip(uids, requests, strict=True)
        return uids

    def collect(self, uids: Sequence[str]) -> dict[int, Proposal | Attempt]:
        for uid in uids:
            if uid not in self.answers:  # those of a first wave are asked for twice
                self.answers[uid] = asyncio.run(self._answer(self.sent[uid]))
        found = ((self.sent[uid].index, self.answers[uid]) for uid in uids)
        return {index: result for index, result in found if result is not None}

    def discard(self, uids: Sequence[str]) -> None:
        for uid in uids:
            del self.sent[uid], self.answers[uid]

    def reset_claims(self, keys: Sequence[str]) -> None:
        asyncio.run(self.claims.reset(list(keys)))

    async def _answer(self, request: Request) -> Proposal | Attempt | None:
        async def generate(messages: Sequence[Message], *, num_responses: int) -> list[Response]:
            if messages != request.messages or request.role is Role.SOLVE:
                return [Response(attempt_at(messages, number)) for number in range(num_responses)]
            text = self.write(self.step, request.index)
            return [] if text is None else [Response(text)]

        try:
            if request.role is Role.SOLVE:
                return (await solve(PACK, request, generate))[0]
            return await propose_once(PACK, request, generate, self.claims.claim)
        except GenerationFailedError:
            return None


def attempt_at(messages: Sequence[Message], number: int) -> str:
    """Right for about half of the deductions, by the task and the attempt's number alone."""
    question = messages[0]["content"]
    task = TASK.match(question)
    if task is None or random.Random(f"{question} {number}").random() < 0.5:
        return "1 2"
    return str(OPERATIONS[task[2]](int(task[1]), int(task[3])))


# ------------------------------ no signal from the evaluation set ------------------------------

X = TaskRecord("deduction", {"a": 41, "op": "+", "b": 7})
Y = TaskRecord("deduction", {"a": 30, "op": "-", "b": 11})


def script(step: int, index: int) -> str:
    """New tasks, tasks of steps before, and text of no grammar."""
    rng = random.Random(f"{step} {index}")
    if rng.random() < 0.2:
        return "Let me think."
    number = 3 if rng.random() < 0.2 else rng.randint(0, 40)
    return f"Calculate: {number} + {number} =" if index < 6 else f"Find: ? + ? = {number}"


def writing(record: TaskRecord | None, *places: tuple[int, int]) -> Write:
    """The script, but for this task at these steps and indices; without one, nothing comes there."""
    text = None if record is None else PACK.gold_proposal(record)
    return lambda step, index: text if (step, index) in places else script(step, index)


@pytest.mark.parametrize("solve_on", SolveOn)
@pytest.mark.parametrize("profile", PROFILES)
def test_held_out_proposal_is_to_training_as_one_that_never_came(
    tmp_path: Path, profile: str, solve_on: SolveOn
) -> None:
    """Which task it is decides nothing either: not a reward, a baseline, an advantage or the next prompt."""
    from recipe.engine.estimator import trr_plus_plus  # torch comes with it

    places = (1, 2), (2, 0), (2, 4), (3, 5)
    runs = [
        Run(tmp_path, writing(record, *places), held_out, profile, solve_on=solve_on.value)
        for record, held_out in ((X, [X]), (Y, [Y]), (None, [X, Y]))
    ]
    for run in runs:
        run.train(num_steps=3)
    first = runs[0]
    assert first.refused_as(Refusal.HELD_OUT) == dict.fromkeys(places)
    for step in (1, 2, 3):
        assert all(run.earned(step) == first.earned(step) for run in runs)
        assert len({reward for _, reward in first.earned(step).values()}) > 1
        assert all(run.settled[step].baselines == first.settled[step].baselines for run in runs)
        found = [advantages(trr_plus_plus, run.settled[step]) for run in runs]
        assert found[0] == found[1] == found[2]
    assert all(run.selfplay.state_dict() == first.selfplay.state_dict() for run in runs)


def advantages(estimator: Callable[..., Any], settlement: Settlement) -> dict[Place, float]:
    """What the estimator makes of a step whose responses have one token each."""
    import torch
    from omegaconf import OmegaConf

    priced = settlement.priced
    rewards = torch.tensor([[one.reward] for one in priced.values()])
    uids = [one.uid for one in priced.values()]
    found, _ = estimator(rewards, torch.ones_like(rewards), uids, OmegaConf.create({"trr": {}}))
    return dict(zip(priced, found.flatten().tolist(), strict=True))


# In the second, six are asked for and two have room.
@pytest.mark.parametrize("sizes", [{}, {"proposals_per_kind": 3, "oversample": 2.0}])
@pytest.mark.parametrize("solve_on", SolveOn)
@pytest.mark.parametrize("profile", PROFILES)
def test_which_tasks_are_held_out_moves_no_other_proposals_reward(
    tmp_path: Path, profile: str, solve_on: SolveOn, sizes: dict[str, Any]
) -> None:
    places = {(1, 0): X, (1, 2): Y, (1, 4): X}
    if not sizes:  # a task of a step before is a duplicate, which takes no room
        places |= {(2, 2): Y, (3, 0): X}

    def write(step: int, index: int) -> str:
        task = places.get((step, index))
        return script(step, index) if task is None else PACK.gold_proposal(task)

    rewards, surplus = [], []
    for held_out in ([X], [Y], [X, Y], []):
        run = Run(tmp_path, write, held_out, profile, solve_on=solve_on.value, **sizes)
        run.train(num_steps=3)
        surplus.append(run.refused_as(Refusal.SURPLUS).keys() - places)
        rewards.append(
            {
                (step, place.request): reward
                for step in (1, 2, 3)
                for place, (_, reward) in run.earned(step).items()
                if place.attempt is PROPOSAL and (step, place.request) not in places
            }
        )
        refused = dict.fromkeys(place for place, task in places.items() if task in held_out)
        assert run.refused_as(Refusal.HELD_OUT) == refused
    assert len(rewards[0]) == 3 * 12 - len(places) - len(surplus[0])
    assert all(found == rewards[0] for found in rewards)
    assert bool(sizes) == bool(surplus[0])
    assert all(places == surplus[0] for places in surplus)


# ------------------------------ seeding ------------------------------

REFUSED = "seeding: not one of {} proposals was accepted in {} waves. Refused: "


def no_tasks(step: int, index: int) -> str:
    """Three sorts of refused proposals in turn."""
    return ("Let me\nthink.", "Calculate: 999 + 1 =", "Calculate: 3 + 4 =")[index % 3]


# The seeds are 4 of each kind; the buffer is to hold them alone, or more.
@pytest.mark.parametrize("target", [4, 10])
def test_seeding_without_any_accepted_proposal_ends_in_one_line(tmp_path: Path, target: int) -> None:
    run = Run(tmp_path, no_tasks, seeding=SeedingConfig(target=target))
    with pytest.raises(SelfPlayError) as raised:
        run.driver.seed()
    assert run.waves == [12, 12, 12]
    line = str(raised.value)
    assert "\n" not in line
    assert line.startswith(
        REFUSED.format(36, 3)
        + r"deduction 'Let me\nthink.' (no-task), deduction 'Calculate: 999 + 1 =' (operand-out-of-range), "
        "deduction 'Calculate: 3 + 4 =' (duplicate). "
    )
    assert "azr.seeding.max_waves=0" in line


def test_fewer_waves_are_asked_for_where_fewer_are_allowed(tmp_path: Path) -> None:
    run = Run(tmp_path, no_tasks, seeding=SeedingConfig(target=4, max_waves=1))
    with pytest.raises(SelfPlayError, match=re.escape(REFUSED.format(12, 1))):
        run.driver.seed()
    untried = Run(tmp_path, no_tasks, seeding=SeedingConfig(target=4, max_waves=0))
    untried.driver.seed()
    assert untried.waves == []


def test_seeding_goes_on_once_a_proposal_is_accepted(tmp_path: Path) -> None:
    def write(step: int, index: int) -> str:
        is_third = len(run.waves) == 3
        return f"Calculate: {30 + index} + 1 =" if is_third and index == 2 else no_tasks(step, index)

    run = Run(tmp_path, write, seeding=SeedingConfig(target=4))
    run.driver.seed()
    assert run.waves == [12, 12, 12]
    run = Run(tmp_path, write, seeding=SeedingConfig(target=6, max_waves=5))
    with pytest.raises(
        SelfPlayError, match=r"must reach azr\.seeding\.target=6 .*Refused: deduction 'Let me"
    ):
        run.driver.seed()
    assert run.waves == [12] * 5
