"""Run every arm of an experiment at every seed, and say what came of it.

    python -m recipe.study experiment=NAME arms=[self_play,ARM,...] seeds=[1,2,3] [KEY=VALUE ...]
        [ARM:KEY=VALUE ...] [out=DIR] [runs=DIR] [jobs=N]

The same command goes on where it was stopped. `python -m recipe.study out=DIR` makes the tables and pictures
again from the files in DIR, and runs nothing. docs/studies.md says more.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from recipe.config import explain, register
from recipe.life import free_slots, survey_nodes
from recipe.run.checkpoint import write_atomically
from recipe.run.evaluations import EvaluationsError
from recipe.study import StudyError
from recipe.study.arms import Plan, Run, is_finished, num_jobs, read_plan, require_startable, runs_of
from recipe.study.picture import accuracy_panels, draw, overview_panels
from recipe.study.record import (
    make_record,
    path_of,
    read_records,
    require_same_settings,
    require_same_tasks,
    write_record,
)
from recipe.study.report import page, verdict
from recipe.study.runner import Command, RunFailed, run_all
from recipe.study.table import (
    accuracies,
    arms_csv,
    arms_of,
    compare,
    comparisons_csv,
    headline,
    mark_frontier,
    proposals_csv,
    proposals_of,
    results_csv,
    steps_csv,
)
from tasks.registry import load_pack

REPORT = "README.md"


def command_of(run: Run) -> list[str]:
    """The run as a command of its own."""
    return [sys.executable, "-m", "recipe.main_azr", *run.words, f"run.dir={run.folder}"]


def missing_runs(plan: Plan) -> list[Run]:
    """The runs that the study's folder has no file of.

    Raises:
        StudyError: One of them could not be started, or not be compared with those that are there.
    """
    if not plan.arms:
        return []
    missing = [run for run in runs_of(plan) if not path_of(plan.out, run.name).exists()]
    records = read_records(plan.out)
    require_same_settings([*records, *missing])
    require_same_tasks(records)
    require_startable(missing, survey_nodes)
    return missing


def run_missing(plan: Plan, missing: Sequence[Run], command: Command) -> None:
    """Run these, and keep what each of them left.

    Raises:
        RunFailed: One failed.
        StudyError: One left no evaluation.
    """
    for run in filter(is_finished, missing):  # its file was removed, or the study ended before it wrote it
        _keep(plan, run)
    if unfinished := [run for run in missing if not is_finished(run)]:
        jobs = num_jobs(plan, unfinished[0].config, free_slots)
        run_all(unfinished, command, jobs, partial(_keep, plan))


def _keep(plan: Plan, run: Run) -> None:
    write_record(plan.out, make_record(plan, run, load_pack(run.config.pack)))


def write_report(out: Path) -> None:
    """Make everything that follows from the runs' files.

    Raises:
        StudyError: There is none, one cannot be read, or they cannot be compared.
    """
    records = read_records(out)
    if not records:
        raise StudyError(f"{out / 'runs'} must hold the file of a run; a study writes one when a run ends")
    require_same_settings(records)
    require_same_tasks(records)
    records = mark_frontier(records)
    comparisons = compare(records)
    band = "by training step; mean over seeds, band from least to most"
    pictures = {
        "overview.svg": f"Held-out accuracy, and what was proposed, {band}.",
        "curves.svg": f"Held-out accuracy by group, {band}.",
    }
    arms, metric = list(arms_of(records)), headline(comparisons)
    draw(overview_panels(records, metric), arms, out, "overview")
    draw(accuracy_panels(records, metric), arms, out, "curves")
    write_atomically(out / "results.csv", results_csv(records))
    write_atomically(out / "steps.csv", steps_csv(records))
    write_atomically(out / "arms.csv", arms_csv(accuracies(records)))
    write_atomically(out / "proposals.csv", proposals_csv(proposals_of(records)))
    write_atomically(out / "comparisons.csv", comparisons_csv(comparisons))
    write_atomically(out / REPORT, page(records, comparisons, pictures))
    print(f"{verdict(comparisons)}\n{out / REPORT}, of {len(records)} finished runs")


def main(words: Sequence[str], command: Command = command_of) -> int:
    """Run and report; the exit status, which is 1 for a failed run and 2 for anything that is refused."""
    os.environ["HYDRA_FULL_ERROR"] = "1"
    register()
    try:
        plan = read_plan(words)
        missing = missing_runs(plan)
        try:
            run_missing(plan, missing, command)
        finally:
            if not plan.arms or any((plan.out / "runs").glob("*.json")):
                write_report(plan.out)
    except KeyboardInterrupt:
        print("interrupted; the same command goes on with what is left", file=sys.stderr)
        return 130
    except (HydraException, OmegaConfBaseException, ValueError) as error:
        # Ours are lines already; their causes are in them.
        is_ours = isinstance(error, StudyError | EvaluationsError)
        print(f"error: {error if is_ours else explain(error)}", file=sys.stderr)
        return 1 if isinstance(error, RunFailed) else 2
    return 0


if __name__ == "__main__":
    if {"-h", "--help"} & set(sys.argv):
        sys.exit(print(__doc__))
    sys.exit(main(sys.argv[1:]))
