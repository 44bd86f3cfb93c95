"""Who may import whom: the dependency rule, read off the syntax tree of every module."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = {"recipe", "rewards", "tasks"}
STACK = {"verl", "ray", "torch", "vllm"}
NOT_OURS = {"build", "dist", "outputs", "runs", "shared"}

PACKS = {path.stem for path in (ROOT / "conf" / "pack").glob("*.yaml")}
CONTRACT = "tasks.contract"
PROGRAMS = {"tasks.registry", "tasks.held_out", "tasks.check", "tasks.check.gallery", "tasks.new"}
"""Modules of `tasks` that know packs, so that no pack may know them."""


def modules() -> list[Path]:
    """Every Python file of the tree, as paths from its root."""
    found = [path.relative_to(ROOT) for path in ROOT.rglob("*.py")]
    return sorted(
        path for path in found if not any(p in NOT_OURS or p.startswith((".", "venv")) for p in path.parts)
    )


def imports(source: str, package: str) -> Iterator[str]:
    """Dotted names that a module imports; for `from a import b` both `a` and `a.b`."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            module = ".".join([*above, *([node.module] if node.module else [])])
            yield module
            yield from (f"{module}.{alias.name}" for alias in node.names)


def violations(path: Path, source: str) -> list[str]:
    """What a module imports and may not."""
    room = path.parts[0] if len(path.parts) > 1 else ""
    found = imports(source, ".".join(path.parts[:-1]))
    return [name for name in found if not allowed(path, room, name)]


def allowed(path: Path, room: str, name: str) -> bool:
    """Whether the module at `path`, in the folder `room`, may import `name`."""
    top = name.split(".")[0]
    if room not in ("recipe", "tests") and (top == "recipe" or (room in ROOMS and top in STACK)):
        return False
    if top == "tasks":
        if room == "rewards":
            # `from tasks.contract import Outcome` is listed as the module and as a name in it.
            return name == CONTRACT or name.startswith(f"{CONTRACT}.")
        if room == "recipe":
            return not any(name.startswith(f"tasks.{pack}") for pack in PACKS)
        if room == "tasks" and len(path.parts) > 2 and path.parts[1] in PACKS:
            others = {f"tasks.{pack}" for pack in PACKS - {path.parts[1]}} | PROGRAMS
            return not any(name == other or name.startswith(f"{other}.") for other in others)
        return True
    if room == "tasks":
        return top not in {"rewards", "tests"}
    if room == "rewards":
        return top == "rewards" or top in sys.stdlib_module_names
    return True


@pytest.mark.parametrize("path", modules(), ids=str)
def test_module_keeps_to_its_room(path: Path) -> None:
    assert violations(path, (ROOT / path).read_text(encoding="utf-8")) == []


def test_every_room_is_read() -> None:
    assert {path.parts[0] for path in modules()} >= {"recipe", "rewards", "tasks", "tests"}
    assert {"arithmetic", "prime_inversion"} <= PACKS


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("tasks/registry.py", "import recipe.selfplay.buffer"),
        ("tasks/arithmetic/pack.py", "def f():\n    import torch"),
        ("tasks/arithmetic/pack.py", "from ray import remote"),
        ("tasks/arithmetic/pack.py", "from verl.utils import x"),
        ("tasks/arithmetic/pack.py", "import vllm"),
        ("tasks/arithmetic/pack.py", "from rewards import propose"),
        ("tasks/arithmetic/pack.py", "from tasks.prime_inversion.primes import is_prime"),
        ("tasks/arithmetic/pack.py", "from tasks import prime_inversion"),
        ("tasks/arithmetic/pack.py", "from ..prime_inversion import primes"),
        ("tasks/arithmetic/pack.py", "from tasks.registry import load_pack"),
        ("rewards/propose.py", "import numpy"),
        ("rewards/propose.py", "from tasks.registry import load_pack"),
        ("rewards/propose.py", "from recipe import buffer"),
        ("recipe/selfplay/buffer.py", "from tasks.arithmetic import ArithmeticPack"),
        ("launch/submit.py", "from recipe import main_azr"),
        ("setup.py", "import recipe"),
    ],
)
def test_a_violation_is_found(path: str, source: str) -> None:
    assert violations(Path(path), source)


@pytest.mark.parametrize(
    ("path", "source"),
    [
        (
            "tasks/arithmetic/pack.py",
            "import re\nfrom tasks.contract import Outcome\nfrom . import deduction",
        ),
        (
            "tasks/arithmetic/pack.py",
            "from tasks.kit.parsing import last_line\nfrom tasks.arithmetic import answer",
        ),
        (
            "rewards/propose.py",
            "import math\nfrom tasks.contract import Outcome\nfrom rewards import profile",
        ),
        (
            "recipe/selfplay/buffer.py",
            "import torch\nfrom tasks.contract import TaskRecord\nfrom rewards import profile",
        ),
        ("tests/recipe/selfplay/test_buffer.py", "from recipe.selfplay.buffer import Buffer"),
    ],
)
def test_what_is_allowed_passes(path: str, source: str) -> None:
    assert violations(Path(path), source) == []
