"""The backend "wasm": CPython compiled to WebAssembly, for machines without the kernel's filters.

A slot is one process, which runs each program in a new copy of a frozen interpreter. That interpreter is
another version than the trainer's, and slower; no kernel feature is needed.
"""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Sequence
from dataclasses import asdict
from multiprocessing.connection import Connection
from pathlib import Path

from tasks.sandbox.calls import Try, max_reply_bytes, probe
from tasks.sandbox.contract import (
    NUM_WASM_HASH_SEEDS,
    PROBE,
    Call,
    CallStatus,
    Capabilities,
    Limits,
    Program,
)
from tasks.sandbox.slots import MARGIN_S, START_S, SlotSandbox, Worker, socket_pair
from tasks.sandbox.wasm_image import WORKER_COMMAND, ensure_images, worker_environment


class WasmProcess(Worker):
    """A process that holds the images."""

    _channel: Connection

    def __init__(self, images: Sequence[Path]) -> None:
        """Start the process; `wait_until_ready` waits until it serves."""
        ours, theirs = socket_pair(socket.SOCK_STREAM)
        with theirs:
            arguments = ["-m", "tasks.sandbox.wasm_worker", str(theirs.fileno()), *map(str, images)]
            super().__init__([*WORKER_COMMAND, *arguments], worker_environment(), theirs)
        self._channel = Connection(ours.detach())

    def run(self, program: Program, inputs: list[str], limits: Limits, hash_seed: int) -> Try:
        payload = json.dumps((program.source, program.entry, inputs, limits.result_bytes, limits.depth))
        image, most = hash_seed % NUM_WASM_HASH_SEEDS, max_reply_bytes(len(inputs), limits)
        request = image, payload, asdict(limits), most
        answer = self._exchange(json.dumps(request).encode(), limits.wall_s + MARGIN_S)
        status, error, cpu_ms, written = json.loads(answer)
        return Try(Call(CallStatus(status), None, error, cpu_ms), written.encode())

    def _greet(self) -> None:
        self._exchange(None, START_S)

    def _exchange(self, request: bytes | None, time_s: float) -> bytes:
        """Send a request, if there is one, and wait for the next message; kill a process that is late."""
        watchdog = threading.Timer(time_s, self._process.kill)
        watchdog.start()
        try:
            if request is not None:
                self._channel.send_bytes(request)
            return self._channel.recv_bytes()
        finally:
            watchdog.cancel()


class WasmSandbox(SlotSandbox[WasmProcess]):
    """Runs programs in copies of a frozen interpreter. See `Sandbox` for the methods."""

    workers_per_slot = 1

    def __init__(self, num_slots: int) -> None:
        """Build the images if need be, start the processes for `num_slots` programs at once and run one.

        Where that cannot be done, or a package of the extra is missing, it is SandboxUnavailable.
        """
        self._images = ensure_images()
        super().__init__(num_slots)

    def _start(self, number: int) -> WasmProcess:
        return WasmProcess(self._images)

    def _examine(self, worker: WasmProcess) -> Capabilities:
        # No self-test: the component can call `emit` and nothing else, or it would not be instantiated.
        limits = Limits(cpu_s=10.0, wall_s=60.0)
        return Capabilities("wasm", probe(lambda inputs: worker.run(PROBE, inputs, limits, 0), limits))
