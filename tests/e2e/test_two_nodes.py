"""Two nodes on one machine: network namespaces with a cable between them, Ray started by the launch scripts.

A node's processes live in a PID namespace too, so killing its first process is a power cut: all are gone.
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
INTERFACE = "azr0"
ADDRESSES = ("10.77.0.1", "10.77.0.2")
DEADLINE_S = 900
LOST_S = 120

SMALL = (
    "experiment=demo",
    "azr.proposals_per_kind=4",
    "azr.attempts_per_record=4",
    "azr.seeding.target=1",
    "azr.seeding.max_waves=0",
    "trainer.nnodes=2",
    "trainer.save_freq=1",
    "trainer.test_freq=-1",
    "trainer.val_before_train=false",
    "trainer.total_training_steps=7",
)


def attribute(kind: int, value: bytes) -> bytes:
    """A netlink attribute: length, kind, value, padded to four bytes."""
    return struct.pack("HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)


def connect(one: int, other: int) -> None:
    """Lay a cable (a veth pair) between the network namespaces of two processes. (`ip` may be missing.)"""
    new_link, request_create_exclusive_ack = 16, 0x1 | 0x400 | 0x200 | 0x4
    name, link_info, net_ns_pid, info_kind, info_data, veth_peer = 3, 18, 19, 1, 2, 1

    def end(process: int) -> bytes:
        return attribute(name, INTERFACE.encode() + b"\0") + attribute(net_ns_pid, struct.pack("I", process))

    header = struct.pack("BxHiII", socket.AF_UNSPEC, 0, 0, 0, 0)
    peer = attribute(info_data, attribute(veth_peer, header + end(other)))
    body = header + end(one) + attribute(link_info, attribute(info_kind, b"veth\0") + peer)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as kernel:
        kernel.send(struct.pack("IHHII", 16 + len(body), new_link, request_create_exclusive_ack, 1, 0) + body)
        error = struct.unpack_from("i", kernel.recv(4096), 16)[0]
    if error:
        raise OSError(-error, os.strerror(-error))


def set_up(process: int, addresses: dict[str, str]) -> None:
    """Give the interfaces of a process's network namespace their addresses, and switch them on."""
    set_address, set_mask, set_flags, up = 0x8916, 0x891C, 0x8914, 0x1
    libc = ctypes.CDLL(None, use_errno=True)

    def inside() -> None:
        with open(f"/proc/{process}/ns/net") as namespace:
            if libc.setns(namespace.fileno(), 0) != 0:
                raise OSError(ctypes.get_errno(), "setns")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
            for interface, address in addresses.items():
                name = interface.encode()
                for request, value in ((set_address, address), (set_mask, "255.255.255.0")):
                    packed = struct.pack("HH4s8x", socket.AF_INET, 0, socket.inet_aton(value))
                    fcntl.ioctl(control, request, struct.pack("16s16s", name, packed))
                fcntl.ioctl(control, set_flags, struct.pack("16sH14x", name, up))

    # `setns` moves the thread that calls it, and this one ends.
    with ThreadPoolExecutor(1) as thread:
        thread.submit(inside).result()


class Holder:
    """A process whose namespaces last as long as it does, and it no longer than this test's process."""

    def __init__(self, command: list[str]) -> None:
        # `cat` ends with the pipe, which the kernel closes if the tests are killed.
        self.process = subprocess.Popen([*command, "cat"], stdin=subprocess.PIPE)
        deadline = time.monotonic() + 10
        while not (found := [p for p in self._family() if p.name() == "cat"]):
            assert self.process.poll() is None and time.monotonic() < deadline, command
            time.sleep(0.01)
        self.pid: int = found[0].pid

    def _family(self) -> list[psutil.Process]:
        process = psutil.Process(self.process.pid)
        return [process, *process.children(recursive=True)]

    def end(self) -> None:
        """Kill it, and with a PID namespace everything inside."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        self.process.wait()
        if self.process.stdin is not None:
            self.process.stdin.close()


class Node:
    """A machine with an address, processes, `/tmp/ray` and `/dev/shm` of its own; all else is shared."""

    def __init__(self, address: str, folder: Path) -> None:
        self.address = address
        self.folder = folder
        self.network = Holder(["unshare", "--net"])
        self.holder: Holder | None = None

    def boot(self) -> None:
        """Start it, also after a power cut."""
        ray = self.folder / f"ray-{self.address}"
        ray.mkdir(exist_ok=True)
        Path("/tmp/ray").mkdir(exist_ok=True)
        into = ["nsenter", f"--net=/proc/{self.network.pid}/ns/net"]
        private = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
        mounts = f"mount --bind {ray} /tmp/ray && mount -t tmpfs tmpfs /dev/shm && exec cat"
        self.holder = Holder([*into, *private, "sh", "-c", mounts])

    def cut_power(self) -> None:
        """Kill every process of the node at once."""
        if self.holder is not None:
            self.holder.end()
            self.holder = None

    def start(self, *command: str, output: Path, **variables: str) -> subprocess.Popen[bytes]:
        """Run a command on the node."""
        assert self.holder is not None
        environment = os.environ | {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "AZR_NODE_IP": self.address,
            "AZR_INTERFACE": INTERFACE,
            "AZR_NUM_CPUS": "12",
            "AZR_NUM_GPUS": "1",
            "AZR_LOG_DIR": str(self.folder / "logs"),
            "RAY_AUTH_TOKEN_PATH": str(self.folder / "token"),
        }
        into = ["nsenter", "--target", str(self.holder.pid), "--net", "--mount", "--pid", f"--wd={ROOT}"]
        with output.open("ab") as file:
            return subprocess.Popen([*into, *command], env=environment | variables, stdout=file, stderr=file)

    def processes(self) -> list[str]:
        """Titles of the processes on the node."""
        here = os.readlink(f"/proc/{self.network.pid}/ns/net")
        titles = []
        for process in psutil.process_iter():
            with suppress(psutil.Error, OSError):
                if os.readlink(f"/proc/{process.pid}/ns/net") == here:
                    titles.append(" ".join(process.cmdline()) or process.name())
        return titles


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[list[Node]]:
    """Two nodes that reach each other and nobody else."""
    probe = subprocess.run(["unshare", "--net", "--mount", "--pid", "--fork", "true"], check=False)
    if os.geteuid() != 0 or probe.returncode != 0:
        pytest.skip("needs to be root, and a kernel that lets it make namespaces")
    made: list[Node] = []
    try:
        for address in ADDRESSES:
            made.append(Node(address, tmp_path))
        connect(made[0].network.pid, made[1].network.pid)
        for node in made:
            set_up(node.network.pid, {"lo": "127.0.0.1", INTERFACE: node.address})
            node.boot()
        yield made
    finally:
        for node in made:
            node.cut_power()
            node.network.end()


@pytest.fixture(scope="module")
def model(model_of: Callable[..., Path]) -> Path:
    """A barely warmed-up tiny model."""
    return model_of("arithmetic", terse=True)


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The complete lines of a JSON-lines file."""
    if not path.exists():
        return []
    text = path.read_text()
    return [json.loads(line) for line in text[: text.rfind("\n") + 1].split("\n")[:-1]]


def wait_for(what: Callable[[], bool], seconds: float, told: Callable[[], str]) -> None:
    """Wait until something holds."""
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, told()
        time.sleep(0.1)


def test_two_nodes_train_lose_one_and_resume(tmp_path: Path, nodes: list[Node], model: Path) -> None:
    first, second = nodes
    run_dir, seen, joined = tmp_path / "run", tmp_path / "head.out", tmp_path / "worker.out"
    overrides = (*SMALL, f"run.dir={run_dir}", f"actor_rollout_ref.model.path={model}")

    def told() -> str:
        logs = [seen, joined, run_dir / "log.txt"]
        return "\n".join(path.read_text(errors="replace")[-3000:] for path in logs if path.exists())

    def start() -> tuple[subprocess.Popen[bytes], subprocess.Popen[bytes]]:
        worker = second.start("launch/ray_worker.sh", output=joined, AZR_HEAD_ADDRESS=first.address)
        return first.start("launch/ray_head.sh", *overrides, output=seen, AZR_NNODES="2"), worker

    head, worker = start()
    wait_for(
        lambda: head.poll() is not None or len(read_lines(run_dir / "metrics.jsonl")) >= 3, DEADLINE_S, told
    )
    assert head.poll() is None, told()
    for node in nodes:
        titles = " ".join(node.processes())
        assert "ray::WorkerDict" in titles, told()
        assert "VLLM::EngineCore" in titles, told()
    second.cut_power()
    worker.wait()
    head.wait(timeout=LOST_S)
    assert head.returncode == 1, told()
    assert f"error: the run lost the node {second.address}" in seen.read_text(), told()
    assert len(read_lines(run_dir / "metrics.jsonl")) < 7
    shards = list((run_dir / "checkpoints" / "global_step_2" / "actor").glob("model_world_size_2_rank_*.pt"))
    shards = shards or list((run_dir / "checkpoints").glob("*/actor/model_world_size_2_rank_*.pt"))
    assert len(shards) >= 2

    second.boot()
    head, worker = start()
    head.wait(timeout=DEADLINE_S)
    assert head.returncode == 0, told()
    worker.wait(timeout=LOST_S)
    assert worker.returncode == 0, told()
    metrics = read_lines(run_dir / "metrics.jsonl")
    assert [line["step"] for line in metrics] == [1, 2, 3, 4, 5, 6, 7]
    for line in metrics:
        assert abs(line["actor/ppo_kl"]) < 1e-5
    assert (tmp_path / "logs" / "attempt_2" / "head.log").exists()


def test_mistakes_on_a_cluster_are_told(tmp_path: Path, nodes: list[Node], model: Path) -> None:
    first, second = nodes
    seen = tmp_path / "seen.out"
    address = f"{first.address}:6379"
    # A head that waits for a third node: a cluster of two, until this test ends.
    first.start("launch/ray_head.sh", output=seen, AZR_NNODES="3", AZR_WAIT_S="1800")
    worker = second.start("launch/ray_worker.sh", output=seen, AZR_HEAD_ADDRESS=first.address)
    joined = tmp_path / "logs" / "attempt_1" / f"worker_{second.address}.log"
    wait_for(
        lambda: (
            worker.poll() is not None or (joined.exists() and "Ray runtime started" in joined.read_text())
        ),
        DEADLINE_S,
        seen.read_text,
    )
    assert worker.poll() is None, seen.read_text()
    wrong = tmp_path / "wrong"
    wrong.write_text("0" * 64)
    wrong.chmod(0o600)
    good = ("trainer.nnodes=2", f"run.dir={tmp_path / 'run'}")
    joins = {"RAY_AUTH_MODE": "token", "RAY_ADDRESS": address}
    for name, overrides, variables, said in (
        ("many", ("trainer.nnodes=3", good[1]), joins, "trainer.nnodes=3"),
        ("blind", (good[0], "run.dir=/dev/shm/run"), joins, f"{second.address} does not see /dev/shm/seen-"),
        ("token", good, joins | {"RAY_AUTH_TOKEN_PATH": str(wrong)}, "Copy the file"),
        ("head", good, joins | {"RAY_ADDRESS": f"{first.address}:6380"}, "Start the head"),
    ):
        output = tmp_path / f"{name}.out"
        command = ("python", "-m", "recipe.main_azr", *SMALL, f"actor_rollout_ref.model.path={model}")
        run = first.start(*command, *overrides, output=output, **variables)
        assert run.wait(timeout=LOST_S) == 2, output.read_text()
        (line,) = [line for line in output.read_text().splitlines() if line.startswith("error: ")]
        assert said in line

    output = tmp_path / "worker.out"
    variables = {"AZR_HEAD_ADDRESS": first.address, "RAY_AUTH_TOKEN_PATH": str(wrong)}
    refused = second.start("launch/ray_worker.sh", output=output, **variables)
    assert refused.wait(timeout=LOST_S) == 1
    assert "must have the same token" in output.read_text()
