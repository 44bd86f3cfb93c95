"""What a pack's methods have to return: one function a type, which gives the fault in words, or "".

The contract says it in types, but a pack of somebody else may have been checked by nobody.
"""

from __future__ import annotations

import json
import math
import re
import reprlib
from collections.abc import Callable, Mapping, Sequence

from tasks.contract import Accepted, KindSpec, Outcome, Rejected, TaskRecord, Verdict

Expect = Callable[[object], str]

_KIND = re.compile("[a-z0-9-]+")
_LABEL = re.compile("[a-z0-9-]*")
_PACK = re.compile("[a-z0-9_]+")
_SLUG = re.compile("[a-z0-9]+(-[a-z0-9]+)*")

_repr = reprlib.Repr()
_repr.maxstring = _repr.maxother = _repr.maxlong = 160


def short(value: object) -> str:
    """A value in one short line, for a message."""
    return _one_line(_repr.repr(value))


def short_error(error: BaseException) -> str:
    """An exception's class and words, in one short line."""
    words = _one_line(str(error))[:300]
    return f"{type(error).__name__}: {words}" if words else type(error).__name__


def nothing(value: object) -> str:
    """None."""
    return "" if value is None else _returned(value, "None")


def text(value: object) -> str:
    """A string."""
    return "" if isinstance(value, str) else _returned(value, "a string")


def optional_text(value: object) -> str:
    """A string or None."""
    return "" if value is None or isinstance(value, str) else _returned(value, "a string or None")


def label(value: object) -> str:
    """A difficulty: "" or lower case letters, digits and hyphens, and not the label of no task."""
    legal = isinstance(value, str) and _LABEL.fullmatch(value) and value != "none"
    return "" if legal else _returned(value, "lower case letters, digits and hyphens, and not 'none'")


def groups(value: object) -> str:
    """Parts of the held-out set, at least one: lower case letters, digits and hyphens, and not "all"."""
    if fault := names(value):
        return fault
    assert isinstance(value, tuple)
    legal = value and all(_LABEL.fullmatch(name) and name not in ("", "all") for name in value)
    form = "at least one of lower case letters, digits and hyphens, and not 'all'"
    return "" if legal else _returned(value, form)


def names(value: object) -> str:
    """A tuple of strings."""
    whole = isinstance(value, tuple) and all(isinstance(name, str) for name in value)
    return "" if whole else _returned(value, "a tuple of strings")


def kinds(value: object) -> str:
    """A tuple of `KindSpec`, at least one, with names that are legal and unlike each other."""
    if not isinstance(value, tuple) or not value or not all(isinstance(spec, KindSpec) for spec in value):
        return _returned(value, "a tuple of KindSpec, at least one")
    called = [spec.name for spec in value]
    for name in called:
        if not (isinstance(name, str) and _KIND.fullmatch(name)):
            return f"has the kind {name!r}; names are lower case letters, digits and hyphens"
    for spec in value:
        shown = spec.reference_kinds
        if not isinstance(shown, tuple) or not set(shown) <= set(called):
            return f"shows {short(shown)} as references of {spec.name}; they must be of {', '.join(called)}"
        count = spec.num_references
        if not isinstance(count, int) or isinstance(count, bool) or count < 0:
            return f"shows {short(count)} references of {spec.name}; it must be an integer from 0"
    return "" if len(set(called)) == len(called) else f"has a kind twice: {', '.join(called)}"


def messages(value: object) -> str:
    """A chat prompt: at least one message, each with a role and a content that are not empty."""
    if not isinstance(value, list) or not value:
        return _returned(value, "a list of messages, at least one")
    for message in value:
        if not isinstance(message, dict) or set(message) != {"role", "content"}:
            return f"returned the message {short(message)}; it must have 'role' and 'content', and no more"
        if not all(isinstance(part, str) and part for part in message.values()):
            return f"returned the message {short(message)}; its parts must be strings that are not empty"
    return ""


def record_of(kind: str) -> Expect:
    """A `TaskRecord` of this kind, of JSON values."""
    return lambda value: _record([kind], value)


def records(of_kinds: Sequence[str], value: object) -> str:
    """A sequence of `TaskRecord`, each of one of these kinds and of JSON values."""
    if not isinstance(value, Sequence) or isinstance(value, str):
        return _returned(value, "a sequence of TaskRecord")
    return next((fault for record in value if (fault := _record(of_kinds, record))), "")


def accepted(kind: str) -> Expect:
    """`Accepted` with a record of this kind, or `Rejected` with an outcome and a reason."""

    def expect(value: object) -> str:
        if isinstance(value, Accepted):
            return _record([kind], value.record)
        if not isinstance(value, Rejected):
            return _returned(value, "Accepted or Rejected")
        if value.outcome not in (Outcome.MALFORMED, Outcome.WRONG):
            return f"rejected with {value.outcome!r}; the outcome must be MALFORMED or WRONG"
        return _reason(value.reason)

    return expect


def verdict(measure_names: Sequence[str]) -> Expect:
    """A `Verdict` with an outcome, a reason unless it is CORRECT, and measures of these names."""

    def expect(value: object) -> str:
        if not isinstance(value, Verdict):
            return _returned(value, "a Verdict")
        if not isinstance(value.outcome, Outcome):
            return f"returned a Verdict with the outcome {short(value.outcome)}; it must be an Outcome"
        if not (isinstance(value.measures, Mapping) and set(value.measures) <= set(measure_names)):
            known = ", ".join(measure_names) or "none"
            return f"measured {short(value.measures)}; it must be numbers by name, of measure_names: {known}"
        if fault := _numbers(value.measures):
            return fault
        if value.outcome is not Outcome.CORRECT:
            return _reason(value.reason)
        return "" if value.reason == "" else f"gave the reason {short(value.reason)} for CORRECT; it has none"

    return expect


def features(asked: Sequence[str]) -> Expect:
    """One finite number for each feature that was asked for."""

    def expect(value: object) -> str:
        if not isinstance(value, Mapping) or set(value) != set(asked):
            return _returned(value, f"one number for each of {', '.join(asked)}")
        return _numbers(value)

    return expect


def _version(value: object) -> str:
    return "" if isinstance(value, int) and not isinstance(value, bool) else _is(value, "an integer")


def _name(value: object) -> str:
    legal = isinstance(value, str) and _PACK.fullmatch(value)
    return "" if legal else _is(value, "lower case letters, digits and underscores")


def _flag(value: object) -> str:
    return "" if isinstance(value, bool) else _is(value, "True or False")


ATTRIBUTES: Mapping[str, Expect] = {
    "name": _name,
    "held_out_version": _version,
    "checks_repeat": _flag,
    "resolves": _flag,
}
"""What the attributes of a pack have to be."""


def _record(of_kinds: Sequence[str], value: object) -> str:
    if not isinstance(value, TaskRecord):
        return _returned(value, "a TaskRecord")
    if value.kind not in of_kinds:
        return f"returned a record of the kind {short(value.kind)}; it must be {' or '.join(of_kinds)}"
    if not isinstance(value.payload, Mapping):
        return f"returned a record whose payload is {short(value.payload)}; it must be a mapping"
    try:
        # `nan` is written and read, but is no JSON, and equals nothing.
        back = json.loads(json.dumps(dict(value.payload), allow_nan=False))
    except (TypeError, ValueError, RecursionError) as error:
        return f"returned a record that is no JSON ({short_error(error)}): {short(dict(value.payload))}"
    same = back == value.payload
    return "" if same else f"returned a record that JSON changes (a tuple, say): {short(dict(value.payload))}"


def _reason(value: object) -> str:
    legal = isinstance(value, str) and _SLUG.fullmatch(value)
    return "" if legal else f"gave the reason {short(value)}; it must be a slug such as no-answer"


def _numbers(measured: Mapping[str, object]) -> str:
    for name, value in measured.items():
        if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
            return f"measured {name} as {short(value)}; it must be a finite number"
    return ""


def _returned(value: object, wanted: str) -> str:
    return f"returned {short(value)}; it must be {wanted}"


def _is(value: object, wanted: str) -> str:
    return f"is {short(value)}; it must be {wanted}"


def _one_line(words: str) -> str:
    return " ".join(words.split())
