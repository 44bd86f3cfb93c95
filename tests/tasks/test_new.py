"""`python -m tasks.new` writes a pack that is found, passes its checks, and needs no edit here."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import pytest
import yaml
from hydra import compose, initialize_config_dir

from recipe.config import CONF, register
from tasks.check.conformance import CHECKS
from tasks.new.__main__ import main, render, write
from tasks.new.template.my_pack.pack import MyPackKnobs
from tasks.registry import available_packs, installed_conf_folders, load_pack

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "your_domain.md"


def environment(*folders: Path) -> dict[str, str]:
    """The environment of a process that finds this repository and these folders."""
    return os.environ | {"PYTHONPATH": os.pathsep.join(map(str, (*folders, ROOT)))}


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A new pack `roman_numbers`, seen by this process as if it were installed."""
    write("roman_numbers", tmp_path)
    info = tmp_path / "roman_numbers-0.1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: roman_numbers\nVersion: 0.1.0\n")
    (info / "entry_points.txt").write_text("[azr.packs]\nroman_numbers = roman_numbers:RomanNumbersPack\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    for module in [name for name in sys.modules if name.partition(".")[0] == "roman_numbers"]:
        del sys.modules[module]


def test_the_name_is_put_in_everywhere(installed: Path) -> None:
    files = {str(path): text for path, text in render("roman_numbers").items()}
    assert "class RomanNumbersPack(TaskPack):" in files["roman_numbers/pack.py"]
    assert "_target_: roman_numbers.RomanNumbersPack" in files["roman_numbers/conf/pack/roman_numbers.yaml"]
    assert '"roman_numbers = roman_numbers:RomanNumbersPack"' in files["setup.py"]
    assert not [text for text in files.values() if "my_pack" in text or "MyPack" in text]
    assert load_pack("roman_numbers").name == "roman_numbers"


def test_an_installed_pack_is_listed_and_its_file_composes(installed: Path) -> None:
    assert "roman_numbers" in available_packs()
    assert installed / "roman_numbers" / "conf" in installed_conf_folders()
    register()
    with initialize_config_dir(str(CONF), version_base=None):
        config = compose("azr", ["experiment=demo", "pack=roman_numbers", "pack.largest=99"])
    pack = load_pack(config.pack)
    assert (pack.name, type(pack).__name__, config.pack.largest) == ("roman_numbers", "RomanNumbersPack", 99)


@pytest.mark.slow
def test_its_own_tests_pass(installed: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests"],
        cwd=installed,
        env=environment(installed),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    assert f"{2 * len(CHECKS) + 7} passed" in done.stdout  # the checks under two settings, 7 of its own


def test_the_program_writes_and_says_how_to_go_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["roman_numbers", "--out", str(tmp_path / "new")]) == 0
    printed = capsys.readouterr().out
    assert f"-e {tmp_path / 'new'}\npython -m tasks.check roman_numbers\n" in printed
    assert printed.endswith(
        "experiment=demo pack=roman_numbers run.dir=runs/roman_numbers\n"
    )  # not the demo's
    assert {path.name for path in (tmp_path / "new").iterdir()} == {
        "README.md", "setup.py", "roman_numbers", "tests"
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("My-Pack", "lower case letters, digits and underscores"),
        ("lambda", "no word of Python's"),
        ("arithmetic", "exists already"),
        ("json", "exists already"),
    ],
)
def test_names_that_cannot_be_are_refused(
    name: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main([name, "--out", str(tmp_path)])
    assert ended.value.code == 2
    assert said in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_written_over(tmp_path: Path) -> None:
    (tmp_path / "notes").touch()
    with pytest.raises(ValueError, match="new or an empty folder"):
        write("roman_numbers", tmp_path)


def test_the_page_shows_the_pack_that_is_written() -> None:
    files = {str(path): text for path, text in render("my_pack").items()}
    page = PAGE.read_text(encoding="utf-8")
    assert f"```python\n{files['my_pack/pack.py']}```" in page
    assert f"```yaml\n{files['my_pack/conf/pack/my_pack.yaml']}```" in page
    assert yaml.safe_load(files["my_pack/conf/pack/my_pack.yaml"]) == {
        "_target_": "my_pack.MyPack", **asdict(MyPackKnobs())
    }  # fmt: skip
    code = [line for line in files["my_pack/pack.py"].splitlines() if line.strip()]
    assert len(code) <= 60


@pytest.mark.slow
@pytest.mark.parametrize("how", [[], ["--editable"]], ids=["wheel", "editable"])
def test_pip_installs_what_the_recipe_finds(tmp_path: Path, how: list[str]) -> None:
    write("roman_numbers", tmp_path / "source")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv"], check=True)
    python = tmp_path / "venv" / "bin" / "python"
    # The packages of this interpreter, which may be in a virtual environment itself, come after its own.
    (inner,) = (tmp_path / "venv").glob("lib/python3*/site-packages")
    (inner / "outer.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    pip = [sys.executable, "-m", "pip", "--python", python, "install", "-qq"]
    without = ["--no-deps", "--no-build-isolation"]
    subprocess.run([*pip, *without, *how, tmp_path / "source"], check=True, cwd=tmp_path)
    programs = {
        "tasks.check roman_numbers largest=99": f"roman_numbers: {len(CHECKS)} checks passed",
        "recipe.main_azr pack=roman_numbers --cfg job": "_target_: roman_numbers.RomanNumbersPack",
    }
    for program, said in programs.items():
        done = subprocess.run(
            [python, "-m", *program.split()], cwd=tmp_path, env=environment(), capture_output=True, text=True
        )
        assert said in done.stdout, done.stdout + done.stderr
