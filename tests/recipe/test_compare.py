"""Summaries of finished runs, side by side."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from recipe import compare
from recipe.compare import Measured, Result, SummaryError
from recipe.life import make_summary
from recipe.run import files as outputs
from recipe.selfplay import metrics


def validated(step: int, right: dict[str, tuple[int, int]]) -> dict[str, Any]:
    """A line of metrics with a held-out result: right answers and tasks of each kind."""
    kinds = [kind for kind, (_, total) in right.items() for _ in range(total)]
    correct = [float(i < num) for num, total in right.values() for i in range(total)]
    return {"step": step, **metrics.held_out_metrics(kinds, correct, [1.0] * len(kinds))}


def finish(folder: Path, lines: list[dict[str, Any]]) -> Path:
    """A run's directory with the summary of these metrics."""
    folder.mkdir()
    summary = make_summary(lines, 1.0, "python -m x", None, {})
    (folder / outputs.SUMMARY).write_text(json.dumps(summary), encoding="utf-8")
    return folder


def test_summary_is_read_back_as_counts(tmp_path: Path) -> None:
    before = validated(0, {"deduction": (48, 80), "abduction": (0, 3)})
    after = validated(4, {"deduction": (56, 80), "abduction": (1, 3)})
    assert compare.read_result(finish(tmp_path / "run", [before, after])) == Result(
        steps=4,
        before={"all": Measured(48, 83), "abduction": Measured(0, 3), "deduction": Measured(48, 80)},
        after={"all": Measured(57, 83), "abduction": Measured(1, 3), "deduction": Measured(56, 80)},
    )


def test_table_by_hand(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    # 48/80 = 60 % [49.0, 70.0] and 56/70 = 80 % [69.2, 87.7]; the change is the one that
    # tests/recipe/selfplay/test_intervals.py works out. 0/10 has [0, 27.8]. `b` was evaluated once, on
    # another kind.
    a = finish(tmp_path / "a", [validated(0, {"deduction": (48, 80)}), validated(2, {"deduction": (56, 70)})])
    b = finish(tmp_path / "b", [validated(0, {"induction": (0, 10)})])
    compare.main([str(a), str(b)])
    before, after, change = "60.0% [49.0, 70.0] n=80", "80.0% [69.2, 87.7] n=70", "+20.0 [+5.2, +33.4]"
    none = "0.0% [0.0, 27.8] n=10"
    rows = [line.split("  ") for line in capsys.readouterr().out.splitlines()]
    assert [[cell.strip() for cell in row if cell.strip()] for row in rows] == [
        [str(a), str(b)],
        ["steps", "2", "0"],
        ["all", "before", before, none],
        ["after", after, "-"],
        ["change", change, "-"],
        ["deduction", "before", before, "-"],
        ["after", after, "-"],
        ["change", change, "-"],
        ["induction", "before", "-", none],
        ["after", "-", "-"],
        ["change", "-", "-"],
    ]


def test_columns_stand_under_their_run(tmp_path: Path) -> None:
    results = {
        name: Result(steps, {"all": Measured(1, 2)}, {})
        for name, steps in (("a", 3), ("a/rather/long/name", 400), ("c", 5))
    }
    header, steps, *_ = compare.compare(results)
    for name, number in (("a/rather", "400"), ("c", "5")):
        assert header.rindex(name) == steps.rindex(number)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "must exist"),
        ("", "must be the summary of a run"),
        ("[]", "must be the summary of a run"),
        ('{"steps": 1}', "held_out"),
        ('{"steps": 1, "held_out": {"before": null}}', "after"),
        ('{"steps": 1, "held_out": {"before": {"accuracy": 1, "n": 1}, "after": null}}', "by_kind"),
    ],
)
def test_what_is_no_summary_is_told_with_its_file(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, content: str | None, said: str
) -> None:
    good = finish(tmp_path / "good", [validated(0, {"deduction": (1, 2)})])
    bad = tmp_path / "bad"
    bad.mkdir()
    if content is not None:
        (bad / outputs.SUMMARY).write_text(content, encoding="utf-8")
    with pytest.raises(SummaryError):
        compare.read_result(bad)
    with pytest.raises(SystemExit) as end:
        compare.main([str(good), str(bad)])
    assert end.value.code == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith(f"error: {bad / outputs.SUMMARY} ")
    assert said in printed.err
    assert printed.err.count("\n") == 1
