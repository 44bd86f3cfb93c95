"""Advantages from the ledger are those of the estimator."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from recipe.inspect.advantage import Advantage, Advantages
from recipe.inspect.entries import read_entries
from recipe.inspect.index import open_index
from recipe.inspect.run import open_run

MakeRun = Callable[..., Path]
Line = Callable[..., dict[str, Any]]
TRR = {
    "cells": "role-kind",
    "baseline": "cell-mean",
    "scale": "std",
    "statistics": "sequence",
    "proposer_share": None,
}
ANY_PACK = {"_target_": "tasks.chain.ChainPack"}


def advantages(folder: Path) -> list[Advantage]:
    """Of every response of step 1 with a reward, in the ledger's order."""
    with open_index(open_run(folder)) as index:
        found = Advantages(index)
        entries = read_entries(index, "one.step = 1 AND one.reward IS NOT NULL", {})
        return [found.of(entry) for entry in entries]


def algorithm(**trr: Any) -> dict[str, Any]:
    return {"adv_estimator": "trr_plus_plus", "use_kl_in_reward": False, "trr": TRR | trr}


def test_by_hand(make_run: MakeRun, line: Line) -> None:
    # Mean 0.5 and unbiased variance ((0.5)^2 + 0 + (0.5)^2) / 2 = 0.25 of three proposals; one attempt alone.
    lines = [line(1, index, reward=reward) for index, reward in enumerate([0.0, 0.5, 1.0])]
    lines += [line(1, 2, 0, reward=1.0), line(1, 3), line(2, 0)]
    first, middle, last, attempt = advantages(make_run(lines, pack=ANY_PACK))
    assert (first.value, middle.value, last.value) == (pytest.approx(-1), 0.0, pytest.approx(1))
    assert (first.rewards, first.mean, first.deviation) == (3, 0.5, pytest.approx(0.5))
    assert (attempt.value, attempt.rewards) == (0.0, 1)


def test_a_role_has_its_share_of_the_loss(make_run: MakeRun, line: Line) -> None:
    # Two proposals and four attempts, without a scale: half of six rows are 3, of two 1.5 each, of four 0.75.
    lines = [line(1, index, reward=float(index)) for index in range(2)]
    lines += [line(1, 1, number, reward=float(number % 2)) for number in range(4)]
    run = make_run([*lines, line(2, 0)], pack=ANY_PACK, algorithm=algorithm(scale="none", proposer_share=0.5))
    found = advantages(run)
    assert [one.value for one in found] == [-0.75, 0.75, -0.375, 0.375, -0.375, 0.375]
    assert [one.weight for one in found] == [1.5, 1.5, 0.75, 0.75, 0.75, 0.75]
    assert found[0].deviation is None


@pytest.mark.slow  # it loads torch and verl
@pytest.mark.parametrize("scale", ["std", "none"])
@pytest.mark.parametrize("share", [None, 0.5])
def test_they_are_the_estimators(make_run: MakeRun, line: Line, scale: str, share: float | None) -> None:
    import torch
    from omegaconf import OmegaConf

    from recipe.engine.estimator import trr_plus_plus
    from recipe.selfplay.credit import make_uid

    rng = random.Random(1)
    lines, uids, rewards = [], [], []
    for index in range(30):
        kind = rng.choice(["deduction", "abduction"])
        for attempt in (None, 0, 1):
            reward = rng.choice([-1.0, -0.5, 0.125, 0.875, 1.0])
            lines.append(line(1, index, attempt, kind=kind, reward=reward))
            uids.append(make_uid("propose" if attempt is None else "solve", kind))
            rewards.append(reward)
    given = algorithm(scale=scale, proposer_share=share)
    run = make_run([*lines, line(2, 0)], pack=ANY_PACK, algorithm=given)
    config = OmegaConf.create({"gamma": 1.0, "trr": given["trr"]})
    wanted, _ = trr_plus_plus(torch.tensor(rewards)[:, None], torch.ones(90, 1), uids, config)
    assert [found.value for found in advantages(run)] == pytest.approx(wanted[:, 0].tolist(), abs=1e-5)


@pytest.mark.parametrize(
    ("given", "why"),
    [
        (algorithm(baseline="running-mean", scale="none"), "running-mean over earlier steps"),
        (algorithm(statistics="token"), "over tokens"),
        (algorithm() | {"use_kl_in_reward": True}, "algorithm.use_kl_in_reward"),
        (algorithm() | {"adv_estimator": "grpo"}, "estimator is grpo"),
    ],
)
def test_where_the_ledger_does_not_decide_them_it_says_why(
    make_run: MakeRun, line: Line, given: dict[str, Any], why: str
) -> None:
    (found,) = advantages(make_run([line(1, 0, reward=1.0), line(2, 0)], pack=ANY_PACK, algorithm=given))
    assert found.value is None
    assert why in found.why


def test_a_step_that_is_still_being_written_has_none_yet(make_run: MakeRun, line: Line) -> None:
    run = make_run([line(1, 0, reward=1.0), line(1, 1, reward=0.0)], pack=ANY_PACK)
    assert [found.value for found in advantages(run)] == [None, None]
    (run / "metrics.jsonl").write_text('{"step": 1}\n')  # written behind the step's lines
    assert [found.value for found in advantages(run)] == pytest.approx([0.5**0.5, -(0.5**0.5)])
