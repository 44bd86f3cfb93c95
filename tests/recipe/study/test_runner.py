"""A study from its start to its end, with a small program in the place of training."""

from __future__ import annotations

import copy
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from omegaconf import DictConfig

from recipe.study.__main__ import run_missing
from recipe.study.arms import Plan, Run
from recipe.study.record import EARLIER, path_of, read_record
from recipe.study.runner import RunFailed

TRAIN = """
import json, pathlib, subprocess, sys
folder, behaviour = pathlib.Path(sys.argv[1]), sys.argv[2]
folder.mkdir(parents=True, exist_ok=True)
with (folder.parent / "started.txt").open("a") as file:
    file.write(folder.name + "\\n")
if behaviour == "fails":
    (folder / "log.txt").touch()
    print("step 1/2\\rstep 2/2\\nerror: the disk is full\\nmore in log.txt", file=sys.stderr)
    sys.exit(1)
if behaviour == "hangs":
    child = subprocess.Popen(["sleep", "30"])
    try:
        (folder / "ready").touch()
        child.wait()
    except KeyboardInterrupt:
        child.wait()
        (folder / "interrupted").write_text(str(child.pid))
        sys.exit(130)
def write(name, *lines):
    (folder / name).write_text("".join(json.dumps(line) + "\\n" for line in lines))
shared = {"held_out": "d", "groups": ["easy", "hard"], "num_samples": 0, "sampled": [None, None]}
write("evaluations.jsonl", *({"step": step, "greedy": marks, "well_formed": "11", **shared}
                             for step, marks in ((0, "00"), (2, "10"))))
write("metrics.jsonl", {"step": 1, "timing_s/step": 1.5})
write("ledger.jsonl", {"step": 1, "role": "solve", "kind": "deduction", "reward": 1.0, "record": {}})
write("summary.json", {"seconds": 60.0, "commit": "c0ffee", "versions": {"verl": "0.9.1"}})
"""


Study = Callable[..., list[Run]]


@pytest.fixture
def study(demo_config: DictConfig, tmp_path: Path) -> Study:
    """Run what is missing of two arms and two seeds in `tmp_path`; `behaviours` by the name of a run."""
    script = tmp_path / "train.py"
    script.write_text(TRAIN)
    plan = Plan(
        tmp_path / "out", "demo", ("self_play", "random"), (1, 2), overrides=("azr.oversample=2", "run.x=/x")
    )

    def start(jobs: int = 1, **behaviours: str) -> None:
        runs = []
        for name in ("self_play-1", "random-1", "self_play-2", "random-2"):
            config = copy.deepcopy(demo_config)
            config.run.dir = str(tmp_path / "runs" / name)
            arm, seed = name.split("-")
            runs.append(
                Run(
                    arm,
                    int(seed),
                    config,
                    {"lr": 1.0},
                    (),
                    (f"azr.seed={seed}", "run.x=/x"),
                    ("azr.oversample=2",),
                )
            )
        missing = [run for run in runs if not path_of(plan.out, run.name).exists()]

        def command(run: Run) -> list[str]:
            behaviour = behaviours.get(run.name.replace("-", "_"), "")
            return [sys.executable, str(script), str(run.folder), behaviour]

        run_missing(replace(plan, jobs=jobs), missing, command)

    return start


def started(folder: Path) -> list[str]:
    return (folder / "runs" / "started.txt").read_text().split()


def test_study_goes_on_where_a_run_failed(study: Study, tmp_path: Path) -> None:
    log = tmp_path / "runs" / "random-1" / "log.txt"
    with pytest.raises(RunFailed) as failure:
        study(random_1="fails")
    assert str(failure.value) == f"random-1 failed: the disk is full; more in {log}"
    assert started(tmp_path) == ["self_play-1", "random-1"]
    study()
    assert started(tmp_path)[2:] == ["random-1", "self_play-2", "random-2"]
    study()
    assert len(started(tmp_path)) == 5


def test_what_a_run_left_is_kept(study: Study, tmp_path: Path) -> None:
    study()
    record = read_record(path_of(tmp_path / "out", "random-2"))
    assert (record.arm, record.seed, record.commit, record.seconds) == ("random", 2, "c0ffee", 60.0)
    assert record.command == "python -m recipe.main_azr azr.seed=2 run.dir=runs/random-2"
    assert (record.experiment, record.overrides, record.asked) == ("demo", ("azr.oversample=2",), {"lr": 1.0})
    assert [(one.step, one.greedy) for one in record.evaluations] == [(0, "00"), (2, "10")]
    assert [(one.attempts, one.seconds) for one in record.steps] == [(1, 1.5)]
    assert record.hardware.keys() == {"cores", "cpu", "memory_gib", "gpus"}


def test_file_or_directory_alone_stands_for_a_finished_run(study: Study, tmp_path: Path) -> None:
    study()
    path_of(tmp_path / "out", "random-1").unlink()
    study()
    assert len(started(tmp_path)) == 4
    assert path_of(tmp_path / "out", "random-1").exists()
    (tmp_path / "runs").rename(tmp_path / "elsewhere")
    study()
    assert not (tmp_path / "runs").exists()


def test_an_interrupt_ends_every_run_that_goes_on_and_leaves_the_rest(study: Study, tmp_path: Path) -> None:
    hanging = [tmp_path / "runs" / name for name in ("self_play-1", "random-1")]

    def interrupt() -> None:
        while not all((folder / "ready").exists() for folder in hanging):
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt, daemon=True).start()
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        study(jobs=2, self_play_1="hangs", random_1="hangs")
    assert time.monotonic() - began < 25
    for folder in hanging:
        # So were the processes that they started.
        assert not Path(f"/proc/{(folder / 'interrupted').read_text()}").exists()
    assert sorted(started(tmp_path)) == ["random-1", "self_play-1"]
    study()
    record = read_record(path_of(tmp_path / "out", "random-1"))
    lost = float((hanging[1] / EARLIER).read_text())
    assert record.seconds == pytest.approx(60 + lost, abs=0.1) and lost > 0
