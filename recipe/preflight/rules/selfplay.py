"""Self-play: keys of `azr`, of the estimator and of sampling that have to go together."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from recipe.config import samples_whole_distribution
from recipe.preflight.rules.keys import GROUP_ESTIMATORS, ROLLOUT
from recipe.preflight.rules.register import rule
from recipe.preflight.setup import Setup
from recipe.selfplay.config import SolveOn
from recipe.selfplay.credit import Baseline, Cells, Scale
from recipe.selfplay.plan import StepPlan


@rule()
def counts(setup: Setup) -> Iterator[str]:
    """Replay and a choice among proposals need proposals; the buffer holds what the first step draws."""
    azr, target = setup.config.azr, setup.config.azr.seeding.target
    if azr.oversample > 1 and not azr.propose:
        yield f"azr.oversample must be at least 1, and 1 with azr.propose=false; got {azr.oversample}"
    draws = {f"solve_on={azr.solve_on}": azr.solve_on != SolveOn.ATTEMPTS, "propose=false": not azr.propose}
    for setting in (name for name, holds in draws.items() if holds and azr.replay_per_kind):
        reason = f"with azr.{setting}, which draws from the buffer anyway"
        yield f"azr.replay_per_kind must be 0 {reason}; got {azr.replay_per_kind}"
    if target > azr.buffer_capacity:
        yield f"azr.seeding.target must not exceed azr.buffer_capacity={azr.buffer_capacity}; got {target}"
    # The first step draws so many records of a kind, to replay or in place of fresh ones.
    needs = "replay_per_kind" if _trains_attempts(azr) else "proposals_per_kind"
    if target < azr[needs]:
        yield (
            f"azr.seeding.target must be at least azr.{needs}={azr[needs]} with azr.solve_on={azr.solve_on} "
            f"and azr.propose={str(azr.propose).lower()}, or the first step has too few records; got {target}"
        )


@rule()
def groups(setup: Setup) -> Iterator[str]:
    """Estimators and cells that compare attempts need several attempts at one record in one step."""
    azr, algorithm = setup.config.azr, setup.config.algorithm
    trr, has_groups = algorithm.trr, _trains_attempts(azr)
    if algorithm.adv_estimator in GROUP_ESTIMATORS and not has_groups:
        yield (
            f"algorithm.adv_estimator={algorithm.adv_estimator} compares the attempts at a proposed record: "
            f"it needs azr.solve_on=attempts and azr.propose=true; got {azr.solve_on} and {azr.propose}"
        )
    if trr.cells == Cells.RECORD and not (has_groups and azr.replay_per_kind == 0):
        yield (
            "algorithm.trr.cells=record compares the attempts at a proposed record: it needs azr.solve_on="
            "attempts, azr.propose=true and azr.replay_per_kind=0, since a replayed record has one attempt; "
            f"got {azr.solve_on}, {azr.propose} and {azr.replay_per_kind}"
        )
    # A cell of equal rewards may be far from its running mean, and has no deviation to be divided by.
    if trr.baseline == Baseline.RUNNING_MEAN and (trr.scale != Scale.NONE or trr.cells == Cells.RECORD):
        yield (
            "algorithm.trr.baseline=running-mean needs algorithm.trr.scale=none, and cells that come again "
            f"in the next step, which those of record do not; got scale {trr.scale} and cells {trr.cells}"
        )


@rule()
def stop_strings(setup: Setup) -> Iterator[str]:
    """Every response has ended with an empty string; and a shell passes a backslash on as one."""
    for mark in setup.config.azr.stop_strings or ():
        if not mark.replace(r"\n", ""):
            wanted = "strings that are not empty, with a line's end as itself: $'azr.stop_strings=[\"\\n\"]'"
            yield f"azr.stop_strings must be {wanted}; got {mark!r}"


@rule(applies=lambda config: config.algorithm.rollout_correction.bypass_mode)
def bypass(setup: Setup) -> Iterator[str]:
    """The update that begins from the log-probabilities of sampling needs all of them, and has no others."""
    correction = setup.config.algorithm.rollout_correction
    if not samples_whole_distribution(setup.config):
        wanted = f"{ROLLOUT}.calculate_log_probs=true, top_p=1, top_k=-1 and logprobs_mode=processed_logprobs"
        why = "or they are of another distribution than the trainer's"
        yield f"algorithm.rollout_correction.bypass_mode=true needs {wanted}, {why}; give false"
    for name in (name for name in ("rollout_is", "rollout_rs") if correction[name] is not None):
        why = "verl 0.9.1 leaves it out with bypass_mode=true"
        yield f"algorithm.rollout_correction.{name} must be null: {why}; got {correction[name]!r}"


def _trains_attempts(azr: Any) -> bool:
    """Whether attempts at proposals are trained on; of no pack, and so of no number of kinds."""
    return StepPlan.of(azr, num_kinds=1).trains_attempts
