"""The backend "wasm": its cache of images, its processes, and what becomes of programs.

Run: pytest tests/tasks/sandbox/test_wasm.py
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tasks.sandbox import (
    CallStatus,
    Limits,
    Program,
    Sandbox,
    SandboxConfig,
    SandboxUnavailable,
    open_sandbox,
    wasm_image,
    wasm_runtime,
)
from tasks.sandbox.calls import BackendFailure
from tasks.sandbox.wasm_runtime import WasmSandbox

ROOT = Path(__file__).parents[3]
ECHO = Program("def f(x): return x")


@pytest.fixture
def packages(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, str]:
    """What is installed, as far as the cache can see, which is `tmp_path`."""
    monkeypatch.setattr(wasm_image, "cache_dir", lambda: tmp_path)
    versions = {"componentize-py": "1.0", "wasmtime": "2.0"}

    def version(name: str) -> str:
        if name not in versions:
            raise wasm_image.importlib.metadata.PackageNotFoundError(name)
        return versions[name]

    monkeypatch.setattr(wasm_image.importlib.metadata, "version", version)
    return versions


@pytest.fixture
def builds(monkeypatch: pytest.MonkeyPatch, packages: dict[str, str]) -> list[Path]:
    """The images that were built, each in no time and empty."""
    made: list[Path] = []

    def build(aside: Path, image: Path) -> None:
        time.sleep(0.05)
        image.touch()
        made.append(image)

    monkeypatch.setattr(wasm_image, "_build_image", build)
    return made


@pytest.mark.parametrize("missing", ["componentize-py", "wasmtime"])
def test_without_the_extra_the_error_says_what_to_install(packages: dict[str, str], missing: str) -> None:
    del packages[missing]
    with pytest.raises(
        SandboxUnavailable, match=rf"needs the package {missing}: pip install 'azr-verl\[wasm\]'"
    ):
        open_sandbox(SandboxConfig(backend="wasm"))


def test_images_are_built_once(builds: list[Path]) -> None:
    first = wasm_image.ensure_images()
    assert wasm_image.ensure_images() == first
    assert all(image.is_file() for image in first)
    assert len(builds) == len(first) == len({*first}) == 2


def test_two_that_build_at_once_build_once(builds: list[Path]) -> None:
    found: list[list[Path]] = []
    threads = [threading.Thread(target=lambda: found.append(wasm_image.ensure_images())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(builds) == 2
    assert len(found) == 4
    assert all(images == found[0] for images in found)


def test_versions_and_the_guests_source_name_the_images(
    packages: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    keys = {wasm_image.image_key()}
    packages["wasmtime"] = "2.1"
    keys.add(wasm_image.image_key())
    guest = tmp_path / "guest"
    guest.mkdir()
    for name in ("component.py", *wasm_image.LIBRARY):
        (guest / name).write_bytes((wasm_image.GUEST / name).read_bytes())
    monkeypatch.setattr(wasm_image, "GUEST", guest)
    assert wasm_image.image_key() in keys
    (guest / "harness.py").write_text("# changed\n")
    keys.add(wasm_image.image_key())
    assert len(keys) == 3


def test_a_build_that_fails_leaves_nothing_and_says_its_last_words(
    packages: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(wasm_image, "_COMPONENTIZE", "print('first'); raise ValueError('no such world')")
    with pytest.raises(SandboxUnavailable, match="cannot be built: ValueError: no such world"):
        wasm_image.ensure_images()
    assert [path.suffix for path in tmp_path.iterdir()] == [".lock"]


def test_a_cache_that_cannot_be_written_is_said(
    packages: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setattr(wasm_image, "cache_dir", lambda: tmp_path / "file" / "cache")
    with pytest.raises(SandboxUnavailable, match=r"cannot be built: .*file"):
        wasm_image.ensure_images()


def test_the_cache_is_the_users(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert wasm_image.cache_dir() == Path("/somewhere/azr-verl/wasm")
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    monkeypatch.setenv("HOME", "/home/anna")
    assert wasm_image.cache_dir() == Path("/home/anna/.cache/azr-verl/wasm")


def test_a_process_that_cannot_start_says_why(tmp_path: Path) -> None:
    process = wasm_runtime.WasmProcess([tmp_path / "missing.cwasm"])
    with pytest.raises(BackendFailure, match=r"a process did not start: .*(No such file|'wasmtime')"):
        process.wait_until_ready()
    process.kill()


@pytest.fixture(scope="module")
def wasm(start_wasm_sandbox: Callable[..., WasmSandbox]) -> Iterator[WasmSandbox]:
    """Two slots."""
    with start_wasm_sandbox(2) as made:
        yield made


OUTCOMES = {
    "value": ("def f(x): return {x, 'a'}", CallStatus.OK, "{'a', 7}"),
    "exception": ("def f(x): return x / 0", CallStatus.RAISED, "ZeroDivisionError"),
    "syntax": ("def f(x) return x", CallStatus.RAISED, "SyntaxError"),
    "no_python": ("```python\ndef f(x): return 1\n```", CallStatus.RAISED, "SyntaxError"),
    "missing_module": ("import os\ndef f(x): return 1", CallStatus.RAISED, "No module named 'os'"),
    "file": ("def f(x): return open('/etc/passwd')", CallStatus.RAISED, "PermissionError"),
    "input": ("def f(x): return input()", CallStatus.RAISED, "EOFError"),
    "endless": ("def f(x):\n while True: pass", CallStatus.TIMEOUT, "of CPU time"),
    "memory": ("def f(x): return bytes(10 ** 9)", CallStatus.MEMORY, "out of memory"),
    "long_result": ("def f(x): return 'x' * 10 ** 6", CallStatus.OUTPUT_LIMIT, "longer than"),
    "no_literal": ("def f(x): return object()", CallStatus.UNSUPPORTED_RESULT, "object"),
    "clock": ("import time\ndef f(x): return time.time()", CallStatus.CRASHED, "wall_clock_now"),
    "exit": ("def f(x): raise SystemExit", CallStatus.EXITED, "SystemExit"),
    "exit_now": ("import inspect\ndef f(x): inspect.os._exit(3)", CallStatus.EXITED, "ended itself"),
    "forged_flood": ("import wit_world\ndef f(x):\n while True: wit_world.emit('x' * 10 ** 5)",
                     CallStatus.OUTPUT_LIMIT, "more output"),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(("source", "outcome", "words"), OUTCOMES.values(), ids=OUTCOMES.keys())
def test_outcomes(wasm: WasmSandbox, source: str, outcome: CallStatus, words: str) -> None:
    pids = wasm.worker_pids()
    (call,) = wasm.run(Program(source), ["7"], Limits(cpu_s=1.0, wall_s=60.0, memory_mb=768))
    assert call.status is outcome, call
    assert words in (call.literal or "") + (call.error or "")
    assert wasm.worker_pids() == pids


@pytest.mark.slow
def test_the_host_copies_no_line_of_any_length(wasm: WasmSandbox) -> None:
    """128 MiB is wasmtime's own bound; up to there the line is copied and then found too long."""
    limits = Limits(cpu_s=60.0, wall_s=60.0, memory_mb=768)
    for size, outcome in ((1 << 24, CallStatus.OUTPUT_LIMIT), (1 << 28, CallStatus.CRASHED)):
        program = Program(f"import wit_world\ndef f(x): wit_world.emit('x' * {size})")
        (call,) = wasm.run(program, ["7"], limits)
        assert call.status is outcome, call


@pytest.mark.slow
def test_a_call_that_dies_takes_no_other_along(wasm: WasmSandbox) -> None:
    program = Program("def f(x):\n while x == 2: pass\n return x")
    calls = wasm.run(program, ["1", "2", "3"], Limits(cpu_s=0.2, wall_s=60.0))
    assert [call.literal or call.status for call in calls] == ["1", CallStatus.TIMEOUT, "3"]


@pytest.mark.slow
def test_the_wall_clock_is_a_limit_too(wasm: WasmSandbox) -> None:
    (call,) = wasm.run(Program("def f(x):\n while True: pass"), ["1"], Limits(cpu_s=0.5, wall_s=0.5))
    assert call.status is CallStatus.TIMEOUT


@pytest.mark.slow
def test_a_component_can_call_emit_and_nothing_else(wasm: WasmSandbox) -> None:
    from wasmtime.component import Component

    from tasks.sandbox.wasm_worker import make_engine

    engine = make_engine()
    for image in wasm_image.ensure_images():
        component = Component.deserialize_file(engine, str(image))
        assert list(component.type.imports(engine)) == ["emit"]


@pytest.mark.slow
def test_it_says_which_python_it_is(wasm: WasmSandbox) -> None:
    found = wasm.capabilities()
    assert found.summary().startswith("sandbox=wasm seccomp=n/a landlock=n/a")
    assert found.python.startswith("3.14.")
    assert not found.unsafe


@pytest.mark.slow
def test_jobs_run_side_by_side(wasm: WasmSandbox) -> None:
    with ThreadPoolExecutor(4) as pool:
        pending = [pool.submit(wasm.run, ECHO, [str(n)], hash_seed=n % 2) for n in range(20)]
        assert [future.result()[0].literal for future in pending] == [str(n) for n in range(20)]
    with pytest.raises(ValueError, match="hash_seed must be from 0 to 7"):
        wasm.run(ECHO, ["1"], hash_seed=8)


@pytest.mark.slow
def test_a_process_that_dies_or_hangs_is_replaced(wasm: WasmSandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wasm_runtime, "MARGIN_S", 0.5)
    for how in (signal.SIGKILL, signal.SIGSTOP):
        before = wasm.worker_pids()
        for pid in before:
            os.kill(pid, how)
        with ThreadPoolExecutor(2) as pool:
            limits = Limits(cpu_s=1.0, wall_s=5.0)
            pending = [pool.submit(wasm.run, ECHO, ["1"], limits) for _ in range(2)]
            assert [future.result()[0].literal for future in pending] == ["1", "1"]
        assert not {*before} & {*wasm.worker_pids()}


@pytest.mark.slow
def test_a_process_that_always_dies_is_a_backend_error(
    wasm: WasmSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise BackendFailure("it is gone")

    monkeypatch.setattr(wasm_runtime.WasmProcess, "_exchange", fail)
    (call,) = wasm.run(ECHO, ["1"])
    assert call.status is CallStatus.BACKEND_ERROR
    monkeypatch.undo()
    assert wasm.run(ECHO, ["1"])[0].literal == "1"


@pytest.mark.slow
def test_a_closed_sandbox_runs_nothing_and_leaves_no_process(wasm: WasmSandbox) -> None:
    sandbox: Sandbox
    with WasmSandbox(1) as sandbox:
        (pid,) = sandbox.worker_pids()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    with pytest.raises(RuntimeError, match="closed"):
        sandbox.run(ECHO, ["1"])


@pytest.mark.slow
def test_the_command_uses_it(wasm: WasmSandbox, tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text("import sys\ndef f(x): return x, sys.version_info[:2]\n")
    argv = [sys.executable, "-m", "tasks.sandbox", "--backend", "wasm", str(tmp_path / "program.py")]
    done = subprocess.run([*argv, "--input", "1"], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout.startswith("f(1) -> (1, (3, 14))"), done.stderr
