"""Threads that parse at the same time do not disturb each other."""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tasks.contract import TaskRecord
from tasks.kit.program import parse_program
from tasks.python_code.features import FEATURES
from tasks.sandbox.literals import parse_literal

PROGRAM = "def f(x):\n    return [x, (1, {2: 3}), 'a'] + x * (1 + x)\n" * 3
RECORD = TaskRecord("deduction", {"program": PROGRAM, "input": "1", "output": "1"})


@pytest.fixture
def held_up() -> Iterator[None]:
    """The garbage collector comes often, in the middle of a parse, and lets other threads go on."""

    def let_others_go_on(phase: str, info: dict[str, int]) -> None:
        time.sleep(0)

    threshold, interval = gc.get_threshold(), sys.getswitchinterval()
    gc.callbacks.append(let_others_go_on)
    gc.set_threshold(50)
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(interval)
    gc.set_threshold(*threshold)
    gc.callbacks.remove(let_others_go_on)


@pytest.mark.parametrize(
    "read",
    [
        lambda: parse_program(PROGRAM),
        lambda: parse_literal(r"[1, (2, {3: [4, {5: (6, 7)}]}), 'a\n', b'\x00']"),
        lambda: [measure(RECORD, [RECORD]) for measure in FEATURES.values()],
    ],
    ids=["program", "literal", "features"],
)
def test_threads_parse_side_by_side(read: Callable[[], object], held_up: None) -> None:
    end = time.monotonic() + 0.6

    def repeat() -> bool:
        first = repr(read())[:4]
        while time.monotonic() < end:
            if repr(read())[:4] != first:
                return False
        return True

    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(lambda _: repeat(), range(8)))
