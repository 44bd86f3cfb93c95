"""What a study keeps of a finished run: one file, which holds all that its tables are made of.

The file stands for the run's directory, which need not be there any more: the folder of a study can be
committed, and continued on another machine.
"""

from __future__ import annotations

import itertools
import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from operator import itemgetter
from pathlib import Path
from statistics import fmean
from typing import Any, Protocol

from recipe.preflight import machine
from recipe.run import files as outputs
from recipe.run.checkpoint import write_atomically
from recipe.run.evaluations import Evaluation, read_evaluations
from recipe.run.files import read_metrics
from recipe.selfplay.types import Refusal
from recipe.study import StudyError
from recipe.study.arms import Flat, Plan, Run, differing, without_places
from tasks.contract import Role, TaskPack, TaskRecord

EARLIER = "earlier_seconds.txt"
"""In a run's directory: the seconds of commands of the study that did not finish it, one a line."""


@dataclass(frozen=True, slots=True)
class StepNumbers:
    """What a training step did, by the ledger, and how long it took."""

    step: int
    proposals: int
    accepted: int  # without surplus ones
    duplicates: int
    attempts: int  # trained on
    learnable: float | None  # share of the accepted ones that were solved sometimes; None if none was
    level: float | None  # mean place among the pack's levels, 0 the easiest, of accepted tasks that have one
    proposer_reward: float | None  # mean; None if no proposal was trained on
    seconds: float | None  # without the evaluation


@dataclass(frozen=True, slots=True)
class RunRecord:
    """A finished run. Evaluations share their held-out set and its groups."""

    arm: str
    seed: int
    experiment: str
    overrides: tuple[str, ...]  # of every run of the study
    own_overrides: tuple[str, ...]  # of the runs of its arm alone
    command: str
    commit: str | None
    hardware: dict[str, Any]  # cores, cpu, memory_gib, gpus
    versions: dict[str, str]
    seconds: float
    asked: Flat  # its configuration
    set_by_control: tuple[str, ...]
    evaluations: tuple[Evaluation, ...]
    steps: tuple[StepNumbers, ...]

    @property
    def name(self) -> str:
        """`ARM-SEED`."""
        return f"{self.arm}-{self.seed}"

    @property
    def last(self) -> Evaluation:
        """The evaluation after the last step that has one."""
        return self.evaluations[-1]


def make_record(plan: Plan, run: Run, pack: TaskPack) -> RunRecord:
    """Put together what a finished run left in its directory; `pack` is the run's own.

    Raises:
        StudyError: There is no evaluation.
        EvaluationsError: The file of evaluations cannot be read.
    """
    folder = run.folder
    evaluations = tuple(read_evaluations(folder).values())
    if not evaluations:
        raise StudyError(f"{folder} must have an evaluation of held-out tasks, and has none")
    if len({evaluation.held_out for evaluation in evaluations}) > 1:
        raise StudyError(f"{folder} must have one held-out set; it changed during the run")
    summary = json.loads((folder / outputs.SUMMARY).read_text(encoding="utf-8"))
    earlier = folder / EARLIER
    lost = map(float, earlier.read_text().split()) if earlier.exists() else ()
    return RunRecord(
        arm=run.arm,
        seed=run.seed,
        experiment=plan.experiment,
        overrides=run.overrides,
        own_overrides=plan.of_arms.get(run.arm, ()),
        command=shlex.join(
            ["python", "-m", "recipe.main_azr", *without_places(run.words), f"run.dir=runs/{run.name}"]
        ),
        commit=summary["commit"],
        hardware=machine.hardware(),
        versions=summary["versions"],
        seconds=round(summary["seconds"] + sum(lost), 1),
        asked=run.asked,
        set_by_control=run.set_by_control,
        evaluations=evaluations,
        steps=tuple(read_steps(folder, pack)),
    )


def read_steps(folder: Path, pack: TaskPack) -> list[StepNumbers]:
    """The training steps of a run, from its ledger and metrics."""
    seconds = {line["step"]: line.get("timing_s/step") for line in read_metrics(folder / outputs.METRICS)}
    with (folder / outputs.LEDGER).open(encoding="utf-8") as ledger:
        by_step = itertools.groupby(map(json.loads, ledger), key=itemgetter("step"))
        return [
            step_numbers(step, list(lines), seconds.get(step), pack) for step, lines in by_step if step > 0
        ]


def step_numbers(
    step: int, lines: Sequence[Mapping[str, Any]], seconds: float | None, pack: TaskPack
) -> StepNumbers:
    """What the ledger's lines of one step say."""
    proposals = [line for line in lines if line["role"] == Role.PROPOSE]
    accepted = [line for line in proposals if line["record"] is not None]
    rates = [line["solve_rate"] for line in accepted if line["solve_rate"] is not None]
    levels = [level for line in accepted if (level := level_of(line, pack)) is not None]
    rewards = [line["reward"] for line in proposals if line["reward"] is not None]
    return StepNumbers(
        step=step,
        proposals=len(proposals),
        accepted=len(accepted),
        duplicates=sum(line["reason"] == Refusal.DUPLICATE for line in proposals),
        attempts=sum(line["role"] == Role.SOLVE and line["reward"] is not None for line in lines),
        learnable=_mean([float(0 < rate < 1) for rate in rates]),
        level=_mean([float(level) for level in levels]),
        proposer_reward=_mean(rewards),
        seconds=None if seconds is None else round(seconds, 2),
    )


def level_of(line: Mapping[str, Any], pack: TaskPack) -> int | None:
    """The place of a task's difficulty among the levels of its kind; None where it is none of them."""
    levels = pack.levels(line["kind"])
    label = pack.difficulty(TaskRecord(line["kind"], line["record"])) if levels else ""
    return levels.index(label) if label in levels else None


def _mean(values: Sequence[float]) -> float | None:
    return round(fmean(values), 4) if values else None


def path_of(out: Path, name: str) -> Path:
    """The file of a run in a study's folder."""
    return out / "runs" / f"{name}.json"


def write_record(out: Path, record: RunRecord) -> None:
    """Write the run's file. What all its evaluations share stands in it once."""
    values = asdict(record)
    first = record.evaluations[0]
    for evaluation in values["evaluations"]:
        del evaluation["held_out"], evaluation["groups"]
    values |= {"held_out": first.held_out, "groups": first.groups}
    lines = (f'"{key}": {_entries(value)}' for key, value in values.items())
    write_atomically(path_of(out, record.name), ",\n".join(lines).join(("{\n", "\n}\n")))


def _entries(value: Any) -> str:
    """JSON in one line, but for lists of objects: these have a line each."""
    if isinstance(value, tuple) and value and isinstance(value[0], dict):
        return ",\n ".join(json.dumps(entry, separators=(",", ":")) for entry in value).join(("[\n ", "\n]"))
    return json.dumps(value, ensure_ascii=False)


def read_records(out: Path) -> list[RunRecord]:
    """The runs in a study's folder, by arm and seed.

    Raises:
        StudyError: A file is none of a run.
    """
    records = [read_record(path) for path in sorted((out / "runs").glob("*.json"))]
    return sorted(records, key=lambda record: (record.arm, record.seed))


def read_record(path: Path) -> RunRecord:
    """Read a run's file; StudyError if it is none."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        shared = {"held_out": values.pop("held_out"), "groups": tuple(values.pop("groups"))}
        for name in ("overrides", "own_overrides", "set_by_control"):
            values[name] = tuple(values[name])
        values["steps"] = tuple(StepNumbers(**step) for step in values["steps"])
        values["evaluations"] = tuple(
            Evaluation(**shared, **evaluation | {"sampled": tuple(evaluation["sampled"])})
            for evaluation in values["evaluations"]
        )
        return RunRecord(**values)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise StudyError(f"{path} must be the file of a run; {type(error).__name__}: {error}") from error


class Asked(Protocol):
    """What a run was asked, whether it is finished or still to be run."""

    @property
    def name(self) -> str: ...
    @property
    def arm(self) -> str: ...
    @property
    def overrides(self) -> tuple[str, ...]: ...
    @property
    def asked(self) -> Flat: ...
    @property
    def set_by_control(self) -> tuple[str, ...]: ...


def require_same_settings(runs: Sequence[Asked]) -> None:
    """Runs differ in what their controls set, and in nothing else.

    A key that one of them alone has is one that the code gained or lost between them, if both were given the
    same overrides; a study goes on then.

    Raises:
        StudyError: Two of them do not; the line names the first such key and both values.
    """
    for one, other in itertools.combinations(runs, 2):
        allowed = set() if one.arm == other.arm else {*one.set_by_control, *other.set_by_control}
        if one.overrides == other.overrides:
            allowed |= one.asked.keys() ^ other.asked.keys()
        for key in differing(one.asked, other.asked):
            if key not in allowed:
                raise StudyError(
                    f"{one.name} and {other.name} must differ in what their controls set alone; {key} is "
                    f"{one.asked.get(key)} in {one.name} and {other.asked.get(key)} in {other.name}"
                )


def require_same_tasks(records: Sequence[RunRecord]) -> None:
    """All evaluations asked the same held-out tasks; StudyError that names two runs of which it is not so."""
    for one, other in itertools.pairwise(records):
        if one.last.held_out != other.last.held_out:
            raise StudyError(
                f"{one.name} and {other.name} must have been asked the same held-out tasks; their digests "
                f"are {one.last.held_out} and {other.last.held_out}"
            )
