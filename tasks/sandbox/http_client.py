"""The backend "http": a server with SandboxFusion's `POST /run_code`.

Isolation is the server's duty here. What stays here is the protocol: the code that is sent is always our own
harness, program and inputs travel as data, and what comes back is read like any untrusted process's lines. So
a careless server can lose its own files, not a reward.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import secrets
import signal
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from urllib.parse import urlsplit

from tasks.sandbox.calls import BackendFailure, Try, canonical_inputs, check_hash_seed, last_line, run_calls
from tasks.sandbox.contract import (
    PROBE,
    Call,
    CallStatus,
    Capabilities,
    Limits,
    Program,
    Sandbox,
    SandboxUnavailable,
)

MAX_STDOUT_BYTES = 190_000
"""SandboxFusion cuts stdout at 219,264 bytes and still says Success."""

MAX_RESULT_BYTES = 65_536
"""So that the longest result, every character of it escaped, still fits into one answer."""

MAX_ANSWER_BYTES = 4 << 20
MARGIN_S = 15.0
"""For the server to queue and start a process, beyond the program's own time."""

PAUSES_S = (0.2, 1.0)
"""Before the second and the third try of a request that failed."""

HARNESS = Path(__file__).with_name("guest").joinpath("harness.py").read_text(encoding="utf-8") + "\nmain()\n"

# As Popen says it, and as a shell does.
_TIMER_CODES = [code for number in (signal.SIGPROF, signal.SIGXCPU) for code in (-number, 128 + number)]


class HttpSandbox(Sandbox):
    """Runs programs on a server. See `Sandbox` for the methods.

    `hash_seed` changes nothing here: every process of the server draws its own, so any two runs differ in it.
    """

    def __init__(self, url: str, max_concurrent: int) -> None:
        """Ask the server at `url` for one run; never have more than `max_concurrent` requests in flight.

        Raises:
            SandboxUnavailable: It does not answer as it should.
        """
        self._url = urlsplit(url)
        self._free = threading.BoundedSemaphore(max_concurrent)
        self._closed = False
        (call,) = self.run(PROBE, [""], Limits(cpu_s=5.0, wall_s=10.0))
        if call.literal is None:
            raise SandboxUnavailable(
                f"the server at {url} does not run programs: {call.status}: {call.error}. "
                "It must offer SandboxFusion's POST /run_code, with Python 3.11 or later."
            )
        self._capabilities = Capabilities("http", call.literal.strip("'"))

    def run(
        self, program: Program, inputs: Sequence[str], limits: Limits | None = None, *, hash_seed: int = 0
    ) -> list[Call]:
        """Run a program; see `Sandbox.run`. More `result_bytes` than a server passes on are a ValueError."""
        bounds = limits or Limits()
        if bounds.result_bytes > MAX_RESULT_BYTES:
            raise ValueError(
                f"limits.result_bytes must be at most {MAX_RESULT_BYTES} with sandbox.backend=http; "
                f"got {bounds.result_bytes}"
            )
        check_hash_seed(hash_seed)
        canonical = canonical_inputs(inputs)
        with self._free:
            if self._closed:
                raise RuntimeError("the sandbox is closed")
            return run_calls(lambda rest: self._try(program, rest, bounds), canonical, bounds)

    def close(self) -> None:
        """Send nothing any more; what is in flight ends by itself."""
        self._closed = True

    def _try(self, program: Program, inputs: list[str], limits: Limits) -> Try:
        """One process on the server; failures of the server are tried again."""
        marker = secrets.token_hex(16)
        request = {"inputs": inputs, "marker": marker, "max_output_bytes": MAX_STDOUT_BYTES}
        body = json.dumps(
            {
                "code": HARNESS,
                "language": "python",
                "run_timeout": limits.wall_s,
                "compile_timeout": limits.wall_s,
                "memory_limit_MB": limits.memory_mb,
                "stdin": json.dumps(request | asdict(program) | asdict(limits)),
                "files": {},
                "fetch_files": [],
            }
        ).encode()
        for pause_s in PAUSES_S:
            with contextlib.suppress(BackendFailure):
                return _read_answer(self._post(body, limits.wall_s), marker, limits)
            time.sleep(pause_s)
        return _read_answer(self._post(body, limits.wall_s), marker, limits)

    def _post(self, body: bytes, wall_s: float) -> object:
        """Send a request and read the answer's JSON; BackendFailure if there is none."""
        kind = http.client.HTTPSConnection if self._url.scheme == "https" else http.client.HTTPConnection
        connection = kind(self._url.hostname or "", self._url.port, timeout=wall_s + MARGIN_S)
        target = (self._url.path or "/") + (f"?{self._url.query}" if self._url.query else "")
        try:
            with contextlib.closing(connection):
                connection.request("POST", target, body, {"Content-Type": "application/json"})
                response = connection.getresponse()
                data = response.read(MAX_ANSWER_BYTES)
        except (OSError, http.client.HTTPException) as error:
            raise BackendFailure(f"no answer: {type(error).__name__}: {error}") from error
        if response.status != 200:
            raise BackendFailure(f"HTTP status {response.status}")
        try:
            return json.loads(data)
        except (ValueError, RecursionError) as error:
            raise BackendFailure("the answer is no JSON") from error


def _read_answer(answer: object, marker: str, limits: Limits) -> Try:
    """Read a server's account of one run; BackendFailure if the server failed, or makes no sense."""
    match answer:
        case {"status": "Success" | "Failed", "run_result": {"stdout": str(stdout)} as run}:
            ending = _to_ending(run, limits)
        case _:
            raise BackendFailure(f"the server's answer is no account of a run: {str(answer)[:200]!r}")
    lines = [line.removeprefix(marker) for line in stdout.split("\n") if line.startswith(marker)]
    if not lines and ending.status is not CallStatus.TIMEOUT:
        # The harness says that it has started before it looks at the program. Of a run that was cut off, the
        # server may pass on nothing.
        said = last_line(str(run.get("stderr") or "").encode("utf-8", "replace"))
        raise BackendFailure(f"our harness did not start on the server: {said or 'it said nothing'}")
    return Try(ending, "\n".join(lines).encode("utf-8", "surrogatepass"))


def _to_ending(run: Mapping[str, object], limits: Limits) -> Call:
    """Say what the server's account of a process means; BackendFailure if it is none."""
    status, code, seconds = run.get("status"), run.get("return_code"), run.get("execution_time")
    # The server does not report CPU time. What it reports is an upper bound of it, as is the limit, which the
    # harness keeps. NaN, which Python's JSON knows, is neither.
    used_s = min(seconds, limits.cpu_s) if isinstance(seconds, int | float) and seconds >= 0 else 0.0
    cpu_ms = round(1000 * used_s)
    if status == "TimeLimitExceeded" or code in _TIMER_CODES:
        late = f"more than {limits.cpu_s:g} s of CPU time, or {limits.wall_s:g} s"
        return Call(CallStatus.TIMEOUT, None, late, cpu_ms)
    if status != "Finished" or not isinstance(code, int):
        raise BackendFailure(f"the server's run status is {status!r}, return code {code!r}")
    if code < 0 or code > 128:
        return Call(CallStatus.CRASHED, None, f"return code {code}", cpu_ms)
    if code:
        return Call(CallStatus.EXITED, None, f"exit status {code}", cpu_ms)
    return Call(CallStatus.EXITED, None, "the process ended without a result", cpu_ms)
