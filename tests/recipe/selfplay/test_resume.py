"""A run that is killed anywhere and started again is the run that was never killed.

`Run` is the engine of `recipe/engine/driver.py`, as verl is in a run, with a scripted model. Compared are
the prompts drawn, the rewards by origin, the running means that they are scored with, the ledger byte for
byte, the metrics but for their time stamps, and the whole state. uids are random, so equal runs here never
read them.
"""

from __future__ import annotations

import asyncio
import json
import random
import re
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from recipe.engine.claims import Claims
from recipe.engine.driver import Driver
from recipe.run import checkpoint
from recipe.run import files as outputs
from recipe.run.files import RunFiles
from recipe.selfplay.config import AzrConfig, FailureConfig, SeedingConfig, SolveOn
from recipe.selfplay.credit import Cells, RunningMeans, parse_uid
from recipe.selfplay.curriculum import SelfPlay
from recipe.selfplay.rollout import GenerationFailedError, propose_once, solve
from recipe.selfplay.types import ALARM_ROLE, Attempt, Place, Proposal, Refusal, Request, Response
from rewards.profile import load_profile
from tasks.arithmetic import ArithmeticPack
from tasks.arithmetic.induction import RULES
from tasks.contract import Accepted, Message, Role

NUM_STEPS = 6
SAVE_FREQ = 2
RUNS = [
    (SolveOn.FRESH, "paper"),
    (SolveOn.PREVIOUS, "random"),
    (SolveOn.ATTEMPTS, "azr_code"),
]
NO_TASKS = {"abduction": "Find: ? * ? = 899", "induction": "Pattern: (1,2)->3, (2,1)->50, (3,3)->6"}
"""Proposals in the grammar that are no tasks: 899 = 29 * 31, and operands end at 30; no rule gives 50."""

HIDDEN = re.compile(r"\(([0-9]+),([0-9]+)\)->\?")

# Where a run may be killed, in the order in which a step gets there.
SEEDED, DRAWN, ANSWERED, IN_LEDGER, STATE_SAVED, METRICS_WRITTEN, STEP_ENDED = (
    "a seeding wave is in the ledger",
    "requests are drawn",
    "responses are in",
    "the step is in the ledger",
    "the state is saved and the step not logged",
    "the metrics are written and the manifest is not",
    "the step has ended",
)
KILLS = [
    (SEEDED, 0, 0),
    (IN_LEDGER, 1, 0),
    (STEP_ENDED, 1, 0),
    (METRICS_WRITTEN, 2, 0),
    (STEP_ENDED, 2, 3),
    (DRAWN, 3, 3),
    (ANSWERED, 4, 3),
    (IN_LEDGER, 4, 3),
    (STATE_SAVED, 4, 3),
    (METRICS_WRITTEN, 4, 3),
    (STEP_ENDED, 5, 5),
    (METRICS_WRITTEN, 6, 5),
]
"""Where and in which step a run is killed, and the step that it goes on with; 0 is the seeding."""


Reach = Callable[[str, int], None]
"""Told where a run is: the place and the step."""


class Killed(BaseException):
    """The process ends here: no handler of the recipe may run on."""


class ScriptedModel:
    """Weights that the step decides, and nothing else: a response follows from step, prompt and number.

    It makes every sort of response: new tasks, copies of what it was shown, held-out tasks, tasks of another
    grammar, text of no grammar, right and wrong answers, and now and then no response at all.
    """

    def __init__(self, pack: ArithmeticPack) -> None:
        self._pack = pack
        self._held_out = {spec.name: [] for spec in pack.kinds}
        for record in pack.held_out():
            self._held_out[record.kind].append(record)
        examples = {spec.name: pack.propose_prompt(spec.name, (), random.Random()) for spec in pack.kinds}
        self._kinds = {prompt[0]["content"].split("\n")[0]: kind for kind, prompt in examples.items()}

    async def respond(self, step: int, messages: Sequence[Message], *, num_responses: int) -> list[Response]:
        prompt = messages[0]["content"]
        responses = []
        for number in range(num_responses):
            rng = random.Random(f"{step} {number} {prompt}")
            await asyncio.sleep(0)
            if rng.random() < 0.04:
                continue
            kind = self._kinds.get(prompt.split("\n")[0])
            text = await self._answer(prompt, rng) if kind is None else self._proposal(kind, prompt, rng)
            responses.append(Response(text))
        return responses

    def _proposal(self, kind: str, prompt: str, rng: random.Random) -> str:
        draw = rng.random()
        if draw < 0.1:
            return "Let me think.\n\ud800 \x00\u2028 no task"
        if draw < 0.2:
            return self._pack.gold_proposal(rng.choice(self._held_out[kind]))
        if draw < 0.35:
            return prompt.split("\n")[-1]
        if draw < 0.45:
            return NO_TASKS.get(kind, "Calculate: 1 + =")
        return self._pack.gold_proposal(self._pack.sample_record(kind, rng))

    async def _answer(self, prompt: str, rng: random.Random) -> str:
        draw = rng.random()
        if draw < 0.3:
            return "7"
        if draw < 0.4:
            return "I do not know"
        statement = prompt.split("\n")[0]
        hidden = HIDDEN.search(statement)
        values = (
            [""]
            if hidden is None
            else sorted({str(rule(*map(int, hidden.groups()))) for rule in RULES.values()})
        )
        for spec in self._pack.kinds:
            for value in values:
                accepted = await self._pack.accept(spec.name, statement.replace("->?", f"->{value}"), ())
                if isinstance(accepted, Accepted):
                    return self._pack.gold_response(accepted.record)
        raise AssertionError(f"no task in {prompt!r}")


def azr_config(solve_on: SolveOn) -> AzrConfig:
    """Small, and full: the buffer overflows, and requests fail."""
    return AzrConfig(
        seed=7,
        solve_on=solve_on.value,
        proposals_per_kind=4,
        oversample=1.25,
        attempts_per_record=3,
        replay_per_kind=2 if solve_on is SolveOn.ATTEMPTS else 0,
        buffer_capacity=12,
        seeding=SeedingConfig(target=10, max_waves=9),
        failures=FailureConfig(retries=0, max_share=0.5),
    )


class Run:
    """One process of a run: the driver's engine, and its hooks as verl calls them.

    Attributes:
        drawn: Requests of each step, as JSON.
        rewards: Rewards of each step, by request index and attempt, with the origin that the uid spells.
        baselines: Running means that each step is scored with, by cell.
    """

    def __init__(
        self, pack: ArithmeticPack, solve_on: SolveOn, profile: str, folder: Path, reach: Reach
    ) -> None:
        self.pack = pack
        self.azr = azr_config(solve_on)
        means = RunningMeans(Cells.ROLE_DIFFICULTY)
        self.selfplay = SelfPlay(pack, load_profile(profile), self.azr, means)
        self.files = RunFiles(folder)
        self.driver = Driver(self.selfplay, self, self.files)
        self.claims = Claims((pack.task_key(r) for r in pack.held_out()), self.azr.proposals_per_kind)
        self.model = ScriptedModel(pack)
        self.checkpoints = folder / "checkpoints"
        self.reach = reach
        self.step = 0
        self.sent: dict[str, Request] = {}
        self.answers: dict[str, Proposal | Attempt | None] = {}
        self.drawn: dict[int, list[Any]] = {}
        self.rewards: dict[int, dict[Place, Any]] = {}
        self.baselines: dict[int, dict[str, float]] = {}

    # ------------------------------ the engine ------------------------------

    def submit(self, requests: Sequence[Request]) -> list[str]:
        uids = [f"{self.step} {len(self.sent) + number}" for number in range(len(requests))]
        self.sent |= zip(uids, requests, strict=True)
        self.drawn.setdefault(self.step, []).extend(json.loads(request.to_json()) for request in requests)
        if self.step:
            self.reach(DRAWN, self.step)
        return uids

    def collect(self, uids: Sequence[str]) -> dict[int, Proposal | Attempt]:
        """All requests in flight together; those that failed are left out."""
        new = [uid for uid in uids if uid not in self.answers]

        async def answer_all() -> None:
            answers = await asyncio.gather(*(self._answer(self.sent[uid]) for uid in new))
            self.answers |= zip(new, answers, strict=True)

        asyncio.run(answer_all())
        found = {self.sent[uid].index: self.answers[uid] for uid in uids}
        return {index: answer for index, answer in found.items() if answer is not None}

    def discard(self, uids: Sequence[str]) -> None:
        for uid in uids:
            del self.sent[uid], self.answers[uid]

    def reset_claims(self, keys: Sequence[str]) -> None:
        asyncio.run(self.claims.reset(list(keys)))
        if self.step == 0 and self.drawn:
            self.reach(SEEDED, 0)

    async def _answer(self, request: Request) -> Proposal | Attempt | None:
        generate = partial(self.model.respond, self.step)
        try:
            if request.role is Role.SOLVE:
                return (await solve(self.pack, request, generate))[0]
            return await propose_once(self.pack, request, generate, self.claims.claim)
        except GenerationFailedError:
            return None

    # ------------------------------ verl's hooks ------------------------------

    def train(self) -> None:
        try:
            folder = checkpoint.latest_checkpoint(self.checkpoints)
            first = self.driver.resume(self.checkpoints, folder, lambda folder: None) + 1
            self.driver.seed()
            for step in range(first, NUM_STEPS + 1):
                self._train_step(step)
                self.reach(STEP_ENDED, step)
        finally:
            self.files.finish()

    def _train_step(self, step: int) -> None:
        self.step = step
        self.driver.begin_step(step)
        self.driver.begin_second_wave()
        results = self.collect(list(self.sent))
        self.reach(ANSWERED, step)
        settlement = self.driver.finish_step(results)
        self.discard(list(self.sent))
        self.rewards[step] = {
            place: (parse_uid(priced.uid), priced.reward) for place, priced in settlement.priced.items()
        }
        self.baselines[step] = settlement.baselines
        self.reach(IN_LEDGER, step)
        if step % SAVE_FREQ == 0:
            folder = self.checkpoints / f"global_step_{step}"
            (folder / "actor").mkdir(parents=True, exist_ok=True)  # verl's part
            self.driver.save(folder, step)
            self.reach(STATE_SAVED, step)
        self.files.log(self.driver.end_step({}), step)


def never(place: str, step: int) -> None:
    """No kill."""


def kill_at(place: str, step: int) -> Reach:
    """Kill when a run gets to `place` in `step`."""

    def reach(now: str, now_step: int) -> None:
        if (now, now_step) == (place, step):
            raise Killed

    return reach


def left_behind(folder: Path) -> dict[str, Any]:
    """What a finished run leaves, but for times, and for lengths that follow from how a time is written."""
    lines = [json.loads(line) for line in (folder / outputs.METRICS).read_bytes().split(b"\n")[:-1]]
    states = sorted((folder / "checkpoints").glob("*/azr/state.json"))
    manifests = [json.loads(path.with_name("manifest.json").read_text()) for path in states]
    for manifest in manifests:
        del manifest["metrics_bytes"]
    return {
        "ledger": (folder / outputs.LEDGER).read_bytes(),
        "metrics": [{name: line[name] for name in line if name != "time"} for line in lines],
        "states": {path.parent.parent.name: path.read_bytes() for path in states},
        "manifests": manifests,
    }


class Runs:
    """Starts processes of one run, of one mode.

    Attributes:
        whole: The run that was never killed.
        left: What it left.
    """

    def __init__(self, pack: ArithmeticPack, solve_on: SolveOn, profile: str, folder: Path) -> None:
        self.start = partial(Run, pack, solve_on, profile)
        self.whole = self.start(folder, never)
        self.whole.train()
        self.left = left_behind(folder)

    def killed(self, folder: Path, place: str, step: int) -> Run:
        """A process that ends when `step` gets to `place`."""
        run = self.start(folder, kill_at(place, step))
        write_manifest = checkpoint.write_manifest

        def unless_killed(folder: Path, manifest: checkpoint.Manifest) -> None:
            run.reach(METRICS_WRITTEN, manifest.step)
            write_manifest(folder, manifest)

        with pytest.MonkeyPatch.context() as patch, pytest.raises(Killed):
            patch.setattr(checkpoint, "write_manifest", unless_killed)
            run.train()
        return run

    def assert_same(self, folder: Path, processes: Sequence[Run]) -> None:
        """The processes, one after the other, drew, earned and left what the whole run did."""
        for process in processes:
            assert process.rewards.items() <= self.whole.rewards.items()
            assert process.baselines.items() <= self.whole.baselines.items()
        last = processes[-1]
        assert last.drawn.items() <= self.whole.drawn.items()
        assert set().union(*(process.drawn for process in processes)) == set(self.whole.drawn)
        assert last.selfplay.state_dict() == self.whole.selfplay.state_dict()
        found = left_behind(folder)
        assert found.keys() == self.left.keys()
        for name in found:
            assert found[name] == self.left[name], name


@pytest.fixture(scope="module", params=RUNS, ids=lambda run: f"{run[0]}-{run[1]}")
def runs(
    request: pytest.FixtureRequest, arithmetic: ArithmeticPack, tmp_path_factory: pytest.TempPathFactory
) -> Runs:
    return Runs(arithmetic, *request.param, tmp_path_factory.mktemp("whole"))


def test_scripted_run_meets_everything(runs: Runs) -> None:
    # Without this, equal runs could be equal for being empty.
    lines = [json.loads(line) for line in runs.left["ledger"].split(b"\n")[:-1]]
    reasons = {line["reason"] for line in lines if line["role"] != ALARM_ROLE}
    assert reasons >= {
        "",
        "no-task",
        "no-solution",
        Refusal.DUPLICATE,
        Refusal.HELD_OUT,
        "no-answer",
        "wrong-value",
    }
    assert {line["step"] for line in lines} == set(range(NUM_STEPS + 1))
    # A checkpoint is made before it begins, and steps are judged after one by what the alarms remember.
    assert {line["alarm"] for line in lines if line["role"] == ALARM_ROLE} == {"failures"}
    assert {request["role"] for request in runs.whole.drawn[3]} == {"propose", "solve"}
    assert sum(line["azr/failed_responses"] for line in runs.left["metrics"]) > 0
    assert len(set(runs.whole.selfplay.buffer.keys())) == 3 * runs.whole.azr.buffer_capacity
    assert len({reward for step in runs.whole.rewards.values() for _, reward in step.values()}) >= 3
    baselines = runs.whole.baselines
    assert baselines[6].keys() >= {"propose/none", "propose/hard", "solve/medium", "solve/hard"}
    assert len(set(baselines[6].values())) == len(baselines[6])
    assert list(runs.left["states"]) == ["global_step_2", "global_step_4", "global_step_6"]


@pytest.mark.parametrize(("place", "step", "first"), KILLS, ids=lambda value: str(value).replace(" ", "-"))
def test_killed_run_goes_on_as_if_it_was_not(
    runs: Runs, tmp_path: Path, place: str, step: int, first: int
) -> None:
    killed = runs.killed(tmp_path, place, step)
    resumed = runs.start(tmp_path, never)
    resumed.train()
    assert min(resumed.drawn) == first
    runs.assert_same(tmp_path, [killed, resumed])


@pytest.mark.slow
@pytest.mark.parametrize(("place", "step"), [(STEP_ENDED, 1), (METRICS_WRITTEN, 4)])
@pytest.mark.parametrize("file", [outputs.LEDGER, outputs.METRICS])
def test_line_that_was_half_written_is_written_again(
    runs: Runs, tmp_path: Path, file: str, place: str, step: int
) -> None:
    killed = runs.killed(tmp_path, place, step)
    content = (tmp_path / file).read_bytes()
    (tmp_path / file).write_bytes(content[:-20])
    resumed = runs.start(tmp_path, never)
    resumed.train()
    runs.assert_same(tmp_path, [killed, resumed])


def test_run_that_is_killed_again_and_again_is_still_the_same(runs: Runs, tmp_path: Path) -> None:
    places = [(DRAWN, 1), (STATE_SAVED, 2), (ANSWERED, 3), (IN_LEDGER, 3), (STATE_SAVED, 6)]
    killed = [runs.killed(tmp_path, place, step) for place, step in places]
    resumed = runs.start(tmp_path, never)
    resumed.train()
    runs.assert_same(tmp_path, [*killed, resumed])


def test_finished_run_has_nothing_left_to_do(runs: Runs, tmp_path: Path) -> None:
    runs.start(tmp_path, never).train()
    again = runs.start(tmp_path, never)
    again.train()
    assert again.drawn == {}
    assert again.selfplay.state_dict() == runs.whole.selfplay.state_dict()
    assert left_behind(tmp_path) == runs.left


def test_seed_decides_what_is_drawn(runs: Runs, tmp_path: Path) -> None:
    same, other = runs.start(tmp_path, never), azr_config(SolveOn.ATTEMPTS)
    other.seed += 1
    first = [json.loads(request.to_json()) for request in same.selfplay.seeding_wave()]
    changed = SelfPlay(same.pack, load_profile("paper"), other).seeding_wave()
    assert first == runs.whole.drawn[0][: len(first)]
    assert first != [json.loads(request.to_json()) for request in changed]
