"""The command: what it refuses, how it looks, and that no text of a model is acted on."""

from __future__ import annotations

import io
import json
import math
import os
import pty
import re
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from rich.text import Text

from recipe.inspect.__main__ import VIEWS
from recipe.inspect.printing import Column, make_console, show, table, title, visible
from recipe.run.checkpoint import FORMAT

ROOT = Path(__file__).parents[3]
MakeRun = Callable[..., Path]
Line = Callable[..., dict[str, Any]]
Inspect = Callable[..., tuple[int, str, str]]

EVIL = [
    "\x1b[2J\x1b]0;title\x07\x1b[31mred",
    "\x9b31m\x90q\x9c",
    "\r\x08\x7fover",
    "<script>alert(1)</script>[bold]not bold[/bold] :smile:",
    "right \u202eto left\u202c \u200b\ufeff\u2066x",
    "\ud800 half \x00 null",
    "x" * 1_000_000,
    "line\n" * 10_000,
    "e" + "\u0301" * 5000,
    "",
]
"""What a model may write."""


def words_of(view: str) -> list[str]:
    return {"task": ["task", "1/0"], "diff": ["diff", "1", "2"]}.get(view, [view])


@pytest.fixture(scope="module")
def evil_run(write: MakeRun, line: Line) -> Path:
    lines = [line(1, index, response=text) for index, text in enumerate(EVIL)]
    lines += [line(1, 0, index, response=text, record={"text": text}) for index, text in enumerate(EVIL[:-5])]
    lines += [
        line(2, index, response=text, outcome="wrong", reason="duplicate", kind="\x1b[31m")
        for index, text in enumerate(EVIL)
    ]
    lines.append({"step": 2, "role": "alarm", "alarm": "\x1b[1m", "sentence": EVIL[0], "action": EVIL[1]})
    run = write(lines)
    (run / "metrics.jsonl").write_text('{"step": 1}\n')
    return run


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("width", [80, 40])
def test_no_character_of_a_model_is_acted_on_and_no_line_is_too_long(
    view: str, width: int, evil_run: Path, inspect: Inspect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    status, out, err = inspect(evil_run, *words_of(view))
    assert (status, err) == (0, "")
    strange = {character for character in out if not character.isprintable() and character != "\n"}
    assert strange == set()
    assert len(out) < 60_000
    assert max(len(row.replace("\u0301", "")) for row in out.splitlines()) <= width


@pytest.mark.parametrize("view", VIEWS)
def test_json_is_one_document_of_ascii(view: str, evil_run: Path, inspect: Inspect) -> None:
    status, out, err = inspect(evil_run, *words_of(view), "--json")
    assert (status, err) == (0, "")
    found = json.loads(out)
    assert (found["view"], found["run"]) == (view, str(evil_run))
    assert found.keys() == {"run", "view", "ledger", "result"}
    assert set(out) <= {chr(code) for code in range(0x20, 0x7F)} | {"\n"}


def test_json_has_no_word_that_json_lacks(make_run: MakeRun, line: Line, inspect: Inspect) -> None:
    run = make_run([line(1, 0, measures={"a": math.inf, "b": 1.5}, record={"x": math.nan}), line(1, 1)])
    ledger = run / "ledger.jsonl"
    ledger.write_text(ledger.read_text().replace('"features": {}', '"features": {"c": 1e999}'))
    _, out, _ = inspect(run, "proposals", "--json")
    entry = json.loads(out, parse_constant=pytest.fail)["result"]["entries"][1]
    assert (entry["measures"], entry["features"], entry["record"]) == ({"b": 1.5}, {}, {"x": "NaN"})


def test_what_is_not_printed_as_itself_is_visible() -> None:
    assert visible("a\x1b[1m\u202e\n\té\\") == "a\\x1b[1m\\u202e\\n\\té\\"
    assert visible("a\nb\r\n", keeps_lines=True) == "a\nb\\r\n"


def test_a_task_shows_markup_of_a_model_as_text(evil_run: Path, inspect: Inspect) -> None:
    _, out, _ = inspect(evil_run, "task", "1/3")
    assert "<script>alert(1)</script>[bold]not bold[/bold] :smile:" in out
    _, out, _ = inspect(evil_run, "task", "1/6")
    assert "(996,000 more characters; --json has them)" in out


def seen_on(master: int) -> str:
    """All that was sent to a terminal until its other end was closed."""
    seen = b""
    with suppress(OSError):  # it is closed
        while data := os.read(master, 1 << 16):
            seen += data
    os.close(master)
    return seen.decode().replace("\r\n", "\n")


def test_a_terminal_has_colours_and_a_pager_for_what_is_long(make_run: MakeRun, line: Line) -> None:
    run = make_run([line(1, index) for index in range(30)])
    pager = run / "pager"
    pager.write_text("#!/bin/sh\necho PAGED\nexec cat\n")
    pager.chmod(0o755)
    master, slave = pty.openpty()
    kept = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "COLUMNS")}
    given = {"TERM": "xterm", "PAGER": str(pager), "COLUMNS": "80", "LINES": "24"}
    command = [sys.executable, "-m", "recipe.inspect", str(run), "proposals"]
    child = subprocess.Popen(command, cwd=ROOT, env=kept | given, stdout=slave, stderr=slave, stdin=slave)
    os.close(slave)
    seen = seen_on(master)
    assert child.wait(timeout=60) == 0, seen
    assert "PAGED\n" in seen
    assert "\x1b[36m1/29" in seen


@pytest.mark.parametrize(
    ("variables", "has_colours"),
    [({"TERM": "xterm"}, True), ({"TERM": "xterm", "NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)],
)
def test_colours_are_as_the_terminal_and_its_owner_want_them(
    variables: dict[str, str], has_colours: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    master, slave = pty.openpty()
    with os.fdopen(slave, "w") as terminal:
        monkeypatch.setattr(sys, "stdout", terminal)
        show([title("short"), Text("red", "red")], make_console(terminal))
    seen = seen_on(master)
    assert "short" in seen  # no pager for what fits
    assert ("\x1b[31m" in seen) == has_colours


def test_a_table_keeps_its_numbers_beside_a_long_text() -> None:
    names = Column("name", ["long " * 30, "short"], is_text=True)
    rows = [names, Column("n", ["1", "2"]), Column("left out", ["x" * 30] * 2, rank=1)]
    console = Console(file=io.StringIO(), width=40)
    with console.capture() as capture:
        console.print(table(rows, 40))
    head, first, second = capture.get().splitlines()
    assert head.split() == ["name", "n"]
    assert first.split()[-2:] == ["long…", "1"]
    assert second.split() == ["short", "2"]


def test_without_a_terminal_there_are_no_colours(make_run: MakeRun, line: Line, inspect: Inspect) -> None:
    _, out, _ = inspect(make_run([line(1, index) for index in range(30)]), "proposals")
    assert "\x1b" not in out
    assert out.splitlines()[0] == "1/29  deduction  accepted  reward -  easy  + 0"


@pytest.fixture(scope="module")
def two_steps(write: MakeRun, line: Line) -> Path:
    return write([line(1, 0), line(2, 0, outcome="wrong", reason="duplicate")])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ["level", "--reason", "duplicate"],
            "level counts tasks, and these conditions leave none: a refused proposal has no task, and an "
            "attempt counts with the proposal that it is at",
        ),
        (["proposals", "--kind", "nope"], "--kind must be one that this run has: deduction; got 'nope'"),
        (["proposals", "--reason", "nope"], "--reason must be one that this run has: duplicate; got 'nope'"),
        (["proposals", "--step", "9"], "--step must be of the ledger's steps, 1 to 2; got 9"),
        (["proposals", "--role", "solve"], "proposals are of --role propose; got solve"),
        (["diff", "1"], "diff takes two steps, or two stretches A:B; got 1"),
        (["diff", "1", "x"],
         "diff takes two steps; one must be a step, or A:B for the steps from A to B; got 'x'"),
        (["diff", "1", "9"], "diff must be of the ledger's steps, 1 to 2; got 9"),
        (["diff", "1", "2", "--step", "1"], "diff takes the steps behind its name: diff 1:5 36:40, without "
         "--step"),
        (["task"], "task takes one task, STEP/INDEX; got nothing"),
        (["task", "1-0"],
         "a task is called STEP/INDEX, such as 12/3, as the views print it, and an attempt at it 12/3:0; "
         "got '1-0'"),
        (["task", "1/7"], "the ledger has no 1/7; step 1 has 1/0 to 1/0"),
        (["task", "7/0"], "the ledger has no 7/0; it has the steps 1 to 2"),
        (["task", "1/0:5"], "1/0 has no attempt 5 in the ledger"),
        (["task", "1/0", "--kind", "deduction"], "task shows one task, and takes none of the conditions"),
        (["summary", "1/0"], "summary takes nothing behind its name; got 1/0"),
        (["replay", "trivial=1"],
         "replay takes thresholds, such as azr.alarms.trivial=0.9 or =null; got trivial=1"),
        (["replay", "azr.alarms.trivial=x"],
         "replay takes thresholds; got azr.alarms.trivial=x: Value 'x' of type 'str' could not be converted "
         "to Float"),
        (["replay", "--step", "1"], "replay judges all steps, and takes none of the conditions"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_one_line(
    words: list[str], said: str, two_steps: Path, inspect: Inspect
) -> None:
    assert inspect(two_steps, *words) == (2, "", f"error: {said}\n")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nope"], "invalid choice: 'nope'"),
        (["--step", "x"], "must be a step, or A:B for the steps from A to B; got 'x'"),
        (["--step", "5:2"], "must be A:B with A no later than B; got '5:2'"),
        (["--solve-rate", "2"], "must be LOW:HIGH with 0 <= LOW <= HIGH <= 1; got '2'"),
        (["--solve-rate", "nan"], "must be LOW:HIGH, two shares from 0 to 1; got 'nan'"),
        (["--text", ""], "must be a text that can be written as UTF-8, and not empty; got ''"),
        (["--text", "a\udcff"], "must be a text that can be written as UTF-8"),
        (["--limit", "0"], "must be a whole number from 1; got '0'"),
        (["--outcome", "right"], "invalid choice: 'right'"),
    ],
)
def test_an_option_that_cannot_be_read_is_named(
    words: list[str], said: str, tmp_path: Path, inspect: Inspect
) -> None:
    status, _, err = inspect(tmp_path, *words)
    assert status == 2
    assert err.count("\n") == 1
    assert said in err


def break_run(run: Path, how: str) -> None:
    ledger, config = run / "ledger.jsonl", run / "config.yaml"
    match how:
        case "no directory":
            config.unlink()
        case "no ledger":
            ledger.unlink()
        case "empty ledger":
            ledger.write_bytes(b"")
        case "damaged ledger":
            ledger.write_bytes(b"\x00" * 100 + b"\nno json\n")
        case "half a line":
            ledger.write_bytes(ledger.read_bytes()[:50])
        case "no YAML":
            config.write_bytes(b"\xff{")
        case "list":
            config.write_text("- 1\n")
        case "other keys":
            config.write_text("azr: {propose: false}\n")
        case "damaged metrics":
            (run / "metrics.jsonl").write_text("{}\n")
        case "other format":
            manifest = run / "checkpoints" / "global_step_3" / "azr" / "manifest.json"
            manifest.parent.mkdir(parents=True)
            manifest.write_text(json.dumps({"format": FORMAT - 1}))


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("no directory", r"RUN must be the directory of a run, with its config\.yaml; got \S+"),
        ("no ledger", r"\S+ has no ledger\.jsonl yet; a run writes one with its first responses"),
        ("empty ledger", r"\S+ must hold a response, and has none yet"),
        (
            "damaged ledger",
            r"\S+ must hold a response, and has none yet; damaged lines of the ledger, which were skipped: "
            r"1 \(it is no JSON\), 2 \(it is no JSON\)",
        ),
        ("half a line", r"\S+ must hold .*; the last 50 bytes of the ledger have no line's end yet: skipped"),
        ("no YAML", r"\S+config\.yaml must be what a run wrote; .*"),
        ("list", r"\S+config\.yaml must be what a run wrote; it holds no keys"),
        (
            "other keys",
            r"\S+ must have the keys of this version under azr: .*Look at the run with the version .*",
        ),
        ("damaged metrics", r"\S+metrics\.jsonl must be what a run wrote; a line of it has no step"),
        ("no metrics", r"\S+metrics\.jsonl must have a finished step to judge; it has none yet"),
        (
            "other format",
            rf"\S+ must be a run of checkpoint format {FORMAT}; got {FORMAT - 1}\. "
            "Look at it with the version .*",
        ),
    ],
)
def test_what_is_no_run_is_refused_in_a_line(
    how: str, said: str, make_run: MakeRun, line: Line, inspect: Inspect
) -> None:
    run = make_run([line(1, 0)])
    break_run(run, how)
    status, out, err = inspect(run, "replay" if "metrics" in how else "summary")
    assert (status, out) == (2, "")
    assert re.fullmatch(f"error: {said}\n", err), err


def test_what_was_skipped_is_said_beside_the_view(make_run: MakeRun, line: Line, inspect: Inspect) -> None:
    run = make_run([line(1, 0), line(1, 1)])
    ledger = run / "ledger.jsonl"
    first, second = ledger.read_bytes().splitlines(keepends=True)
    ledger.write_bytes(first + b"{damaged\n" + second[:-5])
    status, out, _ = inspect(run, "proposals")
    assert status == 0
    assert "damaged lines of the ledger, which were skipped: 2 (it is no JSON)" in out
    assert f"the last {len(second) - 5} bytes of the ledger have no line's end yet: skipped" in out
    assert "1 of 1 proposals" in out


def test_a_run_whose_pack_is_missing_is_shown_without_levels(
    make_run: MakeRun, line: Line, inspect: Inspect
) -> None:
    run = make_run([line(1, 0)], pack={"_target_": "somebody.elses.Pack"})
    status, out, _ = inspect(run, "level")
    assert status == 0
    assert "levels and structures are missing: the run's pack cannot be built here" in " ".join(out.split())


def test_a_reader_that_goes_away_is_no_fault(make_run: MakeRun, line: Line) -> None:
    run = make_run([line(1, index, response="long " * 1000) for index in range(300)])
    command = f"{sys.executable} -m recipe.inspect {run} proposals --json --limit 300 | head -c 10"
    done = subprocess.run(["bash", "-o", "pipefail", "-c", command], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, '{"run": "/', "")
