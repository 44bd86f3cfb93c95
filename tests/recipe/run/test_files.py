"""The files of a run: lines that can be cut back, metrics, the end of a checkpoint, and a full disk."""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recipe.run import checkpoint
from recipe.run import files as outputs
from recipe.run.files import GrowingFile, JsonLinesFile, RunFiles

SmallDisk = Callable[..., subprocess.CompletedProcess[str]]
LINE = {"step": 1, "role": "solve", "response": "7"}
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


def test_changed_settings_are_named_with_both_values() -> None:
    before = {"azr": {"seed": 1, "bonus": {"terms": {}}}, "trainer": {"test_freq": 5}, "gone": 1}
    now = {"azr": {"seed": 2, "bonus": {"terms": {}}}, "trainer": {"test_freq": 5}, "new": 2}
    assert outputs.changed_settings(before, now) == ["azr.seed: 1 -> 2", "gone: 1 -> None", "new: None -> 2"]
    assert outputs.changed_settings(now, now) == []


# ------------------------------ JSON lines ------------------------------


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
    file.append([{"response": text}, {"n": 2}])
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


# ------------------------------ the metrics file ------------------------------


def test_metrics_are_one_line_a_step(tmp_path: Path) -> None:
    files = RunFiles(tmp_path)
    files.log({"b": 2, "a": 1.5}, step=1)
    files.log({"c": "text"}, step=2)
    first, second = outputs.read_metrics(tmp_path / outputs.METRICS)
    assert list(first) == ["step", "time", "a", "b"]
    assert (first["step"], first["a"], first["b"]) == (1, 1.5, 2.0)
    assert first["time"] > 0
    assert (second["step"], second["c"]) == (2, "text")


def test_numbers_of_any_make_are_json(tmp_path: Path) -> None:
    files = RunFiles(tmp_path)
    values = {"numpy": np.float32(0.5), "count": np.int64(3), "yes": True, "nan": math.nan, "inf": -math.inf}
    files.log(values, step=1)
    (line,) = outputs.read_metrics(tmp_path / outputs.METRICS)
    assert {name: line[name] for name in values} == {
        "numpy": 0.5,
        "count": 3.0,
        "yes": 1.0,
        "nan": None,
        "inf": None,
    }


def test_line_that_is_being_written_is_not_read_yet(tmp_path: Path) -> None:
    path = tmp_path / outputs.METRICS
    assert outputs.read_metrics(path) == []
    whole = b'{"step": 1}\n'
    for content, num_lines in [(b"", 0), (b'{"st', 0), (whole, 1), (whole + b'{"a": "\xe2', 1)]:
        path.write_bytes(content)
        assert len(outputs.read_metrics(path)) == num_lines


# ------------------------------ a file that grows ------------------------------


def seen(file: GrowingFile) -> tuple[list[Any], bool]:
    """The new lines, all of them, and whether the file was cut back."""
    lines, was_cut = file.new_lines()
    return list(lines), was_cut


def test_lines_come_once_and_whole(tmp_path: Path) -> None:
    path = tmp_path / "lines.jsonl"
    file = GrowingFile(path)
    assert seen(file) == ([], False)  # not there yet
    path.write_text('{"a": 1}\n{"a": ')
    assert seen(file) == ([{"a": 1}], False)
    with path.open("a") as more:
        more.write('2}\nnot json\n["a"]\n{"a": 3}\n')
    assert seen(file) == ([{"a": 2}, {"a": 3}], False)
    assert file.num_damaged == 2
    path.write_text('{"a": 9}\n')  # cut back, as by a resume
    assert seen(file) == ([{"a": 9}], True)


@pytest.mark.parametrize("tail_bytes", [0, 1, 8, 9, 10, 26, 27, 28])
def test_of_what_is_there_the_end_is_read(tmp_path: Path, tail_bytes: int) -> None:
    """Three lines of 9 bytes: a line of which less than all is in the tail is left out, and is no damage."""
    path = tmp_path / "lines.jsonl"
    path.write_text("".join(f'{{"a": {number}}}\n' for number in (1, 2, 3)))
    file = GrowingFile(path, tail_bytes)
    with path.open("a") as more:
        more.write('{"a": 4}\n')
    first = 4 - min(tail_bytes // 9, 3)
    assert seen(file) == ([{"a": number} for number in range(first, 5)], False)
    assert file.num_damaged == 0


def test_file_that_was_cut_back_is_read_from_its_beginning(tmp_path: Path) -> None:
    file = JsonLinesFile(tmp_path / "ledger")
    file.append([{"step": 1, "response": "x" * 50}, {"step": 2, "response": "x" * 50}])
    growing = GrowingFile(file.path, tail_bytes=0)
    file.truncate(0)
    file.append([{"step": 1}, {"step": 2}])
    assert seen(growing) == ([{"step": 1}, {"step": 2}], True)
    # Cut back and longer again before anybody looked: half a line is none.
    file.truncate(0)
    file.append([{"step": 1, "response": "x" * 200}, {"step": 2}])
    assert seen(growing) == ([{"step": 2}], False)
    assert growing.num_damaged == 1


# ------------------------------ the run's files ------------------------------


def test_checkpoint_is_finished_by_the_metrics_of_its_step(tmp_path: Path) -> None:
    files = RunFiles(tmp_path)
    folder = tmp_path / "checkpoints" / "global_step_2"
    files.ledger.append([LINE])
    files.finish_checkpoint_with_metrics(folder, "arithmetic", 2, dict)
    assert checkpoint.read_manifest(folder) is None
    files.log({"a": 1}, step=2)
    assert checkpoint.read_manifest(folder) == checkpoint.Manifest(
        format=checkpoint.FORMAT,
        pack="arithmetic",
        step=2,
        state_sha256=hashlib.sha256(b"{}").hexdigest(),
        ledger_bytes=(tmp_path / outputs.LEDGER).stat().st_size,
        metrics_bytes=(tmp_path / outputs.METRICS).stat().st_size,
    )


def test_later_steps_leave_a_finished_checkpoint_alone(tmp_path: Path) -> None:
    files = RunFiles(tmp_path)
    files.finish_checkpoint_with_metrics(tmp_path / "global_step_2", "arithmetic", 2, dict)
    files.log({"a": 1}, step=2)
    before = checkpoint.read_manifest(tmp_path / "global_step_2")
    files.ledger.append([LINE])
    files.log({"a": 1}, step=3)
    assert checkpoint.read_manifest(tmp_path / "global_step_2") == before


def test_files_are_cut_back_to_a_checkpoint(tmp_path: Path) -> None:
    first = RunFiles(tmp_path)
    first.ledger.append([LINE])
    first.finish_checkpoint_with_metrics(tmp_path / "global_step_1", "arithmetic", 1, dict)
    first.log({"a": 1}, step=1)
    manifest = checkpoint.read_manifest(tmp_path / "global_step_1")
    assert manifest is not None
    kept = (tmp_path / outputs.LEDGER).read_bytes(), (tmp_path / outputs.METRICS).read_bytes()
    first.ledger.append([LINE, LINE])
    first.log({"a": 1}, step=2)
    first.finish()
    RunFiles(tmp_path).truncate(manifest.ledger_bytes, manifest.metrics_bytes)
    assert ((tmp_path / outputs.LEDGER).read_bytes(), (tmp_path / outputs.METRICS).read_bytes()) == kept


def test_ledger_holds_the_lines(tmp_path: Path) -> None:
    files = RunFiles(tmp_path)
    files.ledger.append([LINE, LINE])
    lines = (tmp_path / outputs.LEDGER).read_text(encoding="utf-8").splitlines()
    assert [json.loads(line) for line in lines] == [LINE] * 2


# ------------------------------ a full disk ------------------------------

FULL_DISK = """
import os, sys
from pathlib import Path
from recipe.run.files import check_writable
folder = Path(sys.argv[1])
check_writable(folder)
print(os.listdir(folder))
with (folder / "weights").open("wb", buffering=0) as file:
    try:
        while file.write(bytes(1 << 16)):
            pass
    except OSError:
        pass
try:
    check_writable(folder)
except OSError as error:
    print(error.errno, os.listdir(folder))
"""


def test_full_disk_is_told_and_an_empty_one_is_left_as_it_was(
    tmp_path: Path, on_a_small_disk: SmallDisk
) -> None:
    done = on_a_small_disk(3, sys.executable, "-c", FULL_DISK, str(tmp_path))
    assert done.stdout.splitlines() == ["[]", f"{errno.ENOSPC} ['weights']"], done.stderr


def test_disk_that_is_found_full_on_the_way_down_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="quota"):
        outputs.check_writable(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_missing_folder_is_told(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        outputs.check_writable(tmp_path / "missing")


def test_every_logger_that_writes_files_writes_them_into_the_runs_directory(tmp_path: Path) -> None:
    # verl's defaults are folders of the working directory.
    folders = outputs.logger_folders(tmp_path)
    assert folders.keys() == {
        "TENSORBOARD_DIR",
        "WANDB_DIR",
        "SWANLAB_LOG_DIR",
        "TRACKIO_DIR",
        "VERL_FILE_LOGGER_ROOT",
    }
    assert all(Path(folder).is_relative_to(tmp_path) for folder in folders.values())
    assert outputs.mlflow_store(tmp_path)["MLFLOW_TRACKING_URI"] == f"file://{tmp_path}/mlruns"
