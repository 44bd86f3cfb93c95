"""A study: every arm of an experiment at every seed, and what can be said from it."""

from __future__ import annotations


class StudyError(ValueError):
    """A study cannot be started, go on or be put together: one line that says why and what to do."""


SELF_PLAY = "self_play"
"""The arm that is no control: `control=none`."""
