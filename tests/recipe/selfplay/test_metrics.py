"""Metrics by hand, and under the name of their own cell only."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from recipe.selfplay import metrics
from recipe.selfplay.config import AzrConfig, FailureConfig
from recipe.selfplay.credit import make_uid
from recipe.selfplay.curriculum import SelfPlay
from recipe.selfplay.types import Attempt, LedgerLine, Proposal, Refusal, Response
from rewards.profile import load_profile
from tasks.arithmetic import ArithmeticPack
from tasks.contract import Outcome, Rejected, Role

ROOT = Path(__file__).parents[3]
KINDS = ("deduction", "abduction")
EVALUATED = {
    f"azr/held_out/all/{name}": value
    for name, value in zip(metrics.INTERVAL_FIELDS, (0.375, 0.137, 0.694, 8.0, 1.0), strict=True)
}
RIGHT, WRONG, MALFORMED = Outcome.CORRECT, Outcome.WRONG, Outcome.MALFORMED


def line(
    role: Role,
    kind: str,
    outcome: Outcome,
    reason: str = "",
    *,
    solve_rate: float | None = None,
    reward: float | None = None,
) -> LedgerLine:
    attempt = None if role is Role.PROPOSE else 0
    cell = f"{role}/{kind}"
    return LedgerLine(1, role, kind, cell, 0, attempt, [], "", outcome, reason, solve_rate, reward, None)


def proposals(kind: str) -> list[LedgerLine]:
    """Three accepted of five: solved 0, 1 and 2 times of 2."""
    return [
        line(Role.PROPOSE, kind, RIGHT, solve_rate=0.0, reward=0.0),
        line(Role.PROPOSE, kind, RIGHT, solve_rate=0.5, reward=0.5),
        line(Role.PROPOSE, kind, RIGHT, solve_rate=1.0, reward=0.0),
        line(Role.PROPOSE, kind, WRONG, Refusal.DUPLICATE, reward=-0.5),
        line(Role.PROPOSE, kind, MALFORMED, "no-task", reward=-1.0),
    ]


def attempts(kind: str) -> list[LedgerLine]:
    """One right of four; the last one is not trained on."""
    return [
        line(Role.SOLVE, kind, RIGHT, reward=1.0),
        line(Role.SOLVE, kind, WRONG, "wrong-value", reward=-0.5),
        line(Role.SOLVE, kind, MALFORMED, "no-answer", reward=-1.0),
        line(Role.SOLVE, kind, MALFORMED, "no-answer"),
    ]


PROPOSAL_NUMBERS = {
    "num_responses": 5.0,
    "acceptance_rate": 3 / 5,
    "format_rate": 4 / 5,
    "duplicate_rate": 1 / 5,
    "reason/duplicate": 1 / 5,
    "reason/no-task": 1 / 5,
    "reward": (0.0 + 0.5 + 0.0 - 0.5 - 1.0) / 5,
    "solve_rate": (0.0 + 0.5 + 1.0) / 3,
    "solve_rate_histogram/0_of_2": 1 / 3,
    "solve_rate_histogram/1_of_2": 1 / 3,
    "solve_rate_histogram/2_of_2": 1 / 3,
}
ATTEMPT_NUMBERS = {
    "num_responses": 4.0,
    "accuracy": 1 / 4,
    "format_rate": 2 / 4,
    "reason/no-answer": 2 / 4,
    "reason/wrong-value": 1 / 4,
    "reward": (1.0 - 0.5 - 1.0) / 3,
}


def named(prefix: str, numbers: dict[str, float]) -> dict[str, float]:
    return {f"{prefix}/{name}": number for name, number in numbers.items()}


@pytest.mark.parametrize("kind", KINDS)
def test_proposals_show_under_their_kind_and_in_all(kind: str) -> None:
    # The rows of all kinds: without what is about accepted tasks.
    of_all = {
        name: number
        for name, number in PROPOSAL_NUMBERS.items()
        if not name.startswith(("solve_rate", "duplicate_rate"))
    }
    found = metrics.step_metrics(proposals(kind), KINDS, num_attempts=2)
    expected = named(f"azr/propose/{kind}", PROPOSAL_NUMBERS) | named("azr/propose/all", of_all)
    assert found == pytest.approx(expected)


@pytest.mark.parametrize("kind", KINDS)
def test_attempts_show_under_their_kind_only(kind: str) -> None:
    found = metrics.step_metrics(attempts(kind), KINDS, num_attempts=2)
    assert found == pytest.approx(named(f"azr/solve/{kind}", ATTEMPT_NUMBERS))


def test_numbers_of_one_cell_do_not_move_with_another() -> None:
    lines = proposals("deduction") + attempts("abduction")
    alone = metrics.step_metrics(lines, KINDS, num_attempts=2)
    both = metrics.step_metrics(lines + attempts("deduction") + proposals("abduction"), KINDS, num_attempts=2)
    for name, number in alone.items():
        if not name.startswith("azr/propose/all/num_responses"):
            assert both[name] == pytest.approx(number), name
    assert both["azr/propose/all/num_responses"] == 10.0


def test_all_kinds_weigh_by_their_responses() -> None:
    # 3 of 5 accepted in one kind, 1 of 1 in the other: 4 of 6, and not the mean of 0.6 and 1.
    lines = [*proposals("deduction"), line(Role.PROPOSE, "abduction", RIGHT, solve_rate=0.5, reward=0.5)]
    found = metrics.step_metrics(lines, KINDS, num_attempts=2)
    assert found["azr/propose/all/acceptance_rate"] == pytest.approx(4 / 6)


def test_step_without_lines_has_no_numbers() -> None:
    assert metrics.step_metrics([], KINDS, num_attempts=2) == {}


def test_refused_proposals_have_no_solve_rate() -> None:
    lines = [line(Role.PROPOSE, "deduction", WRONG, Refusal.DUPLICATE, reward=-0.5)]
    found = metrics.step_metrics(lines, KINDS, num_attempts=2)
    assert not [name for name in found if "solve_rate" in name]


def test_valid_tasks_that_are_not_wanted_count_by_their_own_name_and_for_nothing_else() -> None:
    # 1 accepted, 1 surplus, 2 held out, 1 malformed; of the rewards two, 0.5 and -1.
    lines = [
        line(Role.PROPOSE, "deduction", RIGHT, solve_rate=0.5, reward=0.5),
        line(Role.PROPOSE, "deduction", RIGHT, Refusal.SURPLUS),
        line(Role.PROPOSE, "deduction", RIGHT, Refusal.HELD_OUT),
        line(Role.PROPOSE, "deduction", RIGHT, Refusal.HELD_OUT),
        line(Role.PROPOSE, "deduction", MALFORMED, "no-task", reward=-1.0),
    ]
    found = metrics.step_metrics(lines, KINDS, num_attempts=2)
    for of in ("deduction", "all"):
        assert found[f"azr/propose/{of}/reason/held-out"] == pytest.approx(2 / 5)
        assert found[f"azr/propose/{of}/reason/surplus"] == pytest.approx(1 / 5)
        assert found[f"azr/propose/{of}/acceptance_rate"] == pytest.approx(1 / 5)
        assert found[f"azr/propose/{of}/reward"] == pytest.approx(-0.25)
    assert found["azr/propose/deduction/duplicate_rate"] == 0.0
    assert found["azr/propose/deduction/solve_rate"] == 0.5


def test_untrained_responses_have_no_reward() -> None:
    found = metrics.step_metrics([line(Role.SOLVE, "deduction", RIGHT)], KINDS, num_attempts=2)
    assert "azr/solve/deduction/reward" not in found


@pytest.mark.parametrize("num_attempts", [1, 6, 8])
def test_histogram_counts_records_by_right_attempts(num_attempts: int) -> None:
    # One record for each number of right attempts, and one more that was always solved.
    rates = [right / num_attempts for right in range(num_attempts + 1)] + [1.0]
    lines = [line(Role.PROPOSE, "deduction", RIGHT, solve_rate=rate, reward=0.0) for rate in rates]
    found = metrics.step_metrics(lines, KINDS, num_attempts)
    prefix = "azr/propose/deduction/solve_rate_histogram/"
    shares = {name.removeprefix(prefix): share for name, share in found.items() if name.startswith(prefix)}
    expected = {f"{right}_of_{num_attempts}": 1 / len(rates) for right in range(num_attempts)}
    assert shares == pytest.approx(expected | {f"{num_attempts}_of_{num_attempts}": 2 / len(rates)})


def test_row_means_are_by_role_and_kind() -> None:
    origins = [("solve", "deduction", "easy"), ("propose", "deduction"), ("solve", "deduction")]
    uids = [make_uid(*origin) for origin in origins]
    assert metrics.row_means("response_tokens", uids, [1.0, 5.0, 2.0]) == {
        "azr/propose/deduction/response_tokens": 5.0,
        "azr/solve/deduction/response_tokens": 1.5,
    }


def test_row_means_need_a_value_for_every_row() -> None:
    with pytest.raises(ValueError):
        metrics.row_means("response_tokens", [make_uid("solve", "deduction")], [1.0, 2.0])


@pytest.mark.parametrize("kind", ["deduction", "abduction", "induction"])
@pytest.mark.parametrize("role", Role)
def test_step_of_one_role_and_kind_shows_under_its_name_and_no_other(
    arithmetic: ArithmeticPack, role: Role, kind: str
) -> None:
    # From the requests on, as the trainer goes: all others got no response.
    azr = AzrConfig(solve_on="previous", proposals_per_kind=3, failures=FailureConfig(max_share=0.99))
    selfplay = SelfPlay(arithmetic, load_profile("paper"), azr)
    requests = selfplay.begin_step(1)
    refused = Proposal.rejected(Response("no"), Rejected.malformed("no-task"))
    result = refused if role is Role.PROPOSE else Attempt(Response("7"), WRONG, "wrong-value")
    asked = [request for request in requests if (request.role, request.kind) == (role, kind)]
    settlement = selfplay.settle(1, requests, {request.index: result for request in asked})
    uids = [priced.uid for priced in settlement.priced.values()]
    found = metrics.step_metrics(settlement.ledger, [spec.name for spec in arithmetic.kinds], num_attempts=8)
    found |= metrics.row_means("advantage_magnitude", uids, [0.5] * len(uids))
    numbers = {"num_responses": 3.0, "format_rate": 0.0, "reason/no-task": 1.0, "reward": -1.0}
    numbers |= {"acceptance_rate": 0.0}
    if role is Role.SOLVE:
        numbers = {"num_responses": 3.0, "format_rate": 1.0, "reason/wrong-value": 1.0, "reward": -0.5}
        numbers |= {"accuracy": 0.0}
    of_all = named("azr/propose/all", numbers) if role is Role.PROPOSE else {}
    numbers |= {"duplicate_rate": 0.0} if role is Role.PROPOSE else {}
    assert found == named(f"azr/{role}/{kind}", numbers | {"advantage_magnitude": 0.5}) | of_all


@pytest.mark.parametrize("kind", ["deduction", "abduction", "induction"])
def test_evaluation_and_buffer_of_one_kind_show_under_its_name_and_no_other(kind: str) -> None:
    assert metrics.buffer_metrics({kind: 3}) == {f"azr/propose/{kind}/buffer_size": 3.0}
    found = metrics.held_out_metrics([kind, kind], [1.0, 0.0], [1.0, 1.0])
    names = {name.rpartition("/")[0] for name in found if name != "azr/failed_held_out_items"}
    assert names == {f"azr/held_out/{kind}", "azr/held_out/all"}


def test_buffer_sizes_are_the_proposers() -> None:
    found = metrics.buffer_metrics({"deduction": 3, "abduction": 4})
    assert found == {"azr/propose/deduction/buffer_size": 3.0, "azr/propose/abduction/buffer_size": 4.0}


def test_exhausted_is_by_kind_and_difficulty_or_in_all() -> None:
    shares = {("deduction", "hard"): 0.25, ("abduction", ""): 1.0}
    assert metrics.buffer_metrics({"deduction": 3}, shares) == {
        "azr/propose/deduction/buffer_size": 3.0,
        "azr/propose/deduction/exhausted/hard": 0.25,
        "azr/propose/abduction/exhausted/all": 1.0,
    }


def test_dropped_references_are_counted_by_kind() -> None:
    assert metrics.prompt_metrics(Counter(deduction=3), KINDS) == {
        "azr/propose/deduction/dropped_references": 3.0,
        "azr/propose/abduction/dropped_references": 0.0,
    }


def test_overhead_is_what_no_work_phase_took() -> None:
    # 10 s with a checkpoint of 2 s: 8 s, of which 4 + 1 + 2 = 7 s are work; 1/8 is left.
    timing = {
        "step": 10.0,
        "save_checkpoint": 2.0,
        "gen": 4.0,
        "old_log_prob": 1.0,
        "update_actor": 2.0,
        "settle": 0.5,
    }
    found = metrics.time_metrics(timing, waited_s=0.0)
    assert found["azr/time/overhead_share"] == pytest.approx(1 / 8)
    # Half a second of four in which nothing but checks was under way.
    assert metrics.time_metrics({"step": 4.0, "gen": 4.0}, waited_s=0.5) == {
        "azr/time/overhead_share": 0.0,
        "azr/time/check_s": 0.5,
        "azr/time/check_share": 0.125,
    }


def test_held_out_accuracy_has_its_wilson_interval() -> None:
    # 1 of 2 right. Wilson, z2 = 1.96^2 = 3.8415: center (0.5 + z2 / 4) / (1 + z2 / 2) = 0.5 and half width
    # 1.96 * sqrt(0.25 / 2 + z2 / 16) / (1 + z2 / 2) = 1.96 * 0.60391 / 2.92073 = 0.40547.
    found = metrics.held_out_metrics(["deduction", "deduction"], [1.0, 0.0], [1.0, 1.0])
    numbers = {"accuracy": 0.5, "low": 0.09453, "high": 0.90547, "n": 2.0, "format_rate": 1.0}
    expected = named("azr/held_out/all", numbers) | named("azr/held_out/deduction", numbers)
    assert found == pytest.approx(expected | {"azr/failed_held_out_items": 0.0}, abs=1e-5)


def test_held_out_numbers_are_by_kind_and_in_all() -> None:
    kinds = ["b", "a", "b", "b"]
    found = metrics.held_out_metrics(kinds, [1.0, 0.0, 0.0, 1.0], [1.0, 0.0, 1.0, 1.0])
    shares = {name: found[f"azr/held_out/{name}/accuracy"] for name in ("all", "a", "b")}
    formats = {name: found[f"azr/held_out/{name}/format_rate"] for name in ("all", "a", "b")}
    counts = {name: found[f"azr/held_out/{name}/n"] for name in ("all", "a", "b")}
    assert shares == pytest.approx({"all": 2 / 4, "a": 0.0, "b": 2 / 3})
    assert formats == pytest.approx({"all": 3 / 4, "a": 0.0, "b": 1.0})
    assert counts == {"all": 4.0, "a": 1.0, "b": 3.0}
    assert found["azr/held_out/a/low"] == 0.0
    assert 0.0 < found["azr/held_out/a/high"] < 1.0


def test_an_item_counts_in_each_of_its_groups_by_name() -> None:
    groups = ["hard+op-sum", "hard+op-product", "easy+op-sum"]
    found = metrics.held_out_metrics(groups, [1.0, 0.0, 0.0], [1.0] * 3)
    told = {name.split("/")[2]: value for name, value in found.items() if name.endswith("/accuracy")}
    assert told == pytest.approx({"all": 1 / 3, "easy": 0.0, "hard": 0.5, "op-product": 0.0, "op-sum": 0.5})


def test_sampled_attempts_are_told_beside_the_greedy_ones() -> None:
    found = metrics.held_out_metrics(["b", "a", "b"], [1.0, 0.0, 0.0], [1.0] * 3, 0, [0.5, 0.25, 1.0], 4)
    means = {name: found[f"azr/held_out/{name}/mean_at_4"] for name in ("all", "a", "b")}
    assert means == pytest.approx({"all": 1.75 / 3, "a": 0.25, "b": 0.75})
    without = metrics.held_out_metrics(["b", "a", "b"], [1.0, 0.0, 0.0], [1.0] * 3)
    assert without == {name: value for name, value in found.items() if "mean_at" not in name}


def test_names_are_spelled_in_one_place() -> None:
    spelled = {
        name
        for path in (ROOT / "recipe").rglob("*.py")
        if path.name != "metrics.py"
        for name in re.findall(r"""["'](azr/[^"']*)["']""", path.read_text(encoding="utf-8"))
    }
    assert spelled == set()


def test_numbers_that_alarms_read_are_those_that_are_written() -> None:
    shares = {("deduction", "easy"): 0.5, ("deduction", ""): 0.25}
    numbers = metrics.buffer_metrics({"deduction": 7}, shares)
    assert metrics.exhausted_of(numbers) == shares
    uids = [make_uid("propose", "deduction"), make_uid("solve", "deduction"), make_uid("solve", "deduction")]
    numbers |= metrics.row_means(metrics.TRUNCATED, uids, [1.0, 1.0, 0.0])
    assert metrics.truncated_of(numbers) == {("propose", "deduction"): 1.0, ("solve", "deduction"): 0.5}
    assert metrics.failed_held_out_of(numbers) == (0.0, 0.0)
    numbers |= metrics.held_out_metrics(["a", "a"], [1.0, 0.0], [1.0, 1.0], num_failed=3)
    assert metrics.failed_held_out_of(numbers) == (3.0, 5.0)


def test_steady_accuracy_is_that_of_samples_where_there_are_some() -> None:
    greedy = metrics.held_out_of(metrics.held_out_metrics(["a", "a"], [1.0, 0.0], [1.0, 1.0]))
    both = metrics.held_out_metrics(["a", "a"], [1.0, 0.0], [1.0, 1.0], 0, [0.75, 0.25], 4)
    sampled = metrics.held_out_of({**both, "azr/held_out/all/mean_at_4": 0.625})
    assert greedy is not None
    assert sampled is not None
    assert (metrics.steady_accuracy(greedy), metrics.steady_accuracy(sampled)) == (0.5, 0.625)


def test_alarm_that_is_on_is_so_where_it_cannot_be_judged() -> None:
    assert metrics.alarm_metrics({"length": 1.5}, ["duplicates"]) == {
        "azr/alarm/length": 1.5,
        "azr/alarm_on/length": 0.0,
        "azr/alarm_on/duplicates": 1.0,
    }


# ------------------------------ read again ------------------------------


def test_step_without_validation_has_no_held_out_result() -> None:
    assert metrics.held_out_of({"step": 3, "azr/propose/all/acceptance_rate": 0.5}) is None


@pytest.mark.parametrize(
    ("lines", "shown"),
    [
        ([{"step": 1}], {}),
        ([{"step": 0, **EVALUATED}], {"held-out": "37.5%"}),
        ([{"step": 1, metrics.ACCEPTANCE_RATE: 0.256}], {"accepted": "26%"}),
        (
            [{"step": 0, **EVALUATED}, {"step": 1, metrics.ACCEPTANCE_RATE: 1.0}],
            {"held-out": "37.5%", "accepted": "100%"},
        ),
        ([{"step": 1, metrics.ACCEPTANCE_RATE: 0.5}, {"step": 2}], {}),
        (
            [{"step": 1, **metrics.alarm_metrics({"length": 1.0, "memory": 2.0}, ["memory", "duplicates"])}],
            {"alarms": "memory,duplicates"},
        ),
    ],
)
def test_status_is_the_newest_held_out_result_and_the_last_steps_acceptance(
    lines: list[Mapping[str, Any]], shown: dict[str, str]
) -> None:
    assert metrics.status(lines) == shown


def test_status_shows_the_later_of_two_held_out_results() -> None:
    better = metrics.held_out_metrics(["a"], [1.0], [1.0])
    assert metrics.status([{"step": 0, **EVALUATED}, {"step": 9, **better}]) == {"held-out": "100.0%"}


def test_status_reads_the_name_that_step_metrics_writes() -> None:
    accepted, surplus = line(Role.PROPOSE, "a", RIGHT), line(Role.PROPOSE, "a", RIGHT, Refusal.SURPLUS)
    assert metrics.status([metrics.step_metrics([accepted], ["a"], 1)]) == {"accepted": "100%"}
    shown = metrics.status([metrics.step_metrics([accepted, surplus, surplus, surplus], ["a"], 1)])
    assert shown == {"accepted": "25%", "surplus": "75%"}
