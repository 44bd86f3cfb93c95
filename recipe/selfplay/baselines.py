"""Which responses share a baseline, and the baselines that are carried from step to step.

The estimator (`recipe/engine/estimator.py`) reads both and owns neither: the trainer keeps the running means,
which are part of a checkpoint. Nothing here imports verl or torch.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from enum import StrEnum
from statistics import fmean

from recipe.selfplay.uid import parse_uid
from tasks.contract import Role

DECAY = 0.95
"""Share of a running mean that a step leaves in place: that of SPIRAL (arXiv:2506.24119)."""


class Cells(StrEnum):
    """What `algorithm.trr.cells` selects: which rows share a baseline and a scale."""

    ROLE_KIND = "role-kind"
    """One cell a role and kind: TRR++."""

    ROLE_DIFFICULTY = "role-difficulty"
    """One cell a role and difficulty, whatever the kind."""

    ROLE = "role"
    """One cell a role."""

    RECORD = "record"
    """One cell for the attempts at one record; proposals by role and kind."""

    GLOBAL = "global"
    """One cell for the batch: REINFORCE++. Uids are not parsed."""


class Baseline(StrEnum):
    """What `algorithm.trr.baseline` selects: what is taken off a reward."""

    CELL_MEAN = "cell-mean"
    """The mean of the cell in this batch: TRR++."""

    RUNNING_MEAN = "running-mean"
    """The mean of the cell over the steps before: `RunningMeans`."""


class Scale(StrEnum):
    """What `algorithm.trr.scale` selects: what a reward less its baseline is divided by."""

    STD = "std"
    """The standard deviation of the cell: TRR++."""

    NONE = "none"
    """Nothing."""


class Statistics(StrEnum):
    """What `algorithm.trr.statistics` selects: what counts once in a cell's mean and variance."""

    SEQUENCE = "sequence"
    """Every response."""

    TOKEN = "token"
    """Every valid token, so long responses weigh more."""


def cell_of(uid: str, cells: Cells) -> str:
    """The name of the cell that a row belongs to: `propose/deduction`, `solve/easy`, `solve`, `all` or a uid.

    Raises:
        ValueError: `uid` is not from `make_uid`. Global cells do not look at it.
    """
    if cells is Cells.GLOBAL:
        return "all"
    origin = parse_uid(uid)
    if cells is Cells.ROLE:
        return origin.role
    if cells is Cells.ROLE_DIFFICULTY:
        return f"{origin.role}/{origin.difficulty}"
    if cells is Cells.RECORD and origin.role is Role.SOLVE:
        return uid  # self-play gives the attempts at one record one uid
    return f"{origin.role}/{origin.kind}"


class RunningMeans:
    """A mean of rewards for each cell that is carried from step to step, for baselines that no batch decides.

    With R the mean of the cell's rewards in a step, m = w = 0 before the first step that has any, and b the
    baseline:

        b = m / w,  m <- 0.95 * m + 0.05 * R,  w <- 0.95 * w + 0.05

    A step is scored with b as the steps before left it, so no response is part of its own baseline, but for a
    cell's first step, which is scored with its own mean. This is the role-conditioned advantage estimation of
    SPIRAL (https://arxiv.org/abs/2506.24119) with one update a step, and without the weight of its zero
    start: there it is one update a game, which in a batch of many responses would forget all but the last
    few, and which has left zero behind after some dozens of them.

    Args:
        cells: How responses are grouped. Not by record: no record comes twice.
    """

    def __init__(self, cells: Cells) -> None:
        self._cells = cells
        self._sums: dict[str, tuple[float, float]] = {}  # m and w of every cell

    def advance(self, uids: Sequence[str], rewards: Sequence[float]) -> dict[str, float]:
        """Take a step's rewards in.

        Args:
            uids: (B,) uids from `make_uid`.
            rewards: (B,) rewards of these responses.

        Returns:
            For every cell of the step, its baseline.
        """
        by_cell: dict[str, list[float]] = defaultdict(list)
        for uid, reward in zip(uids, rewards, strict=True):
            by_cell[cell_of(uid, self._cells)].append(reward)
        baselines = {}
        for cell, found in by_cell.items():
            total, weight = self._sums.get(cell, (0.0, 0.0))
            mean = fmean(found)
            baselines[cell] = total / weight if weight else mean
            self._sums[cell] = (DECAY * total + (1 - DECAY) * mean, DECAY * weight + (1 - DECAY))
        return baselines

    def state_dict(self) -> dict[str, list[float]]:
        """`[m, w]` of every cell so far."""
        return {cell: list(sums) for cell, sums in self._sums.items()}

    def load_state_dict(self, state: Mapping[str, Sequence[float]]) -> None:
        """Go on where `state_dict` left off."""
        self._sums = {cell: (total, weight) for cell, (total, weight) in state.items()}
