"""How long a step waits for checks alone: for the sandbox, say, while no response is being generated.

Checks run while other responses are generated, so their own durations say nothing of what they cost a step.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class CheckClock:
    """Adds up the time in which checks are under way and generation is not. One event loop, no threads.

    Args:
        now: Seconds of a clock that never goes back.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._num_generating = 0
        self._num_checking = 0
        self._changed_at = now()
        self._waited_s = 0.0

    @contextmanager
    def generating(self) -> Iterator[None]:
        """Around a request to the model."""
        self._change(generating=1)
        try:
            yield
        finally:
            self._change(generating=-1)

    @contextmanager
    def checking(self) -> Iterator[None]:
        """Around a check of a proposal or an attempt."""
        self._change(checking=1)
        try:
            yield
        finally:
            self._change(checking=-1)

    def take(self) -> float:
        """Seconds since the last call."""
        self._change()
        taken, self._waited_s = self._waited_s, 0.0
        return taken

    def _change(self, generating: int = 0, checking: int = 0) -> None:
        now = self._now()
        if self._num_checking and not self._num_generating:
            self._waited_s += now - self._changed_at
        self._changed_at = now
        self._num_generating += generating
        self._num_checking += checking
