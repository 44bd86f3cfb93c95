"""Command lines of an earlier version: what README.md and docs/ showed at 0b3c5bd, and what becomes of it.

Run: pytest tests/recipe/test_overrides.py
"""

from __future__ import annotations

import copy
import shlex
from pathlib import Path
from typing import IO, Any

import pytest
from hydra import compose, initialize_config_dir
from hydra.errors import HydraException
from omegaconf import OmegaConf

from recipe.config import CONF, RENAMED, explain, register
from tasks.moved import MOVED

LIST = Path(__file__).with_name("overrides_0b3c5bd.txt")
MODULE = "python -m "
GROUPS = {"cluster", "control", "experiment", "pack", "prompts", "scale"}


def read_lines() -> list[str]:
    lines = LIST.read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


@pytest.fixture(autouse=True)
def each_file_parsed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of a composition is parsing YAML, and most of it the same files of verl."""
    parsed: dict[str, Any] = {}
    load = OmegaConf.load

    def load_once(file: IO[str]) -> Any:
        if file.name not in parsed:
            parsed[file.name] = load(file)
        return copy.deepcopy(parsed[file.name])

    monkeypatch.setattr(OmegaConf, "load", load_once)


def refusal(overrides: list[str]) -> str | None:
    """What the command line says of overrides that Hydra refuses; None if they compose."""
    try:
        with initialize_config_dir(str(CONF), version_base=None):
            compose("azr", overrides)
    except HydraException as error:
        return explain(error)
    return None


def merged(lines: list[str]) -> list[list[str]]:
    """The lines' overrides in few compositions: those of one pack and experiment together.

    A composition takes most of a second. Hydra takes a key that comes twice, and checks both values.
    """
    groups: list[tuple[dict[str, str], list[str]]] = []
    for line in lines:
        overrides = shlex.split(line)
        chosen = {key: value for key, _, value in (one.partition("=") for one in overrides) if key in GROUPS}
        for files, together in groups:
            same = all(files.get(key) == chosen.get(key) for key in ("pack", "experiment"))
            if same and all(files.get(key, value) == value for key, value in chosen.items()):
                files.update(chosen)
                together += [one for one in overrides if one not in together]
                break
        else:
            groups.append((chosen, overrides))
    return [together for _, together in groups]


def renamed_key(line: str) -> str | None:
    return next((key for one in shlex.split(line) if (key := one.partition("=")[0]) in RENAMED), None)


def test_every_documented_override_composes_or_names_its_successor() -> None:
    register()
    lines = [line for line in read_lines() if not line.startswith(MODULE)]
    for group in merged([line for line in lines if renamed_key(line) is None]):
        assert refusal(group) is None, group
    for line in lines:
        if (key := renamed_key(line)) is not None:
            answer = refusal(shlex.split(line))
            assert answer is not None, line
            assert key in answer, line
            assert RENAMED[key] in answer, line
            assert "\n" not in answer, line


def test_every_documented_program_exists() -> None:
    root = Path(__file__).parents[2]
    for line in read_lines():
        if line.startswith(MODULE):
            name = line.removeprefix(MODULE)
            path = root.joinpath(*MOVED.get(name, name).split("."))
            assert path.with_suffix(".py").exists() or (path / "__main__.py").exists(), name
