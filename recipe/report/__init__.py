"""One page about a run or several: an HTML file that opens from disk, with charts and the tasks."""

from __future__ import annotations

REPORT = "report.html"
"""The page's name in a run's directory and in a study's folder."""


class ReportError(ValueError):
    """No page can be made of what was given: one line that says why and what to do."""
