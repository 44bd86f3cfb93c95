"""Made-up runs of a study."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest

from recipe.run.evaluations import Evaluation
from recipe.study.record import RunRecord, StepNumbers

Make = Callable[..., RunRecord]

GROUPS = ("easy", "easy", "hard+rare", "hard")


@pytest.fixture
def make() -> Make:
    """Build a run from the greedy answers to four tasks by step, and what else matters."""

    def build(
        arm: str,
        seed: int,
        greedy: Mapping[int, str],
        *,
        sampled: Sequence[int | None] = (None,) * 4,
        attempts: Sequence[int] = (),
        asked: Mapping[str, Any] | None = None,
        set_by_control: tuple[str, ...] = (),
        held_out: str = "d",
    ) -> RunRecord:
        evaluations = tuple(
            Evaluation(step, held_out, GROUPS, marks, 4, tuple(sampled), marks)
            for step, marks in greedy.items()
        )
        return RunRecord(
            arm=arm,
            seed=seed,
            experiment="demo",
            overrides=("azr.oversample=2",),
            own_overrides=("a=1",) if arm == "base_answers" else (),
            command="python -m recipe.main_azr",
            commit="c0ffee",
            hardware={"cores": 2, "cpu": "EPYC", "memory_gib": 15.6, "gpus": []},
            versions={"verl": "0.9.1"},
            seconds=1800.0,
            asked={"azr.propose": True, "lr": 1e-4, **(asked or {})},
            set_by_control=set_by_control,
            evaluations=evaluations,
            steps=tuple(
                StepNumbers(step, 8, 6, 1, number, 0.5, 1.5, 0.25, 3.0)
                for step, number in enumerate(attempts, 1)
            ),
        )

    return build
