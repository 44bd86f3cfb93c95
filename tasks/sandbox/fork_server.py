"""The backend "fork": warm zygotes on this machine, one child a program, behind the kernel's filters.

A slot is a pair of zygotes that differ in their hash seed.
"""

from __future__ import annotations

import logging
import os
import platform
import sys
import threading

from tasks.sandbox.contract import Capabilities, Job, SandboxUnavailable
from tasks.sandbox.guest.protocol import ATTACKS
from tasks.sandbox.jobs import BackendFailure
from tasks.sandbox.replies import Try
from tasks.sandbox.seccomp import ARCHITECTURES, program_filter
from tasks.sandbox.slots import SlotSandbox
from tasks.sandbox.zygote_process import ZygoteOptions, ZygoteProcess

HASH_SEEDS = (1, 2)
"""Those of the two zygotes of a slot."""

CHOICES = (
    "Untrusted code would run with your privileges. Choose one: "
    "(1) allow `seccomp` and `prctl` in the container's profile (those of Docker and Kubernetes do); "
    "(2) run them as WebAssembly, in another version of Python: `sandbox.backend=wasm` "
    "(pip install 'azr-verl[wasm]'); "
    "(3) run them on a server: `sandbox.backend=http sandbox.http_url=http://<host>:8080/run_code`; "
    "(4) for tests on trusted programs only: `sandbox.allow_unsafe=true`."
)

_log = logging.getLogger(__name__)
_warned_of_landlock = threading.Event()


class ForkSandbox(SlotSandbox[ZygoteProcess]):
    """Runs programs in children of zygotes. See `Sandbox` for the methods."""

    workers_per_slot = len(HASH_SEEDS)

    def __init__(
        self, num_zygotes: int, *, allow_unsafe: bool = False, options: ZygoteOptions | None = None
    ) -> None:
        """Start the zygotes and attack them.

        Args:
            num_zygotes: Programs that run at once, at least 1.
            allow_unsafe: Go on where the kernel refuses the filter.
            options: How to start a zygote; what programs may import, for one.

        Raises:
            SandboxUnavailable: The kernel refuses a layer that must be there, an attack of the self-test got
                through, or no zygote starts.
        """
        self._allow_unsafe = allow_unsafe
        self._options = options or ZygoteOptions(_filter())
        super().__init__(num_zygotes)

    def _start(self, number: int) -> ZygoteProcess:
        return ZygoteProcess(HASH_SEEDS[number], self._options)

    def _place(self, job: Job) -> int:
        return job.hash_seed

    def _attempt_in(self, worker: ZygoteProcess, job: Job, inputs: list[str]) -> Try:
        if worker.hello.seccomp_errno and not self._capabilities.unsafe:
            raise BackendFailure("the kernel refuses the seccomp filter that it took before")
        return worker.run(job.program, inputs, job.limits)

    def _examine(self, worker: ZygoteProcess) -> Capabilities:
        hello = worker.hello
        unsafe = hello.seccomp_errno != 0
        if unsafe and not self._allow_unsafe:
            code = hello.seccomp_errno
            raise SandboxUnavailable(
                "this kernel or container refuses seccomp filters: prctl(PR_SET_SECCOMP) -> "
                f"{os.strerror(code)} (errno {code}). {CHOICES}"
            )
        if not hello.landlock and not _warned_of_landlock.is_set():
            _warned_of_landlock.set()
            _log.warning(
                "Landlock is not available here (errno %d); the seccomp filter holds without it, as the only "
                "wall instead of the first of two",
                hello.landlock_errno,
            )
        selftest = {name: worker.attack(number) for number, name in enumerate(ATTACKS, 1)}
        passed = [name for name, stopped in selftest.items() if not stopped]
        if passed and not unsafe:
            raise SandboxUnavailable(
                f"the sandbox's filters are on, and still its self-test got through by: {', '.join(passed)}. "
                "Do not run untrusted programs here; please report this kernel and container."
            )
        return Capabilities("fork", hello.python, not unsafe, hello.landlock, hello.uid, selftest, unsafe)


def _filter() -> bytes:
    """The filter for this machine.

    Raises:
        SandboxUnavailable: There is none.
    """
    machine = platform.machine()
    if sys.platform != "linux" or machine not in ARCHITECTURES:
        known = " or ".join(ARCHITECTURES)
        raise SandboxUnavailable(
            f"sandbox.backend=fork needs Linux on {known}; this is {sys.platform} on {machine}. "
            "Use WebAssembly, `sandbox.backend=wasm` (pip install 'azr-verl[wasm]'), or a server, "
            "`sandbox.backend=http sandbox.http_url=http://<host>:8080/run_code`."
        )
    return program_filter(machine)
