"""Self-play: keys of `azr`, of the estimator and of sampling that have to go together."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict

from recipe.config import samples_whole_distribution
from recipe.preflight.rules.keys import GROUP_ESTIMATORS, ROLLOUT
from recipe.preflight.rules.register import rule
from recipe.preflight.setup import Setup
from recipe.selfplay.alarms import NAMES
from recipe.selfplay.config import ElicitConfig, SolveOn, TaskSource
from recipe.selfplay.credit import Baseline, Cells, Scale
from recipe.selfplay.plan import StepPlan


@rule()
def counts(setup: Setup) -> Iterator[str]:
    """Replay and a choice among proposals need proposals; the buffer holds what the first step draws."""
    azr, target = setup.config.azr, setup.config.azr.seeding.target
    proposes = azr.tasks == TaskSource.PROPOSALS
    if azr.oversample > 1 and not proposes:
        yield f"azr.oversample must be at least 1, and 1 with azr.tasks={azr.tasks}; got {azr.oversample}"
    draws = {f"solve_on={azr.solve_on}": azr.solve_on != SolveOn.ATTEMPTS, f"tasks={azr.tasks}": not proposes}
    for setting in (name for name, holds in draws.items() if holds and azr.replay_per_kind):
        reason = f"with azr.{setting}, which draws tasks anyway"
        yield f"azr.replay_per_kind must be 0 {reason}; got {azr.replay_per_kind}"
    if target is None and azr.tasks != TaskSource.BASE_PROPOSALS:
        yield f"azr.seeding.target must be a number with azr.tasks={azr.tasks}; got null"
    target = setup.filled.azr.seeding.target
    if target > azr.buffer_capacity:
        yield f"azr.seeding.target must not exceed azr.buffer_capacity={azr.buffer_capacity}; got {target}"
    # The first step draws so many records of a kind, to replay or in place of fresh ones.
    plan = setup.plan
    needs = "replay_per_kind" if plan.trains_attempts else "proposals_per_kind"
    if target < azr[needs] and not plan.source.is_drawn:
        yield (
            f"azr.seeding.target must be at least azr.{needs}={azr[needs]} with azr.solve_on={azr.solve_on} "
            f"and azr.tasks={azr.tasks}, or the first step has too few records; got {target}"
        )


@rule(applies=lambda config: config.azr.tasks in tuple(TaskSource) and TaskSource(config.azr.tasks).is_drawn)
def drawn_tasks(setup: Setup) -> Iterator[str]:
    """A rule that chooses among levels needs some; and the pack draws tasks whole, or not at all."""
    tasks, pack = setup.config.azr.tasks, setup.pack
    if pack.resolves:
        yield f"azr.tasks={tasks} needs a pack that draws whole tasks; attempts decide those of {pack.name}"
    for spec in pack.kinds:
        if tasks != TaskSource.GENERATOR and len(pack.levels(spec.name)) < 2:
            yield (
                f"azr.tasks={tasks} chooses among levels of difficulty; the pack {pack.name} has fewer than "
                f"two of {spec.name}. Give azr.tasks=generator, which does without"
            )


@rule()
def groups(setup: Setup) -> Iterator[str]:
    """Estimators and cells that compare attempts need several attempts at one record in one step."""
    azr, algorithm = setup.config.azr, setup.config.algorithm
    # Of no pack, and so of no number of kinds
    trr, has_groups = algorithm.trr, StepPlan.of(azr, num_kinds=1).has_groups
    if algorithm.adv_estimator in GROUP_ESTIMATORS and not has_groups:
        yield (
            f"algorithm.adv_estimator={algorithm.adv_estimator} compares the attempts at a record: it needs "
            f"azr.solve_on=attempts and azr.attempts_per_record above 1; got {azr.solve_on} and "
            f"{azr.attempts_per_record}"
        )
    if trr.cells == Cells.RECORD and not (has_groups and azr.replay_per_kind == 0):
        yield (
            "algorithm.trr.cells=record compares the attempts at a record: it needs azr.solve_on=attempts, "
            "azr.attempts_per_record above 1 and azr.replay_per_kind=0, since a replayed record has one "
            f"attempt; got {azr.solve_on}, {azr.attempts_per_record} and {azr.replay_per_kind}"
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


@rule()
def evaluation(setup: Setup) -> Iterator[str]:
    """What is elicited is no result of a training run; and verl evaluates alone by two keys."""
    trainer, elicit = setup.config.trainer, setup.config.azr.elicit
    if trainer.val_only and not trainer.val_before_train:
        yield "trainer.val_only=true needs trainer.val_before_train=true, or verl trains; got false"
    if elicit.beginning is None:
        be = "what control=base_forced has answers begin with: 'elicit_beginning=\"(\"', say"
        yield f"elicit_beginning must be {be}; got null"
    elif not trainer.val_only and elicit != (nothing := asdict(ElicitConfig())):
        name = next(name for name in nothing if elicit[name] != nothing[name])
        why = "an evaluation in which answers are elicited says nothing of a training run"
        yield f"azr.elicit.{name} needs trainer.val_only=true: {why}; got {elicit[name]!r} and false"


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


@rule()
def stopping_alarms(setup: Setup) -> Iterator[str]:
    """What ends the run is an alarm, and one that can begin."""
    found = setup.config.azr.alarms
    for name in found.stop:
        if name not in NAMES:
            yield f"azr.alarms.stop must be some of {', '.join(NAMES)}; got {name!r}"
        elif found[name] is None:
            yield f"azr.alarms.stop names {name}, which azr.alarms.{name}=null turns off; give it a threshold"


@rule(applies=lambda config: config.azr.keep_best)
def best_checkpoint(setup: Setup) -> Iterator[str]:
    """There are checkpoints to choose from, of steps that are evaluated."""
    trainer = setup.config.trainer
    if trainer.save_freq <= 0 or trainer.test_freq <= 0:
        got = f"trainer.save_freq={trainer.save_freq} and trainer.test_freq={trainer.test_freq}"
        yield f"azr.keep_best=true needs checkpoints and evaluations; got {got}"
    elif math.lcm(trainer.save_freq, trainer.test_freq) >= trainer.total_training_steps:
        yield (
            "azr.keep_best=true needs a step before the last with both a checkpoint and an evaluation; with "
            f"trainer.save_freq={trainer.save_freq}, trainer.test_freq={trainer.test_freq} and "
            f"trainer.total_training_steps={trainer.total_training_steps} there is none"
        )
