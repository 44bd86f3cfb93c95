"""The page as one HTML file: its sections, the data of its charts and tasks, and the scripts, all in it.

It fetches nothing. What a model wrote is in it as data alone: in a JSON block whose `<` are escaped, or
packed as base64. A content security policy with the digests of the scripts lets no other script run.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from string import Template
from typing import Any

from recipe.report.charts import Chart, Spec
from recipe.report.tables import Table
from recipe.report.vega import javascript

HERE = Path(__file__).parent
SCRIPTS = ("charts.js", "browser.js", "page.js")
"""The page's own scripts; in this order they are one."""

SIGNIFICANT_DIGITS = 5
"""Of numbers in the page's tables."""


@dataclass(frozen=True, slots=True)
class Section:
    """Charts under one heading."""

    name: str  # its anchor
    title: str
    about: str  # what it answers
    charts: tuple[Chart, ...]


@dataclass(frozen=True, slots=True)
class Tile:
    """A number that is seen first."""

    value: str
    name: str


@dataclass(frozen=True, slots=True)
class RunPart:
    """What the page has of one run."""

    name: str
    facts: Sequence[tuple[str, str]] = ()  # the run's header: what and its value
    tiles: Sequence[Tile] = ()
    tables: Mapping[str, Table] = field(default_factory=dict)  # by chart; a chart without rows is not drawn
    missing: Mapping[str, str] = field(default_factory=dict)  # by chart: why there are no rows
    alarms: Table = field(default_factory=list)
    responses: Mapping[str, Any] | None = None  # those that can be browsed (`responses.py`)


@dataclass(frozen=True, slots=True)
class Contents:
    """All that a page shows."""

    title: str
    about: str  # what the runs are, in a sentence
    sections: Sequence[Section]  # of one run
    runs: Sequence[RunPart]
    compared: Sequence[Section] = ()  # of all runs
    compared_tables: Mapping[str, Table] = field(default_factory=dict)
    summary: Sequence[Sequence[str]] = ()  # a table of the runs, its header first
    notes: Sequence[str] = ()  # sentences about what is not in the page


def html_of(contents: Contents) -> str:
    """The whole file."""
    bundle = _inline(javascript())
    script = _inline("\n".join((HERE / name).read_text(encoding="utf-8") for name in SCRIPTS))
    digests = " ".join(f"'sha256-{_digest(text)}'" for text in (bundle, script))
    return Template((HERE / "page.html").read_text(encoding="utf-8")).substitute(
        policy=f"default-src 'none'; script-src {digests}; style-src 'unsafe-inline'; img-src data:; "
        "base-uri 'none'; form-action 'none'",
        title=escape(contents.title),
        style=(HERE / "page.css").read_text(encoding="utf-8"),
        body=_body(contents),
        data=_data(contents),
        bundle=bundle,
        script=script,
    )


def _inline(script: str) -> str:
    """A script that stands in HTML: nothing in it ends its element, or opens a comment.

    Both could only stand in strings and patterns, in which an escaped character is the same.
    """
    return re.sub(r"<(?=/script|script|!--)", r"\\x3c", script.replace("\r", ""), flags=re.IGNORECASE)


def _digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _data(contents: Contents) -> str:
    """The blocks of data: one of the charts, and a packed one of each run's responses."""
    charts: dict[str, Spec] = {
        chart.name: {"spec": chart.spec, "panel": chart.panel}
        for section in (*contents.compared, *contents.sections)
        for chart in section.charts
    }
    drawn = {chart.name for section in contents.sections for chart in section.charts}
    runs = [
        {
            "name": run.name,
            "tables": {name: columns_of(run.tables[name]) for name in sorted(drawn) if run.tables.get(name)},
            "missing": dict(run.missing),
            "alarms": columns_of(run.alarms),
            "responses": None if run.responses is None else f"responses-{number}",
        }
        for number, run in enumerate(contents.runs)
    ]
    compared = {
        "tables": {name: columns_of(table) for name, table in contents.compared_tables.items()},
        "missing": {},
    }
    page = json_in_html({"charts": charts, "runs": runs, "compared": compared})
    blocks = [f'<script type="application/json" id="page-data">{page}</script>']
    blocks += [
        f'<script type="application/gzip;base64" id="responses-{number}">{packed(run.responses)}</script>'
        for number, run in enumerate(contents.runs)
        if run.responses is not None
    ]
    return "\n".join(blocks)


def json_in_html(value: Any) -> str:
    """JSON that can stand in a script element, whatever is in its strings."""
    return json.dumps(value, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")


def packed(value: Any) -> str:
    """JSON, gzipped, as base64. The same value gives the same text."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    return base64.b64encode(gzip.compress(text.encode(), mtime=0)).decode()


def columns_of(table: Table) -> dict[str, list[Any]]:
    """Rows as columns, floats with `SIGNIFICANT_DIGITS`; a value that a row lacks is null."""
    names = dict.fromkeys(name for row in table for name in row)
    return {name: [_short(row.get(name)) for row in table] for name in names}


def _short(value: Any) -> Any:
    return float(f"{value:.{SIGNIFICANT_DIGITS}g}") if isinstance(value, float) else value


def _body(contents: Contents) -> str:
    is_one = len(contents.runs) == 1
    anchors = [] if is_one else [("runs", "Runs")]
    anchors += [(section.name, section.title) for section in contents.compared]
    if contents.runs:
        anchors.append(("run", "Run" if is_one else "One run"))
        anchors += [(section.name, section.title) for section in contents.sections]
        anchors.append(("tasks", "Tasks"))
    links = "".join(f'<li><a href="#{name}">{escape(title)}</a></li>' for name, title in anchors)
    return "\n".join(
        [
            '<header class="top">',
            f'<div><h1>{escape(contents.title)}</h1><p class="quiet">{escape(contents.about)}</p></div>',
            '<button type="button" id="theme">Dark page</button>',
            "</header>",
            f'<nav aria-label="Sections"><ul>{links}</ul></nav>',
            '<main id="main">',
            "<noscript><p>The charts and the tasks are drawn by a script in this file, "
            "and scripts are off.</p></noscript>",
            *(f"<p>{escape(note)}</p>" for note in contents.notes),
            "" if is_one else _summary(contents.summary),
            *(_section(section, "compared") for section in contents.compared),
            *(_of_one_run(contents) if contents.runs else ()),
            "</main>",
        ]
    )


def _summary(rows: Sequence[Sequence[str]]) -> str:
    return f'<section id="runs" aria-label="Runs">{_table("Runs", rows)}</section>'


def _of_one_run(contents: Contents) -> list[str]:
    """What is about one run, that which is chosen where there are several."""
    sections = [_section(section, "run") for section in contents.sections]
    return [_runs(contents.runs), *sections, (HERE / "tasks.html").read_text(encoding="utf-8")]


def _runs(runs: Sequence[RunPart]) -> str:
    """The runs' headers, of which one is shown."""
    parts = ['<section id="run" aria-label="Run">']
    if len(runs) > 1:
        options = "".join(
            f'<option value="{number}">{escape(run.name)}</option>' for number, run in enumerate(runs)
        )
        parts.append('<h2>One run</h2><p class="about">All that follows is of this one.</p>')
        parts.append(f'<p><label>Run <select id="shown-run">{options}</select></label></p>')
    for number, run in enumerate(runs):
        tiles = "".join(
            f"<li><strong>{escape(tile.value)}</strong><span>{escape(tile.name)}</span></li>"
            for tile in run.tiles
        )
        facts = "".join(
            f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in run.facts
        )
        parts.append(
            f'<div data-run="{number}"><ul class="tiles">{tiles}</ul><dl class="facts">{facts}</dl>'
            f"{_alarms(run.alarms)}</div>"
        )
    return "\n".join([*parts, "</section>"])


def _alarms(alarms: Table) -> str:
    if not alarms:
        return ""
    rows = [["step", "alarm", "what it says", "action"]]
    rows += [[str(alarm[name]) for name in ("step", "alarm", "sentence", "action")] for alarm in alarms]
    return f'<h3 class="alarm">Alarms ({len(alarms)})</h3>{_table("Alarms", rows)}'


def _table(name: str, rows: Sequence[Sequence[str]]) -> str:
    """A table that scrolls where the window is too small for it."""
    head = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in rows[0])
    body = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows[1:])
    return (
        f'<div class="table" tabindex="0" role="region" aria-label="{escape(name)}"><table><thead><tr>{head}'
        f"</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _section(section: Section, scope: str) -> str:
    figures = "".join(_figure(chart, scope) for chart in section.charts)
    return (
        f'<section aria-labelledby="{section.name}"><h2 id="{section.name}">{escape(section.title)}</h2>'
        f'<p class="about">{escape(section.about)}</p><div class="charts">{figures}</div></section>'
    )


def _figure(chart: Chart, scope: str) -> str:
    kind = ' class="paneled"' if chart.panel else ""
    return (
        f'<figure{kind} data-chart="{chart.name}" data-scope="{scope}">'
        f'<figcaption><h3>{escape(chart.title)}</h3><p class="about">{escape(chart.about)}</p></figcaption>'
        '<div class="plot"></div>'
        '<details><summary>Numbers</summary><div class="scroll" tabindex="0" role="region" '
        f'aria-label="Numbers of: {escape(chart.title)}"></div></details></figure>'
    )
