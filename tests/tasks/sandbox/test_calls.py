"""Which inputs share a process, and what the death of a process says about each of them."""

from __future__ import annotations

import pytest

from tasks.sandbox import Call, CallStatus, Limits
from tasks.sandbox.calls import BackendFailure, Reply, Try, read_replies, run_calls, to_line

LIMITS = Limits(cpu_s=1.0, wall_s=1000.0)
LOADED = b'{"i": -1, "s": "loaded", "v": ""}\n'


def ended(status: CallStatus, written: bytes, cpu_ms: int = 10) -> Try:
    return Try(Call(status, None, "it ended", cpu_ms), written)


class Backend:
    """Runs inputs like "3" to the result 3; "die" and "loop" end the process, "break" the machinery."""

    def __init__(self) -> None:
        self.processes: list[list[str]] = []

    def attempt(self, inputs: list[str]) -> Try:
        self.processes.append(inputs)
        written = LOADED
        for index, text in enumerate(inputs):
            if text == "break":
                raise BackendFailure("broken")
            if text == "die":
                return ended(CallStatus.CRASHED, written)
            if text == "loop":
                return ended(CallStatus.TIMEOUT, written, cpu_ms=1000)
            if text == "spy":
                return ended(CallStatus.VIOLATION, written)
            written += b'{"i": %d, "s": "ok", "v": "%s"}\n' % (index, text.encode())
        return ended(CallStatus.EXITED, written)


def outcomes(inputs: list[str]) -> tuple[list[str], list[list[str]]]:
    backend = Backend()
    calls = run_calls(backend.attempt, inputs, LIMITS)
    return [call.literal or call.status.value for call in calls], backend.processes


def test_sixteen_inputs_share_a_process() -> None:
    inputs = [str(number) for number in range(35)]
    results, processes = outcomes(inputs)
    assert results == inputs
    assert [len(process) for process in processes] == [16, 16, 3]


def test_no_input_needs_no_process() -> None:
    assert outcomes([]) == ([], [])


def test_a_death_is_judged_alone_and_spares_the_others() -> None:
    assert outcomes(["1", "die", "3", "4"]) == (
        ["1", "crashed", "3", "4"],
        [["1", "die", "3", "4"], ["die", "3", "4"], ["3", "4"]],
    )


def test_a_program_that_always_loops_is_stopped_by_its_budget() -> None:
    results, processes = outcomes(["loop"] * 16)
    assert results == ["timeout"] * 16
    assert len(processes) == 4


def test_a_call_that_took_too_long_is_no_result_whatever_it_wrote() -> None:
    """Alone, all the time was its own; in company, what was written in time counts."""
    line = b'{"i": 0, "s": "ok", "v": "1"}\n'

    def attempt(inputs: list[str]) -> Try:
        return ended(CallStatus.TIMEOUT, LOADED + line, cpu_ms=1007)

    alone = run_calls(attempt, ["1"], LIMITS)
    assert [(call.status, call.cpu_ms) for call in alone] == [(CallStatus.TIMEOUT, 1007)]
    assert [(call.literal, call.cpu_ms) for call in run_calls(attempt, ["1", "2"], LIMITS)] == [
        ("1", 1000),
        (None, 1007),
    ]


def test_a_violation_takes_all_results_along() -> None:
    assert outcomes(["1", "spy", "3"])[0] == ["violation"] * 3


def test_a_broken_backend_is_no_verdict() -> None:
    assert outcomes(["1", "break"])[0] == ["backend-error"] * 2


@pytest.mark.parametrize("outcome", [CallStatus.TIMEOUT, CallStatus.CRASHED, CallStatus.MEMORY])
def test_a_program_that_dies_before_it_is_loaded_is_tried_once(outcome: CallStatus) -> None:
    tried: list[int] = []

    def attempt(inputs: list[str]) -> Try:
        tried.append(len(inputs))
        return ended(outcome, b"")

    assert [call.status for call in run_calls(attempt, ["1"] * 5, LIMITS)] == [outcome] * 5
    assert tried == [5]


def test_lines_of_a_process_are_read_with_suspicion() -> None:
    data = b"\n".join(
        [
            b'{"i": 0, "s": "ok", "v": "1"}', b'{"i": 0, "s": "ok", "v": "2"}', b"", b"\xff", b"[" * 9999,
            b"null",
            b'{"i": 1.0, "s": "ok", "v": "1"}', b'{"i": true, "s": "ok", "v": "1"}',
            b'{"i": 2, "s": "no", "v": ""}',
            b'{"i": 3, "s": ["ok"], "v": "1"}', b'{"i": 4, "s": "ok", "v": 1}', b'{"i": 5, "s": "ok"',
            b'{"i": '
            + b"9" * 9999 + b"}",
        ]
    )  # fmt: skip
    assert read_replies(data, 20) == {0: Reply(CallStatus.OK, "1")}


def test_no_more_lines_are_read_than_an_honest_process_writes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A program writes a million empty lines in milliseconds; to look at each of them takes seconds."""
    read: list[bytes] = []

    def loads(line: bytes) -> object:
        read.append(line)
        raise ValueError

    monkeypatch.setattr("tasks.sandbox.calls.json.loads", loads)
    assert read_replies(b"\n" * 10**6, 3) == {}
    assert len(read) == 3 + 2


def test_a_program_s_words_become_one_printable_line() -> None:
    assert to_line("a\n\tb\x1b[2J\ud800 c") == "a b\\x1b[2J\\ud800 c"
    assert len(to_line("x" * 10_000)) == 300
