"""Check the pack's knobs, which come from configuration files and command lines."""

from __future__ import annotations

from tasks.kit.knobs import check_count
from tasks.python_code.composite import Schedule

PROGRAM_CHARS = (64, 20_000)
LITERAL_CHARS = (16, 4_000)
"""Python writes no integer of more than 4,300 digits."""

LAST_STEP = 1_000_000
RESULT_BYTES = 4 * LITERAL_CHARS[1]
"""Of a character UTF-8 makes four bytes at most."""


def check_composite(schedule: Schedule, num_references: int, terse: bool) -> Schedule:
    """Return the schedule of composite programs.

    Raises:
        ValueError: A number of it is outside its range, or there is nothing to compose from: there are no
            references, or prompts are terse.
    """
    share = schedule.share
    if isinstance(share, bool) or not isinstance(share, int | float) or not 0 <= share <= 1:
        raise ValueError(f"pack.composite_share must be a number from 0 to 1; got {share!r}")
    check_count("composite_max", schedule.maximum, 1, 8)
    check_count("composite_from_step", schedule.from_step, 0, LAST_STEP)
    check_count("composite_until_step", schedule.until_step, schedule.from_step, LAST_STEP)
    if share and (terse or num_references == 0):
        raise ValueError(
            f"pack.composite_share must be 0 with terse prompts or without references; got {share!r}"
        )
    return schedule
