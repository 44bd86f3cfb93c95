"""The backend "wasm": CPython compiled to WebAssembly, for machines without the kernel's filters.

A slot is one process, which runs each program in a new copy of a frozen interpreter. That interpreter is
another version than the trainer's, and slower; no kernel feature is needed.
"""

from __future__ import annotations

from pathlib import Path

from tasks.sandbox.contract import Capabilities, Job, Limits, Program
from tasks.sandbox.jobs import BackendFailure
from tasks.sandbox.replies import Try
from tasks.sandbox.slots import SlotSandbox
from tasks.sandbox.wasm_image import ensure_images
from tasks.sandbox.wasm_process import WasmProcess

PROBE = Program("import sys\ndef f():\n    return '.'.join(map(str, sys.version_info[:3]))")


class WasmSandbox(SlotSandbox[WasmProcess]):
    """Runs programs in copies of a frozen interpreter. See `Sandbox` for the methods."""

    workers_per_slot = 1

    def __init__(self, num_slots: int, *, cache_dir: Path | None = None) -> None:
        """Build the images if need be, start the processes and run a program.

        Args:
            num_slots: Programs that run at once, at least 1.
            cache_dir: Folder of the images; the user's cache folder if not given.

        Raises:
            SandboxUnavailable: A package of the extra is missing, the images cannot be built, or a process
                runs no program.
        """
        self._images = ensure_images(cache_dir)
        super().__init__(num_slots)

    def _start(self, number: int) -> WasmProcess:
        return WasmProcess(self._images)

    def _place(self, job: Job) -> int:
        return 0

    def _attempt_in(self, worker: WasmProcess, job: Job, inputs: list[str]) -> Try:
        return worker.run(job.hash_seed, job.program, inputs, job.limits)

    def _examine(self, worker: WasmProcess) -> Capabilities:
        """Find out the interpreter's version by running a program.

        There is no self-test: the component can call `emit` and nothing else, or it would not have been
        instantiated.
        """
        attempt = worker.run(0, PROBE, [""], Limits(cpu_s=10.0, wall_s=60.0))
        reply = attempt.replies.get(0)
        if reply is None:
            raise BackendFailure(f"the first program did not run: {attempt.ending.error}")
        return Capabilities("wasm", reply.text.strip("'"), None, None, None, {}, False)
