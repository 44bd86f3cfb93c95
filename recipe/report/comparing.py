"""Runs on top of each other: what the arms of some runs have in common, as rows of charts.

A line is the mean over an arm's runs, its band from the least to the most. What is compared are the tables of
each run's own charts (`one_run.py`), so a number means the same in both places.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from recipe.report.charts import SHARE, Chart, Measure, lines
from recipe.report.page import Section
from recipe.report.tables import GREEDY, Table, series_rows

SELF_PLAY = "self_play"
"""The arm that comes first."""


@dataclass(frozen=True, slots=True)
class Compared:
    """A run among others."""

    name: str
    arm: str
    seed: int
    tables: Mapping[str, Table]  # of its own charts


def arm_of(name: str, seed: int) -> str:
    """The arm of a run directory: a study calls it `ARM-SEED`. Another one is an arm of its own."""
    match = re.fullmatch(r"(.+)-(\d+)", name)
    return match[1] if match is not None and int(match[2]) == seed else name


def arms_in_order(runs: Iterable[Compared]) -> list[str]:
    """The arms of runs, self-play first."""
    return sorted({run.arm for run in runs}, key=lambda arm: (arm != SELF_PLAY, arm))


@dataclass(frozen=True, slots=True)
class Overlay:
    """A chart of several runs: panels that each show one series of a table of the runs' own."""

    chart: Chart
    source: str  # the table
    series: tuple[str, ...] = ()  # those that are shown; none: all
    panel: str = "series"  # column of the table that names the panel


PANEL = "panel"


def _overlay(
    name: str, title: str, about: str, measure: Measure, source: str, series: tuple[str, ...] = ()
) -> Overlay:
    chart = Chart(f"compared-{name}", title, about, lines(measure, has_band=True), panel=PANEL)
    return Overlay(chart, source, series)


ACCURACY = Measure("held-out accuracy", SHARE, most=1)
PERCENT = Measure("share", SHARE, most=1)

OVERLAYS: tuple[tuple[str, str, str, tuple[Overlay, ...]], ...] = (
    (
        "compared-held-out",
        "Held-out accuracy, compared",
        "Which arm gets better at tasks that it never trains on?",
        (
            _overlay(
                "accuracy",
                "All held-out tasks",
                "Share that is solved; mean over seeds, band from the least to the most.",
                ACCURACY,
                "accuracy",
            ),
            Overlay(
                Chart(
                    "compared-groups",
                    "Each group",
                    "Of sampled answers (mean@k) where every run has them, else of greedy ones.",
                    lines(ACCURACY, has_band=True),
                    panel=PANEL,
                ),
                "accuracy-groups",
                panel="group",
            ),
        ),
    ),
    (
        "compared-training",
        "Training, compared",
        "What did the arms do differently?",
        (
            _overlay(
                "rewards",
                "Reward by cell",
                "Mean of what is trained on.",
                Measure("reward", ".2f"),
                "rewards",
            ),
            _overlay(
                "proposals",
                "Proposals",
                "Accepted ones and duplicates, of all.",
                PERCENT,
                "proposals",
                ("accepted", "duplicate"),
            ),
            _overlay("attempts", "Attempts", "Right ones, of all.", PERCENT, "attempts", ("right",)),
            _overlay(
                "learnable",
                "Solve rates",
                "Of accepted tasks; learnable are those that are solved sometimes and not always.",
                PERCENT,
                "learnable",
            ),
            _overlay(
                "frontier",
                "Levels",
                "Mean level of accepted proposals and of right attempts, and the hardest level that is "
                "solved half the time.",
                Measure("level (0: easiest)", ".1f"),
                "frontier",
            ),
            _overlay(
                "repeats",
                "Duplicates and near duplicates",
                "Refused since the task is there, and accepted with a structure that was there.",
                PERCENT,
                "repeats",
            ),
            _overlay("lengths", "Response lengths", "Mean tokens.", Measure("tokens", ",.0f"), "lengths"),
            _overlay(
                "seconds", "Time of a step", "Without validation.", Measure("seconds", ".1f"), "seconds"
            ),
            _overlay("buffer", "Buffer", "Records by kind of task.", Measure("records", ",.0f"), "buffer"),
        ),
    ),
)
"""Sections: their anchor, title, what they answer, and their charts."""


def compare(runs: Sequence[Compared]) -> tuple[list[Section], dict[str, Table]]:
    """The sections about all runs, and their charts' rows; a chart that no run has data for is left out."""
    arms = arms_in_order(runs)
    sections: list[Section] = []
    found: dict[str, Table] = {}
    for name, title, about, overlays in OVERLAYS:
        rows = {overlay.chart.name: overlay_rows(runs, arms, overlay) for overlay in overlays}
        drawn = tuple(overlay.chart for overlay in overlays if rows[overlay.chart.name])
        found |= {chart.name: rows[chart.name] for chart in drawn}
        if drawn:
            sections.append(Section(name, title, about, drawn))
    return sections, found


def overlay_rows(runs: Sequence[Compared], arms: Sequence[str], overlay: Overlay) -> Table:
    """Rows of a chart: by panel, arm and step the mean over the arm's runs, the least and the most."""
    values: dict[str, dict[str, dict[int, list[float]]]] = {}
    places: dict[str, int] = {}
    wanted = overlay.series or (_headline(runs) if overlay.panel == "group" else ())
    for run in runs:
        for row in run.tables.get(overlay.source, ()):
            if not wanted or row["series"] in wanted:
                panel = str(row[overlay.panel])
                places.setdefault(
                    panel, int(row["group_place" if overlay.panel == "group" else "place"] or 0)
                )
                curve = values.setdefault(panel, {}).setdefault(run.arm, {})
                curve.setdefault(int(row["step"] or 0), []).append(float(row["value"] or 0))
    return [
        row | {PANEL: panel}
        for panel in sorted(values, key=lambda name: (places[name], name))
        for place, arm in enumerate(arms)
        for row in _curve(arm, place, values[panel].get(arm, {}), _last_step(values[panel]))
    ]


def _headline(runs: Sequence[Compared]) -> tuple[str, ...]:
    """The metric that groups are compared by: mean@k where every run has it, since greedy answers jump."""
    metrics = [{str(row["series"]) for row in run.tables.get("accuracy", ())} for run in runs]
    shared = set.intersection(*metrics) - {GREEDY} if metrics else set()
    return tuple(sorted(shared)[:1]) or (GREEDY,)


def _last_step(by_arm: Mapping[str, Mapping[int, object]]) -> int:
    return max(step for curve in by_arm.values() for step in curve)


def _curve(arm: str, place: int, curve: Mapping[int, Sequence[float]], last: int) -> Table:
    """An arm's line, with its band where it has several runs. An evaluation alone is a line across."""
    across = {0: curve[0], last: curve[0]} if list(curve) == [0] and last > 0 else curve
    points = [(step, fmean(found)) for step, found in sorted(across.items())]
    rows = series_rows({arm: points} if points else {})
    for row, (_, found) in zip(rows, sorted(across.items()), strict=True):
        row |= {"place": place, "note": "one run"}
        if len(found) > 1:
            row |= {"low": min(found), "high": max(found)}
            row["note"] = f"{len(found)} runs, {min(found):.3g} to {max(found):.3g}"
    return rows
