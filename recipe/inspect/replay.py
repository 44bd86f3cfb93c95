"""The alarms that a run would have with other thresholds: judged again by its ledger and metrics."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from rich.console import RenderableType

from recipe.inspect import InspectError
from recipe.inspect.index import Index
from recipe.inspect.listing import alarm_lines
from recipe.inspect.printing import UNKNOWN, Column, note, number, table
from recipe.inspect.run import Run
from recipe.run.files import METRICS
from recipe.selfplay import alarms
from recipe.selfplay.alarm_table import ALARMS
from recipe.selfplay.config import AlarmConfig, AzrConfig
from recipe.selfplay.metrics import alarm_values, num_failed_of
from recipe.selfplay.types import LedgerLine
from tasks.contract import Outcome, Role

PREFIX = "azr.alarms."
PAGE_LINES = 10_000

FIELDS = (
    *("step", "role", "kind", "cell", "index", "attempt"),
    *("response", "outcome", "reason", "solve_rate", "reward", "record"),
)
"""What alarms read of a response."""

_COLUMNS = ", ".join(f'"{name}"' for name in FIELDS)

LINES = f"SELECT {_COLUMNS} FROM lines ORDER BY line"


@dataclass(frozen=True, slots=True)
class Judged:
    """One alarm over the run."""

    alarm: str
    threshold: float
    furthest: float | None  # its number where it was nearest to the threshold, or furthest beyond
    step: int | None  # of that
    begins: list[int]  # steps


@dataclass(frozen=True, slots=True)
class Replay:
    """What the alarms make of a run."""

    steps: int
    judged: list[Judged]  # those that have a threshold, in the order in which they are looked at
    alarms: list[alarms.Raised]  # those that begin, the first one first

    def parts(self, width: int) -> Iterator[RenderableType]:
        """As it is printed."""
        columns = [
            Column("alarm", [one.alarm for one in self.judged], is_text=True),
            Column("threshold", [number(one.threshold, 3) for one in self.judged]),
            Column("furthest", [number(one.furthest, 3) for one in self.judged]),
            Column("at step", [UNKNOWN if one.step is None else str(one.step) for one in self.judged]),
            Column("begins", [", ".join(map(str, one.begins)) for one in self.judged], is_text=True),
        ]
        yield table(columns, width)
        for one in self.alarms:
            yield from alarm_lines(one, width)
        yield note(f"alarms that begin in {self.steps} steps: {len(self.alarms)}")


def replay(index: Index, words: Sequence[str]) -> Replay:
    """Judge every finished step of a run again; `words` are keys of a run, `azr.alarms.NAME=VALUE`.

    Raises:
        InspectError: A word is no such key, no step is finished, or the pack cannot be built here.
    """
    config = read_thresholds(index.run, words)
    judge = alarms.Alarms(config, index.run.pack())
    numbers_of = {line["step"]: line for line in index.run.metrics()}
    if not any(step > 0 for step in numbers_of):
        raise InspectError(
            f"{index.run.folder / METRICS} must have a finished step to judge; it has none yet"
        )
    if 0 in numbers_of:
        judge.evaluated_before_training(_measured(numbers_of[0]))
    raised: list[alarms.Raised] = []
    values: dict[str, dict[int, float]] = {name: {} for name in alarms.NAMES}
    for step, lines in itertools.groupby(read_lines(index), attrgetter("step")):
        if step == 0:
            judge.remember(lines)
        elif step in numbers_of:
            numbers = _measured(numbers_of[step])
            looked = judge.look(step, list(lines), num_failed_of(numbers), numbers)
            raised += looked.raised
            for name, value in alarm_values(looked.numbers).items():
                values[name][step] = value
    judged = [
        _judged(name, threshold, values[name], raised)
        for name in alarms.NAMES
        if (threshold := getattr(config, name)) is not None
    ]
    return Replay(sum(step > 0 for step in numbers_of), judged, raised)


def read_thresholds(run: Run, words: Sequence[str]) -> AlarmConfig:
    """The run's thresholds, with those of `words` over them; InspectError for a word that sets none."""
    for word in words:
        if not word.startswith(PREFIX) or "=" not in word:
            raise InspectError(f"replay takes thresholds, such as {PREFIX}trivial=0.9 or =null; got {word}")
    try:
        given = OmegaConf.from_dotlist(list(words)).get("azr") or {}
        azr = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(run.azr), given))
    except OmegaConfBaseException as error:
        said = str(error).splitlines()[0]
        raise InspectError(f"replay takes thresholds; got {' '.join(words)}: {said}") from error
    assert isinstance(azr, AzrConfig)
    return azr.alarms


def read_lines(index: Index) -> Iterator[LedgerLine]:
    """The responses in the ledger's order, without prompts, measures and features."""
    cursor = index.connection.execute(LINES)
    while page := cursor.fetchmany(PAGE_LINES):
        for row in page:
            values: dict[str, Any] = dict(zip(FIELDS, row, strict=True))
            record = None if values["record"] is None else json.loads(values["record"])
            words = {"role": Role(values["role"]), "outcome": Outcome(values["outcome"])}
            yield LedgerLine(prompt=[], **values | words | {"record": record})


def _measured(line: dict[str, Any]) -> dict[str, float]:
    """Metrics as they were: what was not finite stands as null in the file."""
    return {name: value for name, value in line.items() if value is not None}


def _judged(name: str, threshold: float, values: dict[int, float], raised: list[alarms.Raised]) -> Judged:
    if not values:
        return Judged(name, threshold, None, None, [])
    worst = {alarm.name: alarm.worst for alarm in ALARMS}.get(name, max)
    furthest = worst(values.values())
    step = next(step for step, value in values.items() if value == furthest)
    return Judged(name, threshold, furthest, step, [one.step for one in raised if one.alarm == name])
