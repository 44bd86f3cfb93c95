"""Alarms: each scripted collapse has one voice within three steps, and what is healthy has none.

`Run` is a run without verl: the driver, with a scripted model, and the metrics that verl would add.
"""

from __future__ import annotations

import asyncio
import json
import random
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from omegaconf import OmegaConf

from recipe.engine.claims import Claims
from recipe.engine.driver import Driver
from recipe.inspect.index import open_index
from recipe.inspect.replay import replay
from recipe.inspect.run import open_run
from recipe.run.files import CONFIG, METRICS, RunFiles, read_metrics
from recipe.selfplay.alarm_table import ALARMS, WINDOW, likeness
from recipe.selfplay.alarms import NAMES, START, WELL, Alarms, last_words, usable_shares
from recipe.selfplay.config import AlarmConfig, AzrConfig, FailureConfig, SeedingConfig
from recipe.selfplay.curriculum import SelfPlay
from recipe.selfplay.metrics import INTERVAL_FIELDS
from recipe.selfplay.rollout import GenerationFailedError, PromptTooLongError, propose_once, solve
from recipe.selfplay.types import (
    ALARM_ROLE,
    PROPOSAL,
    Attempt,
    LedgerLine,
    Proposal,
    Request,
    Response,
)
from rewards.profile import load_profile
from tasks.arithmetic import ArithmeticPack
from tasks.arithmetic.kind import OPERATIONS
from tasks.contract import Message, Outcome, Role, TaskPack, TaskRecord
from tasks.registry import load_pack

PACK = ArithmeticPack(kinds=["deduction"], terse=True, deduction_max=9999, difficulty="sizes")
CAUSE = 8
"""The step in which a collapse begins."""

NUM_STEPS = 12

TOO_LONG = 9999
"""A first operand whose question does not fit the model's context."""
TASK = re.compile(r"([0-9]+) ([-+*]) ([0-9]+) =")

Write = Callable[[int, int], str | None]
"""The proposal at a step, or below 0 at a wave of seeding, and a request's index; None if it never comes."""

Answer = Callable[[int, str, int], str]
"""The attempt of a number at a step's question."""

Numbers = Callable[[int], dict[str, float]]
"""What verl's metrics of a step say."""


def rng_of(*parts: object) -> random.Random:
    return random.Random(" ".join(map(str, parts)))


def healthy_task(step: int, index: int) -> str:
    """Tasks of all operations and sizes; some malformed, some had before, some out of range."""
    rng = rng_of(step, index)
    draw = rng.random()
    if draw < 0.1:
        return "hm"
    if draw < 0.2:
        return "3+4="
    if draw < 0.25:
        return f"{TOO_LONG}+{rng.randint(1, 999)}="
    op, size = rng.choice("+-*"), rng.choice([9, 99, 999, 8999])
    a, b = (rng.randint(1, min(size, 12) if op == "*" else size) for _ in range(2))
    return f"{a}{op}{b}="


def result(question: str) -> str:
    task = TASK.search(question)
    assert task is not None, question
    return str(OPERATIONS[task[2]](int(task[1]), int(task[3])))


def healthy_answer(step: int, question: str, number: int) -> str:
    """Each task has a chance of its own; one attempt in ten is malformed."""
    rng, chance = rng_of(question, number), rng_of(question).random()
    if rng.random() < 0.1:
        return "hm"
    return result(question) if rng.random() < chance else str(rng.randint(0, 999))


def healthy_numbers(step: int) -> dict[str, float]:
    """Noise, a slow growth, and an evaluation every second step."""
    rng = rng_of(step, "numbers")
    numbers = {
        "timing_s/step": 7.0 + 0.1 * step + 2 * rng.random() + 30 * (step % 5 == 0),
        "timing_s/save_checkpoint": 30.0 * (step % 5 == 0),
        "actor/perf/cpu_memory_used_gb": 7.0 + 0.02 * step + rng.random(),
        "critic/rewards/mean": 0.5 + 0.1 * rng.random(),
        "training/rollout_probs_diff_mean": 0.004 * rng.random(),
        "azr/propose/deduction/truncated": 0.1 * rng.random(),
        "azr/solve/deduction/truncated": 0.1 * rng.random(),
    }
    return numbers | (evaluation(0.5 + 0.005 * step + 0.02 * rng.random()) if step % 2 == 0 else {})


def evaluation(accuracy: float) -> dict[str, float]:
    found = dict(zip(INTERVAL_FIELDS, (accuracy, accuracy - 0.04, accuracy + 0.04, 500.0, 1.0), strict=True))
    return {f"azr/held_out/all/{name}": value for name, value in found.items()}


class Run:
    """A run by a script, in a folder; where there is a checkpoint in it, it goes on from there."""

    def __init__(
        self,
        folder: Path,
        write: Write = healthy_task,
        answer: Answer = healthy_answer,
        numbers: Numbers = healthy_numbers,
        pack: TaskPack = PACK,
        **azr: Any,
    ) -> None:
        sizes = {
            "proposals_per_kind": 16,
            "attempts_per_record": 3,
            "failures": FailureConfig(retries=0, max_share=0.9),
            "seeding": SeedingConfig(target=16),
        }
        self.azr = AzrConfig(**(sizes | azr))
        self.pack = pack
        folder.mkdir(exist_ok=True)
        self.files = RunFiles(folder)
        self.checkpoints = folder / "checkpoints"
        self.selfplay = SelfPlay(pack, load_profile("paper"), self.azr)
        self.driver = Driver(self.selfplay, self, self.files)
        self.claims = Claims(map(pack.task_key, pack.held_out()), self.azr.proposals_per_kind)
        self.write, self.answer, self.numbers = write, answer, numbers
        self.step = 0
        self.sent: list[Request] = []
        self.num_seeding_waves = 0

    def train(self, last: int = NUM_STEPS, save: int = 0) -> Run:
        """Train to the step `last`, with a checkpoint after the step `save`."""
        folder = self.checkpoints / f"global_step_{save}"
        first = self.driver.resume(self.checkpoints, folder, lambda folder: None) + 1
        if first == 1:
            self.driver.alarms.evaluated_before_training(evaluation(0.5))
        self.driver.seed()
        for self.step in range(first, last + 1):
            self.driver.begin_step(self.step)
            self.driver.finish_step(self.collect(range(len(self.sent))))
            self.sent = []
            if self.step == save:
                (folder / "actor").mkdir(parents=True)
                self.driver.save(folder, self.step)
            numbers = self.numbers(self.step)
            self.files.log(numbers | self.driver.end_step(numbers), self.step)
        return self

    @property
    def lines(self) -> list[dict[str, Any]]:
        """The ledger."""
        return [json.loads(line) for line in self.files.ledger.path.read_bytes().splitlines()]

    @property
    def alarms(self) -> list[tuple[str, int]]:
        """Name and step of those that began."""
        return [(line["alarm"], line["step"]) for line in self.lines if line["role"] == ALARM_ROLE]

    def series(self, name: str) -> list[float | None]:
        """A metric of each step, the first one first."""
        return [line.get(name) for line in read_metrics(self.files.metrics.path)]

    # ------------------------------ the driver's engine ------------------------------

    def submit(self, requests: Sequence[Request]) -> list[str]:
        self.sent = list(requests)
        return [str(index) for index in range(len(requests))]

    def collect(self, uids: Iterable[object]) -> dict[int, Proposal | Attempt]:
        async def answer_all() -> list[Proposal | Attempt | None]:
            return [await self._answer(self.sent[int(str(uid))]) for uid in uids]

        found = zip(self.sent, asyncio.run(answer_all()), strict=True)
        return {request.index: result for request, result in found if result is not None}

    def discard(self, uids: Sequence[str]) -> None:
        self.sent = []

    def reset_claims(self, keys: Sequence[str]) -> None:
        asyncio.run(self.claims.reset(list(keys)))

    async def _answer(self, request: Request) -> Proposal | Attempt | None:
        async def generate(messages: Sequence[Message], *, num_responses: int) -> list[Response]:
            question = messages[-1]["content"]
            if question.startswith(f"{TOO_LONG} "):
                raise PromptTooLongError("it does not fit")
            if messages != request.messages or request.role is Role.SOLVE:
                texts = [self.answer(self.step, question, number) for number in range(num_responses)]
                return [Response(text) for text in texts]
            self.num_seeding_waves += self.step == 0 and request.index == 0
            text = self.write(self.step or -self.num_seeding_waves, request.index)
            return [] if text is None else [Response(text)]

        try:
            if request.role is Role.SOLVE:
                return (await solve(self.pack, request, generate))[0]
            return await propose_once(self.pack, request, generate, self.claims.claim)
        except GenerationFailedError:
            return None


# ------------------------------ one collapse at a time ------------------------------


def once(step: int, index: int) -> int:
    """A number that no other proposal has, up to 5,000."""
    return 30 * (step + 40) + index


def the_same(step: int, index: int) -> str:
    return "3+4="


def too_long(step: int, index: int) -> str:
    return f"{TOO_LONG}+{once(step, index)}="


def rambling(step: int, index: int) -> str:
    return "let me think " * 50


def long_winded(step: int, index: int) -> str:
    return " " * 200 * (step - CAUSE + 1) + healthy_task(step, index)


def of_one_make(step: int, index: int) -> str:
    """Sums with one first operand."""
    return f"6000+{once(step, index)}="


def of_one_level(step: int, index: int) -> str:
    """The largest tasks, of many makes."""
    rng = rng_of(step, index)
    return f"{rng.randint(1000, 8999)}{rng.choice('+-')}{rng.randint(1000, 8999)}="


def with_one_answer(step: int, index: int) -> str:
    """Differences of 7, of all sizes."""
    rng = rng_of(step, index)
    number = rng.randint(1, rng.choice([30, 90, 900, 8000]))
    return f"{number + 7}-{number}="


def failing(step: int, index: int) -> str | None:
    return None if index % 3 == 0 else healthy_task(step, index)


def solved(step: int, question: str, number: int) -> str:
    return result(question)


def unsolved(step: int, question: str, number: int) -> str:
    return "0" if result(question) != "0" else "1"


def silent(step: int, question: str, number: int) -> str:
    return "I do not know"


def working(step: int, question: str, number: int) -> str:
    """Ever more working before an answer that is as good as before."""
    return f"({'1+1=2 ' * 2 ** (step - CAUSE + 3)}):{healthy_answer(step, question, number)}"


def seven(step: int, question: str, number: int) -> str:
    """The only answer, and now and then another one."""
    return "8" if rng_of(question, number).random() < 0.1 and number else "7"


def with_number(name: str, value: float) -> Numbers:
    return lambda step: healthy_numbers(step) | {name: value}


def in_bypass_mode(step: int) -> dict[str, float]:
    numbers = healthy_numbers(step) | {"actor/ppo_kl": -0.2}
    del numbers["training/rollout_probs_diff_mean"]
    return numbers


def cut(step: int) -> dict[str, float]:
    return healthy_numbers(step) | {"azr/solve/deduction/truncated": 0.95}


def overfitted(step: int) -> dict[str, float]:
    risen = {"critic/rewards/mean": 0.9}
    return healthy_numbers(step) | risen | (evaluation(0.4) if step % 2 == 0 else {})


class Script(NamedTuple):
    """What goes wrong from `CAUSE` on, and how it is reported."""

    alarm: str
    write: Write = healthy_task
    answer: Answer = healthy_answer
    numbers: Numbers = healthy_numbers
    says: str = "deduction"


SCRIPTS = [
    Script("duplicates", write=the_same),
    Script("acceptance", write=too_long, says="only 0% of the new, well-formed proposals of deduction"),
    Script("malformed", write=rambling, says="(proposals of deduction)"),
    Script("malformed", answer=silent, says="(attempts at deduction)"),
    Script("trivial", answer=solved),
    # It is easy, and so of one make: one cause.
    Script("trivial", write=of_one_make, answer=solved),
    Script("unsolvable", answer=unsolved),
    Script("length", answer=working, says="(attempts at deduction) are"),
    Script("length", write=long_winded, says="(proposals of deduction) are"),
    # What is cut has no answer.
    Script("truncated", answer=silent, numbers=cut, says="(attempts at deduction)"),
    Script("structures", write=of_one_make),
    Script("levels", write=of_one_level),
    Script("answers", write=with_one_answer, answer=seven),
    Script("failures", write=failing, says="% of the responses of a step never came"),
    Script("rollout_drift", numbers=with_number("training/rollout_probs_diff_mean", 0.2), says="a token"),
    Script("rollout_drift", numbers=in_bypass_mode, says="a token"),
    Script("step_time", numbers=with_number("timing_s/step", 60.0), says="times as long"),
    Script(
        "memory", numbers=with_number("actor/perf/cpu_memory_used_gb", 30.0), says="that of the run's start"
    ),
    Script("held_out", numbers=overfitted, says="points below that after step 4"),
]


def from_the_cause(collapsed: Callable[..., Any], healthy: Callable[..., Any]) -> Callable[..., Any]:
    return lambda step, *rest: (collapsed if step >= CAUSE else healthy)(step, *rest)


def run_of(script: Script, folder: Path, **azr: Any) -> Run:
    return Run(
        folder,
        from_the_cause(script.write, healthy_task),
        from_the_cause(script.answer, healthy_answer),
        from_the_cause(script.numbers, healthy_numbers),
        **azr,
    )


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.alarm)
def test_each_collapse_has_one_voice_within_three_steps(tmp_path: Path, script: Script) -> None:
    run = run_of(script, tmp_path).train()
    ((name, step),) = run.alarms
    assert name == script.alarm
    assert CAUSE <= step < CAUSE + 3
    (line,) = (line for line in run.lines if line["role"] == ALARM_ROLE)
    assert script.says in line["sentence"]
    assert "\n" not in line["sentence"]


def test_healthy_run_is_silent(tmp_path: Path) -> None:
    run = Run(tmp_path).train(last=40)
    assert run.alarms == []
    judged = {name for name in NAMES if any(value is not None for value in run.series(f"azr/alarm/{name}"))}
    assert judged == {*NAMES}
    assert not any(any(run.series(f"azr/alarm_on/{name}")) for name in NAMES)


def test_control_without_proposals_is_judged_by_its_attempts(tmp_path: Path) -> None:
    run = Run(tmp_path, tasks="buffer").train()
    assert run.alarms == []
    judged = {name for name in NAMES if any(value is not None for value in run.series(f"azr/alarm/{name}"))}
    of_proposals = {"duplicates", "acceptance", "unsolvable", "trivial", "structures", "levels", "exhausted"}
    assert judged == {*NAMES} - of_proposals - {"near_duplicates"}


def test_tasks_that_are_all_solved_at_first_are_a_start(tmp_path: Path) -> None:
    """As those of experiment=chain are in its first two steps."""
    run = Run(tmp_path, answer=lambda step, *rest: (solved if step < 3 else healthy_answer)(step, *rest))
    assert run.train().alarms == []


def test_collapse_from_the_first_step_on_is_told_once_the_start_is_over(tmp_path: Path) -> None:
    assert Run(tmp_path, answer=solved).train(last=10).alarms == [("trivial", START + WINDOW)]


def test_exhausted_kind_has_one_voice_though_duplicates_follow(tmp_path: Path) -> None:
    # 19 numbers and two signs; a sum is one task in either order.
    tasks = [f"{a}{op}{b}=" for a in range(1, 20) for b in range(1, 20) for op in "+-" if op == "-" or a <= b]
    random.Random(1).shuffle(tasks)
    pack = ArithmeticPack(kinds=["deduction"], terse=True, deduction_max=19, operations=["+", "-"])

    def write(step: int, index: int) -> str:
        return tasks[((step + 20) * 32 + index) % len(tasks)]

    run = Run(tmp_path, write, pack=pack, proposals_per_kind=32).train(last=30)
    (alarm,) = run.alarms
    assert alarm[0] == "exhausted"
    assert run.series("azr/propose/deduction/duplicate_rate")[-1] == 1.0


def test_makes_that_come_again_are_told_where_they_were_new_at_the_start() -> None:
    """Ten programs in turn, each with other numbers."""
    pack = load_pack({"_target_": "python_code"})
    alarms = Alarms(AlarmConfig(), pack)
    begun = []
    for step in range(1, NUM_STEPS + 1):
        names = [
            "xyz"[step % 3] * (16 * step + i + 1) if step < CAUSE else "x" * (50 + i % 10) for i in range(16)
        ]
        programs = [f"def f({name}):\n    return {name} + {1000 * step + i}" for i, name in enumerate(names)]
        lines = [line_of(step, index, {"program": program}) for index, program in enumerate(programs)]
        begun += [(raised.alarm, step) for raised in alarms.look(step, lines, 0, {}).raised]
    assert begun == [("near_duplicates", CAUSE + 2)]
    assert alarms.look(NUM_STEPS + 1, [], 0, {}).numbers["azr/propose/deduction/structures"] == 16 * (
        CAUSE - 1
    )


def line_of(step: int, index: int, payload: dict[str, Any]) -> LedgerLine:
    """An accepted proposal that half of its attempts solve."""
    return LedgerLine(
        step=step,
        role=Role.PROPOSE,
        kind="deduction",
        cell="",
        index=index,
        attempt=PROPOSAL,
        prompt=[],
        response=f"{payload}",
        outcome=Outcome.CORRECT,
        reason="",
        solve_rate=0.5,
        reward=0.5,
        record=payload,
    )


# ------------------------------ how an alarm begins and ends ------------------------------


def test_one_odd_step_is_silent(tmp_path: Path) -> None:
    odd = {"timing_s/step": 200.0, "training/rollout_probs_diff_mean": 0.5}

    def numbers(step: int) -> dict[str, float]:
        return healthy_numbers(step) | (odd if step == CAUSE else {})

    run = Run(
        tmp_path, lambda step, i: (the_same if step == CAUSE else healthy_task)(step, i), numbers=numbers
    )
    assert run.train().alarms == []


def test_alarm_is_silent_until_it_has_been_well_for_a_while(tmp_path: Path) -> None:
    relapse, again = CAUSE + 6, CAUSE + 22
    bad = {*range(CAUSE, CAUSE + 3), *range(relapse, relapse + 3), *range(again, again + 3)}

    def write(step: int, index: int) -> str:
        return (the_same if step in bad else healthy_task)(step, index)

    run = Run(tmp_path, write).train(last=again + 4)
    (first, begun), (second, begun_again) = run.alarms
    assert first == second == "duplicates"
    assert CAUSE <= begun <= CAUSE + 2
    assert again <= begun_again <= again + 2
    on = {step for step, value in enumerate(run.series("azr/alarm_on/duplicates"), 1) if value}
    # It is over its threshold a little longer than the cause, and on for `WELL` steps more.
    end = max(step for step in on if step < again)
    assert on == {*range(begun, end + 1), *range(begun_again, again + 5)}
    assert relapse + 2 + WELL <= end < again


def test_alarm_of_another_kind_is_told_when_it_joins(tmp_path: Path) -> None:
    pack = ArithmeticPack(kinds=["deduction", "abduction"], terse=True)

    def write(step: int, index: int) -> str:
        joins = CAUSE if index < 16 else CAUSE + 3
        return rambling(step, index) if step >= joins else pack.gold_proposal(task_of(pack, step, index))

    def answer(step: int, question: str, number: int) -> str:
        return "1 2" if "?" in question else "7"

    run = Run(tmp_path, write, answer, pack=pack, seeding=SeedingConfig(target=4, max_waves=0))
    told = [line["sentence"] for line in run.train(last=20).lines if line.get("alarm") == "malformed"]
    assert ["(proposals of deduction)" in told[0], "(proposals of abduction)" in told[1]] == [True, True]
    assert len(told) == 2


def task_of(pack: TaskPack, step: int, index: int) -> TaskRecord:
    return pack.sample_record("deduction" if index < 16 else "abduction", rng_of(step, index))


def test_few_responses_are_not_judged(tmp_path: Path) -> None:
    run = Run(tmp_path, the_same, proposals_per_kind=4, seeding=SeedingConfig(target=4, max_waves=0))
    assert run.train().alarms == []


def test_fall_of_accuracy_alone_is_no_alarm(tmp_path: Path) -> None:
    """The reward must have risen; one before training is compared with that of the first steps."""
    falling = {step: evaluation(0.5 - 0.03 * step) for step in range(2, NUM_STEPS + 1, 2)}

    def numbers(reward: float, step: int) -> dict[str, float]:
        rewards = {"critic/rewards/mean": reward if step >= CAUSE else 0.5}
        return healthy_numbers(step) | rewards | falling.get(step, {})

    assert Run(tmp_path / "fell", numbers=partial(numbers, 0.3)).train().alarms == []
    assert Run(tmp_path / "rose", numbers=partial(numbers, 0.7)).train().alarms == [("held_out", CAUSE)]


def test_seeding_is_not_judged(tmp_path: Path) -> None:
    seeded = SeedingConfig(target=30, max_waves=60)
    run = Run(tmp_path, lambda step, i: healthy_task(step, i) if step > 0 or i == 0 else "hm", seeding=seeded)
    assert run.train(last=3).alarms == []
    assert run.num_seeding_waves > 20


def test_alarm_without_a_threshold_is_off(tmp_path: Path) -> None:
    run = Run(tmp_path, from_the_cause(the_same, healthy_task), alarms=AlarmConfig(duplicates=None))
    assert run.train().alarms == []
    assert not any(run.series("azr/alarm/duplicates"))


# ------------------------------ what is written ------------------------------


def test_line_says_all_of_an_alarm(tmp_path: Path) -> None:
    config = AlarmConfig(duplicates=0.6, stop=["duplicates"])
    run = Run(tmp_path, from_the_cause(the_same, healthy_task), alarms=config).train(last=CAUSE + 1)
    (line,) = (line for line in run.lines if line["role"] == "alarm")
    sentence = line.pop("sentence")
    assert line == {
        "step": CAUSE + 1,
        "role": "alarm",
        "alarm": "duplicates",
        "value": run.series("azr/alarm/duplicates")[-1],
        "threshold": 0.6,
        "action": "stop",
    }
    assert "% of the well-formed proposals of deduction are tasks that the run has already" in sentence
    assert run.series("azr/alarm_on/duplicates")[-2:] == [0.0, 1.0]
    (raised,) = run.driver.stops
    words = last_words([raised], is_saved=True)
    assert words.startswith(f"step {CAUSE + 1}, alarm duplicates: {sentence}. Stopped by azr.alarms.stop; ")
    assert words.endswith(f"step {CAUSE + 1} has a checkpoint, from which the same command goes on")


def test_alarms_change_nothing_else(tmp_path: Path) -> None:
    off = AlarmConfig(**dict.fromkeys(NAMES))
    write = from_the_cause(the_same, healthy_task)
    runs = [
        Run(tmp_path / name, write, alarms=config).train()
        for name, config in (("a", off), ("b", AlarmConfig()))
    ]
    without, with_alarms = ([line for line in run.lines if line["role"] != ALARM_ROLE] for run in runs)
    assert without == with_alarms
    assert runs[0].selfplay.state_dict() == runs[1].selfplay.state_dict()


@pytest.mark.parametrize(
    "script",
    [
        Script("duplicates", write=the_same),
        Script("held_out", numbers=overfitted),
        Script("length", answer=working),
    ],
    ids=lambda script: script.alarm,
)
def test_resumed_run_has_the_alarms_of_one_that_was_not_stopped(tmp_path: Path, script: Script) -> None:
    whole = run_of(script, tmp_path / "whole").train()
    # Checkpoints within the window, and while the alarm is on
    for save in (CAUSE, CAUSE + 3):
        folder = tmp_path / f"stopped-{save}"
        run_of(script, folder).train(last=save + 1, save=save)
        resumed = run_of(script, folder).train(save=save)
        assert resumed.lines == whole.lines
        assert [name for name, _ in resumed.alarms] == [script.alarm]
        for name in (f"azr/{part}/{script.alarm}" for part in ("alarm", "alarm_on")):
            assert resumed.series(name) == whole.series(name)
        assert resumed.driver.alarms.state_dict() == whole.driver.alarms.state_dict()


@pytest.mark.parametrize(
    "script",
    [
        Script("duplicates", write=the_same),
        Script("held_out", numbers=overfitted),
        Script("failures", write=failing),
        Script("answers", write=with_one_answer, answer=seven),
    ],
    ids=lambda script: script.alarm,
)
def test_replay_has_the_alarms_of_a_run_with_these_thresholds(tmp_path: Path, script: Script) -> None:
    run_of(script, tmp_path / "a").train()
    pack = {"kinds": ["deduction"], "terse": True, "deduction_max": 9999, "difficulty": "sizes"}
    target = {"pack": {"_target_": "tasks.arithmetic.ArithmeticPack", **pack}}
    OmegaConf.save(OmegaConf.create(target), tmp_path / "a" / CONFIG)
    metrics = tmp_path / "a" / METRICS
    metrics.write_text(json.dumps({"step": 0, **evaluation(0.5)}) + "\n" + metrics.read_text())
    for place, thresholds in enumerate(({}, {script.alarm: None}, {"malformed": 0.05, "length": 1.01})):
        run = run_of(script, tmp_path / f"b{place}", alarms=AlarmConfig(**thresholds)).train()
        words = [f"azr.alarms.{name}={json.dumps(value)}" for name, value in thresholds.items()]
        with open_index(open_run(tmp_path / "a")) as index:
            found = replay(index, words)
        assert [one.to_json() for one in found.alarms] == [
            line for line in run.lines if line["role"] == ALARM_ROLE
        ]
        assert bool(found.alarms) == (script.alarm not in thresholds)
        for one in found.judged:
            values = [value for value in run.series(f"azr/alarm/{one.alarm}") if value is not None]
            worst = min if one.alarm == "acceptance" else max
            assert one.furthest == (worst(values) if values else None)
            assert one.begins == [step for name, step in run.alarms if name == one.alarm]


def test_what_alarms_remember_is_small(tmp_path: Path) -> None:
    run = Run(tmp_path).train(last=10)
    first = len(json.dumps(run.driver.alarms.state_dict()))
    run = Run(tmp_path / "longer").train(last=40)
    assert len(json.dumps(run.driver.alarms.state_dict())) < 1.5 * first < 60_000


def test_every_threshold_is_that_of_an_alarm() -> None:
    assert {each.name for each in fields(AlarmConfig)} == {*NAMES, "stop"}


def test_an_alarm_stands_behind_others_that_are_looked_at_before() -> None:
    names = [alarm.name for alarm in ALARMS]
    for place, alarm in enumerate(ALARMS):
        assert {*alarm.behind} <= {*names[:place]}


# ------------------------------ numbers ------------------------------


def test_likeness_is_the_chance_that_two_are_alike() -> None:
    # Of 3 + 1 things 3 * 2 of the 4 * 3 ordered pairs are alike.
    nothing = Counter[str]()
    assert likeness(Counter({"a": 3, "b": 1}), nothing) == 0.5
    assert likeness(Counter({"a": 2}), nothing) == 1.0
    assert likeness(Counter({"a": 1, "b": 1}), nothing) == 0.0
    assert likeness(Counter({"a": 1}), nothing) is None


def test_share_of_a_level_is_of_the_tasks_that_are_not_held_out() -> None:
    # Of 57 easy tasks 2 are held out.
    pack = ArithmeticPack(kinds=["deduction"], deduction_max=99)
    held_out = Counter(pack.difficulty(record) for record in pack.held_out())
    usable = usable_shares(pack)
    for level, total in pack.num_tasks("deduction").items():
        assert usable["deduction", level] == 1 - held_out[level] / total
    assert 0 < usable["deduction", "easy"] < 1
