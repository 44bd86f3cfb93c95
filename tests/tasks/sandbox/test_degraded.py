"""Machines that offer less: what the sandbox then does, and what it says.

Run: pytest tests/tasks/sandbox/test_degraded.py
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tasks.sandbox import fork_server
from tasks.sandbox.contract import SandboxUnavailable
from tasks.sandbox.seccomp import ALLOW, ARCHITECTURES, assemble, refuse

ADDR_NO_RANDOMIZE = 0x0040000
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


LOOP_AT_1 = "def f(x):\n while x == 1: pass\n return x"


def opened_after(
    prepare: Callable[[], object], *command: str, timeout_s: float = 60
) -> subprocess.CompletedProcess[str]:
    """Run a Python command in a process that `prepare` has made what it is."""
    return subprocess.run(
        [sys.executable, *command],
        capture_output=True,
        text=True,
        cwd=ROOT,
        preexec_fn=prepare,
        timeout=timeout_s,
    )


def ignore_all() -> None:
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        signal.signal(number, signal.SIG_IGN)


def close_streams() -> None:
    for descriptor in (0, 2):
        os.close(descriptor)


def lower_soft_limits() -> None:
    for kind, soft in (
        (resource.RLIMIT_AS, 1 << 30),
        (resource.RLIMIT_CPU, 60),
        (resource.RLIMIT_STACK, 1 << 20),
        (resource.RLIMIT_NOFILE, 32),
        *([(resource.RLIMIT_NPROC, 0)] if os.geteuid() == 0 else []),  # others could not even start it
    ):
        resource.setrlimit(kind, (soft, resource.getrlimit(kind)[1]))


INHERITED = {
    "signals_ignored": ignore_all,
    "signals_blocked": lambda: signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals()),
    "streams_closed": close_streams,
    "soft_limits": lower_soft_limits,
}


@pytest.mark.parametrize("prepare", INHERITED.values(), ids=INHERITED.keys())
def test_what_a_process_inherits_changes_nothing(tmp_path: Path, prepare: Callable[[], object]) -> None:
    program = tmp_path / "program.py"
    program.write_text(LOOP_AT_1)
    command = "-m", "tasks.sandbox", str(program), "--cpu-s", "0.2", "--memory-mb", "2048"
    done = opened_after(prepare, *command, "--input", "1", "--input", "0")
    assert "f(1) -> timeout: more than " in done.stdout, done
    assert "f(0) -> 0" in done.stdout


OPEN = (
    f"import sys; sys.path.insert(0, {str(ROOT)!r}); from tasks.sandbox import *\n"
    "try: open_sandbox(SandboxConfig(num_zygotes=1))\n"
    "except SandboxUnavailable as error: print(error)"
)
HARD_LIMITS = {"RLIMIT_CPU": 2, "RLIMIT_STACK": 1 << 20, "RLIMIT_AS": 90 << 20, "RLIMIT_DATA": 90 << 20}


@pytest.mark.parametrize("name", HARD_LIMITS)
def test_a_limit_below_what_programs_get_is_refused_with_the_reason(name: str) -> None:
    """Not found out by programs, of which each would seem to end itself."""
    most = HARD_LIMITS[name]
    done = opened_after(lambda: resource.setrlimit(getattr(resource, name), (most, most)), "-S", "-c", OPEN)
    assert f"{name} has to be " in done.stdout, done
    assert f"here it can be {most} at most (ulimit -H)" in done.stdout


@pytest.mark.skipif(os.geteuid() != 0, reason="another user could not start the command either")
def test_a_user_who_may_start_no_process_is_told_so() -> None:
    done = opened_after(lambda: resource.setrlimit(resource.RLIMIT_NPROC, (0, 0)), "-S", "-c", OPEN)
    assert "no process can be started: user 65534 may have 0 at most (ulimit -Hu)" in done.stdout, done


def test_addresses_differ_without_the_kernel_s_help() -> None:
    """As under a debugger, which has all memory at the same place in each process."""
    source = (
        "from tasks.sandbox import *\nsandbox = open_sandbox(SandboxConfig(num_zygotes=1))\n"
        "program = Program('def f(): return str(object())')\n"
        "for seed in (0, 1): print(sandbox.run(program, [''], hash_seed=seed)[0].literal)"
    )
    done = opened_after(lambda: ctypes.CDLL(None).personality(ADDR_NO_RANDOMIZE), "-c", source)
    first, second = done.stdout.splitlines()
    assert "object object at 0x" in first
    assert first != second


def test_root_of_a_namespace_without_nobody_has_a_sandbox() -> None:
    """A container without root's rights may have a few users only."""
    done = under("few_users", "-m", "tasks.sandbox")
    if "no user namespace" in done.stderr:
        pytest.skip("no user namespace can be made here")
    assert done.returncode == 0, done.stderr
    assert "uid=0" in done.stdout
    assert "selftest=6/6" in done.stdout


def test_a_pack_whose_memory_cannot_be_had_is_unavailable() -> None:
    source = (
        "from tasks.contract import PackUnavailableError; from tasks.execution import Runner\n"
        "from tasks.sandbox import *; runner = Runner(SandboxConfig(num_zygotes=1), Limits(memory_mb=4096))\n"
        "try: runner.check()\nexcept PackUnavailableError as error: print(error)\n"
        "print(open_sandbox(runner.config).run(Program('def f(x): return x'), ['1'], runner.limits)[0])"
    )
    hard = 2 << 30
    done = opened_after(lambda: resource.setrlimit(resource.RLIMIT_AS, (hard, hard)), "-c", source)
    reason = f"RLIMIT_AS has to be {4 << 30}; here it can be {hard} at most (ulimit -H)"
    first, second = done.stdout.splitlines()
    assert first.startswith("no program runs in the sandbox as the pack limits it: ")
    assert reason in first
    assert "BACKEND_ERROR" in second
    assert reason in second


@pytest.fixture
def memory_cgroup() -> Iterator[Path]:
    """A memory cgroup of 200 MiB, of either version; a skip where none can be made."""
    root, most = Path("/sys/fs/cgroup/memory"), "memory.limit_in_bytes"
    if not (root / most).exists():
        root, most = root.parent, "memory.max"
    folder = root / f"azr-test-{os.getpid()}"
    try:
        folder.mkdir()
    except OSError:
        pytest.skip("no memory cgroup can be made here")
    try:
        if not (folder / most).exists():
            pytest.skip("no memory cgroup can be made here")
        (folder / most).write_text(str(200 << 20))
        yield folder
    finally:
        folder.rmdir()


def test_an_out_of_memory_kill_is_the_programs_doing(tmp_path: Path, memory_cgroup: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text("def f(x): return len(b'x' * (x << 20))")
    done = opened_after(
        lambda: (memory_cgroup / "cgroup.procs").write_text(str(os.getpid())),
        *("-m", "tasks.sandbox", str(program), "--memory-mb", "2048", "--input", "1000", "--input", "1"),
    )
    assert "f(1000) -> memory: killed from outside while it held" in done.stdout, done
    assert f"f(1) -> {1 << 20}" in done.stdout


def test_an_attack_that_gets_through_is_a_hard_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the filter gone from the zygote's options, the self-test is the only one to notice."""
    monkeypatch.setattr(fork_server, "program_filter", lambda machine: bytes.fromhex("060000000000ff7f"))
    with pytest.raises(SandboxUnavailable, match=r"self-test got through by: .*socket"):
        fork_server.ForkSandbox(1)


def test_a_filter_under_which_no_program_runs_is_no_sandbox(monkeypatch: pytest.MonkeyPatch) -> None:
    """Under it every attack of the self-test is stopped, for nothing can be done at all."""

    def only_the_end(machine: str) -> bytes:
        return assemble(ARCHITECTURES[machine], {"exit_group": ALLOW}, refuse())

    monkeypatch.setattr(fork_server, "program_filter", only_the_end)
    with pytest.raises(SandboxUnavailable, match="the first program did not run"):
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
