"""Time in which a step waits for checks alone."""

from __future__ import annotations

import pytest

from recipe.selfplay.check_clock import CheckClock


class Time:
    """A clock that stands still until it is told."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_only_time_without_generation_counts() -> None:
    time = Time()
    clock = CheckClock(time)
    with clock.checking():
        time.now = 1.0  # alone: 1 s
        with clock.generating():
            time.now = 3.0  # beside generation: nothing
            with clock.checking():
                time.now = 6.0  # nothing
        time.now = 6.5  # alone again: 0.5 s
        with clock.checking():
            time.now = 7.0  # two checks at once: 0.5 s, counted once
    time.now = 9.0  # neither
    assert clock.take() == pytest.approx(2.0)


def test_taken_time_is_not_counted_again_and_a_running_check_goes_on() -> None:
    time = Time()
    clock = CheckClock(time)
    with clock.checking():
        time.now = 1.0
        assert clock.take() == 1.0
        time.now = 3.0
    assert clock.take() == 2.0
    assert clock.take() == 0.0


def test_a_check_or_a_request_that_fails_is_over() -> None:
    time = Time()
    clock = CheckClock(time)
    for around in (clock.checking, clock.generating):
        with pytest.raises(ValueError, match="broken"), around():
            raise ValueError("broken")
    time.now = 5.0
    assert clock.take() == 0.0
