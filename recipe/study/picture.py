"""The pictures of a study by step: an overview of it, and held-out accuracy by group.

A line is the mean over seeds, its band from the least to the most. Arms are told apart by line style and
marker as well as by colour.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

from recipe.selfplay.metrics import ALL_KINDS
from recipe.study.record import RunRecord, StepNumbers
from recipe.study.table import FRONTIER, METRICS, arms_of, groups_of, mean, within

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLOURS = ("#000000", "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7F7F7F")
"""Black, and those of M. Okabe and K. Ito, "Color universal design" (2008), which most eyes tell apart."""

LINES = ("-", "--", "-.", ":")
MARKERS = "os^DvPX*<>ph"
MOST_GROUPS = 12
"""With more, the picture has only the whole set."""

PANEL_INCHES = (4.2, 3.1)
COLUMNS = 3

Curves = Mapping[str, Mapping[int, Sequence[float]]]
"""By arm and step, a value for each seed."""


@dataclass(frozen=True, slots=True)
class Panel:
    """One pair of axes."""

    title: str
    unit: str  # of its values
    curves: Curves


def overview_panels(records: Sequence[RunRecord], metric: str) -> list[Panel]:
    """Accuracy by `metric` at the frontier, or of all tasks where there is none; then what was proposed."""
    has_frontier = FRONTIER in groups_of(records[0].last)
    return [*_panel(records, FRONTIER if has_frontier else ALL_KINDS, metric), *proposer_panels(records)]


def accuracy_panels(records: Sequence[RunRecord], metric: str) -> list[Panel]:
    """Held-out accuracy in percent: all tasks by each metric that there is, and each group by `metric`."""
    groups = groups_of(records[0].last)
    chosen = [(ALL_KINDS, name) for name in METRICS]
    parts = [group for group in groups if group not in (ALL_KINDS, FRONTIER)]
    chosen += [(FRONTIER, metric)] * (FRONTIER in groups)
    if 1 < len(parts) <= MOST_GROUPS:
        chosen += [(group, metric) for group in parts]
    return [panel for group, name in chosen for panel in _panel(records, group, name)]


def _panel(records: Sequence[RunRecord], group: str, metric: str) -> list[Panel]:
    """One group's accuracy in percent by one metric; nothing where it was not measured."""
    curves: dict[str, dict[int, list[float]]] = {}
    for arm, runs in arms_of(records).items():
        for evaluation in (evaluation for run in runs for evaluation in run.evaluations):
            value = mean(METRICS[metric](evaluation), within(evaluation, group))
            if value is not None:
                curves.setdefault(arm, {}).setdefault(evaluation.step, []).append(100 * value)
    title = {ALL_KINDS: "all held-out tasks", FRONTIER: "tasks at the frontier"}.get(group, group)
    return [Panel(title, f"{metric} (%)", curves)] if curves else []


PROPOSER: Mapping[str, tuple[str, Callable[[StepNumbers], float | None]]] = {
    "level of accepted tasks": ("mean level (0: easiest)", lambda step: step.level),
    "learnable tasks": (
        "solved sometimes (% of accepted)",
        lambda step: None if step.learnable is None else 100 * step.learnable,
    ),
}
"""Titles of the proposer's panels, with their unit and value."""


def proposer_panels(records: Sequence[RunRecord]) -> list[Panel]:
    """What the arms that propose proposed; no panel of what none of them has."""
    panels = []
    for title, (unit, value_of) in PROPOSER.items():
        curves: dict[str, dict[int, list[float]]] = {}
        for record in (record for runs in arms_of(records).values() for record in runs):
            for step in record.steps:
                if step.proposals and (value := value_of(step)) is not None:
                    curves.setdefault(record.arm, {}).setdefault(step.step, []).append(value)
        if curves:
            panels.append(Panel(title, unit, curves))
    return panels


def draw(panels: Sequence[Panel], arms: Sequence[str], out: Path, name: str) -> None:
    """Write `name`.svg into `out`. An arm looks alike in all pictures of `arms`."""
    import matplotlib

    with matplotlib.rc_context({"svg.hashsalt": name, "svg.fonttype": "none", "font.size": 9}):
        figure = _figure(panels, arms)
        # Without a date: the same runs give the same files.
        figure.savefig(out / f"{name}.svg", metadata={"Date": None})


def _figure(panels: Sequence[Panel], arms: Sequence[str]) -> Figure:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine
    from matplotlib.ticker import MaxNLocator

    columns = min(COLUMNS, len(panels))
    rows = math.ceil(len(panels) / columns)
    width, height = PANEL_INCHES
    figure = Figure(figsize=(columns * width, rows * height + 0.6), layout=ConstrainedLayoutEngine(w_pad=0.1))
    FigureCanvasAgg(figure)
    drawn: dict[str, Any] = {}
    for place, panel in enumerate(panels, 1):
        axes = figure.add_subplot(rows, columns, place)
        last = max(step for curve in panel.curves.values() for step in curve)
        for arm, curve in panel.curves.items():
            # An evaluation alone is a line across.
            across = {0: curve[0], last: curve[0]} if list(curve) == [0] else curve
            drawn[arm] = _curve(axes, across, **_look(arms.index(arm)))
        axes.set(title=panel.title, xlabel="training step", ylabel=panel.unit)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.3)
    names = [arm for arm in arms if arm in drawn]
    handles = [drawn[arm] for arm in names]
    figure.legend(handles, names, loc="outside lower center", ncols=min(5, len(names)), handlelength=4)
    return figure


def _look(number: int) -> dict[str, Any]:
    """By an arm's place; the first, self-play, stands out. Colours come again with other lines, markers."""
    turn = number // len(COLOURS)
    return {
        "color": COLOURS[number % len(COLOURS)],
        "linestyle": LINES[(number + turn) % len(LINES)],
        "marker": MARKERS[number % len(MARKERS)],
        "linewidth": 1.3 if number else 2.2,
        "zorder": 2 if number else 3,
    }


def _curve(axes: Any, curve: Mapping[int, Sequence[float]], **look: Any) -> Any:
    """One arm's line and band; the line is the handle for the legend."""
    steps = sorted(curve)
    low, high = ([end(curve[step]) for step in steps] for end in (min, max))
    axes.fill_between(steps, low, high, color=look["color"], alpha=0.12, linewidth=0)
    middle = [fmean(curve[step]) for step in steps]
    (line,) = axes.plot(steps, middle, markersize=5, markevery=max(1, len(steps) // 10), **look)
    return line
