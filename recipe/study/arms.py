"""What a study runs: its command line read and checked, and the configuration of each of its runs.

An arm is a file of `conf/control`; `self_play` is `control=none`. All that stands on a run's command line is
made here, so that what is checked, what is started and what is recorded are the same.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf

from recipe.config import CONF
from recipe.preflight.rules import check
from recipe.preflight.rules.folders import changes
from recipe.preflight.setup import REFUSALS, Setup, Survey
from recipe.preflight.slots import joins_cluster, num_fitting
from recipe.run.files import CONFIG, SUMMARY
from recipe.study import SELF_PLAY, StudyError

CONTROL_OF_SELF_PLAY = "none"

KEYS = ("experiment", "arms", "seeds", "out", "runs", "jobs")
"""Those of a study itself; every other override is for each of its runs."""

SET_BY_STUDY = ("control", "azr.seed", "run.dir", "trainer.default_local_dir")
"""Keys that tell a study's runs apart."""

OF_A_MACHINE = ("run.", "ray_kwargs.ray_init.address")
"""Beginnings of the keys that say where a run is made; no record has them."""

OF_A_RUN = ("azr.seed", "trainer.default_local_dir", *OF_A_MACHINE)
"""Beginnings of the keys in which runs of one arm may differ."""

Flat = dict[str, Any]
"""A resolved configuration: JSON values by dotted key."""


@dataclass(frozen=True, slots=True)
class Plan:
    """A study's command line."""

    out: Path  # the study's folder
    experiment: str = ""
    arms: tuple[str, ...] = ()  # none: nothing is to be run
    seeds: tuple[int, ...] = ()
    runs: Path = Path()  # the folder of run directories
    jobs: int | None = None  # runs that go on at a time; None: as many as there are slots for
    overrides: tuple[str, ...] = ()  # for every run, as they were given
    of_arms: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # for the runs of one arm


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a study."""

    arm: str
    seed: int
    config: DictConfig  # composed, not filled in
    asked: Flat  # the same, flat
    set_by_control: tuple[str, ...]  # keys in which its arm differs from self-play
    words: tuple[str, ...]  # of its command line, but for `run.dir`
    overrides: tuple[str, ...]  # among them, those of every run; `without_places`

    @property
    def name(self) -> str:
        """`ARM-SEED`, also of its directory and of its file in the study's folder."""
        return f"{self.arm}-{self.seed}"

    @property
    def folder(self) -> Path:
        """The run's directory."""
        return Path(self.config.run.dir)


def known_arms() -> list[str]:
    """The arms that there are, self-play first."""
    controls = sorted(path.stem for path in (CONF / "control").glob("*.yaml"))
    return [SELF_PLAY, *(name for name in controls if name != CONTROL_OF_SELF_PLAY)]


def read_plan(words: Sequence[str]) -> Plan:
    """Read a study's command line, which has the syntax of Hydra's overrides.

    Raises:
        StudyError: A key is missing or has a value that it cannot have; arms or seeds repeat.
        HydraException: A word is no override.
    """
    given: dict[str, Any] = {}
    overrides = []
    own: dict[str, tuple[str, ...]] = {}
    of_arm = {word: arm for word in words for arm in known_arms() if word.startswith(f"{arm}:")}
    bare = [word.removeprefix(f"{of_arm.get(word)}:") for word in words]
    for word, override in zip(words, OverridesParser.create().parse_overrides(bare), strict=True):
        key = override.key_or_group
        if key in SET_BY_STUDY:
            raise StudyError(f"{key} must be left to the study, which gives each run its own; got {word}")
        if word in of_arm:
            arm = of_arm[word]
            own[arm] = (*own.get(arm, ()), word.removeprefix(f"{arm}:"))
        elif key in KEYS:
            given[key] = override.value()
        else:
            overrides.append(word)
    if given.keys() == {"out"} and not overrides and not own:
        return Plan(out=Path(str(given["out"])))
    if "experiment" not in given:
        raise StudyError("experiment must be given, as in experiment=demo; or out=DIR alone, for its tables")
    arms = _unlike("arms", given.get("arms"), str, "[self_play,seeds_only]", known_arms())
    if absent := own.keys() - {*arms}:
        raise StudyError(f"{', '.join(sorted(absent))} must be among arms to be given something of its own")
    out = Path(str(given.get("out", f"studies/{given['experiment']}")))
    return Plan(
        out=out,
        experiment=str(given["experiment"]),
        arms=arms,
        seeds=_unlike("seeds", given.get("seeds"), int, "[1,2,3]"),
        runs=Path(str(given.get("runs", f"runs/studies/{out.name}"))),
        jobs=_count("jobs", given["jobs"]) if given.get("jobs") is not None else None,
        overrides=tuple(overrides),
        of_arms=own,
    )


def _unlike(key: str, value: Any, sort: type, example: str, known: Sequence[Any] = ()) -> tuple[Any, ...]:
    if not isinstance(value, list) or not value or any(type(entry) is not sort for entry in value):
        raise StudyError(f"{key} must be a list such as {example}; got {value}")
    if again := sorted({entry for entry in value if value.count(entry) > 1}):
        raise StudyError(f"{key} must not repeat; got {', '.join(map(str, again))} more than once")
    if known and (unknown := [entry for entry in value if entry not in known]):
        raise StudyError(f"{key} must be among {', '.join(known)}; got {', '.join(unknown)}")
    return tuple(value)


def _count(key: str, value: Any) -> int:
    if type(value) is not int or value < 1:
        raise StudyError(f"{key} must be a number of at least 1; got {value}")
    return value


def runs_of(plan: Plan) -> list[Run]:
    """The runs of a study, all arms of the first seed first: one that is cut short is balanced.

    Raises:
        StudyError: An arm is given something of its own that its control does not set.
        HydraException: There is no such experiment, or a key is none.
    """
    with initialize_config_dir(str(CONF), version_base=None):
        self_play = flatten(compose("azr", [*_words(plan, SELF_PLAY)]))
        arms = {arm: _compose(plan, arm, self_play) for arm in plan.arms}
    return [
        Run(
            arm,
            seed,
            _with(config, {"azr.seed": seed, "run.dir": str(plan.runs / f"{arm}-{seed}")}),
            flatten(config),
            set_by_control,
            (*_words(plan, arm), f"azr.seed={seed}", *plan.of_arms.get(arm, ())),
            without_places(plan.overrides),
        )
        for seed in plan.seeds
        for arm, (config, set_by_control) in arms.items()
    ]


def _compose(plan: Plan, arm: str, self_play: Flat) -> tuple[DictConfig, tuple[str, ...]]:
    """An arm's configuration, and the keys that its control sets."""
    config = compose("azr", [*_words(plan, arm)])
    controlled = flatten(config)
    set_by_control = differing(self_play, controlled)
    if own := plan.of_arms.get(arm, ()):
        config = compose("azr", [*_words(plan, arm), *own])
        if others := set(differing(controlled, flatten(config))) - {*set_by_control}:
            raise StudyError(
                f"{arm}: may be given keys that its control sets alone, {', '.join(set_by_control)}; got "
                f"{', '.join(sorted(others))}. Give all arms the same of others"
            )
    return config, set_by_control


def _words(plan: Plan, arm: str) -> tuple[str, ...]:
    control = CONTROL_OF_SELF_PLAY if arm == SELF_PLAY else arm
    return f"experiment={plan.experiment}", f"control={control}", *plan.overrides


def _with(config: DictConfig, values: Mapping[str, Any]) -> DictConfig:
    changed = copy.deepcopy(config)
    for key, value in values.items():
        OmegaConf.update(changed, key, value)
    return changed


def flatten(config: DictConfig) -> Flat:
    """What a run is asked, resolved, without what says where it is made.

    Of absolute paths the last part is kept: a model or a file of tasks may lie elsewhere on another machine.
    """
    return dict(_leaves("", OmegaConf.to_container(config, resolve=True)))


def _leaves(prefix: str, value: Any) -> list[tuple[str, Any]]:
    if isinstance(value, dict) and value:
        inside = (_leaves(f"{prefix}.{key}" if prefix else str(key), each) for key, each in value.items())
        return [leaf for leaves in inside for leaf in leaves]
    return [] if prefix.startswith(OF_A_RUN) else [(prefix, _anywhere(value))]


def _anywhere(value: Any) -> Any:
    if isinstance(value, list):
        return [_anywhere(each) for each in value]
    is_path = isinstance(value, str) and Path(value).is_absolute()
    return Path(value).name if is_path else value


def without_places(words: Sequence[str]) -> tuple[str, ...]:
    """Overrides without those that say where a run is made."""
    return tuple(word for word in words if not word.startswith(OF_A_MACHINE))


def differing(one: Flat, other: Flat) -> tuple[str, ...]:
    """Keys that have another value in the other configuration, or are in one of them alone."""
    nothing = object()
    return tuple(
        key for key in sorted(one.keys() | other.keys()) if one.get(key, nothing) != other.get(key, nothing)
    )


def num_jobs(plan: Plan, config: DictConfig, free_slots: Callable[[str], tuple[float, float]]) -> int:
    """Runs that go on at a time: those asked for, else all that a cluster has room for; 1 on one machine.

    Args:
        free_slots: CPUs and GPUs that are free at the address of a cluster.
    """
    if plan.jobs is not None:
        return plan.jobs
    if not joins_cluster(config):
        return 1
    return num_fitting(config, *free_slots(config.ray_kwargs.ray_init.address))


def is_finished(run: Run) -> bool:
    """Whether the run's directory has its result."""
    return (run.folder / SUMMARY).exists()


def require_startable(runs: Sequence[Run], survey: Survey) -> None:
    """Ask of every arm what a run of it would be asked, and of every directory whether it was begun as this.

    `runs` are those that have no file in the study's folder yet.

    Raises:
        StudyError: A run would be refused; the line begins with its name.
    """
    checked: set[str] = set()
    for run in runs:
        config = copy.deepcopy(run.config)
        try:
            has_begun = (run.folder / CONFIG).exists()
            if has_begun and (changed := changes(Setup(config, survey).filled)):
                raise StudyError(
                    f"{run.folder} was begun with another configuration ({'; '.join(changed[:5])}). Give "
                    "what it was begun with, or another folder by runs=DIR"
                )
            if run.arm not in checked and not is_finished(run):
                check(config, survey)
                checked.add(run.arm)
        except REFUSALS as error:
            raise StudyError(f"{run.name}: {error}") from error
