"""A running Ray cluster as the rules see it. `recipe/engine/cluster.py` asks Ray; nothing here does."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import NamedTemporaryFile


@dataclass(frozen=True, slots=True)
class Node:
    """One node: its slots, and the files that it was asked for and does not see."""

    address: str
    cpus: int
    gpus: int
    unseen: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True)
class Cluster:
    """The nodes that are alive, and for each key of the configuration a file in the folder that it names."""

    nodes: tuple[Node, ...]
    marks: Mapping[str, Path]


Survey = Callable[[str, Sequence[Path]], tuple[Node, ...]]
"""Asks the cluster at an address for its nodes and, where there are several, each of them for these files.

It raises `PreflightError` where no cluster answers, or none that lets us in."""


def survey_cluster(address: str, folders: Mapping[str, Path], survey: Survey) -> Cluster:
    """Look at a cluster, and whether its nodes see these folders, by the keys that name them.

    A file is left in each for a moment, or in the nearest above it that is there: its name is one that no
    node has asked for before, as network file systems remember what was not there.

    Raises:
        PreflightError: There is none that we can join.
    """
    marks: dict[str, Path] = {}
    with ExitStack() as stack:
        for key, folder in folders.items():
            there = nearest(folder)
            try:
                marks[key] = Path(stack.enter_context(NamedTemporaryFile(prefix="seen-", dir=there)).name)
            except OSError:  # it cannot be written to, and a model need not be
                marks[key] = there
        return Cluster(survey(address, tuple(marks.values())), marks)


def nearest(folder: Path) -> Path:
    """The folder itself if it exists, else the nearest above it that does."""
    there = folder.absolute()
    while not there.exists():
        there = there.parent
    return there
