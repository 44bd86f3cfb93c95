"""Tasks that the pack draws itself, at a level that a rule chooses: what learned proposals are compared with.

`TaskSampler` draws a step's tasks where `azr.tasks` is `generator`, `adaptive` or `frontier`. Its rules know
the levels of a kind by their place, 0 the easiest (`TaskPack.levels`), and how attempts at each of them went.
"""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

from recipe.selfplay.config import TaskSource
from tasks.contract import TaskPack, TaskRecord

MAX_DRAWS = 100
"""Draws for one task that the run has not had; then a level counts as used up, and a task comes again."""


class LevelRule(ABC):
    """Chooses the levels of one kind's tasks."""

    @abstractmethod
    def weights(self) -> list[float]:
        """What each level is drawn in proportion to."""

    def learn(self, level: int, solve_rate: float) -> None:
        """Take in the solve rate of a task of this level, in [0, 1]."""
        return None

    def end_step(self) -> None:
        """A step's tasks have all been learned from."""
        return None

    def state_dict(self) -> dict[str, Any]:
        """What decides later weights, as JSON values."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where `state_dict` left off."""
        return None


class Even(LevelRule):
    """Every level alike."""

    def __init__(self, num_levels: int) -> None:
        self._weights = [1.0] * num_levels

    def weights(self) -> list[float]:
        return self._weights


class Ladder(LevelRule):
    """The rule of RLVE (https://arxiv.org/abs/2511.07317): draw evenly from the top `WIDTH` levels reached.

    The top level starts at the easiest. Once `MIN_TASKS` tasks of it were attempted, it rises by one if their
    mean solve rate is `GOAL` or more, and they are counted anew.
    """

    WIDTH = 4
    MIN_TASKS = 8
    GOAL = 0.9

    def __init__(self, num_levels: int) -> None:
        self._num_levels = num_levels
        self._top = 0
        self._rates: list[float] = []  # of tasks at the top level since it was last looked at

    def weights(self) -> list[float]:
        return [float(self._top - self.WIDTH < level <= self._top) for level in range(self._num_levels)]

    def learn(self, level: int, solve_rate: float) -> None:
        if level == self._top:
            self._rates.append(solve_rate)

    def end_step(self) -> None:
        if len(self._rates) < self.MIN_TASKS:
            return
        # With some room for sums of tenths in floating point.
        if sum(self._rates) >= self.GOAL * len(self._rates) - 1e-9:
            self._top = min(self._top + 1, self._num_levels - 1)
        self._rates = []

    def state_dict(self) -> dict[str, Any]:
        return {"top": self._top, "rates": self._rates}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._top, self._rates = state["top"], list(state["rates"])


class Frontier(LevelRule):
    """Levels in proportion to p * (1 - p), the variance of one attempt, with p the solve rate of the level.

    p = (r + 0.5) / (t + 1), with t tasks of the level and r the sum of their solve rates, a step ago counting
    `DECAY`. A level that is not drawn is forgotten: its p goes to 0.5, and it is tried again.
    """

    DECAY = 0.8

    def __init__(self, num_levels: int) -> None:
        self._tasks = [0.0] * num_levels
        self._solved = [0.0] * num_levels

    def weights(self) -> list[float]:
        rates = [(right + 0.5) / (count + 1) for right, count in zip(self._solved, self._tasks, strict=True)]
        return [rate * (1 - rate) for rate in rates]

    def learn(self, level: int, solve_rate: float) -> None:
        self._tasks[level] += 1
        self._solved[level] += solve_rate

    def end_step(self) -> None:
        self._tasks = [self.DECAY * count for count in self._tasks]
        self._solved = [self.DECAY * right for right in self._solved]

    def state_dict(self) -> dict[str, Any]:
        return {"tasks": self._tasks, "solved": self._solved}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._tasks, self._solved = list(state["tasks"]), list(state["solved"])


RULES: Mapping[str, Callable[[int], LevelRule]] = {
    TaskSource.GENERATOR: Even,
    TaskSource.ADAPTIVE: Ladder,
    TaskSource.FRONTIER: Frontier,
}
"""By `azr.tasks`: the rule for a number of levels."""


class TaskSampler:
    """Draws tasks of a pack that are not held out and, while there are any, new to the run.

    A kind without levels has one: what `TaskPack.sample_record` draws.
    """

    def __init__(self, pack: TaskPack, source: str) -> None:
        self._pack = pack
        self._held_out = frozenset(pack.task_key(record) for record in pack.held_out())
        self._levels = {spec.name: pack.levels(spec.name) for spec in pack.kinds}
        self._rules = {kind: RULES[source](max(len(levels), 1)) for kind, levels in self._levels.items()}

    def draw(self, kind: str, count: int, had: Iterable[str], rng: random.Random) -> list[TaskRecord]:
        """`count` tasks; `had` are the keys of those that the run had before.

        Raises:
            ValueError: The pack draws held-out tasks alone at some level.
        """
        levels, weights = self._levels[kind], self._rules[kind].weights()
        chosen = rng.choices(range(len(weights)), weights, k=count)
        taken = set(had)
        records: list[TaskRecord] = []
        for place in chosen:
            record, key = self._draw_one(kind, levels[place] if levels else None, taken, rng)
            taken.add(key)
            records.append(record)
        return records

    def _draw_one(
        self, kind: str, level: str | None, had: Collection[str], rng: random.Random
    ) -> tuple[TaskRecord, str]:
        seen: tuple[TaskRecord, str] | None = None
        for _ in range(MAX_DRAWS):
            pack = self._pack
            record = pack.sample_record(kind, rng) if level is None else pack.sample_at(kind, level, rng)
            key = pack.task_key(record)
            if key in self._held_out:
                continue
            if key not in had:
                return record, key
            seen = record, key
        if seen is None:
            at = "" if level is None else f" at the level {level}"
            raise ValueError(
                f"pack {self._pack.name} must draw tasks of {kind}{at} that are not held out; "
                f"{MAX_DRAWS} draws gave none"
            )
        return seen

    def learn(self, solve_rates: Iterable[tuple[TaskRecord, float]]) -> None:
        """Take in a step's tasks with the share of right attempts at each."""
        for record, solve_rate in solve_rates:
            levels = self._levels[record.kind]
            place = levels.index(self._pack.difficulty(record)) if levels else 0
            self._rules[record.kind].learn(place, solve_rate)
        for rule in self._rules.values():
            rule.end_step()

    def state_dict(self) -> dict[str, Any]:
        """What decides later draws beside the run's tasks, as JSON values by kind."""
        return {kind: rule.state_dict() for kind, rule in self._rules.items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where `state_dict` left off; a kind that it does not have begins anew."""
        for kind in state:
            self._rules[kind].load_state_dict(state[kind])
