"""Evaluations by item: which line stands for which step, and what is no evaluation."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from pathlib import Path

import pytest

from recipe.run.evaluations import Answers, Evaluation, EvaluationsError, digest_of, read_evaluations
from recipe.run.files import EVALUATIONS, RunFiles

GROUPS = ("a+easy", "a", "b")


def evaluation(step: int, greedy: str = "10-") -> Evaluation:
    return Evaluation(step, "digest", GROUPS, greedy, 2, (1, 0, None), "11-")


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    files = RunFiles(tmp_path)
    assert read_evaluations(tmp_path) == {}
    files.evaluations.append(asdict(evaluation(step)) for step in (0, 5))
    assert read_evaluations(tmp_path) == {0: evaluation(0), 5: evaluation(5)}


def test_answers_are_laid_out_in_the_order_of_the_set() -> None:
    # Of the last item's four sampled attempts two came, and one was right: 1/2 of 4 is 2.
    answers = {2: Answers(0.0, 1.0, 0.5), 0: Answers(1.0, 1.0, 0.25)}
    assert Evaluation.of_answers(1, "digest", GROUPS, 4, answers) == Evaluation(
        1, "digest", GROUPS, "1-0", 4, (1, None, 2), "1-1"
    )
    without = Evaluation.of_answers(1, "digest", GROUPS, 0, answers)
    assert (without.greedy, without.sampled) == ("1-0", (None, None, None))
    assert without.sampled_scores() == [None, None, None]


def test_scores_are_by_item() -> None:
    assert evaluation(0).greedy_scores() == [1.0, 0.0, None]
    assert evaluation(0).sampled_scores() == [0.5, 0.0, None]


def test_a_run_that_went_back_has_what_it_found_last(tmp_path: Path) -> None:
    # Killed after step 6, resumed from step 2: it evaluates step 3 again, and step 6 is open again.
    files = RunFiles(tmp_path)
    files.evaluations.append(asdict(evaluation(step)) for step in (0, 3, 6))
    files.evaluations.append([asdict(evaluation(3, "01-"))])
    assert read_evaluations(tmp_path) == {0: evaluation(0), 3: evaluation(3, "01-")}


def test_line_that_is_being_written_is_not_read_yet(tmp_path: Path) -> None:
    whole = json.dumps(asdict(evaluation(0))) + "\n"
    (tmp_path / EVALUATIONS).write_text(whole + whole[:20])
    assert read_evaluations(tmp_path) == {0: evaluation(0)}


def test_digest_is_of_the_tasks_and_their_order() -> None:
    assert digest_of(["1 + 2", "3"]) == hashlib.sha256(b'["1 + 2", "3"]').hexdigest()
    assert len({digest_of(keys) for keys in (["1", "2"], ["2", "1"], ["12"], ["1,2"], [])}) == 5


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "must exist"),
        ("nonsense", "must be one evaluation a line; JSONDecodeError"),
        ("[]", "must be one evaluation a line; TypeError"),
        ('{"step": 1}', "must be one evaluation a line; KeyError: 'held_out'"),
        (json.dumps(asdict(evaluation(1)) | {"greedy": "1"}), "of one length; got [3, 1, 3, 3]"),
    ],
)
def test_what_is_no_evaluation_is_told_in_one_line(tmp_path: Path, content: str | None, said: str) -> None:
    if content is not None:
        (tmp_path / EVALUATIONS).write_text(content + "\n")
    with pytest.raises(EvaluationsError) as error:
        read_evaluations(tmp_path)
    assert str(error.value).startswith(f"{tmp_path / EVALUATIONS} must ")
    assert said in str(error.value)
    assert "\n" not in str(error.value)
