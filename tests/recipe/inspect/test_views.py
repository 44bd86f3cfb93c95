"""The numbers of the views, by hand, over a ledger of three steps."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

MakeRun = Callable[..., Path]
Line = Callable[..., dict[str, Any]]
Document = Callable[..., dict[str, Any]]
Inspect = Callable[..., tuple[int, str, str]]

EASY, MEDIUM, HARD = ({"a": a, "op": "+", "b": 3} for a in (2, 12, 48))
"""Tasks of the three levels, and of the structures `+ 0`, `+ 1` and `+ 4`."""


@pytest.fixture(scope="module")
def run(write: MakeRun, line: Line) -> Path:
    """Step 1: an easy task that both attempts solve, a medium one that one of two solves, one that does not
    parse. Step 2: the medium task again, a duplicate, and a surplus one. Step 3: a hard task that nobody
    solves, twice the same text."""
    wrong = {"outcome": "wrong", "reason": "wrong-value", "reward": -0.5}
    refused = {"outcome": "wrong", "reason": "duplicate", "reward": -0.5, "response": "again"}
    return write(
        [
            line(0, 0, record=EASY, response="seeded"),
            line(1, 0, record=EASY, solve_rate=1.0, reward=0.0),
            line(1, 0, 0, record=EASY, reward=1.0),
            line(1, 0, 1, record=EASY, reward=1.0),
            line(1, 1, record=MEDIUM, solve_rate=0.5, reward=0.5, response="middling"),
            line(1, 1, 0, record=MEDIUM, reward=1.0),
            line(1, 1, 1, record=MEDIUM, response="no idea", **wrong),
            line(1, 2, outcome="malformed", reason="no-task", reward=-1.0, response="what?"),
            line(2, 0, **refused),
            line(2, 1, reason="surplus", record=None, response="spare"),
            line(2, 2, 0, record=MEDIUM, reward=1.0),
            line(3, 0, record=HARD, solve_rate=0.0, reward=0.0, response="same"),
            line(3, 0, 0, record=HARD, **wrong),
            line(3, 1, record=HARD, reason="held-out", response="same"),
        ]
    )


def ids(document: dict[str, Any]) -> list[str]:
    return [entry["id"] for entry in document["result"]["entries"]]


def test_summary_has_the_numbers_of_each_stretch(run: Path, inspect_json: Document) -> None:
    found = inspect_json(run)["result"]
    assert (found["pack"], found["reward_profile"]) == ("arithmetic", "paper")
    assert (found["last_step"], found["total_steps"], found["responses"]) == (3, 40, 14)
    seeding, first, second, third = found["stretches"]
    assert [(one["first_step"], one["last_step"]) for one in found["stretches"]] == [(n, n) for n in range(4)]
    assert (seeding["proposals"], seeding["accepted"], seeding["solve_rate"]) == (1, 1, None)
    assert (first["proposals"], first["accepted"], first["malformed"], first["attempts"]) == (3, 2, 1, 4)
    assert first["solve_rate"] == 0.75  # (1 + 1/2) / 2
    assert first["learnable_share"] == 0.5
    assert first["proposer_reward"] == pytest.approx(-0.5 / 3)  # (0 + 0.5 - 1) / 3
    assert first["accuracy"] == 0.75
    assert first["solver_reward"] == 0.625  # (1 + 1 + 1 - 0.5) / 4
    assert first["distinct_structures"] == 2
    # Neither a surplus task nor a duplicate is accepted.
    assert (second["accepted"], second["surplus"], second["duplicates"]) == (0, 1, 1)
    assert second["distinct_structures"] is None
    # A held-out task is valid and not wanted.
    assert (third["proposals"], third["accepted"], third["distinct_responses"]) == (2, 1, 1)
    assert [(one["count"], one["example"]["id"]) for one in found["repeated"]] == [(2, "3/1")]
    assert [(one["reason"], one["share"]) for one in found["reasons"]] == [("held-out", 0.5)]
    changes = {one["name"]: (one["before"], one["after"]) for one in found["changes"]}
    assert changes["solve rate"] == (0.75, 0.0)
    assert changes["malformed"] == (pytest.approx(1 / 3), 0.0)


def test_summary_has_a_column_of_surplus_tasks_where_there_are_some(run: Path, inspect: Inspect) -> None:
    _, out, _ = inspect(run)
    head, *rows = (line.split() for line in out.splitlines()[1:6])
    assert [row[head.index("surpl")] for row in rows] == ["0%", "0%", "50%", "0%"]
    _, out, _ = inspect(run, "--step", "3")
    assert "surpl" not in out.splitlines()[1]


def test_summary_of_a_run_without_proposals_is_of_its_attempts(
    make_run: MakeRun, line: Line, inspect: Inspect
) -> None:
    wrong = {"outcome": "malformed", "reason": "no-answer", "reward": -1.0}
    _, out, _ = inspect(make_run([line(1, 0, 0, reward=1.0), line(1, 1, 0, **wrong), line(2, 0, 0)]))
    head, first, second = (row.split() for row in out.splitlines()[1:4])
    assert head == ["steps", "attempts", "right", "readable", "reward", "characters"]
    assert (first, second) == (["1", "2", "50%", "50%", "0.00", "1"], ["2", "1", "100%", "100%", "-", "1"])
    assert out.splitlines()[-1].startswith("more: diff 1:1 2:2, attempts --step 2:2")


def test_many_steps_are_put_together(make_run: MakeRun, line: Line, inspect_json: Document) -> None:
    run = make_run([line(0, 0), *(line(step, 0) for step in range(1, 38))])
    stretches = inspect_json(run)["result"]["stretches"]
    # 37 steps in nine stretches of five at most, beside the seeding.
    ends = [(one["first_step"], one["last_step"]) for one in stretches]
    assert ends == [(0, 0), *((first, first + 4) for first in range(1, 36, 5)), (36, 37)]
    assert sum(one["proposals"] for one in stretches) == 38


def test_lists_are_the_newest_first_and_filters_combine(run: Path, inspect_json: Document) -> None:
    def proposals(*words: object) -> list[str]:
        return ids(inspect_json(run, "proposals", *words))

    assert proposals() == ["3/1", "3/0", "2/1", "2/0", "1/2", "1/1", "1/0", "0.1/0"]
    assert proposals("--limit", 2) == ["3/1", "3/0"]
    assert proposals("--step", "1:2", "--outcome", "correct") == ["2/1", "1/1", "1/0"]
    assert proposals("--step", "2:", "--reason", "duplicate") == ["2/0"]
    assert proposals("--solve-rate", "0.1:1") == ["1/1", "1/0"]
    assert proposals("--text", "middl", "--kind", "deduction") == ["1/1"]
    assert proposals("--prompt", "4 + 4", "--step", "0") == ["0.1/0"]
    assert proposals("--text", "nothing like that") == []
    found = inspect_json(run, "proposals", "--limit", 1)["result"]
    assert (found["total"], found["what"]) == (8, "proposals")
    entry = found["entries"][0]
    assert (entry["line"], entry["level"], entry["prompt"][0]["role"]) == (14, "hard", "user")


def test_attempts_are_chosen_by_the_solve_rate_of_their_proposal(run: Path, inspect_json: Document) -> None:
    assert ids(inspect_json(run, "attempts", "--solve-rate", "0.5")) == ["1/1:1", "1/1:0"]
    assert ids(inspect_json(run, "attempts", "--outcome", "wrong")) == ["3/0:0", "1/1:1"]
    levels = [entry["level"] for entry in inspect_json(run, "attempts")["result"]["entries"]]
    assert levels == ["hard", "medium", "medium", "medium", "easy", "easy"]


def test_text_of_a_prompt_is_found_as_it_was_written(
    make_run: MakeRun, line: Line, inspect_json: Document
) -> None:
    content = 'say "\u00e9\x1b[1m"\n\\ and go'
    run = make_run([line(1, 0, prompt=[{"role": "user", "content": content}]), line(1, 1)])
    for part in ('"\u00e9', "\x1b[1m", '"\n\\ and', content):
        assert ids(inspect_json(run, "proposals", "--prompt", part)) == ["1/0"], part


def test_rejections_are_counted_by_reason_with_the_newest_example(run: Path, inspect_json: Document) -> None:
    found = inspect_json(run, "rejections")["result"]
    assert found["responses"] == {"propose": 8, "solve": 6}
    assert found["refused"] == {"propose": 4, "solve": 2}
    of_solve = found["reasons"][-1]
    assert (of_solve["role"], of_solve["reason"], of_solve["count"]) == ("solve", "wrong-value", 2)
    assert (of_solve["share"], of_solve["example"]["id"]) == (pytest.approx(1 / 3), "3/0:0")
    assert (of_solve["first_step"], of_solve["last_step"]) == (1, 3)
    assert {one["reason"] for one in found["reasons"][:-1]} == {"duplicate", "held-out", "no-task", "surplus"}


def test_rejections_count_all_although_a_limit_shows_few(run: Path, inspect_json: Document) -> None:
    found = inspect_json(run, "rejections", "--limit", 1)["result"]
    assert found["refused"] == {"propose": 4, "solve": 2}
    assert len(found["reasons"]) == 2  # one a role


def test_level_counts_new_tasks_by_difficulty(run: Path, inspect_json: Document) -> None:
    found = inspect_json(run, "level")["result"]
    assert (found["of"], found["levels"]) == ("propose", ["easy", "medium", "hard"])
    levels = [
        [(one["level"], one["tasks"], one["share"], one["solve_rate"]) for one in stretch["levels"]]
        for stretch in found["stretches"]
    ]
    assert levels == [
        [("easy", 1, 1.0, None)],
        [("easy", 1, 0.5, 1.0), ("medium", 1, 0.5, 0.5)],
        [],
        [("hard", 2, 1.0, 0.0)],
    ]
    assert [one["proposals"] for one in found["stretches"]] == [1, 3, 2, 2]


def test_level_of_a_run_without_proposals_is_of_the_solvers_tasks(
    make_run: MakeRun, line: Line, inspect_json: Document
) -> None:
    right, wrong = {"record": HARD}, {"record": HARD, "outcome": "wrong", "reason": "wrong-value"}
    run = make_run([line(1, 0, 0, **right), line(1, 1, 0, **wrong), line(1, 2, 0, record=EASY)])
    found = inspect_json(run, "level")["result"]
    assert found["of"] == "solve"
    (stretch,) = found["stretches"]
    assert [(one["level"], one["tasks"], one["solve_rate"]) for one in stretch["levels"]] == [
        ("easy", 1, 1.0),
        ("hard", 2, 0.5),
    ]


def test_diff_has_what_changed_and_what_came_and_went(run: Path, inspect_json: Document) -> None:
    found = inspect_json(run, "diff", 1, 3)["result"]
    changes = {one["name"]: (one["before"], one["after"]) for one in found["changes"]}
    assert changes["accepted"] == (pytest.approx(2 / 3), 0.5)
    assert changes["right attempts"] == (0.75, 0.0)
    assert changes["distinct texts"] == (1.0, 0.5)
    reasons = {(one["role"], one["reason"]): (one["before"], one["after"]) for one in found["reasons"]}
    assert reasons[("solve", "wrong-value")] == (0.25, 1.0)
    assert reasons[("propose", "no-task")] == (pytest.approx(1 / 3), 0.0)
    assert [(one["level"], one["before"], one["after"]) for one in found["levels"]] == [
        ("easy", 0.5, 0.0),
        ("medium", 0.5, 0.0),
        ("hard", 0.0, 1.0),
    ]
    assert [(one["value"], one["tasks"], one["example"]) for one in found["new"]] == [("+ 4", 2, "3/1")]
    assert [one["value"] for one in found["vanished"]] == ["+ 0", "+ 1"]
    assert (found["num_new"], found["num_vanished"]) == (1, 2)


def test_diff_of_a_run_without_proposals_is_of_the_solvers_tasks(
    make_run: MakeRun, line: Line, inspect_json: Document
) -> None:
    run = make_run([line(1, 0, 0, record=EASY), line(2, 0, 0, record=HARD), line(2, 1, 0, record=MEDIUM)])
    found = inspect_json(run, "diff", 1, 2)["result"]
    levels = [(one["level"], one["before"], one["after"]) for one in found["levels"]]
    assert levels == [("easy", 1.0, 0.0), ("medium", 0.0, 0.5), ("hard", 0.0, 0.5)]
    assert [one["value"] for one in found["new"]] == ["+ 1", "+ 4"]


def test_diff_takes_stretches_and_they_may_overlap(run: Path, inspect_json: Document) -> None:
    found = inspect_json(run, "diff", "1:2", "2:3")["result"]
    assert (found["before"]["proposals"], found["after"]["proposals"]) == (5, 4)
    same = inspect_json(run, "diff", "1:3", "1:3")["result"]
    assert all(one["before"] == one["after"] for one in same["changes"])
    assert (same["new"], same["vanished"]) == ([], [])


def test_task_is_whole(run: Path, inspect_json: Document) -> None:
    found = inspect_json(run, "task", "1/1")["result"]
    assert found["proposal"]["entry"]["response"] == "middling"
    (item,) = found["proposal"]["derivation"]["items"]
    assert (item["name"], item["value"]) == ("learnability", 0.5)
    assert [one["entry"]["id"] for one in found["attempts"]] == ["1/1:0", "1/1:1"]
    assert [one["derivation"]["items"][0]["name"] for one in found["attempts"]] == ["right", "wrong"]
    # Rewards 1, 1, 1 and -0.5 have the mean 0.625 and the variance (3 * 0.375^2 + 1.125^2) / 3 = 0.5625.
    assert found["attempts"][1]["advantage"]["value"] == pytest.approx(-1.125 / 0.75)
    assert found["asked_again"] == ["2/2"]
    assert found["made_by"] is None


def test_task_of_an_attempt_shows_that_one(run: Path, inspect_json: Document) -> None:
    found = inspect_json(run, "task", "1/1:1")["result"]
    assert (found["num_attempts"], [one["entry"]["response"] for one in found["attempts"]]) == (
        2,
        ["no idea"],
    )


def test_task_of_a_solve_request_names_the_proposal_that_made_it(run: Path, inspect_json: Document) -> None:
    found = inspect_json(run, "task", "2/2")["result"]
    assert (found["proposal"], found["made_by"]) == (None, "1/1")


def test_task_of_seeding_asks_for_the_wave_where_there_are_several(
    make_run: MakeRun, line: Line, inspect: Inspect, inspect_json: Document
) -> None:
    run = make_run([line(0, 0, response="first"), line(0, 1), line(0, 0, response="second"), line(1, 0)])
    assert inspect_json(run, "task", "0.2/0")["result"]["proposal"]["entry"]["response"] == "second"
    assert inspect_json(run, "task", "0/1")["result"]["id"] == "0.1/1"
    status, _, err = inspect(run, "task", "0/0")
    assert status == 2
    assert err == "error: 0/0 is in several waves of seeding; say which: 0.1/0, 0.2/0\n"


def test_a_run_without_alarms_says_so(make_run: MakeRun, line: Line, inspect: Inspect) -> None:
    _, out, _ = inspect(make_run([line(1, 0)]), "alarms")
    assert out == "no alarms in this ledger\n"


def test_alarms_are_listed_and_told_of(
    make_run: MakeRun, line: Line, inspect: Inspect, inspect_json: Document
) -> None:
    def alarm(step: int, value: float) -> dict[str, Any]:
        words = {"sentence": f"{value:.0%} of the proposals are duplicates", "action": "warn"}
        return {
            "step": step,
            "role": "alarm",
            "alarm": "duplicates",
            "value": value,
            "threshold": 0.9,
        } | words

    run = make_run([line(1, 0), alarm(1, 0.91), line(2, 0), alarm(2, 0.97)])
    found = inspect_json(run, "alarms")["result"]
    assert [(one["step"], one["value"]) for one in found["alarms"]] == [(2, 0.97), (1, 0.91)]
    assert inspect_json(run, "alarms", "--step", 1)["result"]["total"] == 1
    _, out, _ = inspect(run)
    assert "alarms: 2; the last, duplicates at step 2: 97% of the proposals are duplicates" in out
    # They are no responses.
    assert inspect_json(run)["result"]["responses"] == 2
