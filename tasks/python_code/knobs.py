"""Check the pack's knobs, which come from configuration files and command lines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields

from tasks.python_code.composite import Schedule
from tasks.python_code.records import KINDS
from tasks.sandbox import Limits, SandboxConfig

PROGRAM_CHARS = (64, 20_000)
LITERAL_CHARS = (16, 4_000)
"""Python writes no integer of more than 4,300 digits."""

LAST_STEP = 1_000_000
BYTES_PER_CHAR = 4
WALL_FACTOR = 4


def check_bool(knob: str, value: object) -> None:
    """Refuse what is no truth value.

    Raises:
        ValueError: It is none.
    """
    if not isinstance(value, bool):
        raise ValueError(f"pack.{knob} must be true or false; got {value!r}")


def check_count(knob: str, value: object, low: int, high: int) -> None:
    """Refuse what is no integer from `low` to `high`.

    Raises:
        ValueError: It is none.
    """
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise ValueError(f"pack.{knob} must be an integer from {low} to {high}; got {value!r}")


def check_kinds(kinds: Sequence[str]) -> tuple[str, ...]:
    """Return the kinds that are on, in the order of `KINDS`.

    Raises:
        ValueError: It is no list, or empty, or has an unknown or a repeated kind.
    """
    found = [] if isinstance(kinds, str) else list(kinds)
    if not found or len(set(found)) < len(found) or not set(found) <= set(KINDS):
        raise ValueError(f"pack.kinds must be a list of some of {', '.join(KINDS)}; got {kinds!r}")
    return tuple(kind for kind in KINDS if kind in found)


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


def check_sandbox(keys: Mapping[str, object]) -> SandboxConfig:
    """Return the configuration of the sandbox.

    Raises:
        ValueError: There is no such key, or it has a value it cannot have.
    """
    known = [field.name for field in fields(SandboxConfig)]
    for key in keys:
        if key not in known:
            raise ValueError(f"pack.sandbox.{key} is no key of the sandbox; it has {', '.join(known)}")
    return SandboxConfig(**keys)  # type: ignore[arg-type]


def check_limits(time_limit_s: float, memory_mb: int) -> Limits:
    """Return what a run may use.

    Raises:
        ValueError: A limit is outside the range that the sandbox allows.
    """
    check_count("memory_mb", memory_mb, 96, 16_384)
    if isinstance(time_limit_s, bool) or not isinstance(time_limit_s, int | float):
        raise ValueError(f"pack.time_limit_s must be a number; got {time_limit_s!r}")
    if not 0.05 <= time_limit_s <= 60:
        raise ValueError(f"pack.time_limit_s must be from 0.05 to 60; got {time_limit_s!r}")
    return Limits(
        cpu_s=float(time_limit_s),
        # The clock only stops what sleeps: a busy machine must not turn a right answer into a slow one.
        wall_s=max(WALL_FACTOR * time_limit_s, time_limit_s + 1.0),
        memory_mb=memory_mb,
        result_bytes=BYTES_PER_CHAR * LITERAL_CHARS[1],
    )
