"""The process of one slot of the backend "wasm": it holds the images and runs a program in a copy of one.

It is started by exec with nothing of the trainer in it, so that a crash or a hang of the WebAssembly runtime
costs this process alone. A request is one message, its answer another; `wasm_runtime.py` is the other end.

A program's instance can reach its own memory and `emit`, and nothing else: instantiation fails if the
component asks for more.
"""

from __future__ import annotations

import json
import os
import platform
import re
import sys
import threading
import time
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path

from wasmtime import Config, Engine, Store, WasmtimeError
from wasmtime.component import Component, Linker

from tasks.sandbox.contract import CallStatus, Limits

WASM_STACK_BYTES = 2 << 20
"""The most that wasmtime allows. With its default, a quarter, recursion in C traps before Python stops it."""

TICK_S = 0.01
"""How often the time of a run is looked at, and so how much too long it may be."""


class _SaidTooMuch(Exception):
    """More output than the request allows."""


class _Clock:
    """Interrupts what runs in an engine when its time is over; nothing in there can catch that.

    One thread for all runs: to start one for each would cost more than half of a small program's time.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._lock = threading.Lock()
        self._running = threading.Event()
        self._limits, self._missed = Limits(), ""
        self._cpu_end = self._wall_end = 0.0
        threading.Thread(target=self._watch, daemon=True).start()

    def start(self, limits: Limits) -> None:
        """A run begins, whose store has an epoch deadline of 1."""
        with self._lock:
            self._cpu_end = time.process_time() + limits.cpu_s
            self._wall_end = time.monotonic() + limits.wall_s
            self._limits, self._missed = limits, ""
            self._running.set()

    def stop(self) -> str:
        """The run is over; nothing is interrupted any more. Return which limit it missed, "" if none."""
        self.look()
        with self._lock:
            self._running.clear()
            return self._missed

    def look(self) -> bool:
        """Whether the run has missed a limit; if so, it is interrupted."""
        with self._lock:
            if self._running.is_set() and not self._missed:
                if time.process_time() > self._cpu_end:
                    self._missed = f"more than {self._limits.cpu_s:g} s of CPU time"
                elif time.monotonic() > self._wall_end:
                    self._missed = f"more than {self._limits.wall_s:g} s by the clock"
                if self._missed:
                    self._engine.increment_epoch()
            return bool(self._missed)

    def _watch(self) -> None:
        while self._running.wait():
            time.sleep(TICK_S)
            self.look()


class Instance:
    """The engine, the images and what the running program has said."""

    def __init__(self, images: Sequence[str]) -> None:
        """Load the images, which takes milliseconds."""
        self._engine = make_engine()
        self._clock = _Clock(self._engine)
        self._images = [Component.deserialize_file(self._engine, path) for path in images]
        self._linker = Linker(self._engine)
        with self._linker.root() as root:
            root.add_func("emit", self._emit)
        self._said: list[str] = []
        self._left = 0

    def run(
        self, image: int, payload: str, limits: Limits, max_output_bytes: int
    ) -> tuple[CallStatus, str, int, str]:
        """Run a program in a new copy of the image of this number; WasmtimeError if the runtime itself fails.

        `payload` is the JSON list of the arguments of the guest's `run_program`. Returns how the program
        ended and in which words, its CPU time in ms, and what it wrote, unless that is more than it may.
        """
        self._said, self._left = [], max_output_bytes
        started = time.process_time()
        status, error = CallStatus.EXITED, "the program ended without a result"
        with Store(self._engine) as store:
            store.set_epoch_deadline(1)
            store.set_limits(memory_size=limits.memory_mb << 20)
            self._clock.start(limits)
            try:
                run = self._linker.instantiate(store, self._images[image]).get_func(store, "run")
                assert run is not None
                run(store, payload)
            except _SaidTooMuch:
                self._said.clear()
                status, error = CallStatus.OUTPUT_LIMIT, "more output than allowed"
            except WasmtimeError as trap:
                if "wasm backtrace" not in str(trap):
                    raise
                status, error = _name_trap(str(trap))
            finally:
                missed = self._clock.stop()
        if missed:
            status, error = CallStatus.TIMEOUT, missed
        return status, error, round((time.process_time() - started) * 1000), "".join(self._said)

    def _emit(self, _: object, line: str) -> None:
        if self._clock.look():
            return  # too late to count
        self._left -= len(line.encode())
        if self._left < 0:
            raise _SaidTooMuch
        self._said.append(line)


def make_engine() -> Engine:
    """The engine, set up as the images are compiled and as they run."""
    config = Config()
    config.epoch_interruption = True
    config.max_wasm_stack = WASM_STACK_BYTES
    if sys.platform == "linux":
        # No more of the processor than all of its kind have: a cluster may share the cache.
        config.target = f"{platform.machine()}-unknown-linux-gnu"
    return Engine(config)


def compile_image(component: str, image: str) -> None:
    """Compile the component in one file and write the image to another."""
    Path(image).write_bytes(Component.from_file(make_engine(), component).serialize())


def _name_trap(text: str) -> tuple[CallStatus, str]:
    """What a trap says of a program, from wasmtime's account of it, which is a backtrace and a cause."""
    # What asks for the system ends in a stub that has no name, called from the C library by one that has.
    asked = re.search(
        r"wasm backtrace:\n +0: +\w+ - <unknown>!.*\n(?:.*<unknown>!.*\n)*.*libc\.so!(\w+)", text
    )
    if asked and asked[1] == "exit_exit":
        return CallStatus.EXITED, "the program ended itself"
    if asked:
        return CallStatus.CRASHED, f"there is no system to ask for {asked[1]}"
    cause = re.search(r"wasm trap: (.*)", text)
    return CallStatus.CRASHED, cause[1] if cause else text.splitlines()[-1].strip()


def main() -> None:
    """Serve requests from the descriptor that is the first argument, with the images that are the others."""
    channel = Connection(int(sys.argv[1]))
    instance = Instance(sys.argv[2:])
    channel.send_bytes(b"ready")
    # Errors of the start went to a pipe that the other end closes now.
    os.dup2(1, 2)
    while True:
        try:
            image, payload, limits, most = json.loads(channel.recv_bytes())
        except EOFError:
            return
        channel.send_bytes(json.dumps(instance.run(image, payload, Limits(**limits), most)).encode())


if __name__ == "__main__":
    main()
