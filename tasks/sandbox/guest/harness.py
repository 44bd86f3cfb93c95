"""Run a program on its inputs and write one JSON line a result.

This is the last trusted code in a process that then belongs to the program, so nothing it says is believed:
it is there to be fast and to be fair. The fork backend calls `run_program` in a forked child, the wasm
backend in a copy of an interpreter; the http backend sends this file's text to a server, followed by a call
of `main`.

Lines are `{"i": index, "s": status, "v": text}`; `tasks/sandbox/calls.py` reads them.
"""

from __future__ import annotations

import builtins
import json
import json.encoder
import os
import sys
import types
from collections.abc import Callable
from typing import Any

Emit = Callable[[bytes], None]

MAX_ERROR_CHARS = 300
PROGRAM = types.ModuleType("__program__")

# Bound here, because the program can replace the names in `builtins` before they are used.
_quote: Callable[[str], str] = json.encoder.encode_basestring
_exec, _eval, _compile, _repr, _type, _len, _str = exec, eval, compile, repr, type, len, str
_id, _issubclass = id, issubclass
_base, _memory_error, _system_exit, _value_error = BaseException, MemoryError, SystemExit, ValueError
# Not `kind.__name__`: a metaclass can make that the program's code.
_name_of: Callable[[type], str] = type.__dict__["__name__"].__get__

# By address: a metaclass can make its class equal to `int`.
_SCALARS = frozenset(map(id, (type(None), bool, int, float, str, bytes, complex)))
_SEQUENCES = frozenset(map(id, (list, tuple, set, frozenset)))
# By address too, and by the class's own name: a program can give a class of its own any name.
_BUILT_IN_ERRORS = {
    id(kind): kind.__name__
    for kind in vars(builtins).values()
    if isinstance(kind, type) and issubclass(kind, BaseException)
}
_LITERAL_NAMES = {"__builtins__": {"set": set, "frozenset": frozenset}}
_OUT_OF_MEMORY = "out of memory"


class UnsupportedResult(Exception):
    """A result that cannot be written as a literal."""


class ResultTooLong(Exception):
    """A result whose text is longer than allowed."""


def prepare() -> None:
    """Make the module that the program runs in; once a process."""
    PROGRAM.__dict__["__builtins__"] = builtins
    # Dataclasses and typing look their module up by name.
    sys.modules[PROGRAM.__name__] = PROGRAM
    sys.modules["__main__"] = PROGRAM


def run_program(
    source: str, entry: str, inputs: list[str], result_bytes: int, depth: int, emit: Emit
) -> None:
    """Load a program and call its function on every input, writing each result at once.

    Args:
        source: The program.
        entry: Name of the function.
        inputs: Canonical argument lists, so that `eval` of them builds literals and calls nothing.
        result_bytes: Longest result, written out as UTF-8.
        depth: Deepest nesting of a result.
        emit: Takes one line.
    """
    namespace = PROGRAM.__dict__
    try:
        _exec(_compile(source, "<program>", "exec", 0, True), namespace)
        function = namespace.get(entry)
        if function is None:
            raise NameError(f"the program defines no {entry!r}")
    except _base as error:  # the boundary to untrusted code: whatever leaves the program is its result
        emit(_line(-1, *_describe(error)))
        return
    if _len(inputs) > 1:
        # Only then does it matter where a process died; and each line wakes its reader.
        emit(_line(-1, "loaded", ""))
    for index, text in enumerate(inputs):
        try:
            arguments = _eval(f"({text},)" if text else "()", _LITERAL_NAMES)
            value = function(*arguments)
            _check(value, depth)
            line = _line(index, "ok", _write(value, result_bytes))
        except _base as error:  # the same boundary
            line = _line(index, *_describe(error))
        emit(line)


def _write(value: object, result_bytes: int) -> str:
    """Write a value that `_check` let pass."""
    try:
        text = _repr(value)
    except _value_error:
        # An integer of more than 4,300 digits, which no literal can hold either.
        raise UnsupportedResult("integer too long for a literal") from None
    if _len(text) > result_bytes or _len(text.encode("utf-8", "replace")) > result_bytes:
        raise ResultTooLong(f"longer than {result_bytes} bytes")
    return text


def _check(value: Any, depth: int) -> None:
    """Refuse what is not made of exact built-in types: a subclass writes its own `repr`."""
    kind = _type(value)
    if _id(kind) in _SCALARS:
        return
    if depth == 0:
        raise UnsupportedResult("nested too deeply")
    if _id(kind) in _SEQUENCES:
        for item in value:
            _check(item, depth - 1)
    elif kind is dict:
        for key, item in value.items():
            _check(key, depth - 1)
            _check(item, depth - 1)
    else:
        raise UnsupportedResult(f"{_name_of(kind)[:80]} is not a literal's type")


def _describe(error: BaseException) -> tuple[str, str]:
    """Status and text of what left the program."""
    kind = _type(error)
    if kind is _memory_error:
        # No work at all here: there may be no memory for it while the traceback holds the program's frames.
        return "memory", _OUT_OF_MEMORY
    try:
        text = _str(error)[:MAX_ERROR_CHARS]
    except _base:  # `__str__` is the program's code too
        text = "its text raised as well"
    if kind is UnsupportedResult:
        return "unsupported", text
    if kind is ResultTooLong:
        return "output", text
    # No class of a program's own is taken for a built-in one, whatever it is called.
    name = _BUILT_IN_ERRORS.get(_id(kind)) or f"<{_name_of(kind)[:80]}>"
    text = f"{name}: {text}" if text else name
    return ("exited" if _issubclass(kind, _system_exit) else "raised"), text


def _line(index: int, status: str, text: str) -> bytes:
    line = f'{{"i": {index}, "s": "{status}", "v": {_quote(text)}}}\n'
    return line.encode("utf-8", "backslashreplace")


def main() -> None:
    """Run the program that stdin describes, on a server; the request is one JSON object.

    stdout becomes ours alone: the program's own output goes nowhere. What would make the whole answer longer
    than the server passes on is left out, and asked for again.
    """
    # WebAssembly has neither, and this file runs there too.
    import resource
    import signal
    from time import process_time

    request = json.loads(sys.stdin.read())
    marker, left = request["marker"], request["max_output_bytes"]
    out, null = os.dup(1), os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(null, stream)
    cpu_s = request["cpu_s"]

    def let_end_by_time() -> None:
        for number in (signal.SIGPROF, signal.SIGXCPU):
            signal.signal(number, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, [number])

    # The server may have them ignored or blocked, which a process inherits.
    let_end_by_time()
    resource.setrlimit(resource.RLIMIT_CPU, (int(cpu_s) + 2, int(cpu_s) + 2))
    signal.setitimer(signal.ITIMER_PROF, cpu_s)

    def emit(line: bytes) -> None:
        nonlocal left
        if process_time() > cpu_s:
            # The timer counts ticks and may miss what is done between them, or the program ignores it.
            let_end_by_time()
            os.kill(os.getpid(), signal.SIGPROF)
        line = marker.encode() + line
        left -= len(line)
        if left < 0:
            os._exit(0)
        while line:
            line = line[os.write(out, line) :]

    emit(_line(-2, "loaded", ""))
    prepare()
    limits = request["result_bytes"], request["depth"]
    run_program(request["source"], request["entry"], request["inputs"], *limits, emit)
    os._exit(0)
