"""Tasks that the attempts at them resolve: from the model's words to rewards, buffer and ledger."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from recipe.selfplay.config import AzrConfig, KeepTasks, SeedingConfig, SolveOn
from recipe.selfplay.curriculum import SelfPlay
from recipe.selfplay.rollout import GenerationFailedError, propose_once, solve
from recipe.selfplay.types import PROPOSAL, Attempt, Proposal, Request, Response, Settlement
from rewards.profile import load_profile
from tasks.arithmetic import ArithmeticPack
from tasks.contract import Accepted, CheckBrokenError, Message, Outcome, Rejected, Role, TaskRecord
from tasks.guard import GuardedPack
from tasks.math_word import MathWordPack

KIND = "problem"
ANSWERS = {"agreed": [":7", ":8", ":7.0"], "split": [":7", ":8", ":9"], "mumbled": [":5", ":5", "?"]}
"""By a problem's story: what the attempts at it answer."""


class Model:
    """Proposes a problem of every story in turn; gives `ANSWERS` to each."""

    def __init__(self) -> None:
        self._num_proposed = 0

    async def __call__(self, messages: Sequence[Message], *, num_responses: int) -> list[Response]:
        prompt = messages[0]["content"]
        if prompt.startswith("new"):
            story = list(ANSWERS)[self._num_proposed % len(ANSWERS)]
            self._num_proposed += 1
            return [Response(f"{self._num_proposed} hens, {story}. How many?|")]
        found = [answers for story, answers in ANSWERS.items() if story in prompt]
        return [Response(text) for text in (found[0] if found else [":0"])[:num_responses]]


async def claim(kind: str, key: str) -> None:
    """Every task is free."""


class Play:
    """Self-play of 3 proposals a step and 3 attempts at each, with answers by majority."""

    def __init__(self, **fields: Any) -> None:
        self.pack = GuardedPack(MathWordPack(verify="majority", terse=True))
        sizes = {"proposals_per_kind": 3, "attempts_per_record": 3, "seeding": SeedingConfig(target=5)}
        self.selfplay = SelfPlay(self.pack, load_profile("paper"), AzrConfig(**(sizes | fields)))
        self.model = Model()

    def answer(self, requests: Sequence[Request]) -> dict[int, Proposal | Attempt]:
        """Ask the model; a proposal's facts take the trip between processes."""

        async def one(request: Request) -> Proposal | Attempt:
            request = Request.from_json(request.to_json())
            if request.role is Role.SOLVE:
                return (await solve(self.pack, request, self.model))[0]
            proposal = await propose_once(self.pack, request, self.model, claim)
            return Proposal.from_json(proposal.to_json())

        async def all_of_them() -> dict[int, Proposal | Attempt]:
            return {request.index: await one(request) for request in requests}

        return asyncio.run(all_of_them())

    def seed(self) -> Settlement:
        requests = self.selfplay.seeding_wave()
        return self.selfplay.settle(0, requests, self.answer(requests))

    def step(self, step: int) -> tuple[list[Request], Settlement]:
        requests = self.selfplay.begin_step(step)
        results = self.answer(requests)
        second = self.selfplay.second_wave(requests, results)
        results |= self.answer(second)
        return requests + second, self.selfplay.settle(step, requests + second, results)

    def answers(self) -> dict[str, Any]:
        """The buffer's answers by question, but for the pack's own seeds."""
        seeds = [record.payload["question"] for record in self.pack.seeds()]
        records = [record.payload for record in self.selfplay.buffer.records(KIND)]
        return {str(r["question"]): r["answer"] for r in records if r["question"] not in seeds}


def test_seeding_fills_the_buffer_with_resolved_tasks_and_trains_on_nothing() -> None:
    play = Play()
    settlement = play.seed()
    assert play.answers() == {"1 hens, agreed. How many?": "7", "3 hens, mumbled. How many?": "5"}
    assert play.selfplay.seeding_wave() == []  # 3 seeds and these 2
    assert settlement.priced == {}
    assert [(line.attempt, line.reason, line.solve_rate, line.reward) for line in settlement.ledger] == [
        (None, "", pytest.approx(2 / 3), None),
        (0, "", None, None),
        (1, "wrong-number", None, None),
        (2, "", None, None),
        (None, "no-majority", None, None),
        (None, "", pytest.approx(2 / 3), None),
        (0, "", None, None),
        (1, "", None, None),
        (2, "no-number", None, None),
    ]
    assert {line.step for line in settlement.ledger} == {0}


def test_seeding_keeps_the_tasks_that_a_step_would_keep(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ANSWERS, "agreed", [":7", ":7", ":7"])
    play = Play(keep_tasks=KeepTasks.NON_ONE.value)
    play.seed()
    assert list(play.answers().values()) == ["5"]


@pytest.mark.parametrize("solve_on", SolveOn)
def test_a_step_prices_and_stores_resolved_tasks(solve_on: SolveOn) -> None:
    play = Play(solve_on=solve_on.value)
    play.seed()
    requests, settlement = play.step(1)
    # Two votes of three: learnability is 1 - 2/3. Without a majority a proposal is invalid, -0.5.
    proposed = [settlement.priced[index, PROPOSAL].reward for index in range(3)]
    assert proposed == pytest.approx([1 / 3, -0.5, 1 / 3])
    assert set(play.answers().values()) == {"7", "5"} and len(play.answers()) == 4
    solved = [request.record for request in requests if request.role is Role.SOLVE]
    assert all(record is not None and "answer" in record.payload for record in solved)
    assert len(solved) == (0 if solve_on is SolveOn.ATTEMPTS else 3)
    rewards = {place: priced.reward for place, priced in settlement.priced.items() if place[1] != PROPOSAL}
    if solve_on is SolveOn.ATTEMPTS:
        # Right 1, wrong -0.5, malformed -1; the attempts at the refused task are worth nothing.
        assert rewards == {(0, 0): 1, (0, 1): -0.5, (0, 2): 1, (2, 0): 1, (2, 1): 1, (2, 2): -1}
    else:
        assert rewards.keys() == {(3, 0), (4, 0), (5, 0)}
    for line in settlement.ledger:
        assert (line.record is None) == (line.reason == "no-majority")
        assert line.record is None or "answer" in line.record
    by_index = [line for line in settlement.ledger if line.index == 0 and line.role is Role.SOLVE]
    assert {line.record["answer"] for line in by_index if line.record} == {"7"}


def test_the_next_step_asks_for_resolved_tasks() -> None:
    play = Play(solve_on="previous")
    play.seed()
    play.step(1)
    solved = [request.record for request in play.selfplay.begin_step(2) if request.record is not None]
    fresh = {record.payload["question"]: record.payload["answer"] for record in solved[:2]}
    assert fresh == {"4 hens, agreed. How many?": "7", "6 hens, mumbled. How many?": "5"}


def test_no_other_pack_is_attempted_while_seeding(arithmetic: ArithmeticPack) -> None:
    selfplay = SelfPlay(arithmetic, load_profile("paper"), AzrConfig(proposals_per_kind=1))
    assert {request.num_attempts for request in selfplay.seeding_wave()} == {0}


# ------------------------------ attempts that are missing ------------------------------

REQUEST = Request(3, Role.PROPOSE, KIND, [{"role": "user", "content": "new"}], (), None, 4)


def propose(answers: Sequence[str], pack: MathWordPack | None = None) -> Proposal:
    """A proposal of which four attempts were asked for and these came."""

    async def generate(messages: Sequence[Message], *, num_responses: int) -> list[Response]:
        texts = ["How many?|"] if num_responses == 1 else answers
        return [Response(text) for text in texts]

    pack = pack or MathWordPack(verify="majority", terse=True)
    return asyncio.run(propose_once(pack, REQUEST, generate, claim))


def test_a_vote_may_lack_attempts() -> None:
    proposal = propose([":7", ":7", ":8"])
    assert proposal.record == TaskRecord(KIND, {"question": "How many?", "answer": "7"})
    assert (proposal.solve_rate, proposal.num_failed) == (2 / 3, 1)


@pytest.mark.parametrize("answers", [[], [":7"], [":7", ":8", ":9"]])
def test_a_task_that_missing_attempts_might_have_resolved_is_left_out(answers: Sequence[str]) -> None:
    with pytest.raises(GenerationFailedError, match=r"of 4 attempts do not resolve request 3 \(problem\)"):
        propose(answers)


def test_a_refused_task_is_wrong_and_has_no_attempts() -> None:
    proposal = propose([":7", ":8", ":9", "?"])
    assert (proposal.outcome, proposal.reason) == (Outcome.WRONG, "no-majority")
    assert (proposal.record, proposal.attempts, proposal.num_failed) == (None, (), 0)


def test_a_vote_that_cannot_be_counted_is_no_outcome() -> None:
    class Broken(MathWordPack):
        async def resolve(self, record: TaskRecord, responses: Sequence[str]) -> Accepted | Rejected:
            raise CheckBrokenError("the server is gone")

    with pytest.raises(CheckBrokenError, match="the server is gone"):
        propose([":7"] * 4, Broken(verify="majority", terse=True))
