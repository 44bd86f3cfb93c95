"""What a step does by its keys, and how much of it."""

from __future__ import annotations

from typing import Any

import pytest

from recipe.selfplay.config import AzrConfig, SolveOn
from recipe.selfplay.plan import StepPlan


@pytest.mark.parametrize(
    ("keys", "prompts", "responses", "rows"),
    [
        # 3 kinds, 16 proposals, 6 attempts at each.
        ({}, 16, 16 + 96, 16 + 96),
        ({"replay_per_kind": 4}, 16 + 4, 16 + 100, 16 + 100),
        ({"oversample": 2.0}, 32, 32 + 96, 32 + 96),
        # 1.1 times 10 are 11 proposals, 1.15 times 10 are 12; 10 are attempted as ever.
        ({"oversample": 1.1, "proposals_per_kind": 10}, 11, 11 + 60, 11 + 60),
        ({"oversample": 1.15, "proposals_per_kind": 10}, 12, 12 + 60, 12 + 60),
        ({"train_proposer": False}, 16, 16 + 96, 96),
        # The attempts that estimate are not those that are trained on.
        ({"solve_on": "fresh"}, 16 + 16, 16 + 96 + 16, 16 + 16),
        ({"solve_on": "previous"}, 16 + 16, 16 + 96 + 16, 16 + 16),
        ({"solve_on": "fresh", "oversample": 2.0}, 32 + 16, 32 + 96 + 16, 32 + 16),
        ({"solve_on": "fresh", "train_proposer": False}, 16 + 16, 16 + 96 + 16, 16),
        ({"tasks": "buffer"}, 96, 96, 96),
        ({"tasks": "buffer", "solve_on": "fresh"}, 16, 16, 16),
    ],
    ids=str,
)
def test_counts_of_a_step_by_hand(keys: dict[str, Any], prompts: int, responses: int, rows: int) -> None:
    plan = StepPlan.of(
        AzrConfig(**({"proposals_per_kind": 16, "attempts_per_record": 6} | keys)), num_kinds=3
    )
    assert (plan.prompts, plan.responses, plan.rows) == (3 * prompts, 3 * responses, 3 * rows)


@pytest.mark.parametrize(
    ("keys", "step_before", "second_wave", "trains_attempts"),
    [
        ({}, False, False, True),
        ({"solve_on": "previous"}, True, False, False),
        ({"solve_on": "fresh"}, False, True, False),
        *[({"solve_on": name.value, "tasks": "buffer"}, False, False, False) for name in SolveOn],
    ],
    ids=str,
)
def test_flow_of_a_step(
    keys: dict[str, Any], step_before: bool, second_wave: bool, trains_attempts: bool
) -> None:
    plan = StepPlan.of(AzrConfig(**keys), num_kinds=3)
    assert (plan.solves_step_before, plan.has_second_wave) == (step_before, second_wave)
    assert plan.trains_attempts == trains_attempts


def test_unknown_choice_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^azr\.solve_on must be one of .*; got 'no'$"):
        StepPlan.of(AzrConfig(solve_on="no"), num_kinds=3)
