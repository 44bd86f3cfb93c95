"""Uids, cells and running means: which responses share a baseline, and what is carried from step to step.

verl hands an estimator one string a row, the uid, and nothing else about where it comes from. So the uid
spells that: `propose.deduction.<32 hexadecimal digits>`, or `solve.deduction.easy.<32 digits>` where the
difficulty of the task is known. That of a proposal is not when its prompt is sent, so every row gets a second
uid when the step is settled, before advantages are computed.

The advantages themselves are computed in `recipe/engine/estimator.py`, a pure function of these.
"""

from __future__ import annotations

import re
import uuid
from collections import defaultdict
from collections.abc import Mapping, Sequence
from enum import StrEnum
from statistics import fmean
from typing import NamedTuple

from tasks.contract import Role

DECAY = 0.95
"""Share of a running mean that a step leaves in place: that of SPIRAL (arXiv:2506.24119)."""

# No part may hold an underscore: verl names rows "<uid>_<session>_<index>", and its replay buffer reads the
# uid back as all that stands before the first underscore. No part may hold the separator either.
_NAME = re.compile(r"[a-z0-9-]+")
_UID = re.compile(
    rf"(?P<role>{'|'.join(Role)})\.(?P<kind>{_NAME.pattern})"
    rf"(?:\.(?P<difficulty>{_NAME.pattern}))?\.[0-9a-f]{{32}}"
)


class Origin(NamedTuple):
    """Where a response comes from."""

    role: Role
    kind: str  # of task, by name
    difficulty: str = ""  # the pack's label of its task; "" where there is none


def make_uid(role: str, kind: str, difficulty: str = "") -> str:
    """A new uid for responses of this origin, `<role>.<kind>[.<difficulty>].<32 hexadecimal digits>`.

    The digits are from the operating system, so they name a prompt and must never decide what happens to it.

    Raises:
        ValueError: `role` is no `Role`, or a name has other characters than lower case letters, digits and
            hyphens.
    """
    if role not in tuple(Role):
        raise ValueError(f"role must be one of {', '.join(Role)}; got {role!r}")
    names = {"kind": kind} | ({"difficulty": difficulty} if difficulty else {})
    for what, name in names.items():
        if _NAME.fullmatch(name) is None:
            raise ValueError(f"{what} must be lower case letters, digits and hyphens; got {name!r}")
    return ".".join([role, *names.values(), uuid.uuid4().hex])


def parse_uid(uid: str) -> Origin:
    """What `make_uid` was given; ValueError if `uid` is not from it."""
    match = _UID.fullmatch(uid)
    if match is None:
        raise ValueError(f"uid must be <role>.<kind>[.<difficulty>].<32 hexadecimal digits>; got {uid!r}")
    return Origin(Role(match["role"]), match["kind"], match["difficulty"] or "")


def is_uid(text: str) -> bool:
    """Whether this is from `make_uid`."""
    return _UID.fullmatch(text) is not None


class Cells(StrEnum):
    """What `algorithm.trr.cells` selects: which rows share a baseline and a scale."""

    ROLE_KIND = "role-kind"  # one cell a role and kind: TRR++
    ROLE_DIFFICULTY = "role-difficulty"  # one cell a role and difficulty, whatever the kind
    ROLE = "role"  # one cell a role
    RECORD = "record"  # one cell for the attempts at one record; proposals by role and kind
    GLOBAL = "global"  # one cell for the batch: REINFORCE++; uids are not parsed


class Baseline(StrEnum):
    """What `algorithm.trr.baseline` selects: the baseline of a reward."""

    CELL_MEAN = "cell-mean"  # the mean of the cell in this batch: TRR++
    RUNNING_MEAN = "running-mean"  # the mean of the cell over the steps before: `RunningMeans`


class Scale(StrEnum):
    """What `algorithm.trr.scale` selects: what a reward minus its baseline is divided by."""

    STD = "std"  # the standard deviation of the cell: TRR++
    NONE = "none"  # nothing


class Statistics(StrEnum):
    """What `algorithm.trr.statistics` selects: what counts once in a cell's mean and variance."""

    SEQUENCE = "sequence"  # every response
    TOKEN = "token"  # every valid token, so long responses weigh more


def cell_of(uid: str, cells: Cells) -> str:
    """The name of the cell that a row belongs to: `propose/deduction`, `solve/easy`, `solve`, `all` or a uid.

    ValueError if `uid` is not from `make_uid`; global cells do not look at it.
    """
    if cells is Cells.GLOBAL:
        return "all"
    # Self-play gives the attempts at one record one uid.
    return name_cell(parse_uid(uid), cells, record=uid)


def name_cell(origin: Origin, cells: Cells, record: str) -> str:
    """`cell_of` a response of this origin; `record` is the cell of the attempts at its record."""
    match cells:
        case Cells.GLOBAL:
            return "all"
        case Cells.ROLE:
            return origin.role
        case Cells.ROLE_DIFFICULTY:
            return f"{origin.role}/{origin.difficulty}"
        case Cells.RECORD if origin.role is Role.SOLVE:
            return record
        case _:
            return f"{origin.role}/{origin.kind}"


class RunningMeans:
    """A mean of rewards for each cell that is carried from step to step, for baselines that no batch decides.

    With R the mean of the cell's rewards in a step, m = w = 0 before the first step that has any, and b the
    baseline:

        b = m / w,  m <- DECAY * m + (1 - DECAY) * R,  w <- DECAY * w + (1 - DECAY)

    A step is scored with b as the steps before left it, so no response is part of its own baseline, but for a
    cell's first step, which is scored with its own mean. This is the role-conditioned advantage estimation of
    SPIRAL (https://arxiv.org/abs/2506.24119) with one update a step, and without the weight of its zero
    start: there it is one update a game, which in a batch of many responses would forget all but the last
    few, and which has left zero behind after some dozens of them.

    Cells are not by record: a group of attempts at one is of one step.
    """

    def __init__(self, cells: Cells) -> None:
        self._cells = cells
        self._sums: dict[str, tuple[float, float]] = {}  # m and w of every cell

    def advance(self, uids: Sequence[str], rewards: Sequence[float]) -> dict[str, float]:
        """Update the means by a step's (B,) rewards of (B,) uids; return the baseline of every cell of it."""
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
