"""A host worth attacking, and the check that an attack left it and the sandbox as they were."""

from __future__ import annotations

import os
import runpy
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tasks.sandbox import Call, CallStatus, Limits, Program, Sandbox
from tasks.sandbox.fork_server import ForkSandbox
from tasks.sandbox.seccomp import ARCHITECTURES
from tasks.sandbox.slots import SlotSandbox
from tasks.sandbox.wasm_runtime import WasmSandbox

MACHINE = os.uname().machine
SECRET = "azr-secret-5d1f0c"
DANGEROUS = (
    "_ctypes", "_posixsubprocess", "_socket", "ctypes", "ctypes.util", "fcntl", "gc", "importlib", "mmap",
    "multiprocessing.shared_memory", "os", "posix", "resource", "select", "shutil", "signal", "socket",
    "subprocess", "tempfile", "threading",
)  # fmt: skip

# `find` gets a module whether it can be imported or not: by way of the frames that called the program, and of
# the classes that all programs share.
PRELUDE = """
import sys
def find(name):
    try:
        return __import__(name, fromlist=["x"])
    except ImportError:
        pass
    frame = sys._getframe()
    while frame:
        for value in list(frame.f_globals.values()):
            if type(value) is type(sys) and value.__name__ == name:
                return value
        frame = frame.f_back
    seen, todo = set(), [object]
    while todo:
        cls = todo.pop()
        for sub in type.__subclasses__(cls):
            if sub in seen:
                continue
            seen.add(sub)
            todo.append(sub)
            for function in vars(sub).values():
                space = getattr(getattr(function, "__func__", function), "__globals__", None)
                if space is None:
                    continue
                if space.get("__name__") == name:
                    return type(sys)(name) if not space else Space(space)
                for value in list(space.values()):
                    if type(value) is type(sys) and value.__name__ == name:
                        return value
    raise ImportError(name)
class Space:
    def __init__(self, names):
        self.__dict__ = names
def libc():
    ctypes = find("ctypes")
    return ctypes.CDLL(None, use_errno=True)
"""

NEXT = Program(
    """
import builtins, collections, decimal, json, math, random, sys
def f(items):
    random.seed(1)
    return (len(items), math.sqrt(16), json.dumps({"a": items}), sorted(items), sum(items),
            str(decimal.Decimal(1) / 3),
            collections.Counter(items).most_common(1), random.randint(1, 9), hasattr(builtins, "poison"),
            sys.getrecursionlimit(), repr(items))
"""
)
NEXT_RESULT = (
    "(3, 4.0, '{\"a\": [2, 1, 2]}', [1, 2, 2], 5, '0.3333333333333333333333333333', [(2, 2)], 3, False, "
    "1000, "
    "'[2, 1, 2]')"
)

LIMITS = Limits(cpu_s=0.25, wall_s=20.0, memory_mb=256)
"""A wide wall clock: the machine may be busy, and what decides is CPU time."""


def start(num_zygotes: int = 1, *, guards: bool = True) -> ForkSandbox:
    """A fork sandbox; without guards the kernel's layers are alone, and every dangerous module is loaded."""
    if MACHINE not in ARCHITECTURES:
        pytest.skip(f"no system call filter for {MACHINE}")
    return ForkSandbox(num_zygotes, exposed=() if guards else DANGEROUS)


def start_wasm(num_slots: int = 1) -> WasmSandbox:
    """A wasm sandbox; where its images are not in the cache, they are built first."""
    for package in ("componentize_py", "wasmtime"):
        pytest.importorskip(package, reason="needs the extra: pip install 'azr-verl[wasm]'")
    return WasmSandbox(num_slots)


def process_ids(sandbox: Sandbox) -> list[int]:
    """The processes that a sandbox keeps."""
    assert isinstance(sandbox, SlotSandbox)
    return sandbox.worker_pids()


@dataclass
class Host:
    """What an attack could damage, and how it was before."""

    folder: Path
    victim: subprocess.Popen[bytes]
    tcp: socket.socket
    unix: socket.socket
    received: list[int] = field(default_factory=list)

    def fill(self, source: str) -> str:
        """Put this host's addresses into an attack."""
        return (
            source.replace("CANARY", str(self.folder / "canary"))
            .replace("DROP", str(self.folder / "drop"))
            .replace("PORT", str(self.tcp.getsockname()[1]))
            .replace("VICTIM", str(self.victim.pid))
            .replace("HOST", str(os.getpid()))
        )

    def check(self) -> None:
        """Nothing is read, written, connected to, signalled or left behind."""
        assert (self.folder / "canary").read_text() == SECRET
        assert os.listdir(self.folder / "drop") == []
        assert sorted(os.listdir(self.folder)) == ["canary", "drop"]
        assert self.victim.poll() is None
        assert self.received == []
        for listener in (self.tcp, self.unix):
            with pytest.raises(BlockingIOError):
                listener.accept()
        assert [name for name in os.listdir("/dev/shm") if "azr-attack" in name] == []


@pytest.fixture(scope="session")
def host() -> Iterator[Host]:
    """The host; everything on it is open to everyone, so that only the sandbox protects it."""
    with tempfile.TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
        folder = Path(name)
        (folder / "canary").write_text(SECRET)
        (folder / "drop").mkdir()
        for path, mode in ((folder, 0o777), (folder / "canary", 0o666), (folder / "drop", 0o777)):
            path.chmod(mode)
        patch.setenv("AZR_TOKEN", SECRET)
        victim = subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(3600)"])
        tcp, unix = socket.create_server(("127.0.0.1", 0)), socket.socket(socket.AF_UNIX)
        unix.bind("\0azr-attack-HOST".replace("HOST", str(os.getpid())))
        unix.listen()
        made = Host(folder, victim, tcp, unix)
        tcp.setblocking(False)
        unix.setblocking(False)
        before = signal.signal(signal.SIGUSR1, lambda number, _: made.received.append(number))
        yield made
        signal.signal(signal.SIGUSR1, before)
        victim.kill()
        victim.wait()
        tcp.close()
        unix.close()


@pytest.fixture(
    scope="session",
    params=[
        "default",
        "kernel layers alone",
        pytest.param("wasm", marks=pytest.mark.slow),
    ],
)
def sandbox(request: pytest.FixtureRequest, host: Host) -> Iterator[Sandbox]:
    """One slot: zygotes with and without the guards inside the interpreter, and WebAssembly."""
    with start_wasm() if request.param == "wasm" else start(guards=request.param == "default") as made:
        yield made


Strike = Callable[..., Call]


@pytest.fixture
def strike(sandbox: Sandbox, host: Host) -> Strike:
    """Run an attack; assert its status, that nothing is damaged and that the next program is right."""

    def run(source: str, *statuses: CallStatus, literal: str | None = None, **limits: Any) -> Call:
        bounds = Limits(**{name: limits.get(name, getattr(LIMITS, name)) for name in Limits.__slots__})
        processes = process_ids(sandbox)
        (call,) = sandbox.run(Program(PRELUDE + host.fill(source)), ["7"], bounds)
        # In WebAssembly there is nothing to attack: an attempt ends by an exception or a trap.
        ends = {CallStatus.RAISED, CallStatus.CRASHED, CallStatus.MEMORY}
        assert call.status in {*statuses, *(ends if isinstance(sandbox, WasmSandbox) else ())}, call
        assert SECRET not in f"{call.literal}{call.error}"
        assert len(call.error or "") <= 1200
        if call.status is CallStatus.OK and literal is not None:
            assert call.literal == literal
        for hash_seed in (0, 1):
            (after,) = sandbox.run(NEXT, ["[2, 1, 2]"], LIMITS, hash_seed=hash_seed)
            assert after.literal == NEXT_RESULT, after
        host.check()
        assert process_ids(sandbox) == processes
        return call

    return run


@pytest.fixture(scope="session")
def code_server() -> Iterator[str]:
    """Address of a server that runs programs, for the backend "http"."""
    server = runpy.run_path(str(Path(__file__).with_name("processes") / "code_server.py"))
    with server["serve"](server["good"]) as address:
        yield address


@pytest.fixture(scope="session")
def prelude() -> str:
    """What defines `find` and `libc` for an attack that `strike` does not make."""
    return PRELUDE


@pytest.fixture(scope="session")
def start_sandbox() -> Callable[..., ForkSandbox]:
    """`start`, for tests that need a sandbox of their own."""
    return start


@pytest.fixture(scope="session")
def start_wasm_sandbox() -> Callable[..., WasmSandbox]:
    """`start_wasm`, likewise."""
    return start_wasm
