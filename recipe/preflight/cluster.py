"""A running Ray cluster as the rules see it. `recipe/engine/cluster.py` asks Ray; nothing here does."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

from omegaconf import DictConfig

from recipe.config import TINY_MODEL


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
    marks: Mapping[str, Path] = field(default_factory=dict)


Survey = Callable[[str, Sequence[Path]], tuple[Node, ...]]
"""Asks the cluster at an address for its nodes and, where there are several, each of them for these files.

It raises `PreflightError` where no cluster answers, or none that lets us in."""


def survey_cluster(config: DictConfig, survey: Survey) -> Cluster:
    """Look at the cluster that the run is to join, and whether its nodes see the run's folders.

    Raises:
        PreflightError: There is none that we can join.
    """
    with _marked(config) as marks:
        return Cluster(survey(config.ray_kwargs.ray_init.address, tuple(marks.values())), marks)


@contextmanager
def _marked(config: DictConfig) -> Iterator[dict[str, Path]]:
    """Leave a file in every folder that all nodes have to see, or in the nearest above it that is there.

    Its name is one that no node has asked for before: network file systems remember what was not there.
    """
    path = config.actor_rollout_ref.model.path
    folders = {"run.dir": config.run.dir, "trainer.default_local_dir": config.trainer.default_local_dir}
    if path == TINY_MODEL:
        folders["run.tiny_model_dir"] = config.run.tiny_model_dir
    marks = {key: nearest(Path(folder)) / f"seen-{uuid4().hex}" for key, folder in folders.items()}
    made: list[Path] = []
    try:
        for key, mark in list(marks.items()):
            try:
                mark.touch()
            except OSError:  # a rule of its own says that it cannot be written to
                del marks[key]
            else:
                made.append(mark)
        if path is not None and (folder := Path(path).expanduser()).is_dir():
            marks["actor_rollout_ref.model.path"] = folder.absolute()
        yield marks
    finally:
        for mark in made:
            mark.unlink()


def nearest(folder: Path) -> Path:
    """The folder itself if it exists, else the nearest above it that does."""
    there = folder.absolute()
    while not there.exists():
        there = there.parent
    return there
