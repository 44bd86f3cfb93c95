"""A server that does what SandboxFusion's `isolation: none` does: an interpreter, stdin, a time limit."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

STDOUT_CUT = 219_264
Answer = Callable[[dict[str, Any]], "tuple[int, bytes]"]


def run_code(request: dict[str, Any]) -> dict[str, Any]:
    """What SandboxFusion answers to a request."""
    assert request["language"] == "python"
    started = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-c", request["code"]],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        out, err = process.communicate(request["stdin"].encode(), timeout=request["run_timeout"])
        run = {"status": "Finished", "return_code": process.returncode}
    except subprocess.TimeoutExpired:
        process.kill()
        out, err = process.communicate()
        run = {"status": "TimeLimitExceeded", "return_code": None}
    run |= {
        "execution_time": time.monotonic() - started,
        "stdout": out.decode("utf-8", "replace")[:STDOUT_CUT],
        "stderr": err.decode("utf-8", "replace"),
    }
    good = run["status"] == "Finished" and run["return_code"] == 0
    return {
        "status": "Success" if good else "Failed",
        "message": "",
        "compile_result": None,
        "run_result": run,
    }


def good(request: dict[str, Any]) -> tuple[int, bytes]:
    return 200, json.dumps(run_code(request)).encode()


@contextmanager
def serve(answer: Answer) -> Iterator[str]:
    """A server that answers like `answer`; its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            status, body = answer(request)
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            with contextlib.suppress(BrokenPipeError):  # the client did not wait
                self.wfile.write(body)

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/run_code"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
