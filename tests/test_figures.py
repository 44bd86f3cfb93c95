"""Every accuracy in README.md and docs/results.md is one that `recipe.study` wrote.

A block of text behind `<!-- study: NAME -->`, up to the next empty line, is about `docs/studies/NAME`. A row
of a table that begins with an arm may have only that arm's figures, other text those of any arm.
"""

from __future__ import annotations

import csv
import re
import shutil
from pathlib import Path

import pytest

from recipe.selfplay.intervals import CONFIDENCE
from recipe.study.__main__ import REPORT, write_report
from recipe.study.table import FRONTIER_SHARES

ROOT = Path(__file__).parents[1]
STUDIES = sorted(path.parent for path in (ROOT / "docs" / "studies").glob("*/runs"))
TABLES = ("arms.csv", "comparisons.csv", "proposals.csv", "results.csv", "steps.csv")
WITH_FIGURES = ("arms.csv", "comparisons.csv", "proposals.csv")

# Chosen and not measured: how sure an interval is, and what the frontier is.
CHOSEN = f"{CONFIDENCE:.0%}".replace("%", " %")
FRONTIER = "{:.0f} to {:.0f} %".format(*(100 * share for share in FRONTIER_SHARES))

MARK = re.compile(r"<!-- study: (\w+) -->\n((?:.+\n)+)")
FIGURE = re.compile(r"[-+]?\d+\.\d+")
SHARE = re.compile(r"\d+(\.\d+)? ?(%|points)")


def figures_of(study: Path) -> dict[str, set[str]]:
    """The figures in a study's tables, by arm."""
    found: dict[str, set[str]] = {}
    for name in WITH_FIGURES:
        for row in csv.DictReader((study / name).read_text().splitlines()):
            found.setdefault(row["arm"], set()).update(filter(FIGURE.fullmatch, row.values()))
    return found


def unknown_figures(text: str, studies: Path) -> list[str]:
    """Figures of marked blocks that their study has not, and shares outside of any block."""
    outside = MARK.sub("", text).replace(CHOSEN, "").replace(FRONTIER, "")
    unknown = [f"outside: {found[0]}" for found in SHARE.finditer(outside)]
    for block in MARK.finditer(text):
        known = figures_of(studies / block[1])
        for line in block[2].splitlines():
            arm = re.match(r"\| `?(\w+)`?", line)
            of_line = known.get(arm[1], set()) if arm else set().union(*known.values())
            found = (figure.removeprefix("+") for figure in FIGURE.findall(line))
            unknown += [f"{block[1]}: {figure} in {line}" for figure in found if figure not in of_line]
    return unknown


@pytest.mark.parametrize("study", STUDIES, ids=lambda study: study.name)
def test_a_study_is_what_its_runs_say(study: Path, tmp_path: Path) -> None:
    shutil.copytree(study / "runs", tmp_path / "runs")
    write_report(tmp_path)
    for name in (REPORT, *TABLES):
        assert (tmp_path / name).read_text() == (study / name).read_text(), name


@pytest.mark.parametrize("page", ["README.md", "docs/results.md"])
def test_every_figure_is_of_a_study(page: str) -> None:
    text = (ROOT / page).read_text()
    assert MARK.search(text), f"{page} shows no study"
    assert unknown_figures(text, ROOT / "docs" / "studies") == []


def test_a_figure_of_no_study_is_found(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "arms.csv").write_text("arm,num_seeds,after\nself_play,3,41.5\nrandom,3,20.1\n")
    (tmp_path / "a" / "comparisons.csv").write_text("arm,self_play_less_arm\nrandom,21.4\n")
    (tmp_path / "a" / "proposals.csv").write_text("arm,level_last\n")
    good = "<!-- study: a -->\n| arm | after |\n| `random` | 20.1 % | +21.4 |\nSelf-play: 41.5 %.\n\nRest.\n"
    assert unknown_figures(good, tmp_path) == []
    assert unknown_figures(good.replace("20.1", "41.5"), tmp_path) == [
        "a: 41.5 in | `random` | 41.5 % | +21.4 |"
    ]
    assert unknown_figures(good.replace("Rest", "It gains 21.4 points"), tmp_path) == ["outside: 21.4 points"]
