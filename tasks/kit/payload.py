"""Typed reads of a record's payload, which is JSON and may come from a file.

All raise ValueError where the field is missing or of another type.
"""

from __future__ import annotations

import reprlib
from collections.abc import Mapping

from tasks.contract import Json

Payload = Mapping[str, Json]


def read_int(payload: Payload, field: str) -> int:
    """Return the integer under `field`."""
    value = payload.get(field)
    # bool is a subclass of int, and `true` in a file is no number.
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"field {field!r} must be an integer; got {value!r}")
    return value


def read_str(payload: Payload, field: str) -> str:
    """Return the string under `field`."""
    value = payload.get(field)
    if not isinstance(value, str):
        raise ValueError(f"field {field!r} must be a string; got {reprlib.repr(value)}")
    return value


def read_pair(value: Json) -> tuple[int, int]:
    """Return a JSON list of two integers as a pair."""
    if isinstance(value, list) and len(value) == 2:
        first, second = value
        if isinstance(first, int) and isinstance(second, int):
            return first, second
    raise ValueError(f"payload value must be a list of two integers; got {value!r}")


def read_pairs(payload: Payload, field: str) -> list[tuple[int, int]]:
    """Return the list of integer pairs under `field`."""
    value = payload.get(field)
    if not isinstance(value, list):
        raise ValueError(f"field {field!r} must be a list; got {value!r}")
    return [read_pair(item) for item in value]
