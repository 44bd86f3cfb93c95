"""The advantage that a response was trained with, where the ledger alone decides it.

    A = (r - mean(r)) / sqrt(var(r) + 1e-8),  times the weight of its role in the loss

over the rewards of its cell in its step, with the unbiased variance; 0 where they are all equal. This is
`recipe/engine/estimator.py` in the default setting, which computes in torch what the trainer has at hand.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from omegaconf import OmegaConf

from recipe.inspect.entries import Entry
from recipe.inspect.index import Index
from recipe.inspect.printing import number
from recipe.inspect.run import Run
from recipe.selfplay.credit import Baseline, Scale, Statistics
from tasks.contract import Role

CELL = """
SELECT count(*) AS n, avg(reward) AS mean, var_samp(reward) AS variance,
    min(reward) AS low, max(reward) AS high
FROM lines WHERE step = $step AND cell = $cell AND reward IS NOT NULL
"""

ROLES = """
SELECT count(*) FILTER (role = 'propose') AS propose, count(*) FILTER (role = 'solve') AS solve
FROM lines WHERE step = $step AND reward IS NOT NULL
"""


@dataclass(frozen=True, slots=True)
class Advantage:
    """The advantage of one response, and what it is made of; None and why where it cannot be told."""

    value: float | None
    cell: str
    rewards: int = 0  # in its cell and step
    mean: float | None = None  # of these, the baseline
    deviation: float | None = None  # what the difference is divided by; None where it is divided by nothing
    weight: float = 1.0  # of its role in the loss (`algorithm.trr.proposer_share`)
    why: str = ""  # there is none

    def in_words(self, reward: str) -> str:
        """How it is made of a reward, which is called so, or why it is not known."""
        if self.value is None:
            return self.why
        made = f"{reward} - {number(self.mean, 4)}, the mean of {self.rewards:,} in {self.cell}"
        if self.deviation is not None:
            made = f"({made}) / {self.deviation:.4f}"
        return made if self.weight == 1 else f"{made}, times {self.weight:.4g} for the role"


def unknown(run: Run) -> str:
    """Why the ledger does not tell this run's advantages; "" if it does."""
    config = run.config
    estimator = OmegaConf.select(config, "algorithm.adv_estimator")
    if estimator != "trr_plus_plus":
        return f"the run's estimator is {estimator}, of veRL"
    if OmegaConf.select(config, "algorithm.use_kl_in_reward"):
        return "a penalty is part of the rewards that the estimator saw (algorithm.use_kl_in_reward)"
    baseline = OmegaConf.select(config, "algorithm.trr.baseline")
    if baseline != Baseline.CELL_MEAN:
        return f"its baseline is a {baseline} over earlier steps, which the ledger does not have"
    if OmegaConf.select(config, "algorithm.trr.statistics") != Statistics.SEQUENCE:
        return "mean and deviation are over tokens (algorithm.trr.statistics=token), which the ledger lacks"
    return ""


class Advantages:
    """The advantages of a run's responses."""

    def __init__(self, index: Index) -> None:
        self._index = index
        self._unknown = unknown(index.run)
        self._scale = OmegaConf.select(index.run.config, "algorithm.trr.scale")
        self._share = OmegaConf.select(index.run.config, "algorithm.trr.proposer_share")
        newest = index.row("SELECT coalesce(max(step), 0) AS step FROM lines")["step"]
        self._answers: dict[tuple[object, ...], dict[str, Any]] = {}
        self._last_whole = max(newest - 1, index.run.last_finished_step())

    def of(self, entry: Entry) -> Advantage:
        """That of a response with a reward."""
        assert entry.reward is not None
        why = self._unknown
        if not why and entry.step > self._last_whole:
            why = "its step may not be in the ledger as a whole yet"
        if why:
            return Advantage(None, entry.cell, why=why)
        found = self._ask(CELL, {"step": entry.step, "cell": entry.cell})
        rewards, weight = found["n"], self._weight(entry)
        if found["low"] == found["high"]:
            return Advantage(0.0, entry.cell, rewards, found["mean"], None, weight)
        value, deviation = entry.reward - found["mean"], None
        if self._scale != Scale.NONE:
            deviation = math.sqrt(found["variance"] + 1e-8)
            value /= deviation
        return Advantage(value * weight, entry.cell, rewards, found["mean"], deviation, weight)

    def _weight(self, entry: Entry) -> float:
        """What a response of its role counts in the loss (`recipe.engine.estimator.role_weights`)."""
        counts = self._ask(ROLES, {"step": entry.step})
        if self._share is None or not all(counts.values()):
            return 1.0
        share = self._share if entry.role == Role.PROPOSE else 1 - self._share
        return float(share * sum(counts.values()) / counts[entry.role])

    def _ask(self, query: str, values: dict[str, object]) -> dict[str, Any]:
        """The row of a query, which is asked once: the responses of a step share their answers."""
        key = (query, *values.values())
        if key not in self._answers:
            self._answers[key] = self._index.row(query, values)
        return self._answers[key]
