"""Evaluations of runs, task by task."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

import pytest

from recipe import compare
from recipe.run.evaluations import Evaluation
from recipe.run.files import EVALUATIONS, RunFiles


def evaluation(
    step: int, greedy: str, right: tuple[int | None, ...] = (), num_samples: int = 0
) -> Evaluation:
    """Of four tasks: two deductions, of which the second is hard, and two abductions."""
    groups = ("deduction", "deduction+hard", "abduction", "abduction")
    return Evaluation(step, "digest", groups, greedy, num_samples, right or (None,) * 4, "1111")


def write(folder: Path, *evaluations: Evaluation) -> Path:
    """A run's directory with these evaluations."""
    folder.mkdir()
    RunFiles(folder).evaluations.append(map(asdict, evaluations))
    return folder


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.split("  ") if cell.strip()]


def test_tables_by_hand(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    # Wilson: 1/4 [4.6, 69.9], 2/4 [15.0, 85.0], 3/4 [30.1, 95.4], 4/4 [51.0, 100], 1/2 [9.5, 90.5],
    # 2/2 [34.2, 100], 1/1 [20.7, 100], 0/1 [0, 79.3]. `a` is right in the two abductions after, as before in
    # one, and `b` is right in all: both deductions are won from `a`, no abduction is.
    a = write(tmp_path / "a", evaluation(0, "0010"), evaluation(2, "1111"), evaluation(4, "0011"))
    b = write(tmp_path / "b", evaluation(9, "1111"))
    compare.main([str(a), str(b)])
    title, header, of_all, abduction, deduction, hard, _, *of_b = capsys.readouterr().out.splitlines()
    assert title == f"{a}: last evaluated after step 4"
    assert cells(header) == ["tasks", "before", "after", "change"]
    assert cells(of_all)[:5] == ["all", "greedy", "4", "25.0% [4.6, 69.9]", "50.0% [15.0, 85.0]"]
    assert cells(of_all)[5].startswith("+25.0 [")
    one_won = "+50.0 [+0.0, +100.0]"  # tests/recipe/selfplay/test_intervals.py: of two tasks one differs
    assert cells(abduction) == [
        "abduction",
        "greedy",
        "2",
        "50.0% [9.5, 90.5]",
        "100.0% [34.2, 100.0]",
        one_won,
    ]
    none = "0.0% [0.0, 65.8]"
    assert cells(deduction) == ["deduction", "greedy", "2", none, none, "+0.0 [+0.0, +0.0]"]
    assert cells(hard)[:3] == ["hard", "greedy", "1"]
    title, header, of_all, abduction, deduction, _ = of_b
    assert title == f"{b}: last evaluated after step 9; difference from {a}"
    assert cells(header) == ["tasks", "before", "after", "change", "difference"]
    assert cells(of_all)[:6] == ["all", "greedy", "4", "-", "100.0% [51.0, 100.0]", "-"]
    assert cells(of_all)[6].startswith("+50.0 [")
    assert cells(abduction)[-1] == "+0.0 [+0.0, +0.0]"
    assert cells(deduction)[-1] == "+100.0 [+100.0, +100.0]"


def test_sampled_attempts_have_rows_of_their_own() -> None:
    # mean@4: (2 + 1 + 0 + 1) / 16 = 25 %, of `b` (2 + 1 + 0) / 12 = 25 % without the task that has no
    # response; on the other three each share is the same. Of two samples in place of four: shares compare.
    a = {4: evaluation(4, "1000", (2, 1, 0, 1), 4)}
    b = {4: evaluation(4, "100-", (2, 1, 0, None), 4)}
    c = {4: evaluation(4, "1000", (2, 1, 1, 1), 2)}
    lines = compare.compare([("a", a), ("b", b), ("c", c)])
    assert "b: last evaluated after step 4, 1 of 4 tasks without a response; difference from a" in lines
    of_a, of_b, of_c = [cells(line) for line in lines if "mean@" in line][::4]
    assert of_a == ["mean@4", "4", "-", "25.0%", "-"]
    assert of_b == ["mean@4", "4", "-", "25.0%", "-", "+0.0 [+0.0, +0.0]"]
    # 2/2 - 2/4, 1/2 - 1/4, 1/2 - 0, 1/2 - 1/4: 0.5, 0.25, 0.5 and 0.25, of which the mean is 0.375
    assert of_c[:5] == ["mean@2", "4", "-", "62.5%", "-"]
    assert of_c[5].startswith("+37.5 [")


def test_a_run_against_itself_differs_nowhere() -> None:
    run = {0: evaluation(0, "0101", (0, 1, 2, 1), 2), 6: evaluation(6, "0111", (1, 1, 2, 0), 2)}
    lines = compare.compare([("a", run), ("a", run)])
    half = len(lines) // 2
    assert {cells(line)[-1] for line in lines[half + 3 :]} == {"+0.0 [+0.0, +0.0]"}


def test_evaluation_before_of_other_tasks_is_not_compared_with() -> None:
    run = {0: replace(evaluation(0, "0000"), held_out="other"), 6: evaluation(6, "1111")}
    assert cells(compare.compare([("a", run)])[2]) == ["all", "greedy", "4", "-", "100.0% [51.0, 100.0]", "-"]


def test_lines_of_a_usual_run_fit_in_120_columns() -> None:
    groups = ("op-difference",) * 1050
    zero = Evaluation(0, "digest", groups, "01" * 525, 8, (3,) * 1050, "1" * 1050)
    last = replace(zero, step=20, greedy="10" * 125 + "11" * 400, sampled=(2, 7) * 525)
    lines = compare.compare([("a", {0: zero, 20: replace(zero, step=20)}), ("b", {0: zero, 20: last})])
    assert max(map(len, lines)) <= 120


def refused(capsys: pytest.CaptureFixture[str], *runs: Path) -> str:
    """The one line that is said of these runs."""
    with pytest.raises(SystemExit) as end:
        compare.main([str(run) for run in runs])
    assert end.value.code == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("error: ")
    assert printed.err.count("\n") == 1
    return printed.err


def test_runs_that_were_asked_other_tasks_are_refused(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    a = write(tmp_path / "a", evaluation(0, "1111"))
    b = write(tmp_path / "b", replace(evaluation(0, "1111"), held_out="other"))
    said = refused(capsys, a, b)
    assert f"{b} must have been asked the same held-out tasks as {a}" in said


def test_runs_without_evaluations_are_told(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    a = write(tmp_path / "a", evaluation(0, "1111"))
    (tmp_path / "before").mkdir()
    assert f"{tmp_path / 'before' / EVALUATIONS} must exist" in refused(capsys, a, tmp_path / "before")
    assert f"{tmp_path / 'b'} must have been evaluated" in refused(capsys, a, write(tmp_path / "b"))
