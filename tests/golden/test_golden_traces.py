"""Self-play does, line by line, what it did when the traces beside this file were recorded (README.md).

A trace is what a run asks of a model and makes of its responses: seeding and three steps of it, with a
scripted model in the place of a real one and everything else as a run has it, the sandbox included. It holds
every prompt, draw, ledger line, reward, baseline and buffer entry, so any change to one of them shows as the
first line that differs. Requests are answered one at a time, in order: in a run, several in flight decide
which of two equal tasks is the duplicate.
"""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import itertools
import json
import random
import re
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf

from recipe.config import CONF, register
from recipe.engine.claims import Claims
from recipe.engine.driver import Driver
from recipe.run.files import RunFiles
from recipe.selfplay.config import AzrConfig
from recipe.selfplay.credit import Baseline, Cells, RunningMeans, parse_uid
from recipe.selfplay.curriculum import SelfPlay
from recipe.selfplay.rollout import GenerationFailedError, PromptTooLongError, propose_once, solve
from recipe.selfplay.types import PROPOSAL, Attempt, Proposal, Request, Response, Settlement
from rewards.bonus import BUFFER_FEATURES
from rewards.profile import load_profile
from rewards.propose import find_shape
from tasks.contract import Message, Role, TaskPack, TaskRecord
from tasks.guard import GuardedPack
from tasks.registry import load_pack

HERE = Path(__file__).parent
NUM_STEPS = 3
MAX_WAVES = 8
SMALL = [
    "azr.proposals_per_kind=4",
    "azr.attempts_per_record=3",
    "azr.buffer_capacity=10",
    "azr.seeding.target=7",
    "azr.failures.max_share=0.6",
]
"""Sizes at which a trace takes seconds, requests fail and the buffer overflows."""

TRACES = {
    "demo": ["experiment=demo"],
    "demo_fresh": [
        "experiment=demo",
        "azr.solve_on=fresh",
        "azr.buffer_sampling=recent",
        "azr.keep_tasks=non-one",
    ],
    "demo_previous": ["experiment=demo", "azr.solve_on=previous", "control=frozen_proposer"],
    "demo_replay": [
        "experiment=demo",
        "azr.replay_per_kind=3",
        "control=random",
        "azr.keep_tasks=non-extremes",
    ],
    "demo_seeds_only": ["experiment=demo", "control=seeds_only", "azr.solve_on=fresh"],
    "demo_role_difficulty": ["experiment=arithmetic_role_difficulty"],
    "arithmetic_rich": [
        "experiment=arithmetic_rich",
        "+azr.bonus.terms={mid-range: {coefficient: 0.3, maximum: 0.3}, structure-diversity: {}}",
    ],
    "sqlm_mult3": ["experiment=sqlm_mult3"],
    "prime_inversion_demo": ["experiment=demo", "pack=prime_inversion", "azr.oversample=1.5"],
    "prime_inversion_3b": ["experiment=prime_inversion_3b", "reward_profile=paper_accuracy"],
    "arithmetic_base": ["experiment=arithmetic_rich", "prompts=base", "azr.solve_on=attempts"],
    "math_word": ["experiment=math_word"],
    "math_word_majority": ["experiment=math_word", "pack.verify=majority", "azr.solve_on=attempts"],
    "math_word_tiny": ["experiment=math_word", "scale=tiny", "azr.solve_on=previous"],
    "math_word_tiny_majority": ["experiment=math_word", "scale=tiny", "pack.verify=majority"],
    "minazr": ["experiment=minazr", "pack.verify=claimed"],
    "cpu_code": ["experiment=cpu_code"],
    "code_bonus": [
        "experiment=azr_coder_3b",
        "reward_profile=azr_code",
        "azr.solve_on=previous",
        "pack.kinds=[deduction,abduction,induction,error]",
        "pack.composite_share=0.5",
        "pack.num_references=2",
        "pack.keep_comments=false",
        "pack.tags=answer",
        "pack.strict_equality=true",
        "+azr.bonus.terms={complexity: {}, halstead: {}, edit-distance: {coefficient: 0.3}, "
        "answer-diversity: {}}",
        "azr.bonus.combine=sum-multiply",
    ],
    "code_plain": [
        "experiment=azr_coder_3b",
        "reward_profile=azr_code",
        "pack.tags=none",
        "pack.num_references=0",
    ],
    "azr_coder_7b": ["experiment=azr_coder_7b", "scale=tiny", "cluster=cpu_1"],
}
"""Name of a trace: what is composed for it, before `SMALL`."""


NO_TASKS = ["", "Let me think.\n\ud800 \x00\u2028 no task", "<answer></answer>", "[" * 300]
NO_ANSWERS = ["", "I do not know \ud800", "<think>7</think>", "<answer>\x00</answer>"]


class ScriptedModel:
    """A response follows from the step, the prompt and its number, and is of every sort.

    Proposals: new tasks, tasks that it was shown or that are held out, tasks of another kind, other numbers
    in a task, text of no grammar. Attempts: right and wrong answers with working and without, text of no
    grammar. Some requests get no response, and some prompts are too long.
    """

    def __init__(self, pack: TaskPack) -> None:
        self._pack = pack
        self._kinds = [spec.name for spec in pack.kinds]
        self._held_out = {kind: [r for r in pack.held_out() if r.kind == kind] for kind in self._kinds}
        self._tasks: dict[str, TaskRecord] = {}  # by the solver's prompt, which may not show all of a task

    async def respond(
        self, step: int, request: Request, messages: Sequence[Message], *, num_responses: int
    ) -> list[Response]:
        """A `Generate` once step and request are given."""
        for record in (*request.references, *([request.record] if request.record else [])):
            self._learn(record)
        prompt = "\n".join(message["content"] for message in messages)
        is_proposal = request.role is Role.PROPOSE and messages == request.messages
        if not is_proposal and request.role is Role.PROPOSE and _rng("long", prompt).random() < 0.04:
            raise PromptTooLongError("the script says so")
        responses = []
        for number in range(num_responses):
            rng = _rng(step, prompt, number)
            if rng.random() < 0.05:
                continue
            text = (
                self._proposal(prompt, request, rng)
                if is_proposal
                else self._attempt(prompt, request.kind, rng)
            )
            responses.append(Response(text))
        return responses

    def _learn(self, record: TaskRecord) -> None:
        prompt = "\n".join(message["content"] for message in self._pack.solve_prompt(record))
        self._tasks.setdefault(prompt, record)

    def _proposal(self, prompt: str, request: Request, rng: random.Random) -> str:
        draw, kind = rng.random(), request.kind
        if draw < 0.08:
            return rng.choice(
                ["", "Let me think.\n\ud800 \x00\u2028 no task", "<answer></answer>", "[" * 300]
            )
        if draw < 0.16 and self._held_out[kind]:
            return self._pack.gold_proposal(rng.choice(self._held_out[kind]))
        if draw < 0.26 and request.references:
            return self._pack.gold_proposal(rng.choice(request.references))
        kind = rng.choice(self._kinds) if draw < 0.3 else kind
        record = self._pack.sample_record(kind, rng)
        if kind == "induction" and "program" in record.payload and request.references and rng.random() < 0.9:
            # Python's induction is about the program that its prompt shows.
            program = request.references[0].payload["program"]
            record = TaskRecord(kind, {**record.payload, "program": program})
        self._learn(record)
        text = self._pack.gold_proposal(record)
        for number in range(prompt.count("def g_")):
            # Composite programs call those that their prompt shows; some fit, others raise.
            text = re.sub(r"(?s)(def f\((\w+).*?return )(.*)", rf"\1g_{number}(\2) and \3", text, count=1)
        if draw > 0.9:
            return text[: rng.randrange(len(text))]
        if draw > 0.8:
            return "".join(
                rng.choice("0123456789") if c.isdecimal() and rng.random() < 0.5 else c for c in text
            )
        return text

    def _attempt(self, prompt: str, kind: str, rng: random.Random) -> str:
        skill = _rng("skill", prompt).choice([0.0, 0.4, 0.8, 1.0])
        record = self._tasks.get(prompt)
        if record is not None and rng.random() < skill:
            return rng.choice([self._pack.gold_response, self._pack.worked_response])(record)
        if rng.random() < 0.3:
            return rng.choice(NO_ANSWERS)
        gold = self._pack.gold_response(self._pack.sample_record(kind, rng))
        return gold if rng.random() < 0.8 else gold[: rng.randrange(len(gold) + 1)]


def trace(overrides: Sequence[str], folder: Path) -> list[dict[str, Any]]:
    """Run self-play in `folder` and give its lines."""
    register()
    with initialize_config_dir(str(CONF), version_base=None):
        config = compose("azr", [*overrides, *SMALL])
    with asyncio.Runner() as runner:  # one event loop for a run, as an agent loop has
        made = Trace(config, folder, runner)
        made.run()
    return made.lines


class Trace:
    """A run without verl: the driver's engine, which writes down what passes through it.

    Attributes:
        lines: What was written down.
    """

    def __init__(self, config: DictConfig, folder: Path, runner: asyncio.Runner) -> None:
        self.runner = runner
        azr = OmegaConf.to_object(config.azr)
        assert isinstance(azr, AzrConfig)
        self.lines: list[dict[str, Any]] = []
        self.pack = GuardedPack(load_pack(config.pack), azr.pack_deadline_s)
        profile = load_profile(config.reward_profile, find_shape(**config.azr.learnability))
        self.carries_means = config.algorithm.trr.baseline == Baseline.RUNNING_MEAN
        means = RunningMeans(Cells(config.algorithm.trr.cells)) if self.carries_means else None
        self.selfplay = SelfPlay(self.pack, profile, azr, means, Cells(config.algorithm.trr.cells))
        self.driver = Driver(self.selfplay, self, RunFiles(folder))
        held_out = (self.pack.task_key(record) for record in self.pack.held_out())
        self.claims = Claims(held_out, azr.proposals_per_kind)
        self.features = [name for name in azr.bonus.terms if name not in BUFFER_FEATURES]
        self.model = ScriptedModel(self.pack)
        self.step = 0
        self.waves = 0
        self.sent: dict[str, Request] = {}
        self.results: dict[str, Proposal | Attempt | None] = {}

    def run(self) -> None:
        self.held_out()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(self.selfplay, "settle", partial(self.settled, self.selfplay.settle))
            wave = self.selfplay.seeding_wave
            # The scripted model does not always get there; a run would stop then.
            patch.setattr(self.selfplay, "seeding_wave", lambda: wave() if self.waves < MAX_WAVES else [])
            self.driver.seed()
            for step in range(1, NUM_STEPS + 1):
                self.step, self.waves = step, 0
                self.driver.begin_step(step)
                self.driver.begin_second_wave()
                self.driver.finish_step(self.collect(list(self.sent)))
                self.discard(list(self.sent))
        # What comes next tells whether the generators stand where they stood.
        self.drawn("after", self.selfplay.begin_step(NUM_STEPS + 1))

    def put(self, what: str, **values: Any) -> None:
        self.lines.append(json.loads(json.dumps({"line": what} | values)))

    def held_out(self) -> None:
        """The evaluation: one item in full for each group, and the whole as a digest."""
        digest = hashlib.sha256()
        shown: set[tuple[str, ...]] = set()
        for record in self.pack.held_out():
            groups = self.pack.held_out_groups(record)
            item = {
                "groups": groups,
                "prompt": self.pack.solve_prompt(record),
                "gold": self.pack.gold_response(record),
                "key": self.pack.task_key(record),
            }
            digest.update(json.dumps(item, sort_keys=True).encode())
            if groups not in shown and len(shown) < 12:
                self.put("held-out item", **item)
            shown.add(groups)
        self.put("held-out set", size=len(self.pack.held_out()), digest=digest.hexdigest())

    def drawn(self, place: str, requests: Sequence[Request]) -> None:
        for request in requests:
            self.put("request", place=place, request=json.loads(request.to_json()))

    def settled(self, settle: Callable[..., Settlement], *arguments: Any) -> Settlement:
        """Write down what a wave of seeding or a step came to."""
        settlement = settle(*arguments)
        for line in settlement.ledger:
            self.put("ledger", **line.to_json())
        groups: dict[str, int] = {}  # uids are random; which rows share one is not
        for (index, attempt), priced in settlement.priced.items():
            group = groups.setdefault(priced.uid, len(groups))
            number = -1 if attempt is PROPOSAL else attempt  # as it was spelled at 0b3c5bd
            place = {"step": self.step, "index": index, "attempt": number}
            self.put("priced", **place, origin=parse_uid(priced.uid), group=group, reward=priced.reward)
        self.put("failed", step=self.step, num_failed=settlement.num_failed)
        if self.carries_means and self.step:
            self.put("baselines", step=self.step, cells=settlement.baselines)
        return settlement

    # ------------------------------ the driver's engine ------------------------------

    def submit(self, requests: Sequence[Request]) -> list[str]:
        seeding = f"seeding wave {self.waves}"
        self.drawn(f"step {self.step}{' second wave' * self.waves}" if self.step else seeding, requests)
        uids = [f"{self.step}.{self.waves}.{number}" for number in range(len(requests))]
        self.sent |= zip(uids, requests, strict=True)
        self.waves += 1
        return uids

    def collect(self, uids: Sequence[str]) -> dict[int, Proposal | Attempt]:
        for uid in uids:
            if uid not in self.results:
                self.results[uid] = self.runner.run(self.answer(uid))
        found = {self.sent[uid].index: self.results[uid] for uid in uids}
        return {index: result for index, result in found.items() if result is not None}

    def discard(self, uids: Sequence[str]) -> None:
        for uid in uids:
            del self.sent[uid], self.results[uid]

    def reset_claims(self, keys: Sequence[str]) -> None:
        for kind, entries in self.selfplay.buffer.state_dict().items():
            self.put("buffer", step=self.step, kind=kind, entries=entries)
        self.runner.run(self.claims.reset(list(keys)))

    async def answer(self, uid: str) -> Proposal | Attempt | None:
        request = self.sent[uid]
        step = str(self.step) if self.step else uid.rpartition(".")[0]
        generate = partial(self.model.respond, step, request)
        try:
            if request.role is Role.SOLVE:
                return (await solve(self.pack, request, generate))[0]
            return await propose_once(self.pack, request, generate, self.claims.claim, self.features)
        except GenerationFailedError:
            return None


def _other_digit(character: str, rng: random.Random) -> str:
    return rng.choice("0123456789") if character.isdecimal() and rng.random() < 0.5 else character


def _rng(*parts: object) -> random.Random:
    return random.Random(" ".join(map(str, parts)))


def read(name: str) -> list[dict[str, Any]]:
    """The lines of a recorded trace."""
    with gzip.open(HERE / f"{name}.jsonl.gz", "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def first_difference(recorded: Sequence[dict[str, Any]], found: Sequence[dict[str, Any]]) -> str:
    """Where two traces part, for a person; "" if they are the same."""
    for number, (old, new) in enumerate(itertools.zip_longest(recorded, found, fillvalue={}), start=1):
        parts = [key for key in sorted({*old, *new}) if old.get(key) != new.get(key)]
        if parts:
            shown = [
                f"  {key}\n    recorded {old.get(key)!r}\n    now      {new.get(key)!r}" for key in parts
            ]
            return "\n".join([f"line {number} ({(old or new)['line']}) differs in", *shown, f"  now: {new}"])
    return ""


@pytest.mark.parametrize("name", TRACES)
def test_self_play_does_what_it_did(name: str, tmp_path: Path) -> None:
    difference = first_difference(read(name), trace(TRACES[name], tmp_path))
    assert not difference, f"{name}: {difference}"
