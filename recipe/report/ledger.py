"""What the charts of one run draw, from its ledger: rows by table, asked of the ledger's index.

Seeding (step 0) is left out: it is no training step. Pictures by step and level or solve rate have at most
`MOST_COLUMNS` columns; those of a longer run stand for several steps each.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from recipe.inspect.index import Index
from recipe.report.tables import Row, Table, series_rows, stack_rows
from tasks.contract import Role

MOST_COLUMNS = 100
MOST_REASONS = 7
"""Reasons that have an area of their own, the most frequent ones; the others are one."""

OTHERS = "other reasons"
GOOD = {Role.PROPOSE: "accepted", Role.SOLVE: "right"}
"""What a response is whose reason is none."""

MOST_CELLS = 12
"""With more of them (those of `algorithm.trr.cells=record` are many), lines are by role and kind."""

MOST_ATTEMPTS = 16
"""Attempts at a task up to which each number of right ones is a row."""

FEW_ATTEMPTS = 4
"""A level that fewer attempts were made at in a step says nothing of what is solved."""

Z = 1.96
"""97.5 % quantile of the standard normal distribution: ends of a 95 % interval of a mean of many."""

STATUSES = """
SELECT step, count(*) AS n,
    CASE WHEN reason <> '' THEN reason WHEN outcome = 'correct' THEN $good ELSE outcome END AS status
FROM lines WHERE role = $role AND step > 0 GROUP BY ALL ORDER BY step
"""

REWARDS = """
SELECT step, {series} AS series, avg(reward) AS mean, coalesce(stddev_samp(reward), 0) AS deviation,
    count(*) AS n
FROM lines WHERE reward IS NOT NULL AND step > 0 GROUP BY ALL ORDER BY series, step
"""

SOLVE_RATES = """
SELECT 1 + {width} * ((step - 1) // {width}) AS step, CAST(round(solve_rate * {rows}) AS INTEGER) AS right,
    count(*) AS n
FROM lines WHERE role = 'propose' AND solve_rate IS NOT NULL AND step > 0 GROUP BY ALL ORDER BY ALL
"""

LEARNABLE = """
SELECT step, avg(solve_rate) AS mean, avg((solve_rate > 0 AND solve_rate < 1)::INT) AS learnable
FROM lines WHERE role = 'propose' AND solve_rate IS NOT NULL AND step > 0 GROUP BY step ORDER BY step
"""

PLACES = "SELECT level, min(place) AS place FROM levels GROUP BY level ORDER BY place, level"

PROPOSED = """
SELECT 1 + {width} * ((step - 1) // {width}) AS step, level, count(*) AS n, avg(solve_rate) AS rate
FROM lines JOIN tasks USING (line)
WHERE role = 'propose' AND level IS NOT NULL AND step > 0 GROUP BY ALL ORDER BY ALL
"""

# An attempt at a new task has its level from the proposal's line.
ATTEMPTED = """
SELECT 1 + {width} * ((one.step - 1) // {width}) AS step, level, count(*) AS n,
    avg((one.outcome = 'correct')::INT) AS share
FROM lines AS one
LEFT JOIN lines AS head ON head.role = 'propose'
    AND head.step = one.step AND head.wave = one.wave AND head."index" = one."index"
JOIN tasks ON tasks.line = coalesce(head.line, one.line)
WHERE one.role = 'solve' AND level IS NOT NULL AND one.step > 0 GROUP BY ALL ORDER BY ALL
"""

# Without a word of the pack's, a structure is the task with 0 for every digit, as it is to alarms.
NEW_STRUCTURES = """
WITH made AS (
    SELECT line, step, kind, coalesce(structure, regexp_replace(record, '[0-9]', '0', 'g')) AS structure
    FROM lines JOIN tasks USING (line) WHERE role = 'propose'
), seen AS (
    SELECT *, row_number() OVER (PARTITION BY kind, structure ORDER BY line) = 1 AS is_new FROM made
)
SELECT step, count(*) AS n, count(*) FILTER (is_new) AS fresh FROM seen GROUP BY step ORDER BY step
"""

DUPLICATES = """
SELECT step, avg((reason = 'duplicate')::INT) AS share
FROM lines WHERE role = 'propose' AND step > 0 GROUP BY step ORDER BY step
"""

ALARMS = "SELECT step, alarm, value, threshold, sentence, action FROM alarms ORDER BY step, line"


def statuses(index: Index, role: Role) -> Table:
    """What became of a role's responses: shares of each step, the good ones at the bottom."""
    counts: dict[int, dict[str, int]] = defaultdict(dict)
    totals: dict[str, int] = defaultdict(int)
    for row in index.rows(STATUSES, {"role": role.value, "good": GOOD[role]}):
        counts[row["step"]][row["status"]] = row["n"]
        totals[row["status"]] += row["n"]
    reasons = sorted((name for name in totals if name != GOOD[role]), key=lambda name: (-totals[name], name))
    kept = reasons if len(reasons) <= MOST_REASONS else reasons[: MOST_REASONS - 1]
    parts = []
    for step, found in counts.items():
        shares = {name: found.get(name, 0) / sum(found.values()) for name in (GOOD[role], *kept)}
        parts.append((step, shares | ({OTHERS: 1 - sum(shares.values())} if kept != reasons else {})))
    return stack_rows(parts)


def rewards(index: Index) -> Table:
    """Mean reward by step and cell, with the 95 % interval of the mean."""
    cells = index.row("SELECT count(DISTINCT cell) AS n FROM lines WHERE step > 0")["n"]
    series = "cell" if cells <= MOST_CELLS else "role || '/' || kind"
    found = index.rows(REWARDS.format(series=series))
    rows = series_rows(_points(found, "series", "mean"))
    for row, one in zip(rows, found, strict=True):
        half = Z * one["deviation"] / math.sqrt(one["n"])
        row |= {"low": one["mean"] - half, "high": one["mean"] + half, "note": f"n={one['n']}"}
    return rows


def _points(
    found: Sequence[Mapping[str, Any]], series: str, value: str
) -> dict[str, list[tuple[int, float]]]:
    points: dict[str, list[tuple[int, float]]] = {}
    for row in found:
        points.setdefault(row[series], []).append((row["step"], row[value]))
    return points


def column_width(index: Index) -> int:
    """Steps that a column of a picture stands for."""
    last: int = index.row("SELECT coalesce(max(step), 0) AS step FROM lines")["step"]
    return max(1, math.ceil(last / MOST_COLUMNS))


def solve_rates(index: Index) -> Table:
    """Shares of the attempted tasks of a stretch of steps by how many attempts were right."""
    attempts = index.run.azr.attempts_per_record
    num_rows = min(attempts, MOST_ATTEMPTS)
    width = column_width(index)
    found = index.rows(SOLVE_RATES.format(width=width, rows=num_rows))
    totals: dict[int, int] = defaultdict(int)
    for row in found:
        totals[row["step"]] += row["n"]
    counts = {(row["step"], row["right"]): row["n"] for row in found}
    return [
        _cell(
            (step, width),
            f"{right} of {attempts}" if num_rows == attempts else f"{right / num_rows:.0%}",
            right,
            counts.get((step, right), 0) / total,
            f"{counts.get((step, right), 0)} of {total} tasks",
        )
        for step, total in totals.items()
        for right in range(num_rows + 1)
    ]


def _cell(columns: tuple[int, int], row: str, place: int, value: float, note: str) -> Row:
    """A rectangle of a picture; `columns` are its first step and how many it has."""
    step, width = columns
    return {"step": step, "end": step + width, "row": row, "place": place, "value": value, "note": note}


def learnable(index: Index) -> Table:
    """Mean solve rate of a step's tasks, and the share of them that is solved sometimes."""
    found = index.rows(LEARNABLE)
    return series_rows(
        {
            "mean solve rate": [(row["step"], row["mean"]) for row in found],
            "learnable tasks": [(row["step"], row["learnable"]) for row in found],
        }
        if found
        else {}
    )


def proposed_levels(index: Index) -> Table:
    """Shares of a stretch's accepted proposals by level."""
    places, width = _places(index), column_width(index)
    found = [row for row in index.rows(PROPOSED.format(width=width)) if row["level"] in places]
    totals: dict[int, int] = defaultdict(int)
    for row in found:
        totals[row["step"]] += row["n"]
    return [
        _cell(
            (row["step"], width),
            row["level"],
            places[row["level"]],
            row["n"] / totals[row["step"]],
            f"{row['n']} tasks" + ("" if row["rate"] is None else f", solved {row['rate']:.0%} of the time"),
        )
        for row in found
    ]


def solved_levels(index: Index) -> Table:
    """Shares of right attempts at a stretch's tasks of each level."""
    places, width = _places(index), column_width(index)
    return [
        _cell((row["step"], width), row["level"], places[row["level"]], row["share"], f"{row['n']} attempts")
        for row in index.rows(ATTEMPTED.format(width=width))
        if row["level"] in places
    ]


def frontier(index: Index) -> Table:
    """Mean level of accepted proposals and of right attempts, and the hardest that is mostly solved."""
    places = _places(index)
    proposed = [row for row in index.rows(PROPOSED.format(width=1)) if row["level"] in places]
    attempted = [row for row in index.rows(ATTEMPTED.format(width=1)) if row["level"] in places]
    hardest: dict[int, int] = {}
    for row in attempted:
        if row["share"] >= 0.5 and row["n"] >= FEW_ATTEMPTS:
            hardest[row["step"]] = max(places[row["level"]], hardest.get(row["step"], 0))
    series = {
        "accepted proposals": _mean_places((row["step"], places[row["level"]], row["n"]) for row in proposed),
        "right attempts": _mean_places(
            (row["step"], places[row["level"]], row["n"] * row["share"]) for row in attempted
        ),
        "frontier": sorted((step, float(place)) for step, place in hardest.items()),
    }
    return series_rows({name: points for name, points in series.items() if points})


def _mean_places(found: Any) -> list[tuple[int, float]]:
    """Mean place by step, of (step, place, weight)."""
    sums: dict[int, list[float]] = defaultdict(lambda: [0.0, 0.0])
    for step, place, weight in found:
        sums[step][0] += place * weight
        sums[step][1] += weight
    return [(step, total / weight) for step, (total, weight) in sorted(sums.items()) if weight]


def _places(index: Index) -> dict[str, int]:
    """The place of each level of the pack, by name."""
    return {row["level"]: row["place"] for row in index.rows(PLACES)}


def structures(index: Index) -> Table:
    """All tasks that were accepted up to a step, and their structures, those of different kinds apart."""
    tasks: list[tuple[int, float]] = []
    makes: list[tuple[int, float]] = []
    num_tasks, num_makes = 0, 0
    for row in index.rows(NEW_STRUCTURES):
        num_tasks, num_makes = num_tasks + row["n"], num_makes + row["fresh"]
        tasks.append((row["step"], float(num_tasks)))
        makes.append((row["step"], float(num_makes)))
    return series_rows({"tasks": tasks, "structures": makes} if tasks else {})


def repeats(index: Index) -> Table:
    """Share of a step's proposals that are duplicates, and of its accepted ones whose structure was there."""
    near = [(row["step"], 1 - row["fresh"] / row["n"]) for row in index.rows(NEW_STRUCTURES) if row["step"]]
    duplicates = [(row["step"], row["share"]) for row in index.rows(DUPLICATES)]
    found = {"duplicates, of proposals": duplicates, "near duplicates, of accepted ones": near}
    return series_rows({name: points for name, points in found.items() if points})


def alarms(index: Index) -> Table:
    """The run's alarms."""
    return index.rows(ALARMS)
