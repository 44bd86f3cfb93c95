"""The rows of each chart are what the run's files say, worked out by hand for a small run (`conftest.py`)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from recipe.inspect.index import Index, open_index
from recipe.inspect.run import open_run
from recipe.report import ledger, tables
from recipe.report.tables import Table
from recipe.selfplay.metrics import held_out_metrics
from tasks.contract import Role


@pytest.fixture(scope="module")
def index(alarming: Path) -> Iterator[Index]:
    """The ledger of six steps of four proposals and four attempts."""
    with open_index(open_run(alarming)) as opened:
        yield opened


def values(rows: Table, step: int, name: str = "series") -> dict[Any, Any]:
    """What a step has: values by series, or by another column."""
    return {row[name]: row["value"] for row in rows if row["step"] == step}


# ------------------------------ of the ledger ------------------------------


def test_responses_are_counted_by_what_became_of_them(index: Index) -> None:
    proposals = ledger.statuses(index, Role.PROPOSE)
    assert values(proposals, 3) == {"accepted": 0.5, "duplicate": 0.25, "no-task": 0.25}
    assert [row["place"] for row in proposals if row["series"] == "accepted"] == [0] * 6
    assert values(ledger.statuses(index, Role.SOLVE), 3) == {"right": 0.75, "wrong-step": 0.25}


def test_rare_reasons_are_one(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger, "MOST_REASONS", 1)
    assert values(ledger.statuses(index, Role.PROPOSE), 3) == {"accepted": 0.5, "other reasons": 0.5}


def test_rewards_are_means_by_cell_with_their_interval(index: Index) -> None:
    rows = ledger.rewards(index)
    # Proposals earn 0.5, 0, -0.5 and -1; attempts 1, -0.5, 1 and 1
    assert values(rows, 1) == {"propose/deduction": -0.25, "solve/deduction": 0.625}
    (attempts,) = (row for row in rows if row["step"] == 1 and row["series"] == "solve/deduction")
    # Deviation 0.75 of 4
    assert attempts["low"] == pytest.approx(0.625 - 1.96 * 0.75 / 2)
    assert attempts["high"] == pytest.approx(0.625 + 1.96 * 0.75 / 2)


def test_tasks_are_counted_by_solve_rate(index: Index) -> None:
    rows = ledger.solve_rates(index)
    assert values(rows, 5, "row") == {"0 of 2": 0.0, "1 of 2": 0.5, "2 of 2": 0.5}
    assert values(ledger.learnable(index), 5) == {"mean solve rate": 0.75, "learnable tasks": 0.5}


def test_long_runs_have_columns_of_several_steps(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger, "MOST_COLUMNS", 2)
    rows = ledger.solve_rates(index)
    assert {(row["step"], row["end"]) for row in rows} == {(1, 4), (4, 7)}
    assert values(rows, 4, "row") == {"0 of 2": 0.0, "1 of 2": 0.5, "2 of 2": 0.5}


def test_levels_are_those_of_the_pack(index: Index) -> None:
    # Step 2: tasks 125 and 11111, so levels len-03 and len-05, which are solved half the time and always
    assert values(ledger.proposed_levels(index), 2, "row") == {"len-03": 0.5, "len-05": 0.5}
    assert values(ledger.solved_levels(index), 2, "row") == {"len-03": 0.5, "len-05": 1.0}
    found = values(ledger.frontier(index), 2)
    assert found["accepted proposals"] == 1.0  # the mean of 0 and 2
    assert found["right attempts"] == pytest.approx(4 / 3)  # one at 0, two at 2


def test_frontier_is_the_hardest_level_that_is_mostly_solved(
    index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "frontier" not in values(ledger.frontier(index), 2)  # two attempts say nothing
    monkeypatch.setattr(ledger, "FEW_ATTEMPTS", 2)
    assert values(ledger.frontier(index), 2)["frontier"] == 2.0


def test_structures_are_counted_over_the_whole_run(index: Index) -> None:
    # The pack has no word for it: 333 of the seeding, 124 and 125 are one, 1111 and 11111 another each.
    # Step 3 has 126 and 111, which are no new ones.
    found = ledger.structures(index)
    assert values(found, 0) == {"tasks": 1.0, "structures": 1.0}
    assert values(found, 1) == {"tasks": 3.0, "structures": 2.0}
    assert values(found, 2) == {"tasks": 5.0, "structures": 3.0}
    assert values(found, 3) == {"tasks": 7.0, "structures": 3.0}
    repeats = ledger.repeats(index)
    assert values(repeats, 1) == {"duplicates, of proposals": 0.25, "near duplicates, of accepted ones": 0.5}
    assert values(repeats, 3)["near duplicates, of accepted ones"] == 1.0
    assert values(repeats, 0) == {}


def test_alarms_are_listed(index: Index) -> None:
    (alarm,) = ledger.alarms(index)
    assert (alarm["step"], alarm["alarm"], alarm["action"]) == (4, "duplicates", "warn")


# ------------------------------ of the metrics ------------------------------


def test_accuracy_has_intervals_by_group_in_their_order() -> None:
    groups = ["len-9", "len-10", "len-10"]
    line = {"step": 0, **held_out_metrics(groups, [1.0, 0.0, 1.0], [1.0] * 3, 0, [1.0, 0.0, 0.5], 2)}
    rows = tables.accuracy([line, {"step": 1}])
    assert list(dict.fromkeys(row["group"] for row in rows)) == ["all", "len-9", "len-10"]
    greedy, sampled = (row for row in rows if row["group"] == "len-10")
    assert (greedy["series"], greedy["value"]) == ("greedy", 0.5)
    assert (greedy["low"], greedy["high"]) == (
        line["azr/held_out/len-10/low"],
        line["azr/held_out/len-10/high"],
    )
    assert (sampled["series"], sampled["value"], "low" in sampled) == ("mean@2", 0.25, False)


def test_ends_are_the_first_and_the_last_evaluation() -> None:
    right = {0: [0.0, 0.0], 2: [1.0, 0.0], 4: [1.0, 1.0]}
    lines = [{"step": step, **held_out_metrics(["a", "b"], found, found)} for step, found in right.items()]
    ends = [row for row in tables.ends(tables.accuracy(lines)) if row["group"] == "all"]
    assert [(row["series"], row["value"]) for row in ends] == [("before training", 0.0), ("step 4", 1.0)]


def test_phases_add_up_to_the_step() -> None:
    line = {"step": 3, "timing_s/step": 10.0, "timing_s/gen": 6.0, "timing_s/update_actor": 3.0}
    line |= {"timing_s/tiny": 0.05, "timing_s/testing": 40.0}
    rows = tables.phase_times([{"step": 0}, line])
    assert values(rows, 3) == {"gen": 6.0, "update_actor": 3.0, "rest": pytest.approx(1.0)}


def test_a_name_stands_where_its_area_is_widest() -> None:
    parts = [(step, {"a": 10.0 - step, "b": float(step), "c": 0.1}) for step in range(9)]
    named = {row["series"]: row["step"] for row in tables.stack_rows(parts) if row["named"]}
    assert named == {"a": 1, "b": 7}  # not at the ends, and not where there is no room
