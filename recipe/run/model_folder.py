"""A folder that holds a model, or is not there: written aside, and put in place once it is whole."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def written_aside(path: Path) -> Iterator[Path]:
    """A folder to write to, which is at `path` once it is whole; nothing is if an error ends the block.

    Where two write one folder at once, the first to be ready stays and the other's is dropped.
    """
    aside = path.parent / f".{path.name}-{uuid.uuid4().hex}"
    aside.mkdir(parents=True)
    try:
        yield aside
        _open_to_readers(aside)
        _flush(aside)
        _move_into_place(aside, path)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _open_to_readers(folder: Path) -> None:
    """Give all files the permissions of a new one: safetensors makes its own for their owner alone."""
    new = folder / uuid.uuid4().hex
    new.touch()
    mode = new.stat().st_mode
    new.unlink()
    for path in folder.rglob("*"):
        if path.is_file():
            path.chmod(mode)


def _flush(folder: Path) -> None:
    for path in [*folder.rglob("*"), folder]:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _move_into_place(aside: Path, path: Path) -> None:
    try:
        aside.rename(path)
    except OSError:
        # A folder that is not empty cannot be renamed over: another process has written the same.
        if not path.is_dir():
            raise
