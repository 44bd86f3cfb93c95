"""Runs to look into: a directory with a ledger of given lines, as a run writes it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from recipe.run.files import JsonLinesFile

TRR = {
    "cells": "role-kind",
    "baseline": "cell-mean",
    "scale": "std",
    "statistics": "sequence",
    "proposer_share": None,
}
ARITHMETIC = {"_target_": "tasks.arithmetic.ArithmeticPack"}

Line = dict[str, Any]


def line_of(step: int, index: int, attempt: int | None = None, **given: Any) -> Line:
    """A line of the ledger: a proposal, or with `attempt` an attempt; correct unless said otherwise."""
    role = given.pop("role", "propose" if attempt is None else "solve")
    record = {"a": 2, "op": "+", "b": 3}
    line = {
        "step": step,
        "role": role,
        "kind": "deduction",
        "cell": f"{role}/{given.get('kind', 'deduction')}",
        "index": index,
        "attempt": attempt,
        "prompt": [{"role": "user", "content": "Calculate: 4 + 4 ="}],
        "response": "Calculate: 2 + 3 =" if attempt is None else "5",
        "outcome": "correct",
        "reason": "",
        "solve_rate": None,
        "reward": None,
        "record": record if given.get("outcome", "correct") == "correct" or attempt is not None else None,
        "measures": {},
        "features": {},
    }
    return line | given


def write_run(folder: Path, lines: Iterable[Mapping[str, Any]], **settings: Any) -> Path:
    """A run's directory; settings are keys of its configuration, `azr` of its node."""
    folder.mkdir(parents=True)
    config = {
        "pack": ARITHMETIC,
        "reward_profile": "paper",
        "azr": {},
        "algorithm": {"adv_estimator": "trr_plus_plus", "use_kl_in_reward": False, "trr": TRR},
        "trainer": {"total_training_steps": 40},
    }
    OmegaConf.save(OmegaConf.create(config | settings), folder / "config.yaml")
    append_lines(folder, lines)
    return folder


def append_lines(folder: Path, lines: Iterable[Mapping[str, Any]]) -> None:
    """Write lines at the end of a run's ledger, as the run does."""
    file = JsonLinesFile(folder / "ledger.jsonl")
    file.append(lines)
    file.close()


@pytest.fixture(scope="session")
def line() -> Callable[..., Line]:
    """`line_of`."""
    return line_of


@pytest.fixture
def make_run(tmp_path: Path) -> Callable[..., Path]:
    """`write_run`, into a directory of its own unless a name is given."""

    def make(lines: Iterable[Mapping[str, Any]], name: str = "run", **settings: Any) -> Path:
        return write_run(tmp_path / name, lines, **settings)

    return make


@pytest.fixture(scope="session")
def write(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """`write_run` into a directory of its own, for a run that several tests look into."""
    return lambda lines, **settings: write_run(tmp_path_factory.mktemp("shared") / "run", lines, **settings)


@pytest.fixture(scope="session")
def append() -> Callable[[Path, Iterable[Mapping[str, Any]]], None]:
    """`append_lines`."""
    return append_lines


@pytest.fixture
def inspect(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """The command with these words: its exit status, and what it wrote to both streams."""
    from recipe.inspect.__main__ import main

    def run(*words: object) -> tuple[int, str, str]:
        capsys.readouterr()
        try:
            status = main([str(word) for word in words])
        except SystemExit as exit:
            assert isinstance(exit.code, int)
            status = exit.code
        out, err = capsys.readouterr()
        return status, out, err

    return run


@pytest.fixture
def inspect_json(inspect: Callable[..., tuple[int, str, str]]) -> Callable[..., dict[str, Any]]:
    """The document that the command prints with `--json`."""

    def run(*words: object) -> dict[str, Any]:
        status, out, err = inspect(*words, "--json")
        assert (status, err) == (0, "")
        found: dict[str, Any] = json.loads(out)
        return found

    return run
