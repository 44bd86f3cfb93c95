"""The reward function for any trainer of verl: verdicts and prices of self-play, or an exception."""

from __future__ import annotations

import asyncio
import json
import random
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from recipe.selfplay.rollout import CheckClock, judge_responses
from recipe.selfplay.types import Response
from rewards.profile import PROFILES, load_profile, price_attempt
from rewards.verl_reward import compute_score
from tasks.contract import CheckBrokenError, Outcome, TaskPack
from tasks.guard import PackError
from tasks.registry import load_pack

ROOT = Path(__file__).parents[2]
SEVEN = json.dumps({"kind": "deduction", "payload": {"a": 3, "op": "+", "b": 4}})
ARITHMETIC = {"_target_": "arithmetic"}

OUTSIDE = '''
"""A pack of somebody else, whose judge does what the response says."""

from tasks.arithmetic import ArithmeticPack
from tasks.contract import CheckBrokenError


class Obedient(ArithmeticPack):
    name = "obedient"
    built = 0

    def __init__(self):
        type(self).built += 1
        super().__init__()

    async def judge(self, record, response):
        if response == "break":
            raise CheckBrokenError("the sandbox is gone")
        if response == "raise":
            raise KeyError("number")
        while response == "hang":
            pass
        return await super().judge(record, response)
'''


def score(response: str, record: str = SEVEN, config: Any = ARITHMETIC, **options: Any) -> dict[str, Any]:
    """What verl gets for a response; `config` is the pack's."""
    info = {"pack": json.dumps(config), "kind": "deduction", "split": "sample", "index": 0}
    return asyncio.run(compute_score("arithmetic", response, record, info, **options))


@pytest.fixture
def outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The configuration of a pack that is no part of this repository."""
    (tmp_path / "obedient_pack.py").write_text(OUTSIDE)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{ROOT}")
    return {"_target_": "obedient_pack.Obedient"}


@pytest.mark.parametrize(
    ("profile", "malformed", "wrong", "correct"),
    [("paper", -1.0, -0.5, 1.0), ("arithmetic", -1.0, -1.0, 1.0), ("minazr", -10.0, 0.0, 10.0)],
)
def test_outcomes_have_the_prices_of_the_profile(
    profile: str, malformed: float, wrong: float, correct: float
) -> None:
    # 3 + 4 = 7
    assert score("7", profile=profile) == {"score": correct, "acc": 1.0, "outcome": "correct"}
    assert score("8", profile=profile) == {"score": wrong, "acc": 0.0, "outcome": "wrong"}
    assert score("seven", profile=profile) == {"score": malformed, "acc": 0.0, "outcome": "malformed"}


def test_the_paper_is_the_default_and_a_pack_may_be_named_alone() -> None:
    assert asyncio.run(compute_score("arithmetic", "8", SEVEN)) == score("8", profile="paper")
    assert asyncio.run(compute_score("arithmetic", "8", SEVEN, {"pack": None})) == score("8")


def test_a_wrong_answer_is_graded_where_pack_and_profile_do() -> None:
    # Off by 2: 0.4 (docs/rewards.md)
    assert score("9", profile="arithmetic_rich") == {"score": 0.4, "acc": 0.0, "outcome": "wrong"}


def test_the_random_control_ignores_the_outcome() -> None:
    drawn = {score("7", profile="random")["score"] for _ in range(60)}
    assert drawn == {-1.0, -0.5, 1.0}  # one is missing with probability 3 * (2/3)^60


def some_responses(pack: TaskPack) -> list[str]:
    """Right answers to a few tasks of a pack, and what is none."""
    tasks = pack.held_out()
    right = [pack.gold_response(record) for record in tasks[:: len(tasks) // 6]]
    worked = pack.worked_response(tasks[0])
    return [*right, worked, f"{right[0]}x", "", "<answer>", "7", "\x00{" * 9]


@pytest.mark.parametrize("name", ["arithmetic", "math_word", "prime_inversion", "python_code"])
def test_every_pack_is_judged_and_priced_as_in_self_play(name: str) -> None:
    """python_code runs its programs in a real sandbox."""
    pack = load_pack(name)
    records = [next(one for one in pack.held_out() if one.kind == spec.name) for spec in pack.kinds]
    differences, outcomes = [], set()
    for record in records:
        ground_truth = record.to_json()
        texts = list(dict.fromkeys([pack.gold_response(record), *some_responses(pack)]))
        attempts = asyncio.run(judge_responses(pack, record, list(map(Response, texts)), CheckClock()))
        assert [attempt.response.text for attempt in attempts] == texts
        for attempt in attempts:
            outcomes.add(attempt.outcome)
            for profile in ("paper", "azr_code"):
                reward = price_attempt(load_profile(profile), attempt.outcome, None, attempt.measures)
                expected = {
                    "score": reward,
                    "acc": float(attempt.outcome is Outcome.CORRECT),
                    "outcome": attempt.outcome,
                }
                found = score(attempt.response.text, ground_truth, name, profile=profile)
                if found != expected:
                    differences.append((record, attempt, found))
    assert differences == []
    assert outcomes == set(Outcome)


FORMS: list[tuple[str, dict[str, Any], str]] = [
    ("arithmetic", {}, "arithmetic_rich"),
    ("arithmetic", {"prompts": "base"}, "arithmetic"),
    ("arithmetic", {"terse": True}, "minazr"),
    ("prime_inversion", {}, "prime_inversion"),
    ("math_word", {}, "paper"),
    ("math_word", {"tags": "answer"}, "minazr"),
    ("math_word", {"extraction": "flexible"}, "paper"),
    ("python_code", {}, "paper_accuracy"),
    ("python_code", {"tags": "answer"}, "azr_code"),
    ("python_code", {"terse": True}, "paper"),
]


@pytest.mark.parametrize(("name", "knobs", "profile"), FORMS)
def test_what_a_model_says_behind_its_answer_changes_nothing(
    name: str, knobs: dict[str, Any], profile: str
) -> None:
    """Self-play ends a response at a stop string of the pack; verl's trainer does not."""
    pack, config = load_pack({"_target_": name, **knobs}), {"_target_": name, **knobs}
    rng = random.Random(0)
    differences, count = [], 0
    for kind in [spec.name for spec in pack.kinds]:
        task, other = (pack.sample_record(kind, rng) for _ in range(2))
        right, wrong = pack.gold_response(task), pack.gold_response(other)
        begin = [right, wrong, f"{right}x", "</answer>", "<answer>", "", right.replace("</answer>", "")]
        turn = f"\nUser: {pack.solve_prompt(other)[-1]['content']}\nAssistant: "
        texts = [first + then for first in begin for then in ("", f"\n{wrong}", turn + right, turn + wrong)]
        ended = [self_play_would_have(text, pack.stop_strings) for text in texts]
        attempts = asyncio.run(judge_responses(pack, task, list(map(Response, ended)), CheckClock()))
        for text, attempt in zip(texts, attempts, strict=True):
            reward = price_attempt(load_profile(profile), attempt.outcome, None, attempt.measures)
            found = score(text, task.to_json(), config, profile=profile)
            count += 1
            if (found["score"], found["outcome"]) != (reward, attempt.outcome):
                differences.append((text, attempt, found))
    assert differences == []
    assert count == 28 * len(pack.kinds)


def self_play_would_have(text: str, stop_strings: Sequence[str]) -> str:
    """The shortest beginning of a text that holds one of these strings, as in recipe/engine/ending.py."""
    beginnings = (text[:count] for count in range(len(text) + 1))
    return next((each for each in beginnings if any(mark in each for mark in stop_strings)), text)


def test_a_pack_is_built_once_a_process(outside: dict[str, str]) -> None:
    for response in ("7", "8", "7"):
        score(response, config=outside)
    assert sys.modules["obedient_pack"].Obedient.built == 1


# What is no reward


def test_a_broken_sandbox_is_no_reward(outside: dict[str, str]) -> None:
    with pytest.raises(CheckBrokenError, match="the sandbox is gone"):
        score("break", config=outside)


def test_a_fault_of_the_pack_is_no_reward(outside: dict[str, str]) -> None:
    with pytest.raises(PackError, match=r"pack obedient: judge\(.*\) raised KeyError: 'number'"):
        score("raise", config=outside)


def test_a_pack_that_never_returns_ends_the_worker(outside: dict[str, str]) -> None:
    call = f"compute_score('', 'hang', {SEVEN!r}, {{'pack': {json.dumps(outside)!r}}}, deadline_s=0.2)"
    program = f"import asyncio\nfrom rewards.verl_reward import compute_score\nasyncio.run({call})"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert done.stderr.startswith("error: pack obedient: judge(TaskRecord(kind='deduction'")
    assert done.stderr.endswith("did not return within 0.2 s\n")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"profile": "papre"},
            f"reward_kwargs.profile must be one of {', '.join(sorted(PROFILES))}; got 'papre'",
        ),
        ({"profile": "paper_accuracy"}, "grades wrong attempts by share, which the pack arithmetic does not"),
        ({"record": "7"}, "ground_truth must be a task's record as JSON"),
        ({"record": "seven"}, "ground_truth must be a task's record as JSON"),
        ({"record": '{"kind": "deduction", "payload": NaN}'}, "ground_truth must be a task's record as JSON"),
        ({"record": '{"kind": "theft", "payload": {}}'}, "kind must be one of deduction, .*; got 'theft'"),
        ({"config": {"_target_": "arithmetics"}}, "pack must name a task pack; got 'arithmetics'"),
    ],
)
def test_mistakes_are_said(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        score("7", **options)


def test_an_option_that_there_is_not_is_refused() -> None:
    with pytest.raises(TypeError, match="'profil'"):
        score("7", profil="minazr")


def test_a_reward_model_beside_it_changes_nothing() -> None:
    asked = score("7", reward_router_address="10.0.0.1:8000", reward_model_tokenizer=object())
    assert asked == score("7")
