"""A pack's knobs: one frozen dataclass, whose fields each have a default and a docstring.

It is the one place that says what a pack can be set to: tests hold `conf/pack/<name>.yaml` to its defaults
and the table in docs/ to its docstrings. `takes_knobs` makes its fields a constructor's keyword arguments.

The `check_` functions raise ValueError, one line that names the knob, what it may be and what it is.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Concatenate, ParamSpec, TypeVar

from tasks.sandbox import Limits, SandboxConfig

WALL_FACTOR = 4

_P = ParamSpec("_P")
_Pack = TypeVar("_Pack")
_Knobs = TypeVar("_Knobs")


@dataclass(frozen=True, kw_only=True)
class Knobs:
    """Knobs of every pack with committed held-out sets and prompts for a model that was trained on them."""

    terse: bool = False
    """Prompts without instructions, for a model that was trained on them; `terse_prompts=true` sets it."""

    held_out_path: str | None = None
    """A file in place of the committed held-out set."""

    def __post_init__(self) -> None:
        check_bool("terse", self.terse)


@dataclass(frozen=True, kw_only=True)
class ProgramKnobs(Knobs):
    """Knobs of a pack that runs programs."""

    time_limit_s: float = 1.0
    """CPU seconds of a run, 0.05 to 60."""

    memory_mb: int = 512
    """Memory of a run, in MiB."""

    sandbox: Mapping[str, object] | None = None
    """Where programs run: the keys of the sandbox (docs/sandbox.md)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_limits(self.time_limit_s, self.memory_mb, result_bytes=4096)
        check_sandbox(self.sandbox or {})


def takes_knobs(
    make: Callable[_P, _Knobs],
) -> Callable[[Callable[[_Pack, _Knobs], None]], Callable[Concatenate[_Pack, _P], None]]:
    """Let a constructor that wants a pack's knobs be called with the knobs themselves.

        @takes_knobs(MyKnobs)
        def __init__(self, knobs: MyKnobs) -> None: ...

    is built by `MyPack(largest=30)`, and its signature is that of `MyKnobs`.
    """

    def decorate(build: Callable[[_Pack, _Knobs], None]) -> Callable[Concatenate[_Pack, _P], None]:
        @functools.wraps(build)
        def init(self: _Pack, /, *args: _P.args, **kwargs: _P.kwargs) -> None:
            build(self, make(*args, **kwargs))

        own, *_ = inspect.signature(build).parameters.values()
        known = inspect.signature(make).parameters.values()
        vars(init)["__signature__"] = inspect.Signature([own, *known])
        return init

    return decorate


def read_knobs(texts: Sequence[str]) -> dict[str, object]:
    """Read knobs and their values from a command line, as Hydra reads overrides.

    `terse=true`, `kinds=[deduction]`, `sandbox.backend=wasm`: dots lead into mappings.

    Raises:
        ValueError: One is no `KNOB=VALUE`.
    """
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.core.override_parser.types import OverrideType
    from hydra.errors import HydraException

    parser = OverridesParser.create()
    knobs: dict[str, Any] = {}
    for text in texts:
        try:
            override = parser.parse_override(text)
            is_value = override.type is OverrideType.CHANGE and not override.is_sweep_override()
            if not (is_value and override.key_or_group):
                raise HydraException("no knob is set to a value")
        except HydraException as error:
            reason = str(error).splitlines()[0]
            raise ValueError(f"a knob must be KNOB=VALUE; got {text!r} ({reason})") from error
        *above, name = override.key_or_group.split(".")
        inside = knobs
        for part in above:
            inside = inside.setdefault(part, {})
        inside[name] = override.value()
    return knobs


def check_bool(knob: str, value: object) -> None:
    """Refuse what is no truth value."""
    if not isinstance(value, bool):
        raise ValueError(f"pack.{knob} must be true or false; got {value!r}")


def check_count(knob: str, value: object, low: int, high: int) -> None:
    """Refuse what is no integer from `low` to `high`."""
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise ValueError(f"pack.{knob} must be an integer from {low} to {high}; got {value!r}")


def check_share(knob: str, value: object) -> None:
    """Refuse what is no number between 0 and 1, both left out."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1:
        raise ValueError(f"pack.{knob} must be a number above 0 and below 1; got {value!r}")


def check_choice(knob: str, value: object, known: Sequence[str]) -> None:
    """Refuse what is none of `known`."""
    if value not in list(known):
        raise ValueError(f"pack.{knob} must be one of {', '.join(known)}; got {value!r}")


def check_choices(knob: str, chosen: Sequence[str], known: Sequence[str]) -> tuple[str, ...]:
    """Return what is chosen out of `known`, in that order: a list of one at least, none of them twice."""
    found = list(chosen) if isinstance(chosen, Sequence) and not isinstance(chosen, str) else []
    # `in`, not a set: an item may be a list, by one bracket too many.
    if not found or any(item not in known or found.count(item) > 1 for item in found):
        raise ValueError(f"pack.{knob} must be a list of some of {', '.join(known)}; got {chosen!r}")
    return tuple(item for item in known if item in found)


def check_sandbox(keys: Mapping[str, object]) -> SandboxConfig:
    """Return the configuration of the sandbox with these keys."""
    known = [field.name for field in fields(SandboxConfig)]
    for key in keys:
        if key not in known:
            raise ValueError(f"pack.sandbox.{key} is no key of the sandbox; it has {', '.join(known)}")
    try:
        return SandboxConfig(**keys)  # type: ignore[arg-type]
    except ValueError as error:
        raise ValueError(f"pack.{error}") from error


def check_limits(time_limit_s: float, memory_mb: int, result_bytes: int) -> Limits:
    """Return what a run may use: CPU seconds, MiB of memory, and bytes of a result."""
    check_count("memory_mb", memory_mb, 96, 16_384)
    is_number = isinstance(time_limit_s, int | float) and not isinstance(time_limit_s, bool)
    if not is_number or not 0.05 <= time_limit_s <= 60:
        raise ValueError(f"pack.time_limit_s must be a number from 0.05 to 60; got {time_limit_s!r}")
    return Limits(
        cpu_s=float(time_limit_s),
        # The clock only stops what sleeps: a busy machine must not turn a right answer into a slow one.
        wall_s=max(WALL_FACTOR * time_limit_s, time_limit_s + 1.0),
        memory_mb=memory_mb,
        result_bytes=result_bytes,
    )
