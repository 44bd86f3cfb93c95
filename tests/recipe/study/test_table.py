"""What a study's tables and its page say of made-up runs, by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from recipe.run.evaluations import Evaluation
from recipe.selfplay.intervals import Interval
from recipe.study.report import page, verdict
from recipe.study.table import (
    FRONTIER,
    Comparison,
    accuracies,
    arms_csv,
    compare,
    comparisons_csv,
    groups_of,
    headline,
    mark_frontier,
    proposals_csv,
    proposals_of,
    results_csv,
    steps_csv,
)


def test_results_by_hand(make) -> None:
    # Of four tasks one is missing: 2 of 3; the hard ones 1 of 1, the rare one has none.
    run = make("self_play", 1, {0: "10-1"}, sampled=(4, 2, None, 1))
    assert results_csv([run]).splitlines() == [
        "arm,seed,step,group,n,greedy,mean_at_k,well_formed",
        "self_play,1,0,all,3,0.6667,0.5833,0.6667",
        "self_play,1,0,easy,2,0.5000,0.7500,0.5000",
        "self_play,1,0,hard,1,1.0000,0.2500,1.0000",
        "self_play,1,0,rare,0,,,",
    ]


def test_groups_stand_in_the_order_of_their_numbers() -> None:
    groups = ("len-10+b", "len-9+a", "len-9+b")
    assert groups_of(Evaluation(0, "d", groups, "111", 0, (None,) * 3, "111")) == [
        "all",
        "a",
        "b",
        "len-9",
        "len-10",
    ]


def test_steps_by_hand(make) -> None:
    runs = [make("self_play", 1, {0: "1111"}, attempts=[36]), make("base_answers", 1, {0: "1111"})]
    assert steps_csv(runs).splitlines() == [
        "arm,seed,step,proposals,accepted,duplicates,attempts,learnable,level,proposer_reward,seconds",
        "self_play,1,1,8,6,1,36,0.5,1.5,0.25,3.0",
    ]


def test_comparison_by_hand(make) -> None:
    """Seeds 1 and 2 are shared. By task self-play less the arm is, with its mean over both,

        seed 1: +1  0  0 +1     seed 2: +1 +1  0 -1     mean: 1  0.5  0  0

    so 1.5 / 4 = 37.5 points. By seed it is 0.5 and 0.25: the mean 0.375, s = 0.25 / sqrt(2), and t of one
    degree of freedom 12.7062, so 0.375 -+ 12.7062 * 0.125 = -1.2133 and 1.9633.
    """
    runs = [
        make("self_play", 1, {0: "0000", 9: "1111"}),
        make("self_play", 2, {9: "1110"}),
        make("self_play", 3, {9: "0000"}),
        make("random", 1, {9: "0110"}),
        make("random", 2, {9: "0011"}),
    ]
    everything, easy, *_ = compare(runs)
    assert (everything.group, everything.difference, everything.num_seeds) == ("all", 0.375, 2)
    assert everything.seeds == pytest.approx((-1.21328, 1.96328), abs=1e-5)
    assert 0 <= everything.tasks.low < 0.375 < everything.tasks.high <= 1
    assert (easy.group, easy.difference) == ("easy", 0.75)


def test_what_is_missing_on_one_side_is_in_no_pair(make) -> None:
    runs = [make("self_play", 1, {9: "1-11"}), make("random", 1, {9: "01-1"})]
    everything, *_ = compare(runs)
    assert (everything.difference, everything.seeds) == (0.5, None)  # of the first and the last task


def test_an_evaluation_alone_is_compared_as_it_is(make) -> None:
    runs = [make("self_play", 1, {0: "0000", 9: "1111"}), make("base_answers", 1, {0: "0000"})]
    assert [one.difference for one in compare(runs) if one.group == "all"] == [1.0]


def test_mean_at_k_decides_where_all_have_it(make) -> None:
    ours = make("self_play", 1, {9: "0000"}, sampled=(4, 4, 4, 4))
    theirs = make("random", 1, {9: "1111"}, sampled=(1, 1, 1, 1))
    assert headline(compare([ours, theirs])) == "mean@k"
    assert "beats random** (mean@k)" in verdict(compare([ours, theirs]))
    without = [ours, theirs, make("seeds_only", 1, {9: "1111"})]
    assert headline(compare(without)) == "greedy"


def test_accuracy_of_an_arm_by_hand(make) -> None:
    """Easy: 1 and 2 of 2 after, 75 % -+ 12.7062 * 0.25; 0 and 1 of 2 before. Without one: 1 of 3."""
    runs = [
        make("random", 1, {0: "0010", 9: "0110"}),
        make("random", 2, {0: "0110", 9: "1110"}),
        make("base_answers", 1, {0: "10-0"}),
    ]
    rows = arms_csv(accuracies(runs)).splitlines()
    assert rows[0] == "arm,metric,group,num_seeds,base,after,seeds_low,seeds_high"
    assert "random,greedy,easy,2,25.0,75.0,-242.7,392.7" in rows
    assert "base_answers,greedy,all,1,,33.3,," in rows
    assert not [row for row in rows if row.startswith("base_answers,greedy,rare")]  # none of its tasks came


def test_proposals_by_hand(make) -> None:
    """Of seven steps the first and the last five; what nothing was measured of is left out of a mean.

    The last step accepts 1 task of level 7, the others 6: (6 * (4 + 5 + 6) + 7) / 19 = 5.11 in the end.
    """
    run = make("self_play", 1, {9: "1111"}, attempts=[1] * 7)
    levels = [1.0, 2.0, None, 4.0, 5.0, 6.0, 7.0]  # at first 12 / 4 = 3
    steps = [replace(step, level=level) for step, level in zip(run.steps, levels, strict=True)]
    steps[-1] = replace(steps[-1], accepted=1)
    without = replace(
        make("seeds_only", 1, {9: "1111"}, attempts=[1]), steps=(replace(steps[0], proposals=0),)
    )
    rows = proposals_csv(proposals_of([replace(run, steps=tuple(steps)), without])).splitlines()
    assert rows == [
        "arm,num_seeds,level_first,level_last,learnable_first,learnable_last,reward_first,reward_last",
        "self_play,1,3.00,5.11,50.0,50.0,0.25,0.25",
    ]


def compared(arm: str, tasks: tuple[float, float], seeds: tuple[float, float] | None) -> Comparison:
    over_seeds = None if seeds is None else Interval(*seeds)
    return Comparison(arm, "greedy", "all", sum(tasks) / 2, Interval(*tasks), over_seeds, 3)


def test_verdict_needs_every_interval_on_one_side() -> None:
    found = [
        compared("a", (0.1, 0.3), (0.05, 0.4)),
        compared("b", (0.1, 0.3), (-0.05, 0.4)),  # other runs may say otherwise
        compared("c", (-0.1, 0.3), (0.05, 0.4)),  # other tasks may
        compared("d", (-0.3, -0.1), (-0.4, -0.05)),
        compared("e", (0.0, 0.3), (0.1, 0.2)),
    ]
    said = "**All held-out tasks: self-play beats a; ties with b, c, e; loses to d** (greedy)."
    assert verdict(found).startswith(said)
    assert "one seed" not in verdict(found)


def test_frontier_is_the_strata_that_the_base_model_solves_now_and_then(make) -> None:
    """Sampled, of 4: easy (4 + 3) / 8 = 0.88, hard+rare 1 / 4, hard 0. After training hard is solved."""
    ours = make("self_play", 1, {0: "1100", 9: "1111"}, sampled=(4, 3, 1, 0))
    runs = mark_frontier([ours, make("random", 1, {9: "1101"}, sampled=(4, 4, 3, 2))])
    groups = [evaluation.groups for run in runs for evaluation in run.evaluations]
    assert groups == [("easy", "easy", "hard+rare+frontier", "hard")] * 3
    (found,) = [one for one in compare(runs) if (one.group, one.metric) == (FRONTIER, "mean@k")]
    assert found.difference == pytest.approx(1 / 4 - 3 / 4)
    page_of_it = page(runs, compare(runs), {})
    assert "## Tasks that the base model solves 1 to 70 % of the time" in page_of_it
    assert page_of_it.index(verdict(compare(runs), FRONTIER)) < page_of_it.index(verdict(compare(runs)))


def test_without_a_base_model_there_is_no_frontier(make) -> None:
    runs = [make("self_play", 1, {9: "1110"}), make("random", 1, {0: "1000", 9: "1110"})]
    assert mark_frontier(runs) == runs
    assert "## Tasks that the base" not in page(runs, compare(runs), {})


def test_one_seed_is_said() -> None:
    one = compared("a", (0.1, 0.3), None)
    assert "Every arm has one seed: nothing" in verdict([one])
    assert "Of a there is one seed: nothing" in verdict([one, compared("b", (0.1, 0.3), (0.1, 0.3))])


def test_page_by_hand(make) -> None:
    """0.75 in both seeds less 0.5 and 0.25: 0.375 -+ 12.7062 * 0.125. 30 and 40 attempts a step of 40."""
    runs = [
        make("random", 1, {9: "1100"}, attempts=[30, 30]),
        make("random", 2, {9: "0100"}, attempts=[40, 40]),
        make("self_play", 1, {0: "1000", 9: "1110"}, attempts=[40, 40]),
        make("self_play", 2, {0: "1000", 9: "1110"}, attempts=[40, 40]),
        make("base_answers", 1, {0: "1110"}),
    ]
    comparisons = compare(runs)
    tasks = comparisons[0].tasks
    lines = page(runs, comparisons, {"curves.svg": "Curves"}).splitlines()
    assert lines[:3] == ["# Study of demo", "", verdict(comparisons)]
    assert [line for line in lines if line.startswith(("|", "!", "Commit", "python"))] == [
        "| arm | seeds | greedy: base | after | self-play less the arm | attempts a step |",
        "| --- | --- | --- | --- | --- | --- |",
        "| self_play | 2 | 25.0 % | 75.0 % [75.0, 75.0] | - | 40.0 |",
        f"| random | 2 | - | 37.5 % [-121.3, 196.3] | +37.5 [{100 * tasks.low:+.1f}, "
        f"{100 * tasks.high:+.1f}] [-121.3, +196.3] | 35.0 (0.88 !) |",
        "| base_answers | 1 | - | 75.0 % | +0.0 [+0.0, +0.0] | - |",
        "! Not the attempts a step of self-play, by more than 2 %: random (0.88 times). Such a difference "
        "may be one of the amount of training.",
        "| arm | level of accepted tasks | solved sometimes | proposer's reward |",
        "| --- | --- | --- | --- |",
        "| self_play | 1.50 to 1.50 | 50.0 % to 50.0 % | 0.25 to 0.25 |",
        "| random | 1.50 to 1.50 | 50.0 % to 50.0 % | 0.25 to 0.25 |",
        "![Curves](curves.svg)",
        "python -m recipe.study experiment=demo 'arms=[self_play,random,base_answers]' 'seeds=[1,2]' "
        "azr.oversample=2 base_answers:a=1",
        "Commit: c0ffee. Machine: 2 cores of EPYC, 15.6 GiB, no GPU. Runs: 5, 2.5 hours in all.",
    ]


def test_comparisons_are_written_in_points() -> None:
    rows = comparisons_csv([compared("a", (0.125, 0.375), None), compared("b", (0.0, 0.5), (0.25, 0.75))])
    assert rows.splitlines() == [
        "arm,metric,group,self_play_less_arm,tasks_low,tasks_high,seeds_low,seeds_high,num_seeds",
        "a,greedy,all,25.0,12.5,37.5,,,3",
        "b,greedy,all,25.0,0.0,50.0,25.0,75.0,3",
    ]
