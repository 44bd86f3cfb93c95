"""Check knobs that several packs have; they come from configuration files and command lines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields

from tasks.sandbox import Limits, SandboxConfig

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


def check_choices(knob: str, chosen: Sequence[str], known: Sequence[str]) -> tuple[str, ...]:
    """Return what is chosen out of `known`, in that order.

    Raises:
        ValueError: It is no list, or empty, or has an unknown or a repeated item.
    """
    found = list(chosen) if isinstance(chosen, Sequence) and not isinstance(chosen, str) else []
    # `in`, not a set: an item may be a list, by one bracket too many.
    if not found or any(item not in known or found.count(item) > 1 for item in found):
        raise ValueError(f"pack.{knob} must be a list of some of {', '.join(known)}; got {chosen!r}")
    return tuple(item for item in known if item in found)


def check_sandbox(keys: Mapping[str, object]) -> SandboxConfig:
    """Return the configuration of the sandbox.

    Raises:
        ValueError: There is no such key, or it has a value it cannot have.
    """
    known = [field.name for field in fields(SandboxConfig)]
    for key in keys:
        if key not in known:
            raise ValueError(f"pack.sandbox.{key} is no key of the sandbox; it has {', '.join(known)}")
    try:
        return SandboxConfig(**keys)  # type: ignore[arg-type]
    except ValueError as error:
        raise ValueError(f"pack.{error}") from error


def check_limits(time_limit_s: float, memory_mb: int, result_bytes: int) -> Limits:
    """Return what a run may use: CPU seconds, MiB of memory, and bytes of a result.

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
        result_bytes=result_bytes,
    )
