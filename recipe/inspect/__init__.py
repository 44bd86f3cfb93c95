"""Eyes into a run: what its ledger says, in a terminal or as JSON, without a script."""

from __future__ import annotations


class InspectError(ValueError):
    """A run cannot be looked at, or what was asked of it makes no sense: one line, and what to do."""
