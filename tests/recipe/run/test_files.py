"""The files of a run, and the summary that is made from them."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recipe.run import checkpoint
from recipe.run import files as outputs
from recipe.run.files import RunFiles
from recipe.selfplay import metrics
from recipe.selfplay.ledger import LedgerLine
from tasks.contract import Outcome, Role

LINE = LedgerLine(1, Role.SOLVE, "deduction", 0, 0, [], "7", Outcome.CORRECT, "", None, 1.0, {})


def validated(step: int, num_right: int) -> dict[str, Any]:
    """A line of metrics with a held-out result: `num_right` of 2 deductions and 1 wrong induction."""
    correct = [float(i < num_right) for i in range(2)] + [0.0]
    kinds = ["deduction", "deduction", "induction"]
    return {"step": step, "time": 0.0, **metrics.held_out_metrics(kinds, correct, [1.0, 1.0, 0.0])}


def test_changed_settings_are_named_with_both_values() -> None:
    before = {"azr": {"seed": 1, "bonus": {"terms": {}}}, "trainer": {"test_freq": 5}, "gone": 1}
    now = {"azr": {"seed": 2, "bonus": {"terms": {}}}, "trainer": {"test_freq": 5}, "new": 2}
    assert outputs.changed_settings(before, now) == ["azr.seed: 1 -> 2", "gone: 1 -> None", "new: None -> 2"]
    assert outputs.changed_settings(now, now) == []


# ------------------------------ the summary ------------------------------


def test_summary_has_these_keys() -> None:
    summary = outputs.make_summary([validated(0, 0), validated(6, 2)], 12.34, "python -m x", None, {})
    assert list(summary) == ["held_out", "seconds", "steps", "command", "commit", "versions"]
    assert list(summary["held_out"]) == ["before", "after"]
    numbers = ["accuracy", "low", "high", "n", "format_rate"]
    for name in ("before", "after"):
        found = summary["held_out"][name]
        assert list(found) == [*numbers, "by_kind"]
        assert list(found["by_kind"]) == ["deduction", "induction"]
        assert all(list(of_kind) == numbers for of_kind in found["by_kind"].values())
    assert json.loads(json.dumps(summary)) == summary


def test_summary_says_what_was_measured() -> None:
    lines = [validated(0, 0), {"step": 1}, validated(2, 1), {"step": 3}, validated(4, 2), {"step": 5}]
    summary = outputs.make_summary(lines, 12.345, "python -m x", "9f1c", {"verl": "1"})
    before, after = summary["held_out"]["before"], summary["held_out"]["after"]
    assert before["accuracy"] == 0.0
    assert after["accuracy"] == pytest.approx(2 / 3)
    assert (after["n"], after["by_kind"]["deduction"]["n"]) == (3, 2)
    assert isinstance(after["n"], int)
    assert after["low"] < after["accuracy"] < after["high"]
    assert after["by_kind"]["deduction"]["accuracy"] == 1.0
    assert after["by_kind"]["induction"]["accuracy"] == 0.0
    assert after["format_rate"] == pytest.approx(2 / 3)
    assert (summary["seconds"], summary["steps"]) == (12.3, 5)
    assert (summary["command"], summary["commit"]) == ("python -m x", "9f1c")
    assert summary["versions"] == {"verl": "1"}


def test_summary_has_the_mean_of_sampled_attempts_where_there_were_some() -> None:
    line = {
        "step": 0,
        **metrics.held_out_metrics(["deduction"] * 2, [1.0, 0.0], [1.0, 1.0], 0, [0.5, 0.0], 8),
    }
    before = outputs.make_summary([line], 1.0, "python -m x", None, {})["held_out"]["before"]
    assert before["mean_at_8"] == before["by_kind"]["deduction"]["mean_at_8"] == 0.25
    assert before["accuracy"] == 0.5


def test_one_validation_is_before_and_none_is_neither() -> None:
    once = outputs.make_summary([validated(0, 1), {"step": 1}], 0.0, "", None, {})["held_out"]
    assert once["before"]["accuracy"] == pytest.approx(1 / 3)
    assert once["after"] is None
    assert outputs.make_summary([], 0.0, "", None, {})["held_out"] == {"before": None, "after": None}
    assert outputs.make_summary([], 0.0, "", None, {})["steps"] == 0


def test_step_without_validation_has_no_held_out_result() -> None:
    assert outputs.held_out_of({"step": 3, "azr/propose/all/acceptance_rate": 0.5}) is None


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


# ------------------------------ the run's files ------------------------------


def test_checkpoint_is_finished_by_the_metrics_of_its_step(tmp_path: Path) -> None:
    files = RunFiles(tmp_path)
    folder = tmp_path / "checkpoints" / "global_step_2"
    files.append_ledger([LINE])
    files.finish_checkpoint_with_metrics(folder, "arithmetic", 2, "digest")
    assert checkpoint.read_manifest(folder) is None
    files.log({"a": 1}, step=2)
    assert checkpoint.read_manifest(folder) == checkpoint.Manifest(
        format=checkpoint.FORMAT,
        pack="arithmetic",
        step=2,
        state_sha256="digest",
        ledger_bytes=(tmp_path / outputs.LEDGER).stat().st_size,
        metrics_bytes=(tmp_path / outputs.METRICS).stat().st_size,
    )


def test_later_steps_leave_a_finished_checkpoint_alone(tmp_path: Path) -> None:
    files = RunFiles(tmp_path)
    files.finish_checkpoint_with_metrics(tmp_path / "global_step_2", "arithmetic", 2, "digest")
    files.log({"a": 1}, step=2)
    before = checkpoint.read_manifest(tmp_path / "global_step_2")
    files.append_ledger([LINE])
    files.log({"a": 1}, step=3)
    assert checkpoint.read_manifest(tmp_path / "global_step_2") == before


def test_files_are_cut_back_to_a_checkpoint(tmp_path: Path) -> None:
    first = RunFiles(tmp_path)
    first.append_ledger([LINE])
    first.finish_checkpoint_with_metrics(tmp_path / "global_step_1", "arithmetic", 1, "digest")
    first.log({"a": 1}, step=1)
    manifest = checkpoint.read_manifest(tmp_path / "global_step_1")
    assert manifest is not None
    kept = (tmp_path / outputs.LEDGER).read_bytes(), (tmp_path / outputs.METRICS).read_bytes()
    first.append_ledger([LINE, LINE])
    first.log({"a": 1}, step=2)
    first.finish()
    RunFiles(tmp_path).truncate(manifest.ledger_bytes, manifest.metrics_bytes)
    assert ((tmp_path / outputs.LEDGER).read_bytes(), (tmp_path / outputs.METRICS).read_bytes()) == kept


def test_ledger_holds_the_lines(tmp_path: Path) -> None:
    files = RunFiles(tmp_path)
    files.append_ledger([LINE, LINE])
    lines = (tmp_path / outputs.LEDGER).read_text(encoding="utf-8").splitlines()
    assert [json.loads(line) for line in lines] == [LINE.to_json()] * 2
