"""What became of each held-out task, one line an evaluation: two runs can be compared task by task."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import NamedTuple

from recipe.run.files import EVALUATIONS, read_metrics

RIGHT, WRONG, MISSING = "1", "0", "-"


class EvaluationsError(ValueError):
    """A run's evaluations cannot be read; the message is one line that names the file."""


class Answers(NamedTuple):
    """What came of one held-out item: 1.0 or 0.0 for its greedy attempt, and a share of the sampled ones."""

    correct: float
    well_formed: float
    sampled: float  # share of right ones; where some never came, of those that did; 0.0 without any


@dataclass(frozen=True, slots=True)
class Evaluation:
    """One evaluation. Columns (`groups`, `greedy`, `sampled`, `well_formed`) have an entry an item, in order.

    Attributes:
        step: The step after which it was made; 0 is before training.
        held_out: Digest of the tasks that were asked; equal digests are equal tasks in the same order.
        groups: Groups of each item, joined by `GROUP_MARK`: its kind, unless the pack has others.
        greedy: `RIGHT`, `WRONG`, or `MISSING` where no response came.
        num_samples: Sampled attempts at each item beside the greedy one.
        sampled: Right ones among them; None for an item without a response, or without samples.
        well_formed: Whether the greedy answer fitted the grammar, as `greedy`.
    """

    step: int
    held_out: str
    groups: tuple[str, ...]
    greedy: str
    num_samples: int
    sampled: tuple[int | None, ...]
    well_formed: str

    def __post_init__(self) -> None:
        lengths = [len(column) for column in (self.groups, self.greedy, self.sampled, self.well_formed)]
        if len(set(lengths)) > 1:
            raise ValueError(f"groups, greedy, sampled and well_formed must be of one length; got {lengths}")
        if strange := set(self.greedy + self.well_formed) - {RIGHT, WRONG, MISSING}:
            raise ValueError(
                f"greedy and well_formed must be of {RIGHT}, {WRONG} and {MISSING}; got {strange}"
            )

    @staticmethod
    def of_answers(
        step: int, held_out: str, groups: Sequence[str], num_samples: int, answers: Mapping[int, Answers]
    ) -> Evaluation:
        """The evaluation of a set with these groups; `answers` are by item, and an item without is missing.

        Where sampled attempts never came, the share of the others stands for all `num_samples`.
        """
        found = [answers.get(item) for item in range(len(groups))]
        return Evaluation(
            step=step,
            held_out=held_out,
            groups=tuple(groups),
            greedy="".join(MISSING if one is None else _mark(one.correct) for one in found),
            num_samples=num_samples,
            sampled=tuple(
                None if one is None or not num_samples else round(one.sampled * num_samples) for one in found
            ),
            well_formed="".join(MISSING if one is None else _mark(one.well_formed) for one in found),
        )

    def greedy_scores(self) -> list[float | None]:
        """1.0 for a right greedy answer to each item, 0.0 for a wrong one, None for a missing one."""
        return [None if mark == MISSING else float(mark == RIGHT) for mark in self.greedy]

    def sampled_scores(self) -> list[float | None]:
        """Share of right ones among the sampled attempts at each item; None where there are none."""
        return [None if right is None else right / self.num_samples for right in self.sampled]


def _mark(value: float) -> str:
    return RIGHT if value == 1.0 else WRONG


def digest_of(keys: Sequence[str]) -> str:
    """SHA-256 of held-out task keys in their order, as hexadecimal digits."""
    return hashlib.sha256(json.dumps(keys).encode()).hexdigest()


def read_evaluations(run: Path) -> dict[int, Evaluation]:
    """The evaluations in a run's directory, by step in rising order; none if the run has made none yet.

    A run that is resumed goes back to its checkpoint: a line takes the place of those before it that are of
    its step or later ones.

    Raises:
        EvaluationsError: There is no such file, or a line of it is no evaluation.
    """
    path = run / EVALUATIONS
    if not path.is_file():
        raise EvaluationsError(
            f"{path} must exist: a run writes what became of each held-out task there; runs from before "
            "did not. Train again to compare by task."
        )
    found: dict[int, Evaluation] = {}
    try:
        for line in read_metrics(path):
            values = {part.name: line[part.name] for part in fields(Evaluation)}
            values |= {name: tuple(values[name]) for name in ("groups", "sampled")}
            last = Evaluation(**values)
            found = {step: one for step, one in found.items() if step < last.step} | {last.step: last}
    except (ValueError, TypeError, KeyError) as error:
        raise EvaluationsError(
            f"{path} must be one evaluation a line; {type(error).__name__}: {error}"
        ) from error
    return found
