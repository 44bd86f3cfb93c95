"""Several runs, and a study: an arm's line is the mean over its runs, its band from the least to the most."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from recipe.report.comparing import OVERLAYS, Compared, arm_of, compare, overlay_rows
from recipe.report.contents import read_contents
from recipe.report.page import html_of
from recipe.report.tables import Table, series_rows
from recipe.run.evaluations import Evaluation
from recipe.study.record import RunRecord, StepNumbers, write_record

(ACCURACY, GROUPS), (REWARDS, *_) = (overlays for *_, overlays in OVERLAYS)


def run(arm: str, seed: int, rewards: dict[int, float]) -> Compared:
    """A run with the rewards of one cell."""
    rows = series_rows({"solve/deduction": sorted(rewards.items())})
    return Compared(f"{arm}-{seed}", arm, seed, {"rewards": rows})


def curve(rows: Table, arm: str) -> list[tuple[Any, ...]]:
    return [
        (row["step"], row["value"], row.get("low"), row.get("high")) for row in rows if row["series"] == arm
    ]


def test_an_arm_is_the_mean_of_its_runs() -> None:
    runs = [run("self_play", 1, {1: 0.0, 2: 1.0}), run("self_play", 2, {1: 0.5}), run("a", 1, {1: 0.25})]
    rows = overlay_rows(runs, ["self_play", "a"], REWARDS)
    assert curve(rows, "self_play") == [(1, 0.25, 0.0, 0.5), (2, 1.0, None, None)]
    assert curve(rows, "a") == [(1, 0.25, None, None)]
    assert {row["panel"] for row in rows} == {"solve/deduction"}
    assert {row["series"]: row["place"] for row in rows} == {"self_play": 0, "a": 1}


def test_an_evaluation_alone_is_a_line_across() -> None:
    runs = [run("self_play", 1, {0: 0.5, 4: 0.75}), run("base_forced", 1, {0: 0.25})]
    rows = overlay_rows(runs, ["self_play", "base_forced"], REWARDS)
    assert curve(rows, "base_forced") == [(0, 0.25, None, None), (4, 0.25, None, None)]


def test_a_chart_that_no_run_has_is_left_out() -> None:
    sections, rows = compare([run("a", 1, {1: 0.0}), run("b", 1, {1: 0.0})])
    assert [chart.name for section in sections for chart in section.charts] == ["compared-rewards"]
    assert rows.keys() == {"compared-rewards"}


@pytest.mark.parametrize(
    ("name", "seed", "arm"),
    [
        ("self_play-1", 1, "self_play"),
        ("self_play-1", 2, "self_play-1"),
        ("demo", 1, "demo"),
        ("-1", 1, "-1"),
    ],
)
def test_arm_is_in_the_name_of_a_studys_run(name: str, seed: int, arm: str) -> None:
    assert arm_of(name, seed) == arm


def test_groups_are_compared_by_sampled_answers_where_all_have_them(make_run: Callable[..., Path]) -> None:
    runs = [make_run("b-1", num_right=2), make_run("self_play-1", num_right=6)]
    contents = read_contents(runs)
    assert [part.name for part in contents.runs] == ["self_play-1", "b-1"]
    rows = [row for row in contents.compared_tables["compared-groups"] if row["step"] == 6]
    # len-03 is right in both, len-09 and len-10 in one alone
    assert {(row["panel"], row["series"]): row["value"] for row in rows} == {
        ("len-03", "self_play"): 1.0,
        ("len-03", "b"): 1.0,
        ("len-09", "self_play"): 1.0,
        ("len-09", "b"): 0.0,
        ("len-10", "self_play"): 1.0,
        ("len-10", "b"): 0.0,
    }
    assert contents.summary[1] == [
        "self_play-1",
        "self_play",
        "1",
        "6 of 6, no result yet",
        "33.3%",
        "100.0%",
        "0",
    ]


def test_runs_share_the_room_for_responses(make_run: Callable[..., Path]) -> None:
    contents = read_contents([make_run("a"), make_run("b")])
    found = [part.responses["left_out"] for part in contents.runs if part.responses]
    assert all(said.startswith("All 49 responses") for said in found)
    assert len(found) == 2


# ------------------------------ a study ------------------------------


def record(arm: str, seed: int, greedy: str) -> RunRecord:
    """A run of a study: four tasks before and after two steps, solved as `greedy` says after them."""
    groups = ("easy", "easy", "hard", "hard")
    evaluations = tuple(
        Evaluation(step, "d", groups, marks, 4, (None,) * 4, "1111")
        for step, marks in ((0, "1000"), (2, greedy))
    )
    return RunRecord(
        arm=arm,
        seed=seed,
        experiment="demo",
        overrides=(),
        own_overrides=(),
        command="python -m recipe.main_azr",
        commit="c0ffee",
        hardware={"cores": 2, "cpu": "EPYC", "memory_gib": 15.6, "gpus": []},
        versions={},
        seconds=60.0,
        asked={"lr": 1e-4, "azr.propose": arm},
        set_by_control=("azr.propose",),
        evaluations=evaluations,
        steps=tuple(StepNumbers(step, 8, 6, 1, 12, 0.5, 1.5, 0.25, 3.0) for step in (1, 2)),
    )


def test_study_is_shown_with_its_verdict(tmp_path: Path, read_page: Callable[[str], Any]) -> None:
    for one in (record("self_play", 1, "1110"), record("self_play", 2, "1100"), record("random", 1, "1000")):
        write_record(tmp_path, one)
    contents = read_contents([tmp_path])
    rows = contents.compared_tables["compared-accuracy"]
    assert curve(rows, "self_play") == [(0, 0.25, 0.25, 0.25), (2, 0.625, 0.5, 0.75)]
    assert curve(contents.compared_tables["compared-proposals"], "random")[0][:2] == (1, 0.75)
    assert contents.notes[0].startswith("All held-out tasks: self-play ties with random (greedy).")
    assert [row[0] for row in contents.summary] == ["arm", "self_play", "random"]
    page = read_page(html_of(contents))
    assert page.data["runs"] == []
    assert "Give the directories of its runs to browse their tasks." in page.text
