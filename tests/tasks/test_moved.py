"""A pack from before its building blocks moved goes on working: import paths, names of members, programs.

`former_packs/` is an outside distribution as docs and template of commit 0b3c5bd had it written: the template
itself, a pack out of kinds with a check of its own, and packs whose attempts vote.
"""

from __future__ import annotations

import asyncio
import importlib
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from shutil import copytree, ignore_patterns

import pytest

from tasks.check.__main__ import main
from tasks.check.conformance import CHECKS
from tasks.contract import RENAMED, Accepted, Outcome, PackUnavailableError, Rejected, TaskPack, TaskRecord
from tasks.guard import GuardedPack
from tasks.math_word import MathWordPack
from tasks.moved import MOVED
from tasks.prime_inversion import PrimeInversionPack
from tasks.registry import available_packs, installed_conf_folders, load_pack

ROOT = Path(__file__).parents[2]
ENTRY_POINTS = """\
[azr.packs]
my_pack = my_pack:MyPack
sums = sums:SumsPack
votes = sums:VotesPack
maybe_votes = sums.votes:MaybeVotesPack
"""
RECORD = TaskRecord("deduction", {"number": 5})


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The distribution, seen by this process as if it were installed."""
    ignored = ignore_patterns("__pycache__")
    copytree(Path(__file__).with_name("former_packs"), tmp_path, ignore=ignored, dirs_exist_ok=True)
    info = tmp_path / "former_packs-0.1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: former_packs\nVersion: 0.1.0\n")
    (info / "entry_points.txt").write_text(ENTRY_POINTS)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    for module in [name for name in sys.modules if name.partition(".")[0] in ("my_pack", "sums")]:
        del sys.modules[module]


@pytest.mark.parametrize("pack", ["my_pack", "sums", "sums terse=true", "votes", "maybe_votes vote=true"])
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_former_pack_is_found_and_passes_every_check(
    pack: str, installed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(pack.split()) == 0, capsys.readouterr().out
    assert set(available_packs()) >= {"my_pack", "sums", "votes", "maybe_votes"}
    assert {installed / "my_pack" / "conf", installed / "sums" / "conf"} <= set(installed_conf_folders())


def test_its_own_tests_pass(installed: Path) -> None:
    latter = 'pytest_plugins = ["tasks.check.pytest_plugin"]\ndef test_check(pack_check): assert pack_check\n'
    (installed / "tests" / "test_of_another_pack.py").write_text(latter)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests"],
        cwd=installed,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(map(str, (installed, ROOT)))},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    # The checks under two settings and for the other pack, and 7 of its own
    assert f"{3 * len(CHECKS) + 7} passed" in done.stdout
    assert "tasks.pytest_plugin is now tasks.check.pytest_plugin" in done.stdout


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_what_former_packs_say_decides(installed: Path) -> None:
    for name, knobs, resolves in (
        ("votes", {}, True),
        ("maybe_votes", {}, False),
        ("maybe_votes", {"vote": True}, True),
    ):
        pack = GuardedPack(load_pack({"_target_": name, **knobs}))
        assert pack.resolves is resolves
        assert asyncio.run(pack.resolve(RECORD, ["101"])) == Rejected(Outcome.WRONG, "no-majority")
        assert asyncio.run(pack.resolve(RECORD, ["101", "101"])) == Accepted(RECORD)
    load_pack("sums").require_available()
    with pytest.raises(PackUnavailableError, match="completes texts"):
        GuardedPack(load_pack({"_target_": "sums", "completes": True})).require_available()


@pytest.mark.parametrize(("former", "name"), MOVED.items())
def test_a_former_path_gives_the_same_module(former: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    module = importlib.import_module(name)
    monkeypatch.delitem(sys.modules, former, raising=False)
    with pytest.warns(DeprecationWarning, match=f"^{former} is now {name}$"):
        assert importlib.import_module(former) is module
    assert module.__spec__ is not None
    assert module.__spec__.name == module.__name__ == name


@pytest.mark.parametrize(
    ("program", "said"),
    [("tasks.gallery --help", "Write docs/gallery.md"), ("tasks.check no_such_pack", "Available packs:")],
)
def test_programs_run_under_their_former_names(program: str, said: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", *program.split()], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert said in done.stdout + done.stderr


class Counting(PrimeInversionPack):
    """Notes which of its methods were called."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[str] = []

    def require_available(self) -> None:
        super().require_available()
        self.calls.append("base")


def test_either_name_of_a_member_is_the_other() -> None:
    with pytest.warns(DeprecationWarning, match=r"Former\.check is now called require_available"):

        class Former(Counting):
            def check(self) -> None:
                super().check()
                self.calls.append("former")

    class Latter(Former):
        def require_available(self) -> None:
            super().require_available()
            self.calls.append("latter")

    for call in ("check", "require_available"):
        pack = Latter()
        getattr(pack, call)()
        assert pack.calls == ["base", "former", "latter"]


def test_members_of_a_mix_in_and_of_an_instance_count() -> None:
    class Voting:
        settles = True

        async def settle(self, record: TaskRecord, responses: Sequence[str]) -> Rejected:
            return Rejected.wrong("no-majority")

    with pytest.warns(DeprecationWarning, match=r"Mixed\.settle"):

        class Mixed(Voting, Counting):
            pass

    pack = Mixed()
    assert pack.resolves is True
    assert asyncio.run(GuardedPack(pack).resolve(RECORD, [])) == Rejected.wrong("no-majority")
    pack.settles = False
    assert pack.resolves is False
    pack.resolves = True
    assert pack.settles is True


def test_callers_may_use_the_former_names() -> None:
    pack: TaskPack = MathWordPack(verify="majority", terse=True)
    for guarded in (pack, GuardedPack(pack)):
        for former, name in RENAMED.items():
            assert getattr(guarded, former) == getattr(guarded, name)
    assert pack.settles
