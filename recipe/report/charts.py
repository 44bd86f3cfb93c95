"""The charts of the page as Vega-Lite specifications: what is drawn of a table's rows, and what it means.

A specification is data, made here and drawn in the page. It holds no rows, which the page hands over. How a
series looks is the page's too (`charts.js`), which has a light and a dark theme: line and marker tell series
apart as well as colour does, and areas have their names in them.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

Spec = dict[str, Any]

ROWS, ALARMS = "rows", "alarms"
"""The data sets that the page gives to a chart: its table, and the alarms of its run."""

COLOURS = ("ink", "paper", "alarming")
"""Parameters that hold colours of the page."""

EVERY = "every"
"""The parameter that says how many steps lie between points that can be pointed at."""

CHOSEN = "chosen"
"""The parameter that holds the steps which a reader marked in a chart."""


@dataclass(frozen=True, slots=True)
class Chart:
    """One chart of the page."""

    name: str  # of the chart in the page, and of its table
    title: str
    about: str  # what is drawn: one or two sentences
    spec: Spec
    panel: str = ""  # column of the table; each of its values has a small chart of its own


@dataclass(frozen=True, slots=True)
class Measure:
    """What an axis or a tooltip shows."""

    title: str  # with its unit
    format: str = ""  # of d3; "" leaves it to Vega
    most: float | None = None  # end of the axis; None: that of the data

    def axis(self) -> Spec:
        """As the y axis of a chart."""
        scale = {} if self.most is None else {"scale": {"domain": [0, self.most]}}
        return {"title": self.title, "axis": {"format": self.format}, **scale}


SHARE = ".0%"

SERIES: Spec = {"field": "series", "type": "nominal", "legend": None}
"""How a series looks; the page fills in its scale, and has a legend of its own."""

LINES, AREAS = "lines", "areas"
"""What the page's legend shows of a series."""


def lines(measure: Measure, *, has_band: bool = False) -> Spec:
    """A line for each series, by step, with a band from `low` to `high` where rows have these.

    Rows: step, series, place (of the series, for its look), value, marked (has a marker), with a band low and
    high, and in note what a tooltip says of it.
    """
    y = {"type": "quantitative", **measure.axis()}
    band = {
        "mark": {"type": "area", "opacity": 0.16, "aria": False},
        "transform": [{"filter": "isValid(datum.low)"}],
        "encoding": {"y": {"field": "low", **y}, "y2": {"field": "high"}, "color": SERIES},
    }
    line = {
        "mark": {"type": "line", "aria": False},
        "params": [_chosen_steps()],
        "encoding": {"y": {"field": "value", **y}, "color": SERIES, "strokeDash": SERIES},
    }
    points = {
        "mark": {
            "type": "point",
            "filled": True,
            "size": 48,
            "tooltip": {"expr": _tooltip_of_nearest(measure, has_band)},
        },
        "transform": [{"filter": f"datum.marked || datum.step % {EVERY} == 0"}],
        "params": [{"name": "near", "select": {"type": "point", "nearest": True, "on": "pointerover"}}],
        "encoding": {
            "y": {"field": "value", **y},
            "color": SERIES,
            "shape": SERIES,
            "opacity": {"condition": {"test": "datum.marked", "value": 1}, "value": 0},
        },
    }
    return _over_steps([*([band] if has_band else []), line, points], LINES)


def _tooltip_of_nearest(measure: Measure, has_note: bool) -> str:
    """The tooltip of the point that is nearest, as an expression.

    Spelt out: Vega-Lite's own looks for texts in the cell around a point, whose `datum` is the point.
    """
    row = "(datum.datum || datum)"
    value = f"format({row}.value, {json.dumps(measure.format)})"
    note = f", more: {row}.note" if has_note else ""
    return f"{{step: {row}.step, series: {row}.series, {json.dumps(measure.title)}: {value}{note}}}"


def stack(measure: Measure) -> Spec:
    """Areas on top of each other, by step, each with its name in it where there is room.

    Rows: step, series, place (from the bottom), value, named (whether the name stands at this step).
    """
    y = {"field": "value", "type": "quantitative", "stack": "zero", **measure.axis()}
    order = {"field": "place", "type": "quantitative"}
    tooltip = [
        {"field": "step", "title": "step"},
        {"field": "series", "title": "part"},
        {"field": "value", "title": measure.title, "format": measure.format},
    ]
    area = {
        "mark": {"type": "area", "stroke": {"expr": "paper"}, "strokeWidth": 1, "aria": False},
        "params": [_chosen_steps()],
        "encoding": {"y": y, "color": SERIES, "order": order},
    }
    # A tooltip of an area is that of its first row: bars without colour lie over it, one a step.
    hover = {
        "mark": {"type": "bar", "opacity": 0, "width": {"band": 1}, "aria": False},
        "encoding": {"y": y, "order": order, "detail": {"field": "series"}, "tooltip": tooltip},
    }
    name = {
        "transform": [{"calculate": "datum.named ? datum.series : ''", "as": "name"}],
        "encoding": {
            "y": {**y, "bandPosition": 0.5},
            "order": order,
            "detail": {"field": "series"},
            "text": {"field": "name"},
        },
    }
    halo = {"type": "text", "fontSize": 11, "stroke": {"expr": "paper"}, "strokeWidth": 3, "aria": False}
    names: list[Spec] = [
        {"mark": halo, **name},
        {"mark": {"type": "text", "fontSize": 11, "fill": {"expr": "ink"}, "aria": False}, **name},
    ]
    return _over_steps([area, hover, *names], AREAS)


def heat(measure: Measure, row_title: str) -> Spec:
    """A rectangle for each row and stretch of steps, the darker (in a dark page lighter) the more.

    Rows: step (first of the stretch), end (first step behind it), row, place (from the bottom), value, note.
    """
    rectangle = {
        "mark": {"type": "rect", "aria": False},
        "params": [_chosen_steps()],
        "transform": [
            {"calculate": "datum.step - 0.5", "as": "left"},
            {"calculate": "datum.end - 0.5", "as": "right"},
        ],
        "encoding": {
            "x": {**_step_axis(), "field": "left"},
            "x2": {"field": "right"},
            "y": {
                "field": "row",
                "type": "ordinal",
                "sort": {"field": "place", "op": "min", "order": "descending"},
                "title": row_title,
            },
            "color": {
                "field": "value",
                "type": "quantitative",
                "title": measure.title,
                "scale": {"domainMin": 0, **({} if measure.most is None else {"domainMax": measure.most})},
                "legend": {"format": measure.format, "gradientLength": {"expr": "min(width, 200)"}},
            },
            "tooltip": [
                {"field": "step", "title": "from step"},
                {"field": "row", "title": row_title},
                {"field": "value", "title": measure.title, "format": measure.format},
                {"field": "note", "title": "more"},
            ],
        },
    }
    return _over_steps([rectangle])


def before_after(measure: Measure) -> Spec:
    """Two points with their intervals for each group: before training, and at the last step.

    Rows: group, group_place, series (the two), place, value, low, high, note.
    """
    x = {"field": "group", "type": "ordinal", "sort": {"field": "group_place", "op": "min"}, "title": None}
    offset = {"field": "series", "type": "nominal", "sort": {"field": "place", "op": "min"}}
    shared = {"x": x, "xOffset": offset, "color": SERIES}
    y = {"type": "quantitative", **measure.axis()}
    interval = {
        "mark": {"type": "rule", "strokeWidth": 2, "aria": False},
        "encoding": {**shared, "y": {"field": "low", **y}, "y2": {"field": "high"}},
    }
    point = {
        "mark": {"type": "point", "filled": True, "size": 60, "opacity": 1},
        "encoding": {
            **shared,
            "y": {"field": "value", **y},
            "shape": SERIES,
            "tooltip": [
                {"field": "group"},
                {"field": "series", "title": "when"},
                {"field": "value", "title": measure.title, "format": measure.format},
                {"field": "note", "title": "more"},
            ],
        },
    }
    return _spec([interval, point], LINES)


def _step_axis() -> Spec:
    return {
        "field": "step",
        "type": "quantitative",
        "title": "training step",
        "axis": {
            "tickMinStep": 1,
            "format": "d",
            "labelFlush": False,
            "tickCount": {"signal": "ceil(width / 50)"},
        },
        "scale": {"nice": False, "zero": False},
    }


def _chosen_steps() -> Spec:
    mark = {"fill": "gray", "fillOpacity": 0.2, "stroke": "gray", "strokeWidth": 1}
    return {"name": CHOSEN, "select": {"type": "interval", "encodings": ["x"], "mark": mark}}


def _over_steps(layers: Sequence[Spec], look: str = "") -> Spec:
    """Layers that share the axis of steps, under the marks of alarms."""
    alarm: Spec = {
        "data": {"name": ALARMS},
        "encoding": {
            "x": _step_axis(),
            "tooltip": [
                {"field": "step", "title": "step"},
                {"field": "alarm", "title": "alarm"},
                {"field": "sentence", "title": "says"},
            ],
        },
    }
    rule = {"type": "rule", "strokeDash": [3, 3], "stroke": {"expr": "alarming"}}
    flag = {
        "type": "point",
        "shape": "triangle-down",
        "filled": True,
        "size": 90,
        "color": {"expr": "alarming"},
    }
    alarms: list[Spec] = [
        {**alarm, "mark": rule},
        {**alarm, "mark": flag, "encoding": {**alarm["encoding"], "y": {"value": 5}}},
    ]
    return _spec(
        [*({**one, "encoding": {"x": _step_axis(), **one["encoding"]}} for one in layers), *alarms], look
    )


def _spec(layers: Sequence[Spec], look: str) -> Spec:
    # The page puts what it knows in the place of these: the colours of its theme, how long the run is.
    params = [{"name": name, "value": "gray"} for name in COLOURS] + [{"name": EVERY, "value": 1}]
    return {
        "width": "container",
        "height": 210,
        "data": {"name": ROWS},
        "params": params,
        "layer": list(layers),
        "usermeta": {"look": look},
    }
