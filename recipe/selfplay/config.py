"""The keys of self-play: `azr.*`, each with its default and what it means.

This is the one place that says them. Hydra checks names and types against these classes before anything
starts (`recipe/config.py` registers them), and the table in `docs/running.md` is made from them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from rewards.bonus import Term


class SolveOn(StrEnum):
    """Where the solver's training samples come from (`azr.solve_on`)."""

    FRESH = "fresh"  # the paper: one attempt each at tasks accepted in this step, in a second wave
    # The official code: one attempt each at tasks accepted in the step before, in the same wave.
    PREVIOUS = "previous"
    # The attempts that estimate the solve rate are the samples: one wave, and nothing is thrown away.
    ATTEMPTS = "attempts"


class TaskSource(StrEnum):
    """Where a step's tasks come from (`azr.tasks`); all but the first are controls."""

    PROPOSALS = "proposals"  # the model: self-play
    BUFFER = "buffer"  # what seeding left in the buffer, over and over
    BASE_PROPOSALS = "base-proposals"  # the model before step 1, as many as the run needs, each once
    GENERATOR = "generator"  # the pack, evenly over its levels
    ADAPTIVE = "adaptive"  # the pack, at levels that rise with the solver (`sampler.Ladder`)
    FRONTIER = "frontier"  # the pack, at levels that the solver is of two minds about (`sampler.Frontier`)

    @property
    def is_drawn(self) -> bool:
        """Whether the pack draws them itself, in the place of the model or the buffer."""
        return self in (TaskSource.GENERATOR, TaskSource.ADAPTIVE, TaskSource.FRONTIER)


class KeepTasks(StrEnum):
    """Which accepted tasks enter the buffer (`azr.keep_tasks`), by their solve rate."""

    ALL = "all"  # the paper and the official code's default
    NON_ONE = "non-one"  # not those that every attempt solved
    NON_EXTREMES = "non-extremes"  # neither those nor the ones that no attempt solved


class Sampling(StrEnum):
    """How records are drawn from the buffer (`azr.buffer_sampling`)."""

    UNIFORM = "uniform"  # all alike: the paper
    # In proportion to 1 + the step that accepted them; the paper found that it may collapse (App. D.3).
    RECENT = "recent"


# Choices are strings here: OmegaConf knows the members of an enum by name, and keys are written by value.


@dataclass
class LearnabilityConfig:
    """What a valid proposal is worth by its solve rate (docs/rewards.md)."""

    shape: str | None = None
    """one-minus, quadratic, tent or band; null: as the reward profile has it"""

    low: float = 0.0
    """with `band`: solve rate above which a proposal is worth 1"""

    high: float = 1.0
    """with `band`: solve rate below which a proposal is worth 1"""


@dataclass
class BonusConfig:
    """Extra rewards of valid proposals (docs/rewards.md)."""

    combine: str = "sum"
    """how they join the reward: sum, multiply, sum-multiply or multiply-sum"""

    terms: dict[str, Term] = field(default_factory=dict)
    """by feature, `coefficient` and `maximum`; features are the pack's, `answer-diversity` and
    `structure-diversity`"""


@dataclass
class SeedingConfig:
    """The phase before the first step, without gradients."""

    target: int | None = 64
    """records of every kind that the buffer holds before the first step; the model is asked for some even if
    the pack's own seeds are as many. null: as many as all steps draw, with `azr.tasks=base-proposals`"""

    max_waves: int = 20
    """waves of proposals after which a seeding that has not got there stops the run; one in which nothing is
    accepted stops it after 3. 0: begin with the pack's own seeds, whatever the model writes"""


@dataclass
class ElicitConfig:
    """Making the model of an evaluation answer in the trained way, without training it
    (`trainer.val_only=true`; docs/running.md)."""

    beginning: str | None = ""
    """text that every held-out response is made to begin with; with `control=base_forced` that of
    `elicit_beginning`"""

    examples: int = 0
    """solved tasks of the same kind that are shown before each held-out task, from 0 to 8"""

    format_tries: int = 1
    """each held-out attempt is the first well-formed one of at most this many; those after the first are
    sampled at temperature 1"""


@dataclass
class FailureConfig:
    """Requests that the inference engine does not answer."""

    retries: int = 2
    """times that a request without an answer is sent again; then it is left out"""

    max_share: float = 0.1
    """share of a step's responses that may be missing, in [0, 1); above it the run stops"""


@dataclass
class AlarmConfig:
    """Thresholds of the alarms, which docs/alarms.md explains; null turns one off."""

    length: float | None = 5.0
    """well-formed responses this many times as long as at the run's start"""

    truncated: float | None = 0.5
    """share of trained responses that use all of `data.max_response_length`"""

    malformed: float | None = 0.8
    """share of responses that do not fit the grammar"""

    exhausted: float | None = 0.6
    """share that is used up of the levels that proposals come from"""

    duplicates: float | None = 0.7
    """share of duplicates among well-formed proposals"""

    acceptance: float | None = 0.1
    """at most this share of valid tasks among new, well-formed proposals"""

    unsolvable: float | None = 0.95
    """share of accepted tasks that no attempt solves"""

    trivial: float | None = 0.95
    """share of accepted tasks that every attempt solves"""

    structures: float | None = 0.8
    """chance that two accepted tasks have one structure"""

    levels: float | None = 0.95
    """chance that two accepted tasks have one difficulty"""

    near_duplicates: float | None = 0.98
    """share of accepted tasks that the run had before with other numbers"""

    answers: float | None = 0.8
    """chance that attempts at two different tasks are the same"""

    rollout_drift: float | None = 0.05
    """difference between vLLM and trainer, in a token's probability (in bypass mode: nats a token)"""

    failures: float | None = 0.05
    """share of responses that never came or could not be checked"""

    step_time: float | None = 3.0
    """a step takes this many times as long as at the run's start"""

    memory: float | None = 1.5
    """the host's memory in use is this many times that of the run's start"""

    held_out: float | None = 0.05
    """held-out accuracy this far below its best, while the training reward has risen"""

    stop: list[str] = field(default_factory=list)
    """alarms that end the run when they begin; the others warn"""


@dataclass
class AzrConfig:
    """Self-play. What a step does by these keys, and how much of it: `recipe/selfplay/plan.py`."""

    seed: int = 1
    """seeds every draw that self-play makes"""

    solve_on: str = SolveOn.ATTEMPTS.value
    """where the solver's samples come from: `fresh` (the paper), `previous` (the official code) or
    `attempts`"""

    proposals_per_kind: int = 64
    """proposals of every kind a step"""

    oversample: float = 1.0
    """ask for this many times as many proposals, at least 1; the first `proposals_per_kind` that are accepted
    are attempted and kept"""

    attempts_per_record: int = 8
    """attempts at every accepted proposal"""

    replay_per_kind: int = 0
    """with `attempts`: buffered records of every kind that get one more attempt a step"""

    tasks: str = TaskSource.PROPOSALS.value
    """where tasks come from: `proposals`, or for a control the `buffer` that seeding left, `base-proposals`,
    `generator`, `adaptive` or `frontier`"""

    train_proposer: bool = True
    """false: proposals are made and not trained on, only attempts are (the paper's ablation)"""

    keep_tasks: str = KeepTasks.ALL.value
    """accepted tasks that enter the buffer: `all`, `non-one` (not those always solved), `non-extremes` (nor
    those never solved)"""

    buffer_sampling: str = Sampling.UNIFORM.value
    """how records are drawn from the buffer: `uniform`, or `recent`, in proportion to 1 + the step that
    accepted them"""

    learnability: LearnabilityConfig = field(default_factory=LearnabilityConfig)
    """what a valid proposal is worth by its solve rate"""

    bonus: BonusConfig = field(default_factory=BonusConfig)
    """extra rewards of valid proposals"""

    buffer_capacity: int = 16384
    """most records of one kind in the buffer; the oldest leave first"""

    seeding: SeedingConfig = field(default_factory=SeedingConfig)
    """the phase before the first step, without gradients"""

    held_out_samples: int = 0
    """sampled attempts at every held-out task, for mean@k beside the greedy accuracy"""

    elicit: ElicitConfig = field(default_factory=ElicitConfig)
    """how an evaluation of an untrained model has it answer in the trained way"""

    failures: FailureConfig = field(default_factory=FailureConfig)
    """requests that the inference engine does not answer"""

    alarms: AlarmConfig = field(default_factory=AlarmConfig)
    """when a run says that something goes wrong"""

    keep_best: bool = False
    """keep the weights of the checkpoint with the best held-out accuracy, beside the newest"""

    stop_strings: list[str] | None = None
    """strings that end a response, in the place of the pack's own; `[]`: none"""

    pack_deadline_s: float = 3600.0
    """seconds that one call of the pack may take, waiting for its sandbox included; a longer one stops the
    run"""
