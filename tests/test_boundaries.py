"""Who may know whom: every wall between the rooms, in one table, and proof that each of them can fail.

The imports are read off the syntax trees, so nothing is imported here. `anywhere` is about every import in
a file, inside a function too. `loaded` is about what an import of the module loads: the imports outside
functions, and those of every module of ours that comes with it.

Run: pytest tests/test_boundaries.py
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
OURS = ("recipe", "rewards", "tasks")
PACKS = tuple(sorted(f"tasks.{path.stem}" for path in (ROOT / "conf" / "pack").glob("*.yaml")))
STACK = ("verl", "vllm", "ray", "torch", "tensordict", "transfer_queue", "transformers")
CONFIGURATION = ("hydra", "omegaconf")

COMMANDS = ("recipe.life", "recipe.export")
"""The commands that start and ask the stack; they import it inside the functions that need it."""


@dataclass(frozen=True, slots=True)
class Wall:
    """What the modules of a room may not know.

    Attributes:
        promise: The wall in words; the message of a violation.
        room: Prefixes of the modules that it is about; `~` before one takes it out again.
        anywhere: Prefixes of names that may stand in no import of theirs; `~` likewise.
        loaded: Prefixes of names that may not be loaded with them, through our other modules neither.
    """

    promise: str
    room: tuple[str, ...]
    anywhere: tuple[str, ...] = ()
    loaded: tuple[str, ...] = ()


WALLS = [
    Wall(
        "self-play runs without the stack and without Hydra",
        ("recipe.selfplay",),
        anywhere=(*STACK, *CONFIGURATION, "recipe", "~recipe.selfplay"),
        loaded=(*STACK, *CONFIGURATION),
    ),
    Wall("a step is driven without the stack", ("recipe.engine.driver",), loaded=(*STACK, *CONFIGURATION)),
    Wall("a run's folder knows nobody", ("recipe.run",), anywhere=(*OURS, *STACK, "~recipe.run")),
    Wall(
        "what is checked before a start loads no stack and does not know the engine",
        ("recipe.preflight",),
        anywhere=("recipe.engine",),
        loaded=STACK,
    ),
    Wall(
        "only recipe/engine, recipe/cpu and the commands know veRL, vLLM and Ray",
        ("recipe", "~recipe.engine", "~recipe.cpu", *(f"~{name}" for name in COMMANDS)),
        anywhere=("verl", "vllm", "ray"),
    ),
    Wall(
        "only recipe/engine, recipe/cpu and recipe/tiny_model load the stack",
        # `recipe.plugin` is loaded by `import verl` itself, and puts the CPU platform in.
        ("recipe", "~recipe.engine", "~recipe.cpu", "~recipe.tiny_model", "~recipe.plugin"),
        loaded=STACK,
    ),
    Wall("a start loads neither scipy nor matplotlib", ("recipe",), loaded=("scipy", "matplotlib")),
    Wall(
        "a run is looked at without what runs it",
        ("recipe.inspect",),
        anywhere=(
            *STACK,
            *("recipe.engine", "recipe.preflight", "recipe.cpu", "recipe.tiny_model", "recipe.study"),
            *("recipe.life", "recipe.config"),
        ),
    ),
    Wall(
        "only recipe/inspect knows DuckDB: whoever asks an index gives it SQL",
        ("recipe", "~recipe.inspect"),
        anywhere=("duckdb",),
    ),
    Wall("the CPU platform knows nobody", ("recipe.cpu",), anywhere=(*OURS, "~recipe.cpu")),
    Wall(
        "of the recipe the tiny model knows how a model's folder is written",
        ("recipe.tiny_model",),
        anywhere=("recipe", "~recipe.tiny_model", "~recipe.run.model_folder"),
    ),
    Wall(
        "a page is made of what a run left, without what runs it",
        ("recipe.report",),
        anywhere=(
            *STACK,
            *("recipe.engine", "recipe.preflight", "recipe.cpu", "recipe.tiny_model"),
            *("recipe.life", "recipe.config"),
        ),
    ),
    Wall(
        "a run does not load what makes its page",
        ("recipe.life", "recipe.report.live"),
        loaded=("recipe.inspect", "recipe.report.page", "duckdb", "vl_convert"),
    ),
    Wall(
        "a study starts runs as anybody does, and only its page in a browser knows of it",
        ("recipe", "~recipe.study", "~recipe.report.of_study"),
        anywhere=("recipe.study",),
    ),
    Wall("the recipe does not know a pack", ("recipe",), anywhere=PACKS),
    Wall(
        "rewards know the contract's outcomes only",
        ("rewards", "~rewards.verl_reward"),
        anywhere=("", "~rewards", "~tasks.contract", *(f"~{name}" for name in sys.stdlib_module_names)),
    ),
    Wall(
        "verl's reward function finds a pack by its configuration, and needs no verl",
        ("rewards.verl_reward",),
        anywhere=(*PACKS, *STACK, *CONFIGURATION, "recipe"),
        loaded=(*STACK, *CONFIGURATION),
    ),
    Wall(
        "tasks know neither recipe, rewards nor the stack", ("tasks",), anywhere=("recipe", "rewards", *STACK)
    ),
    Wall("the contract knows nobody", ("tasks.contract",), anywhere=OURS),
    *(
        Wall(
            "a pack knows no other pack, nor what knows packs",
            (pack,),
            anywhere=(
                *(other for other in PACKS if other != pack),
                "tasks.registry",
                "tasks.held_out",
                "tasks.check",
                "tasks.new",
            ),
        )
        for pack in PACKS
    ),
    Wall(
        "the kit and the sandbox know no pack, nor what knows packs",
        ("tasks.kit", "tasks.sandbox"),
        anywhere=(*PACKS, "tasks.registry", "tasks.held_out", "tasks.check", "tasks.new"),
    ),
    Wall(
        "nothing knows recipe from below",
        # What the trainer does in its own process is timed in one.
        ("setup", "benchmarks", "~benchmarks.report_cost", "launch", "requirements"),
        anywhere=("recipe",),
    ),
    Wall("tests are not imported", ("",), anywhere=("tests",)),
]


@dataclass(frozen=True, slots=True)
class Imports:
    """Dotted names that a file imports; for `from a import b` both `a` and `a.b`."""

    anywhere: frozenset[str]
    at_once: frozenset[str]


@cache
def read_imports(source: str, package: str) -> Imports:
    """What a file of `package` imports, and what of it when it is loaded."""
    tree = ast.parse(source)
    at_once = frozenset(name for node in outside_functions(tree) for name in names(node, package))
    return Imports(frozenset(name for node in ast.walk(tree) for name in names(node, package)), at_once)


def outside_functions(node: ast.AST) -> Iterator[ast.AST]:
    """Nodes that run when the module is loaded: not those of functions, nor what only type checkers read."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(child, ast.If) and ast.unparse(child.test).endswith("TYPE_CHECKING"):
            continue
        yield child
        yield from outside_functions(child)


def names(node: ast.AST, package: str) -> Iterator[str]:
    """The dotted names of one import; nothing for any other node."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
        module = ".".join([*above, *([node.module] if node.module else [])])
        yield module
        yield from (f"{module}.{alias.name}" for alias in node.names)


@cache
def read_tree() -> dict[str, str]:
    """Source of every module that ships, by dotted name; a package has that of its `__init__`."""
    tops = (*OURS, "benchmarks", "launch", "requirements")
    paths = [*ROOT.glob("*.py"), *(path for top in tops for path in (ROOT / top).rglob("*.py"))]
    found = (path.relative_to(ROOT) for path in paths)
    return {dotted(path): (ROOT / path).read_text(encoding="utf-8") for path in sorted(found)}


def dotted(path: Path) -> str:
    """`a/b.py` as `a.b`, and `a/__init__.py` as `a.__init__`: a relative import in either starts at `a`."""
    return ".".join(path.with_suffix("").parts)


def within(name: str, prefixes: tuple[str, ...]) -> bool:
    """Whether the longest of the prefixes that hold `name` is one without `~`."""
    holding = [
        p for p in prefixes if (bare := p.removeprefix("~")) in ("", name) or name.startswith(f"{bare}.")
    ]
    return bool(holding) and not max(holding, key=lambda p: len(p.removeprefix("~"))).startswith("~")


def imports_of(module: str, tree: Mapping[str, str]) -> Imports:
    return read_imports(tree[module], module.rpartition(".")[0])


def loads(module: str, tree: Mapping[str, str]) -> dict[str, str]:
    """Every name that an import of `module` loads, with the module of ours that asks for it."""
    found: dict[str, str] = {}
    seen = set()
    ahead = [module]
    while ahead:
        current = ahead.pop()
        if current in seen:
            continue
        seen.add(current)
        for name in sorted(imports_of(current, tree).at_once):
            found.setdefault(name, current)
            ahead += [one for one in (name, f"{name}.__init__") if one in tree]
        # `import a.b.c` loads a and a.b first.
        parts = current.split(".")
        ahead += [one for n in range(1, len(parts)) if (one := ".".join([*parts[:n], "__init__"])) in tree]
    return found


def violations(tree: Mapping[str, str]) -> list[str]:
    """One line for each import on the wrong side of a wall."""
    lines = []
    for wall in WALLS:
        for module in tree:
            if not within(module, wall.room):
                continue
            for name in sorted(imports_of(module, tree).anywhere):
                if within(name, wall.anywhere):
                    lines.append(f"{wall.promise}: {module} imports {name}")
            if wall.loaded:
                for name, by in loads(module, tree).items():
                    if within(name, wall.loaded):
                        lines.append(f"{wall.promise}: {module} loads {name} by way of {by}")
    return lines


def test_every_module_keeps_to_its_room() -> None:
    assert standing_violations() == ()


def test_every_room_is_read() -> None:
    rooms = {name.split(".")[0] for name in read_tree()}
    assert rooms >= {*OURS, "benchmarks", "setup"}
    assert {"tasks.arithmetic", "tasks.prime_inversion"} <= set(PACKS)


PLANTED = {
    "self-play runs without the stack and without Hydra": [
        ("recipe.selfplay.planted", "import torch"),
        ("recipe.selfplay.planted", "def f():\n    from omegaconf import OmegaConf"),
        ("recipe.selfplay.planted", "from recipe.engine.trainer import AzrTrainer"),
        ("recipe.selfplay.planted", "from recipe import config"),
        ("tasks.contract", "import omegaconf"),
    ],
    "a step is driven without the stack": [
        ("recipe.engine.driver", "from recipe.engine.trainer import AzrTrainer"),
        ("recipe.run.files", "import ray"),
    ],
    "a run's folder knows nobody": [
        ("recipe.run.planted", "from recipe.selfplay.types import LedgerLine"),
        ("recipe.run.planted", "def f():\n    from tasks import contract"),
    ],
    "what is checked before a start loads no stack and does not know the engine": [
        ("recipe.preflight.planted", "def f():\n    from recipe.engine import cluster"),
        ("recipe.preflight.planted", "import ray"),
        ("recipe.preflight.planted", "from recipe.tiny_model.warmup import build_model"),
        ("recipe.config", "import transformers"),
    ],
    "only recipe/engine, recipe/cpu and the commands know veRL, vLLM and Ray": [
        ("recipe.planted", "from verl.trainer.ppo.v1.trainer_sync import PPOTrainerSync"),
        ("recipe.tiny_model.planted", "def f():\n    import vllm"),
        ("recipe.preflight.planted", "def f():\n    import ray"),
    ],
    "only recipe/engine, recipe/cpu and recipe/tiny_model load the stack": [
        ("recipe.main_azr", "from verl.trainer.main_ppo import run_ppo"),
        ("recipe.export", "from recipe.engine.merger import merge"),
        ("recipe.planted", "class A:\n    import torch"),
    ],
    "a start loads neither scipy nor matplotlib": [
        ("recipe.main_azr", "import matplotlib.pyplot"),
        ("recipe.selfplay.intervals", "from scipy.stats import binomtest"),
    ],
    "a run is looked at without what runs it": [
        ("recipe.inspect.planted", "from recipe.engine.estimator import normalize"),
        ("recipe.inspect.planted", "def f():\n    import torch"),
        ("recipe.inspect.planted", "from recipe.study.record import level_of"),
    ],
    "only recipe/inspect knows DuckDB: whoever asks an index gives it SQL": [
        ("recipe.life", "import duckdb"),
        ("recipe.planted", "def f():\n    from duckdb import connect"),
    ],
    "the CPU platform knows nobody": [("recipe.cpu.planted", "from recipe.config import CONF")],
    "of the recipe the tiny model knows how a model's folder is written": [
        ("recipe.tiny_model.planted", "from recipe.run import files")
    ],
    "a page is made of what a run left, without what runs it": [
        ("recipe.report.planted", "from recipe.life import train"),
        ("recipe.report.planted", "def f():\n    import torch"),
    ],
    "a run does not load what makes its page": [
        ("recipe.life", "from recipe.report.page import html_of"),
        ("recipe.report.live", "from recipe.inspect.run import open_run"),
    ],
    "a study starts runs as anybody does, and only its page in a browser knows of it": [
        ("recipe.life", "from recipe.study.record import RunRecord"),
        ("recipe.report.contents", "def f():\n    from recipe.study.record import read_records"),
    ],
    "the recipe does not know a pack": [("recipe.planted", "from tasks.arithmetic import ArithmeticPack")],
    "rewards know the contract's outcomes only": [
        ("rewards.planted", "import numpy"),
        ("rewards.planted", "from tasks.registry import load_pack"),
        ("rewards.planted", "from recipe import buffer"),
    ],
    "verl's reward function finds a pack by its configuration, and needs no verl": [
        ("rewards.verl_reward", "from tasks.arithmetic import ArithmeticPack"),
        ("rewards.verl_reward", "def f():\n    import verl"),
        ("rewards.verl_reward", "from recipe.selfplay import rollout"),
        ("tasks.registry", "import hydra"),
    ],
    "tasks know neither recipe, rewards nor the stack": [
        ("tasks.registry", "import recipe.selfplay.buffer"),
        ("tasks.arithmetic.planted", "def f():\n    import torch"),
        ("tasks.arithmetic.planted", "from ray import remote"),
        ("tasks.kit.planted", "from verl.utils import x"),
        ("tasks.sandbox.planted", "import vllm"),
        ("tasks.check.planted", "from rewards import propose"),
    ],
    "the contract knows nobody": [("tasks.contract", "from tasks.kit.parsing import last_line")],
    "a pack knows no other pack, nor what knows packs": [
        ("tasks.arithmetic.planted", "from tasks.prime_inversion.kinds import is_prime"),
        ("tasks.arithmetic.planted", "from tasks import prime_inversion"),
        ("tasks.arithmetic.planted", "from ..prime_inversion import primes"),
        ("tasks.math_word.planted", "from tasks.registry import load_pack"),
        ("tasks.math_word.planted", "from tasks import check"),
    ],
    "the kit and the sandbox know no pack, nor what knows packs": [
        ("tasks.kit.planted", "from tasks.arithmetic import answer"),
        ("tasks.sandbox.planted", "import tasks.check.conformance"),
    ],
    "nothing knows recipe from below": [
        ("setup", "import recipe"),
        ("launch.planted", "from recipe import main_azr"),
    ],
    "tests are not imported": [("tasks.planted", "import tests.recipe")],
}


@cache
def standing_violations() -> tuple[str, ...]:
    return tuple(violations(read_tree()))


def violations_of(module: str, source: str) -> set[str]:
    """What is violated by a module with this at its end, or by a new module of this alone."""
    tree = read_tree()
    planted = {**tree, module: f"{tree.get(module, '')}\n{source}\n"}
    return set(violations(planted)) - set(standing_violations())


def test_each_wall_can_fail() -> None:
    assert PLANTED.keys() == {wall.promise for wall in WALLS}
    for promise, cases in PLANTED.items():
        for module, source in cases:
            found = violations_of(module, source)
            assert any(line.startswith(promise) for line in found), (module, source)


@pytest.mark.parametrize(
    ("module", "source"),
    [
        (
            "tasks.arithmetic.planted",
            "import re\nfrom tasks.contract import Outcome\nfrom . import deduction",
        ),
        (
            "tasks.arithmetic.planted",
            "from tasks.kit.parsing import last_line\nfrom tasks.arithmetic import answer",
        ),
        ("rewards.planted", "import math\nfrom tasks.contract import Outcome\nfrom rewards import profile"),
        ("recipe.selfplay.planted", "from tasks.contract import TaskRecord\nfrom rewards import profile"),
        ("recipe.engine.planted", "import torch\nfrom recipe.selfplay.buffer import TaskBuffer"),
        ("recipe.export", "def f():\n    from recipe.engine import merger"),
    ],
)
def test_what_is_allowed_passes(module: str, source: str) -> None:
    assert not violations_of(module, source)
