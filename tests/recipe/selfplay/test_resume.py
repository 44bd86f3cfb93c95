"""A run that is killed anywhere and started again is the run that was never killed.

`Run` makes the calls of `recipe/engine/trainer.py` in its order, around a scripted model in the place of
verl. What is compared: the prompts drawn, the rewards by origin, the running means that they are scored with,
the ledger byte for byte, the metrics but for their time stamps, and the whole state. uids are random, so
equal runs here never read them.
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

from recipe.engine.claims import Admission
from recipe.run import checkpoint
from recipe.run import files as outputs
from recipe.run.files import RunFiles
from recipe.selfplay import metrics
from recipe.selfplay.baselines import Cells, RunningMeans
from recipe.selfplay.config import AzrConfig, FailureConfig, SeedingConfig, SolveOn
from recipe.selfplay.curriculum import SelfPlay
from recipe.selfplay.rollout import (
    DUPLICATE,
    HELD_OUT,
    Attempt,
    GenerationFailedError,
    Proposal,
    Request,
    Response,
    propose_once,
    solve_once,
)
from recipe.selfplay.uid import parse_uid
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
    """One process of a run: `recipe/engine/trainer.py` without verl.

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
        self.selfplay = SelfPlay(pack, load_profile(profile), self.azr)
        self.running_means = RunningMeans(Cells.ROLE_DIFFICULTY)
        self.files = RunFiles(folder)
        self.admission = Admission(
            (pack.task_key(record) for record in pack.held_out()), self.azr.proposals_per_kind
        )
        self.model = ScriptedModel(pack)
        self.checkpoints = folder / "checkpoints"
        self.reach = reach
        self.drawn: dict[int, list[Any]] = {}
        self.rewards: dict[int, dict[tuple[int, int], Any]] = {}
        self.baselines: dict[int, dict[str, float]] = {}

    def train(self) -> None:
        try:
            asyncio.run(self._train())
        finally:
            self.files.finish()

    async def _train(self) -> None:
        first = self._load_checkpoint() + 1
        await self._release_tasks()
        if first == 1:
            await self._seed()
        for step in range(first, NUM_STEPS + 1):
            await self._step(step)
            self.reach(STEP_ENDED, step)

    async def _seed(self) -> None:
        for _ in range(self.azr.seeding.max_waves):
            requests = self.selfplay.seeding_wave()
            if not requests:
                return
            self.drawn.setdefault(0, []).extend(request.to_json() for request in requests)
            settlement = self.selfplay.settle_seeding(requests, await self._results(0, requests))
            self.files.append_ledger(line.to_json() for line in settlement.ledger)
            await self._release_tasks()
            self.reach(SEEDED, 0)
        assert not self.selfplay.seeding_wave()

    async def _step(self, step: int) -> None:
        requests = self.selfplay.begin_step(step)
        self.reach(DRAWN, step)
        results = await self._results(step, requests)
        second = self.selfplay.second_wave(requests, results)
        results |= await self._results(step, second)
        requests += second
        self.drawn[step] = [request.to_json() for request in requests]
        self.reach(ANSWERED, step)
        settlement = self.selfplay.settle(step, requests, results)
        self.rewards[step] = {
            place: (parse_uid(priced.uid), priced.reward) for place, priced in settlement.priced.items()
        }
        priced = settlement.priced.values()
        self.baselines[step] = self.running_means.advance(
            [one.uid for one in priced], [one.reward for one in priced]
        )
        self.files.append_ledger(line.to_json() for line in settlement.ledger)
        await self._release_tasks()
        self.reach(IN_LEDGER, step)
        if step % SAVE_FREQ == 0:
            folder = self.checkpoints / f"global_step_{step}"
            (folder / "actor").mkdir(parents=True, exist_ok=True)  # verl's part
            state = self.selfplay.state_dict() | {"running_means": self.running_means.state_dict()}
            digest = checkpoint.write_state(folder, state)
            self.files.finish_checkpoint_with_metrics(folder, self.pack.name, step, digest)
            self.reach(STATE_SAVED, step)
        kinds = [spec.name for spec in self.pack.kinds]
        values = metrics.step_metrics(settlement.ledger, kinds, self.azr.attempts_per_record)
        values |= metrics.buffer_metrics({kind: self.selfplay.buffer.size(kind) for kind in kinds})
        self.files.log(values | {"num_failed": settlement.num_failed}, step)

    async def _results(self, step: int, requests: Sequence[Request]) -> dict[int, Proposal | Attempt]:
        """All requests in flight together; those that failed are left out."""
        generate = partial(self.model.respond, step)

        async def answer(request: Request) -> Proposal | Attempt | None:
            try:
                if request.role is Role.SOLVE:
                    return await solve_once(self.pack, request, generate)
                return await propose_once(self.pack, request, generate, self.admission.admit)
            except GenerationFailedError:
                return None

        answers = await asyncio.gather(*(answer(request) for request in requests))
        return {
            request.index: answer
            for request, answer in zip(requests, answers, strict=True)
            if answer is not None
        }

    async def _release_tasks(self) -> None:
        await self.admission.replace(self.selfplay.buffer.keys())

    def _load_checkpoint(self) -> int:
        """Load the newest finished checkpoint; return its step."""
        folder = checkpoint.latest_checkpoint(self.checkpoints)
        manifest = checkpoint.read_manifest(folder) if folder else None
        if folder is None or manifest is None:
            self.files.truncate(ledger_bytes=0, metrics_bytes=0)
            return 0
        checkpoint.check_pack(folder, manifest, self.pack.name)
        state = checkpoint.read_state(folder, manifest)
        self.selfplay.load_state_dict(state)
        self.running_means.load_state_dict(state["running_means"])
        self.files.truncate(ledger_bytes=manifest.ledger_bytes, metrics_bytes=manifest.metrics_bytes)
        return manifest.step


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
        assert last.running_means.state_dict() == self.whole.running_means.state_dict()
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
    reasons = {line["reason"] for line in lines}
    assert reasons >= {"", "no-task", "no-solution", DUPLICATE, HELD_OUT, "no-answer", "wrong-value"}
    assert {line["step"] for line in lines} == set(range(NUM_STEPS + 1))
    assert {request["role"] for request in runs.whole.drawn[3]} == {"propose", "solve"}
    assert sum(line["num_failed"] for line in runs.left["metrics"]) > 0
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
    first = [request.to_json() for request in same.selfplay.seeding_wave()]
    changed = SelfPlay(same.pack, load_profile("paper"), other).seeding_wave()
    assert first == runs.whole.drawn[0][: len(first)]
    assert first != [request.to_json() for request in changed]
