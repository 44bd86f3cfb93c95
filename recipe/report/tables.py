"""What the charts of one run draw, from its metrics: rows by table.

A table is a list of rows, its columns those that its chart's specification names (`charts.py`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from recipe.selfplay.metrics import ALL_KINDS, held_out_of, in_order
from tasks.contract import Role

Value = str | float | int | bool | None
Row = dict[str, Value]
Table = list[Row]

MOST_MARKERS = 10
"""Markers on a line, so that they can be told apart."""

MEAN_AT = "mean_at_"
GREEDY = "greedy"


def accuracy(metrics: Sequence[Mapping[str, Any]]) -> Table:
    """Held-out accuracy by group and step: greedy with its interval, and of sampled answers."""
    rows: Table = []
    found = {line["step"]: held_out for line in metrics if (held_out := held_out_of(line)) is not None}
    for step, held_out in found.items():
        for place, (group, numbers) in enumerate(groups_of(held_out).items()):
            shared: Row = {"step": step, "group": group, "group_place": place, "marked": True}
            low, high, num = numbers["low"], numbers["high"], numbers["n"]
            interval: Row = {"low": low, "high": high, "note": f"95 % {low:.1%} to {high:.1%}, n={num}"}
            rows.append({**shared, "series": GREEDY, "place": 0, "value": numbers["accuracy"], **interval})
            for name in (name for name in numbers if name.startswith(MEAN_AT)):
                k = name.removeprefix(MEAN_AT)
                sampled: Row = {
                    "series": f"mean@{k}",
                    "place": 1,
                    "note": f"{k} answers to each of {num} tasks",
                }
                rows.append({**shared, **sampled, "value": numbers[name]})
    return rows


def groups_of(held_out: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Numbers by group, those of all tasks first; level-9 comes before level-10."""
    by_group = held_out["by_kind"]
    return {ALL_KINDS: held_out, **{name: by_group[name] for name in in_order(by_group)}}


def ends(rows: Table) -> Table:
    """Of the table of accuracies, the greedy rows of the first and of the last evaluation."""
    greedy = [row for row in rows if row["series"] == GREEDY]
    steps = sorted({int(row["step"] or 0) for row in greedy})
    names = {steps[0]: "before training" if steps[0] == 0 else f"step {steps[0]}"} if steps else {}
    if len(steps) > 1:
        names[steps[-1]] = f"step {steps[-1]}"
    return [
        row | {"series": names[int(row["step"] or 0)], "place": list(names).index(int(row["step"] or 0))}
        for row in greedy
        if row["step"] in names
    ]


def by_role_and_kind(metrics: Sequence[Mapping[str, Any]], name: str) -> Table:
    """A metric of `azr/<role>/<kind>/<name>` by step, a series for each role and kind."""
    found: dict[str, list[tuple[int, float]]] = defaultdict(list)
    for line in metrics:
        for key, value in line.items():
            parts = key.split("/")
            if len(parts) == 4 and parts[0] == "azr" and parts[3] == name and value is not None:
                _, role, kind, _ = parts
                if role in tuple(Role) and kind != ALL_KINDS:
                    found[f"{role}/{kind}"].append((line["step"], value))
    return series_rows({series: found[series] for series in sorted(found)})


def clipped(metrics: Sequence[Mapping[str, Any]]) -> Table:
    """Share of a step's responses that were cut off, of all that are trained on."""
    name = "response_length/clip_ratio"
    points = [(line["step"], line[name]) for line in metrics if line.get(name) is not None]
    return series_rows({"cut off": points} if points else {})


def buffer_sizes(metrics: Sequence[Mapping[str, Any]]) -> Table:
    """Records in the buffer by step, a series for each kind."""
    rows = by_role_and_kind(metrics, "buffer_size")
    return [row | {"series": str(row["series"]).partition("/")[2]} for row in rows]


TIMER = "timing_s/"
REST = "rest"
NOT_OF_A_STEP = ("step", "testing")
"""Timers that are no part of a step: the whole of it, and validation, which comes after it."""

LEAST_SHARE = 0.01
"""A phase below this share of all time is in `REST`."""


def phase_times(metrics: Sequence[Mapping[str, Any]]) -> Table:
    """Seconds of each phase of each step, the longest at the bottom; what no timer has is in `REST`."""
    steps = [line for line in metrics if line.get(f"{TIMER}step")]
    totals: dict[str, float] = defaultdict(float)
    for line in steps:
        for key, seconds in line.items():
            phase = key.removeprefix(TIMER)
            if key != phase and phase not in NOT_OF_A_STEP:
                totals[phase] += seconds or 0.0
    whole = sum(line[f"{TIMER}step"] for line in steps)
    phases = sorted((name for name in totals if totals[name] > LEAST_SHARE * whole), key=lambda n: -totals[n])
    parts = []
    for line in steps:
        seconds_of = {phase: line.get(f"{TIMER}{phase}") or 0.0 for phase in phases}
        rest = max(0.0, line[f"{TIMER}step"] - sum(seconds_of.values()))
        parts.append((line["step"], seconds_of | {REST: rest}))
    return stack_rows(parts)


def step_seconds(metrics: Sequence[Mapping[str, Any]]) -> Table:
    """Seconds of each step, without validation."""
    points = [(line["step"], line[f"{TIMER}step"]) for line in metrics if line.get(f"{TIMER}step")]
    return series_rows({"step": points} if points else {})


def stack_rows(parts: Sequence[tuple[int, Mapping[str, float]]]) -> Table:
    """Rows of a stack from the parts of each step, all with the same names, from the bottom.

    A part has its name where it is the greatest share of its step, if that is enough to write in, and not at
    an end, where the name would be cut.
    """
    names = list(parts[0][1]) if parts else []
    edge = len(parts) // 8
    shares = {
        name: max((_share(found, name), step) for step, found in parts[edge : len(parts) - edge])
        for name in names
    }
    return [
        {
            "step": step,
            "series": name,
            "place": place,
            "value": found[name],
            "named": shares[name][1] == step and shares[name][0] > ROOM_FOR_A_NAME,
        }
        for step, found in parts
        for place, name in enumerate(names)
    ]


def _share(found: Mapping[str, float], name: str) -> float:
    total = sum(found.values())
    return found[name] / total if total else 0.0


ROOM_FOR_A_NAME = 0.09
"""Share of a stack that an area has to have for its name to fit in."""


def series_rows(series: Mapping[str, Sequence[tuple[int, float]]]) -> Table:
    """Rows of lines from (step, value) by series, with a marker now and then."""
    rows: Table = []
    for place, (name, points) in enumerate(series.items()):
        every = max(1, len(points) // MOST_MARKERS)
        rows += [
            {
                "step": step,
                "series": name,
                "place": place,
                "value": value,
                # Not all series at the same step
                "marked": (number + place) % every == 0,
            }
            for number, (step, value) in enumerate(points)
        ]
    return rows
