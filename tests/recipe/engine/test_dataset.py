"""Which held-out tasks are asked."""

from __future__ import annotations

import pytest


@pytest.mark.parametrize(
    ("max_samples", "asked"),
    [(-1, [*range(10)]), (4, [0, 2, 5, 7]), (1, [0]), (0, []), (10, [*range(10)]), (99, [*range(10)])],
)
def test_fewer_held_out_tasks_are_an_even_spread_over_the_set(max_samples: int, asked: list[int]) -> None:
    # 4 of 10: the items at i * 10 // 4
    from recipe.engine.dataset import even_spread  # torch: seconds

    assert even_spread(range(10), max_samples) == asked
