"""The command: `python -m tasks.sandbox`."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "tasks.sandbox", *arguments]
    return subprocess.run(argv, capture_output=True, text=True, cwd=ROOT)


def test_it_shows_layers_and_self_test() -> None:
    done = command()
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("sandbox=fork seccomp=on")
    assert done.stdout.count("stopped") == 6
    assert done.stdout.splitlines()[-1].split() == ["program", "runs"]


def test_it_tells_attacks_that_are_stopped_from_a_sandbox_in_which_nothing_runs() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tasks.sandbox", "--memory-mb", "600"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (500 << 20, 500 << 20)),
    )
    assert done.returncode == 1, done
    assert done.stdout.splitlines()[-1].startswith("  program a process cannot be confined here: RLIMIT_AS")


def test_it_runs_a_program(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text("def f(a, b=2):\n    return a // b\ndef g():\n    return 'g'\n")
    done = command(str(program), "--input", "7", "--input", "7, 0")
    assert done.returncode == 1
    assert "f(7) -> 3 " in done.stdout
    assert "f(7, 0) -> raised: ZeroDivisionError" in done.stdout
    assert "g() -> 'g'" in command(str(program), "--entry", "g").stdout


def test_a_mistake_is_one_line(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text("def f(x): return x\n")
    for arguments in (["--input", "print()"], ["--cpu-s", "0"], ["--backend", "http"]):
        done = command(str(program), *arguments)
        assert done.returncode == 2
        assert len(done.stderr.strip().splitlines()) == 1
    assert command(str(tmp_path / "missing.py")).returncode == 2
