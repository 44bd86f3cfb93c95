"""What is checked before Ray or a model is started.

`rules/` has every rule, each one function or one row of `keys.py`, and the one collector that `recipe.doctor`
and a run ask.
"""

from __future__ import annotations


class PreflightError(ValueError):
    """The run cannot start: one line that names the key, what it got, and what to do."""
