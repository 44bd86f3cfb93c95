"""Machines that offer less: what the sandbox then does, and what it says.

Run: pytest tests/tasks/sandbox/test_degraded.py
"""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from tasks.sandbox import fork_server
from tasks.sandbox.contract import SandboxUnavailable
from tasks.sandbox.seccomp import ARCHITECTURES

ROOT = Path(__file__).parents[3]
SCRIPT = Path(__file__).parent / "processes" / "under_filter.py"
ATTACKS = sorted(str(path) for path in Path(__file__).parent.glob("test_attacks_*.py"))
pytestmark = pytest.mark.skipif(os.uname().machine not in ARCHITECTURES, reason="no filter for this machine")


def under(mode: str, *command: str, python: str = sys.executable) -> subprocess.CompletedProcess[str]:
    """Run a Python command on a machine that offers less."""
    argv = [sys.executable, str(SCRIPT), mode, python, *command]
    paths = [str(ROOT), sysconfig.get_path("purelib"), sysconfig.get_path("platlib")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(argv, capture_output=True, text=True, cwd=ROOT, env=environment, timeout=600)


def test_without_landlock_the_filter_holds_alone() -> None:
    done = under("no_landlock", "-m", "tasks.sandbox")
    assert done.returncode == 0, done.stderr
    assert "seccomp=on landlock=off" in done.stdout
    assert "selftest=6/6" in done.stdout
    assert done.stderr.count("Landlock is not available here") == 1


def test_without_seccomp_there_is_no_sandbox_and_the_error_gives_four_choices() -> None:
    done = under("no_seccomp", "-m", "tasks.sandbox")
    assert done.returncode == 2
    assert "refuses seccomp filters: prctl(PR_SET_SECCOMP) -> Invalid argument (errno 22)" in done.stderr
    assert "Untrusted code would run with your privileges" in done.stderr
    for choice in (
        "(1) allow `seccomp`",
        "(2) ",
        "`sandbox.backend=wasm` (pip install 'azr-verl[wasm]')",
        "(3) ",
        "sandbox.backend=http",
        "(4) ",
        "sandbox.allow_unsafe=true",
    ):
        assert choice in done.stderr
    assert done.stdout == ""


def test_unsafe_works_only_when_asked_for_and_says_so() -> None:
    done = under("no_seccomp", "-m", "tasks.sandbox", "--allow-unsafe")
    assert done.stdout.startswith("UNSAFE sandbox=fork seccomp=off")
    assert "UNSAFE" in done.stderr  # the log, as a warning
    where_seccomp_works = subprocess.run(
        [sys.executable, "-m", "tasks.sandbox", "--allow-unsafe"], capture_output=True, text=True, cwd=ROOT
    )
    assert where_seccomp_works.stdout.startswith("sandbox=fork seccomp=on")


def test_unsafe_still_has_limits(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text("def f(x):\n while x: pass\n return x")
    done = under(
        "no_seccomp", "-m", "tasks.sandbox", "--allow-unsafe", str(program), "--cpu-s", "0.2", "--input", "1",
        "--input", "0",
    )  # fmt: skip
    assert "f(1) -> timeout" in done.stdout
    assert "f(0) -> 0" in done.stdout


def test_an_attack_that_gets_through_is_a_hard_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the filter gone from the zygote's options, the self-test is the only one to notice."""
    monkeypatch.setattr(fork_server, "program_filter", lambda machine: bytes.fromhex("060000000000ff7f"))
    with pytest.raises(SandboxUnavailable, match=r"self-test got through by: .*socket"):
        fork_server.ForkSandbox(1)


def test_another_machine_is_told_what_works(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fork_server.platform, "machine", lambda: "riscv64")
    with pytest.raises(
        SandboxUnavailable,
        match=r"needs Linux on x86_64 or aarch64; .*sandbox\.backend=wasm.*sandbox\.backend=http",
    ):
        fork_server.ForkSandbox(1)


@pytest.mark.slow
def test_attacks_fail_for_an_unprivileged_user_in_a_container() -> None:
    """The tables of attacks once more, in a process that is nobody and may do no more than in a container."""
    # Root's own interpreter may be closed to others; the system's will do then.
    for python in (sys.executable, "/usr/bin/python3"):
        if (
            under(
                "container", "-c", "import enum, pytest, hypothesis; enum.StrEnum", python=python
            ).returncode
            == 0
        ):
            break
    else:
        pytest.skip("an unprivileged user can read no interpreter here that has what the tests need")
    which = ("-m", "not slow", "-k", "not kernel", *ATTACKS)
    arguments = ("-m", "pytest", "-q", "-p", "no:cacheprovider", *which)
    done = under("container", *arguments, python=python)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    assert "passed" in done.stdout
