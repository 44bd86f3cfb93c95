"""The filter: its numbers are the kernel's, and it does to a process what its lists say."""

from __future__ import annotations

import errno
import os
import re
import runpy
import signal
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from tasks.sandbox.guest import confine
from tasks.sandbox.seccomp import (
    ALLOW,
    ALLOWED,
    ALLOWED_WITHOUT,
    ARCHITECTURES,
    KILL,
    KILLED,
    NEVER_WAITS,
    X32_BIT,
    assemble,
    program_filter,
    refuse,
)

MACHINE = os.uname().machine
HEADERS = {
    "x86_64": [Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h"), Path("/usr/include/asm/unistd_64.h")],
    "aarch64": [Path("/usr/include/asm-generic/unistd.h")],
}
needs_filter = pytest.mark.skipif(MACHINE not in ARCHITECTURES, reason="no filter for this machine")


@needs_filter
@pytest.mark.parametrize("machine", sorted(ARCHITECTURES))
def test_numbers_are_those_of_the_kernel_headers(machine: str) -> None:
    found = [path for path in HEADERS[machine] if path.exists()]
    if not found:
        pytest.skip("no kernel headers here")
    text = found[0].read_text()
    others = runpy.run_path(str(Path(__file__).with_name("processes") / "under_filter.py"))["OTHERS"]
    column = list(ARCHITECTURES).index(machine)
    numbers = {**ARCHITECTURES[machine].numbers, **{name: others[name][column] for name in others}}
    for name, number in numbers.items():
        lines = re.findall(rf"^#define __NR(?:3264)?_{name}\s+(\d+)", text, re.MULTILINE)
        assert lines == [str(number)], name


@pytest.mark.parametrize("machine", sorted(ARCHITECTURES))
def test_lists_do_not_overlap_and_the_filter_fits_the_kernel(machine: str) -> None:
    names = [*ALLOWED, *ALLOWED_WITHOUT, *NEVER_WAITS, *KILLED]
    assert len(names) == len(set(names))
    code = program_filter(machine)
    assert len(code) % 8 == 0
    assert len(code) // 8 <= 4096


def test_nothing_that_opens_creates_or_waits_is_allowed() -> None:
    pattern = re.compile(
        r"open|creat|link|dup|pipe|socket|clone|fork|exec|kill|prctl|sig|timer|memfd|sleep|futex|poll|select|wait|restart"
    )
    assert [name for name in ALLOWED if pattern.search(name)] == []


def answer(code: bytes, audit: int, number: int, arguments: dict[int, int]) -> int:
    """What the kernel would make of a call: an interpreter for the instructions that a filter has."""
    program, position, loaded = list(struct.iter_unpack("=HBBI", code)), 0, 0
    words = {0: number, 4: audit, **{16 + 8 * index: value for index, value in arguments.items()}}
    while True:
        kind, if_true, if_false, value = program[position]
        position += 1
        if kind == 0x06:
            return value
        if kind == 0x20:
            loaded = words.get(value, 0)
        else:
            test = {0x15: loaded == value, 0x35: loaded >= value, 0x45: bool(loaded & value)}[kind]
            position += if_true if test else if_false


@pytest.mark.parametrize("machine", sorted(ARCHITECTURES))
def test_every_call_gets_the_action_of_its_list_and_all_others_fail(machine: str) -> None:
    audit, numbers = ARCHITECTURES[machine].audit, ARCHITECTURES[machine].numbers
    code = program_filter(machine)
    expected = dict.fromkeys(range(600), refuse())
    expected |= dict.fromkeys((numbers[name] for name in (*ALLOWED, *ALLOWED_WITHOUT)), ALLOW)
    expected |= dict.fromkeys((numbers[name] for name in KILLED), KILL)
    expected |= {numbers[name]: refuse(code) for name, code in NEVER_WAITS.items()}
    assert {number: answer(code, audit, number, {}) for number in range(600)} == expected
    with_bits = [answer(code, audit, numbers[name], {n: bits}) for name, (n, bits) in ALLOWED_WITHOUT.items()]
    assert with_bits == [refuse()] * len(ALLOWED_WITHOUT)
    assert answer(code, audit, X32_BIT | numbers["read"], {}) == KILL
    assert answer(code, audit + 1, numbers["read"], {}) == KILL


def end_of(action: Callable[[], object], actions: dict[str, int], default: int = ALLOW) -> int:
    """Exit code of a child that does `action` under a filter: 0, an errno, or minus a signal."""
    pid = os.fork()
    if pid == 0:
        code = 0
        try:
            confine.forbid_new_privileges()
            confine.SeccompFilter(assemble(ARCHITECTURES[MACHINE], actions, default)).install()
            action()
        except OSError as error:
            code = error.errno or 255
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def raise_signal() -> None:
    os.kill(os.getpid(), 0)


@needs_filter
def test_each_action_does_what_it_says() -> None:
    assert end_of(raise_signal, {}) == 0
    assert end_of(raise_signal, {"kill": refuse(errno.ENOSYS)}) == errno.ENOSYS
    assert end_of(raise_signal, {"kill": KILL}) == -signal.SIGSYS
    allowed = dict.fromkeys((*ALLOWED, *ALLOWED_WITHOUT), ALLOW)
    assert end_of(raise_signal, allowed, refuse(errno.EACCES)) == errno.EACCES
    assert end_of(raise_signal, {**allowed, "kill": ALLOW}, refuse()) == 0
