"""The ledger's lines, and the file of JSON lines that can be cut back."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recipe.selfplay.ledger import JsonLinesFile, LedgerLine
from tasks.contract import Outcome, Role

LINE = LedgerLine(
    step=2,
    role=Role.SOLVE,
    kind="deduction",
    index=7,
    attempt=1,
    prompt=[{"role": "user", "content": "1 + 1 ="}],
    response="2",
    outcome=Outcome.CORRECT,
    reason="",
    solve_rate=None,
    reward=1.0,
    record={"a": 1},
    measures={"distance": 0.0},
    features={"length": 3.0},
)
NASTY = [
    "\ud800",
    "\udfff\ud800",
    "\ud83d\ude00",
    "\x00\x1b\x7f",
    "a\nb\r\nc\r",
    "\u2028\u2029\x85",
    "\\ud800",
    '"\\',
    "",
]


def read(path: Path) -> list[Any]:
    """The lines as a reader of bytes sees them; the last one has to be complete."""
    *lines, rest = path.read_bytes().split(b"\n")
    assert rest == b""
    return [json.loads(line) for line in lines]


def test_line_says_all_of_a_response() -> None:
    assert LINE.to_json() == {
        "step": 2,
        "role": "solve",
        "kind": "deduction",
        "cell": "solve/deduction",
        "index": 7,
        "attempt": 1,
        "prompt": [{"role": "user", "content": "1 + 1 ="}],
        "response": "2",
        "outcome": "correct",
        "reason": "",
        "solve_rate": None,
        "reward": 1.0,
        "record": {"a": 1},
        "measures": {"distance": 0.0},
        "features": {"length": 3.0},
    }


def test_cell_is_role_and_kind() -> None:
    assert replace(LINE, role=Role.PROPOSE, kind="two-words").cell == "propose/two-words"


def test_lines_are_appended_in_order(tmp_path: Path) -> None:
    file = JsonLinesFile(tmp_path / "lines")
    file.append([{"n": 1}, {"n": 2}])
    file.append([])
    file.append([{"n": 3}])
    assert read(file.path) == [{"n": 1}, {"n": 2}, {"n": 3}]


def test_lines_can_be_read_before_the_file_is_closed(tmp_path: Path) -> None:
    # A killed process loses nothing that was appended.
    file = JsonLinesFile(tmp_path / "lines")
    file.append([{"n": 1}])
    assert file.num_bytes == len((tmp_path / "lines").read_bytes()) == 8 + 1


def test_file_that_is_there_is_gone_on_with(tmp_path: Path) -> None:
    first = JsonLinesFile(tmp_path / "lines")
    first.append([{"n": 1}])
    first.close()
    second = JsonLinesFile(tmp_path / "lines")
    assert second.num_bytes == first.path.stat().st_size
    second.append([{"n": 2}])
    assert read(second.path) == [{"n": 1}, {"n": 2}]


def test_cut_file_is_as_long_as_it_was_and_goes_on_from_there(tmp_path: Path) -> None:
    file = JsonLinesFile(tmp_path / "lines")
    file.append([{"n": 1}])
    length = file.num_bytes
    file.append([{"n": 2}, {"n": 3}])
    file.truncate(length)
    assert file.num_bytes == length
    file.append([{"n": 4}])
    assert read(file.path) == [{"n": 1}, {"n": 4}]


def test_half_a_line_of_a_killed_process_is_cut_off(tmp_path: Path) -> None:
    file = JsonLinesFile(tmp_path / "lines")
    file.append([{"n": 1}])
    length = file.num_bytes
    file.close()
    with file.path.open("ab") as torn:
        torn.write(b'{"n": 2}\n{"n": "\xe2\x86')
    again = JsonLinesFile(file.path)
    again.truncate(length)
    again.append([{"n": 2}])
    assert read(file.path) == [{"n": 1}, {"n": 2}]


def test_file_that_is_too_short_is_refused_and_left_alone(tmp_path: Path) -> None:
    file = JsonLinesFile(tmp_path / "lines")
    file.append([{"n": 1}])
    with pytest.raises(ValueError, match=r"lines must be at least 100 bytes long .* it has 9\. Restore"):
        file.truncate(100)
    assert read(file.path) == [{"n": 1}]


@pytest.mark.parametrize("text", NASTY, ids=ascii)
def test_any_text_stays_one_line_that_parses(tmp_path: Path, text: str) -> None:
    file = JsonLinesFile(tmp_path / "lines")
    file.append([replace(LINE, response=text).to_json(), {"n": 2}])
    line, after = read(file.path)
    assert after == {"n": 2}
    # JSON knows pairs of surrogates only as one character; alone they come back as they were.
    assert line["response"] == text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")


@given(text=st.text(st.characters(codec=None), max_size=20))
def test_written_text_is_read_again(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    file = JsonLinesFile(tmp_path_factory.mktemp("ledger") / "lines")
    file.append([{text: text}])
    file.close()
    ((key, value),) = read(file.path)[0].items()
    assert key == value == text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")


def test_readable_text_stays_readable(tmp_path: Path) -> None:
    file = JsonLinesFile(tmp_path / "lines")
    file.append([{"text": "3 \N{RIGHTWARDS ARROW} 4"}])
    assert "3 \N{RIGHTWARDS ARROW} 4" in file.path.read_text(encoding="utf-8")


@pytest.mark.parametrize("text", NASTY, ids=ascii)
def test_readers_that_know_more_line_ends_see_the_same_lines(tmp_path: Path, text: str) -> None:
    file = JsonLinesFile(tmp_path / "lines")
    file.append([{"text": text}, {"n": 2}])
    assert len(file.path.read_text(encoding="utf-8").splitlines()) == 2
