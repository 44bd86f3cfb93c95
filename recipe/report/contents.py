"""What a page is about: one run, several of them, or a study's folder."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from recipe.report import ReportError
from recipe.report.comparing import SELF_PLAY, Compared, arm_of, arms_in_order, compare
from recipe.report.one_run import RunRead, read_run
from recipe.report.page import Contents
from recipe.report.sections import OF_A_RUN
from recipe.report.tables import GREEDY
from recipe.run.evaluations import EvaluationsError, read_evaluations
from recipe.run.files import CONFIG, EVALUATIONS


def read_contents(folders: Sequence[Path]) -> Contents:
    """All that the page of these folders shows.

    Raises:
        ReportError: One is neither a run nor a study, or they cannot be compared.
        InspectError: A run cannot be looked at.
    """
    studies = [folder for folder in folders if is_study(folder)]
    if studies and len(folders) > 1:
        raise ReportError(
            f"a study's folder must be given alone; got {studies[0]} among {len(folders)} folders"
        )
    if studies:
        # With it comes all that checks a run before its start, which takes seconds to load.
        from recipe.report.of_study import read_study

        return read_study(studies[0])
    return _one(folders[0]) if len(folders) == 1 else _several(folders)


def is_study(folder: Path) -> bool:
    """Whether this is the folder of a study, with the file of a run in it."""
    return not (folder / CONFIG).exists() and any((folder / "runs").glob("*.json"))


def _one(folder: Path) -> Contents:
    run = read_run(folder, folder.resolve().name)
    facts = dict(run.part.facts)
    about = f"A run of {facts['pack']}, {facts['steps']} steps"
    return Contents(run.part.name, about, OF_A_RUN, [run.part], notes=run.notes)


def _several(folders: Sequence[Path]) -> Contents:
    _require_same_tasks(folders)
    times = Counter(folder.resolve().name for folder in folders)
    names = [
        folder.resolve().name if times[folder.resolve().name] == 1 else str(folder) for folder in folders
    ]
    if repeated := [name for name, count in Counter(names).items() if count > 1]:
        raise ReportError(f"a run must be given once; got {', '.join(repeated)} more than once")
    read = [
        read_run(folder, name, share_of_page=1 / len(folders))
        for folder, name in zip(folders, names, strict=True)
    ]
    runs = sorted(read, key=lambda run: (arm_of(run.part.name, run.seed) != SELF_PLAY, run.part.name))
    compared = [
        Compared(run.part.name, arm_of(run.part.name, run.seed), run.seed, run.part.tables) for run in runs
    ]
    sections, found = compare(compared)
    num_arms = len(arms_in_order(compared))
    about = f"{len(runs)} runs of {num_arms} arms"
    if num_arms < len(runs):
        about += "; a line is the mean over an arm's runs, its band from the least to the most"
    return Contents(
        title="Runs compared",
        about=about,
        sections=OF_A_RUN,
        runs=[run.part for run in runs],
        compared=sections,
        compared_tables=found,
        summary=[SUMMARY_HEADER, *(_summary(run, one.arm) for run, one in zip(runs, compared, strict=True))],
        notes=[note for run in runs for note in run.notes],
    )


SUMMARY_HEADER = ["run", "arm", "seed", "steps", "held-out before", "held-out last", "alarms"]


def _summary(run: RunRead, arm: str) -> list[str]:
    accuracy = [row for row in run.part.tables["accuracy"] if row["series"] == GREEDY]
    ends = [f"{row['value']:.1%}" for row in (accuracy[0], accuracy[-1])] if accuracy else ["", ""]
    steps = dict(run.part.facts)["steps"]
    return [run.part.name, arm, str(run.seed), steps, *ends, str(len(run.part.alarms))]


def _require_same_tasks(folders: Sequence[Path]) -> None:
    """ReportError that names two runs which were asked other held-out tasks."""
    asked: dict[str, Path] = {}
    for folder in (folder for folder in folders if (folder / EVALUATIONS).exists()):
        try:
            evaluations = read_evaluations(folder)
        except EvaluationsError as error:
            raise ReportError(str(error)) from error
        if evaluations:
            asked.setdefault(evaluations[max(evaluations)].held_out, folder)
    if len(asked) > 1:
        first, second, *_ = asked.values()
        raise ReportError(
            f"{second} must have been asked the same held-out tasks as {first}; it was asked others. Give "
            "runs of one held-out set and one data.val_max_samples"
        )
