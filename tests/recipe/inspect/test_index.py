"""The index of a ledger: it goes on, starts anew and skips as it should."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pytest

from recipe.inspect import InspectError, building, reading
from recipe.inspect.index import DATABASE, FOLDER, open_index, places
from recipe.inspect.run import open_run
from recipe.run.files import JsonLinesFile

Line = Callable[..., dict[str, Any]]
MakeRun = Callable[..., Path]
Append = Callable[..., None]
ROOT = Path(__file__).parents[3]


def look(folder: Path, query: str = "SELECT line, response FROM lines ORDER BY line") -> list[dict[str, Any]]:
    with open_index(open_run(folder)) as index:
        return index.rows(query)


def responses(folder: Path) -> list[str]:
    return [row["response"] for row in look(folder)]


def test_it_holds_every_field_as_the_ledger_does(make_run: MakeRun, line: Line) -> None:
    written = line(
        7,
        3,
        solve_rate=1 / 3,
        reward=0.1 + 0.2,
        record={"n": 123456789012345678901234567890, "x": 1e-7, "text": 'é "\u2028'},
        features={"complexity": 0.1},
        response="zeros \x00 and\nlines",
    )
    (row,) = look(make_run([written]), "SELECT * FROM lines")
    found = {name: row[name] for name in written}
    for name in ("prompt", "record", "features", "measures"):
        found[name] = json.loads(found[name])
    assert found == written
    assert (row["line"], row["start"], row["wave"]) == (1, 0, 0)


def test_it_goes_on_where_the_ledger_has_grown(
    make_run: MakeRun, line: Line, append: Append, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run([line(1, index, response=f"first {index}") for index in range(5)])
    assert len(responses(run)) == 5
    append(run, [line(2, 0, response="later")])
    read: list[int] = []
    batch = reading.LedgerReader._batch

    def counted(self: reading.LedgerReader, data: bytes, num_dropped: int) -> Any:
        read.append(data.count(b"\n"))
        return batch(self, data, num_dropped)

    monkeypatch.setattr(reading.LedgerReader, "_batch", counted)
    assert responses(run)[-2:] == ["first 4", "later"]
    assert read == [1]  # of six lines


def test_an_unchanged_ledger_is_not_read_again(
    make_run: MakeRun, line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run([line(1, 0)])
    responses(run)
    monkeypatch.setattr("recipe.inspect.index.bring_up_to_date", lambda *_: pytest.fail("it was read"))
    assert len(responses(run)) == 1


@pytest.mark.parametrize("more", [0, 1, 5])
def test_it_starts_anew_when_a_resume_cut_the_ledger_back(
    make_run: MakeRun, line: Line, append: Append, more: int
) -> None:
    # Three lines are left, and as many, or more, of the same length take the place of the others.
    run = make_run([line(1, index, response=f"before {index}") for index in range(8)])
    responses(run)
    ledger = run / "ledger.jsonl"
    kept = b"".join(ledger.read_bytes().splitlines(keepends=True)[:3])
    ledger.write_bytes(kept)
    append(run, [line(1, index, response=f"behind {index}") for index in range(3, 8 + more)])
    found = responses(run)
    assert found == [f"before {n}" for n in range(3)] + [f"behind {n}" for n in range(3, 8 + more)]


def test_it_starts_anew_when_the_ledger_is_shorter(make_run: MakeRun, line: Line) -> None:
    run = make_run([line(1, index, response=str(index)) for index in range(8)])
    responses(run)
    ledger = run / "ledger.jsonl"
    ledger.write_bytes(b"".join(ledger.read_bytes().splitlines(keepends=True)[:3]))
    assert responses(run) == ["0", "1", "2"]


def test_a_half_written_last_line_is_skipped_until_it_is_whole(
    make_run: MakeRun, line: Line, append: Append
) -> None:
    run = make_run([line(1, 0, response="whole"), line(1, 1, response="half")])
    ledger = run / "ledger.jsonl"
    whole = ledger.read_bytes()
    ledger.write_bytes(whole[:-20])
    with open_index(open_run(run)) as index:
        assert [row["response"] for row in index.rows("SELECT response FROM lines")] == ["whole"]
        assert index.partial_bytes == len(whole.splitlines()[1]) + 1 - 20
    ledger.write_bytes(whole)
    append(run, [line(1, 2, response="next")])
    assert responses(run) == ["whole", "half", "next"]


def test_a_damaged_line_is_skipped_and_named(make_run: MakeRun, line: Line) -> None:
    run = make_run([line(1, index, response=str(index)) for index in range(3)])
    ledger = run / "ledger.jsonl"
    good = ledger.read_bytes().splitlines(keepends=True)
    bad = [b'{"step": 1, "ro\n', b"\x00\x00\n", b"\xff\xfe\n", b"\n", b"[1]\n", b'{"step": "x"}\n']
    ledger.write_bytes(good[0] + b"".join(bad) + good[1] + good[2])
    assert responses(run) == ["0", "1", "2"]
    found = look(run, "SELECT line, start, num_bytes, why FROM damaged ORDER BY line")
    assert [row["line"] for row in found] == [2, 3, 4, 5, 6, 7]
    assert [row["why"] for row in found] == [
        *["it is no JSON"] * 4,
        "it is no JSON object",
        "it has no proper step, index, kind, cell, response, reason, role, outcome, prompt",
    ]
    content = ledger.read_bytes()
    assert [content[row["start"] :][: row["num_bytes"]] for row in found] == bad
    assert [row["line"] for row in look(run)] == [1, 8, 9]


def test_many_damaged_lines_are_looked_at_page_by_page(
    make_run: MakeRun, line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(building, "PAGE_LINES", 3)
    run = make_run([])
    half = JsonLinesFile(run / "ledger.jsonl")
    for number in range(10):
        half.append([line(1, number, response=f"\ud800{number}")])
        half.append([{"step": 1, "role": "alarm", "alarm": f"alarm {number}"}])
        half._file.write(b"no json\n")
    half.close()
    assert responses(run) == [f"\\ud800{number}" for number in range(10)]
    assert [row["line"] for row in look(run)] == list(range(1, 31, 3))
    assert [row["alarm"] for row in look(run, "FROM alarms ORDER BY line")] == [
        f"alarm {n}" for n in range(10)
    ]
    assert [row["line"] for row in look(run, "FROM damaged ORDER BY line")] == list(range(3, 31, 3))


def test_a_reward_that_is_no_number_is_damage(make_run: MakeRun, line: Line) -> None:
    run = make_run([line(1, 0), line(1, 1, reward=math.nan), line(1, 2)])
    assert [row["line"] for row in look(run)] == [1, 3]
    assert look(run, "SELECT line, why FROM damaged") == [
        {"line": 2, "why": "it holds a number that is not finite"}
    ]


def test_half_a_surrogate_pair_is_kept_as_its_escape(make_run: MakeRun, line: Line) -> None:
    run = make_run([line(1, 0, response="a \ud800 b \U0001f600"), line(1, 1, reward=0.1)])
    assert responses(run)[0] == "a \\ud800 b \U0001f600"
    assert look(run, "SELECT * FROM damaged") == []


def test_alarms_are_kept_apart(make_run: MakeRun, line: Line) -> None:
    alarm = {"step": 1, "role": "alarm", "alarm": "duplicates", "value": 0.97, "threshold": 0.9}
    alarm |= {"sentence": "97 % of the proposals are duplicates", "action": "warn"}
    run = make_run([line(1, 0), alarm, line(2, 0)])
    assert look(run, "SELECT * FROM alarms") == [
        {name: value for name, value in alarm.items() if name != "role"} | {"line": 2}
    ]
    assert [row["line"] for row in look(run)] == [1, 3]
    assert look(run, "SELECT * FROM damaged") == []


def test_waves_of_seeding_are_numbered(make_run: MakeRun, line: Line, append: Append) -> None:
    lines = [line(0, 0), line(0, 1), line(0, 1, 0), line(0, 0), line(0, 2), line(1, 0)]
    run = make_run(lines)
    waves = "SELECT wave FROM lines ORDER BY line"
    assert [row["wave"] for row in look(run, waves)] == [1, 1, 1, 2, 2, 0]
    append(run, [line(0, 0), line(0, 1), line(2, 0)])  # seeded on, after a resume with larger sizes
    assert [row["wave"] for row in look(run, waves)] == [1, 1, 1, 2, 2, 0, 3, 3, 0]


def test_levels_are_those_of_the_runs_own_pack(make_run: MakeRun, line: Line, append: Append) -> None:
    hard = {"a": 48, "op": "-", "b": 28}
    refused = line(1, 1, outcome="wrong", reason="duplicate")
    run = make_run([line(1, 0), line(1, 0, 0), refused, line(1, 2, 0, record=hard)])
    found = "SELECT line, level, structure FROM tasks ORDER BY line"
    easy = {"line": 1, "level": "easy", "structure": "+ 0"}
    # An attempt at a proposal of its step is at that proposal's task; a request to solve has one of its own.
    assert look(run, found) == [easy, {"line": 4, "level": "hard", "structure": "- 4"}]
    append(run, [line(2, 0)])
    assert look(run, found)[-1] == easy | {"line": 5}


def test_a_pack_that_is_not_here_leaves_the_rest(make_run: MakeRun, line: Line) -> None:
    run = make_run([line(1, 0)], pack={"_target_": "somebody.elses.Pack"})
    with open_index(open_run(run)) as index:
        assert "somebody.elses.Pack" in index.state.pack_fault
        assert index.rows("SELECT * FROM tasks") == []
    # Once it can be had, levels come with the next look.
    config = run / "config.yaml"
    config.write_text(config.read_text().replace("somebody.elses.Pack", "tasks.arithmetic.ArithmeticPack"))
    assert [row["level"] for row in look(run, "SELECT level FROM tasks")] == ["easy"]


def test_a_record_that_the_pack_cannot_read_has_no_level(make_run: MakeRun, line: Line) -> None:
    run = make_run([line(1, 0, record={"strange": 1}), line(1, 1)])
    with open_index(open_run(run)) as index:
        rows = index.rows("SELECT level FROM tasks ORDER BY line")
        assert [row["level"] for row in rows] == [None, "easy"]
        assert "does not say how hard some tasks are" in index.state.pack_fault


def test_two_commands_at_once_both_see_it_whole(make_run: MakeRun, line: Line) -> None:
    run = make_run([line(step, index) for step in range(1, 40) for index in range(50)])
    command = [sys.executable, "-m", "recipe.inspect", str(run), "proposals", "--limit", "1"]
    started = [
        subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    ends = [child.communicate(timeout=120) for child in started]
    assert [child.returncode for child in started] == [0, 0], ends
    assert all("1 of 1,950 proposals" in out for out, _ in ends)


def test_where_the_run_cannot_be_written_to_the_index_is_in_the_cache(
    make_run: MakeRun, line: Line, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    run = make_run([line(1, 0, response="seen")])
    # A file stands where the folder would be made: even root cannot make it then.
    (run / FOLDER).write_text("")
    assert responses(run) == ["seen"]
    _, cached = places(open_run(run))
    assert cached.is_relative_to(tmp_path / "cache")
    assert (cached / DATABASE).is_file()


def test_without_any_place_it_says_so(
    make_run: MakeRun, line: Line, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    run = make_run([line(1, 0)])
    (run / FOLDER).write_text("")
    with pytest.raises(InspectError, match=r"must be kept somewhere.*Set XDG_CACHE_HOME"), _opened(run):
        pass


def _opened(run: Path) -> Any:
    return open_index(open_run(run))


@pytest.mark.parametrize("content", [b"", b"no database", os.urandom(1 << 16)])
def test_an_index_that_cannot_be_read_is_made_anew(make_run: MakeRun, line: Line, content: bytes) -> None:
    run = make_run([line(1, 0, response="seen")])
    (run / FOLDER).mkdir()
    (run / FOLDER / DATABASE).write_bytes(content)
    assert responses(run) == ["seen"]


def test_an_index_of_other_tables_is_made_anew(make_run: MakeRun, line: Line) -> None:
    run = make_run([line(1, 0, response="seen")])
    responses(run)
    with duckdb.connect(str(run / FOLDER / DATABASE)) as connection:
        connection.execute("UPDATE state SET format = 0")
        connection.execute("DELETE FROM lines")
    assert responses(run) == ["seen"]
