"""A run's file in a study: what the ledger says of a step, and which runs may stand beside each other."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from recipe.run import files as outputs
from recipe.study import StudyError
from recipe.study.record import (
    StepNumbers,
    path_of,
    read_records,
    read_steps,
    require_same_settings,
    require_same_tasks,
    write_record,
)
from tasks.arithmetic import ArithmeticPack


class Levelled(ArithmeticPack):
    """Has levels of deduction alone."""

    def levels(self, kind: str) -> tuple[str, ...]:
        return ("easy", "medium", "hard") if kind == "deduction" else ()

    def difficulty(self, record: Any) -> str:
        return str(record.payload["difficulty"])


def proposal(step: int, kind: str, difficulty: str | None, **values: Any) -> dict[str, Any]:
    record = None if difficulty is None else {"difficulty": difficulty}
    line = {"step": step, "role": "propose", "kind": kind, "reason": "", "solve_rate": None, "reward": None}
    return {**line, "record": record, "prompt": [], "response": "", **values}


def attempt(step: int, reward: float | None) -> dict[str, Any]:
    return {"step": step, "role": "solve", "kind": "deduction", "reason": "", "reward": reward, "record": {}}


def test_step_by_hand(tmp_path: Path) -> None:
    """Seeding is no step. Of four accepted tasks three were attempted and one of these solved sometimes; two
    have a level, 0 and 2; rewards are 0.5, 1 and -0.5; one of three attempts is not trained on."""
    ledger = [
        proposal(0, "deduction", "hard", reward=9.0),
        proposal(1, "deduction", "easy", solve_rate=0.5, reward=0.5),
        proposal(1, "deduction", "hard", solve_rate=0.0, reward=1.0),
        proposal(1, "abduction", "hard", solve_rate=1.0),
        proposal(1, "abduction", "easy"),
        proposal(1, "deduction", None, reason="duplicate", reward=-0.5),
        *(attempt(1, reward) for reward in (1.0, -0.5, None)),
        # No response
        {"step": 1, "role": "alarm", "alarm": "duplicates", "value": 1.0, "sentence": "", "action": "warn"},
        attempt(2, 1.0),
    ]
    metrics = [{"step": 0}, {"step": 1, "timing_s/step": 4.5678}, {"step": 2, "timing_s/step": 5.0}]
    for name, lines in ((outputs.LEDGER, ledger), (outputs.METRICS, metrics)):
        (tmp_path / name).write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    assert read_steps(tmp_path, Levelled()) == [
        StepNumbers(
            step=1,
            proposals=5,
            accepted=4,
            duplicates=1,
            attempts=2,
            learnable=0.3333,
            level=1.0,
            proposer_reward=0.3333,
            seconds=4.57,
        ),
        StepNumbers(2, 0, 0, 0, 1, learnable=None, level=None, proposer_reward=None, seconds=5.0),
    ]


def test_a_file_is_read_back_as_it_was_written(make, tmp_path: Path) -> None:
    runs = [
        make(
            "random", 1, {0: "1-01", 4: "1111"}, sampled=(4, 0, None, 2), attempts=[3], set_by_control=("a",)
        ),
        make("random", 10, {0: "1111"}),
        make("random", 2, {0: "1111"}),
    ]
    for run in runs:
        write_record(tmp_path, run)
    assert read_records(tmp_path) == [runs[0], runs[2], runs[1]]


def test_what_is_no_run_is_told_with_its_file(tmp_path: Path) -> None:
    path = path_of(tmp_path, "random-1")
    path.parent.mkdir()
    path.write_text('{"arm": "random"}')
    with pytest.raises(StudyError, match=r"random-1\.json must be the file of a run; KeyError"):
        read_records(tmp_path)


def test_arms_may_differ_in_what_their_controls_set(make) -> None:
    other = make("seeds_only", 1, {0: "1111"}, asked={"azr.propose": False}, set_by_control=("azr.propose",))
    require_same_settings([make("self_play", 1, {0: "1111"}), other, make("self_play", 2, {0: "1111"})])


@pytest.mark.parametrize(
    ("arm", "asked", "said"),
    [
        ("random", {"lr": 2e-4}, "lr is 0.0001 in seeds_only-1 and 0.0002 in random-2"),
        # What a control sets is the same in all its runs.
        (
            "seeds_only",
            {"azr.propose": False},
            "azr.propose is True in seeds_only-1 and False in seeds_only-2",
        ),
    ],
)
def test_runs_of_other_settings_are_refused_by_key(make, arm: str, asked: dict[str, Any], said: str) -> None:
    sets = ("azr.propose",)
    runs = [
        make("seeds_only", 1, {0: "1111"}, set_by_control=sets),
        make(arm, 2, {0: "1111"}, asked=asked, set_by_control=sets),
    ]
    with pytest.raises(StudyError) as refusal:
        require_same_settings(runs)
    assert str(refusal.value).endswith(f"must differ in what their controls set alone; {said}")


def test_key_that_the_code_gained_is_none_of_what_was_asked(make) -> None:
    before, after = make("random", 1, {0: "1111"}), make("random", 2, {0: "1111"}, asked={"new": 1})
    require_same_settings([before, after])
    with pytest.raises(StudyError, match="new is None in random-1 and 1 in random-2"):
        require_same_settings([before, replace(after, overrides=("+new=1",))])


def test_other_held_out_tasks_are_refused_by_run(make) -> None:
    runs = [make("self_play", 1, {0: "1111"}), make("random", 1, {0: "1111"}, held_out="e")]
    with pytest.raises(StudyError, match=r"^self_play-1 and random-1 .* are d and e$"):
        require_same_tasks(runs)
