"""A second look at a line that the index could not take in as it stands: an alarm, a mended line, or damage.

Lines of alarms are few, and have fields of their own. A text that cannot be written as UTF-8 (half a
surrogate pair, which a model's tokens can make) stands in the ledger as a JSON escape that DuckDB refuses.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from recipe.selfplay.types import ALARM_ROLE
from tasks.contract import Outcome, Role

_HALF = re.compile("[\ud800-\udfff]")
_TEXTS = ("kind", "cell", "response", "reason")
_NUMBERS = ("step", "index")


@dataclass(frozen=True, slots=True)
class Alarm:
    """An alarm, and the line of the ledger that it stands on."""

    line: int
    step: int
    alarm: str
    value: float | None
    threshold: float | None
    sentence: str
    action: str


@dataclass(frozen=True, slots=True)
class Mended:
    """A line as text that DuckDB reads: half pairs are escapes that stand for themselves, `\\ud800`."""

    text: str


@dataclass(frozen=True, slots=True)
class Damage:
    """What is wrong with a line that is none of a ledger."""

    why: str


def look_again(line: int, raw: bytes) -> Alarm | Mended | Damage:
    """What the ledger has on a line, if it is no response that could be read at once."""
    try:
        value = json.loads(raw.decode())
    except (ValueError, RecursionError):
        return Damage("it is no JSON")
    if not isinstance(value, dict):
        return Damage("it is no JSON object")
    if value.get("role") == ALARM_ROLE:
        return _read_alarm(line, value)
    if missing := _missing(value):
        return Damage(f"it has no proper {', '.join(missing)}")
    return Mended(_HALF.sub(_spell, json.dumps(value, ensure_ascii=False)))


def _missing(value: Mapping[str, Any]) -> list[str]:
    """The fields that every response has, where this one lacks them."""
    return [
        *(name for name in _NUMBERS if not _is_count(value.get(name))),
        *(name for name in _TEXTS if not isinstance(value.get(name), str)),
        *(["role"] if value.get("role") not in tuple(Role) else []),
        *(["outcome"] if value.get("outcome") not in tuple(Outcome) else []),
        *(["prompt"] if not isinstance(value.get("prompt"), list) else []),
    ]


def _read_alarm(line: int, value: Mapping[str, Any]) -> Alarm | Damage:
    step, name = value.get("step"), value.get("alarm")
    if not _is_count(step) or not isinstance(name, str):
        return Damage("it is an alarm without a proper step or alarm")
    numbers = [value.get(key) for key in ("value", "threshold")]
    found, threshold = (float(n) if isinstance(n, int | float) else None for n in numbers)
    words = [_HALF.sub(_spell, str(value.get(key, ""))) for key in ("sentence", "action")]
    assert isinstance(step, int)
    return Alarm(line, step, _HALF.sub(_spell, name), found, threshold, *words)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 62


def _spell(half: re.Match[str]) -> str:
    # Two backslashes are one in JSON, behind which the rest is text.
    return f"\\\\u{ord(half[0]):04x}"
