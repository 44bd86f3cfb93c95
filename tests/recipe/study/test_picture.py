"""The report of a study comes out, with pictures that are large enough to be read."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from recipe.study.__main__ import write_report
from recipe.study.picture import accuracy_panels, proposer_panels
from recipe.study.record import write_record


@pytest.fixture
def folder(make, tmp_path: Path) -> Path:
    runs = [
        make("self_play", 1, {0: "1000", 2: "1100", 4: "1110"}, attempts=[40, 40, 40, 40]),
        make("self_play", 2, {0: "1000", 2: "1000", 4: "1111"}, attempts=[40, 40, 40, 40]),
        make("random", 1, {0: "1000", 2: "0000", 4: "1000"}, attempts=[40, 40, 40, 40]),
        make("base_answers", 1, {0: "1100"}),
    ]
    for run in runs:
        write_record(tmp_path, run)
    return tmp_path


def test_everything_is_made_from_the_files_alone(folder: Path) -> None:
    write_report(folder)
    made = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    assert sorted(made) == [
        "README.md",
        "arms.csv",
        "comparisons.csv",
        "curves.svg",
        "overview.svg",
        "proposals.csv",
        "results.csv",
        "steps.csv",
    ]
    for name in ("curves", "overview"):
        text = made[f"{name}.svg"].decode()
        width, height = map(float, re.findall(r'(?:width|height)="([0-9.]+)pt"', text)[:2])
        assert 400 <= width <= 1200 and 200 <= height <= 1600
        assert all(f">{word}</text>" in text for word in ("training step", "self_play", "random"))
    assert ">greedy (%)</text>" in made["curves.svg"].decode()


def test_panels_by_hand(make) -> None:
    """All tasks, and three groups: the rare one is the third task. Of both seeds."""
    runs = [make("self_play", 1, {0: "1000", 2: "0110"}), make("self_play", 2, {0: "0000", 2: "0010"})]
    everything, *groups = accuracy_panels(runs, "greedy")
    assert everything.curves == {"self_play": {0: [25.0, 0.0], 2: [50.0, 25.0]}}
    assert [panel.title for panel in groups] == ["easy", "hard", "rare"]
    assert groups[2].curves["self_play"][2] == [100.0, 100.0]


def test_arms_that_propose_nothing_are_in_no_panel_of_proposals(make) -> None:
    (level, learnable) = proposer_panels([make("self_play", 1, {0: "1111"}, attempts=[4, 4])])
    assert level.curves == {"self_play": {1: [1.5], 2: [1.5]}}
    assert learnable.curves == {"self_play": {1: [50.0], 2: [50.0]}}
    assert proposer_panels([make("base_answers", 1, {0: "1111"})]) == []
