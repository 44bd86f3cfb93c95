"""What a study asks its runs, and what it refuses before it starts one."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from recipe.config import CONF, register
from recipe.life import survey_nodes
from recipe.run import files as outputs
from recipe.study import StudyError
from recipe.study.__main__ import main
from recipe.study.arms import Plan, Run, known_arms, num_jobs, read_plan, require_startable, runs_of
from recipe.study.record import path_of, write_record

ROOT = Path(__file__).parents[3]
TWO_ARMS = ("experiment=demo", "arms=[self_play,seeds_only]", "seeds=[1,2]")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Run]:
    """Two arms of two seeds of the demo, composed once."""
    register()
    folder = tmp_path_factory.mktemp("runs")
    return runs_of(read_plan([*TWO_ARMS, f"runs={folder}", "trainer.total_training_steps=3", f"+x={folder}"]))


def test_command_line_is_read() -> None:
    words = [*TWO_ARMS, "jobs=2", "azr.oversample=2", "'pack.kinds=[deduction]'"]
    assert read_plan(words[:-1]) == Plan(
        out=Path("studies/demo"),
        experiment="demo",
        arms=("self_play", "seeds_only"),
        seeds=(1, 2),
        runs=Path("runs/studies/demo"),
        jobs=2,
        overrides=("azr.oversample=2",),
    )
    assert read_plan([*TWO_ARMS, "out=reports/a"]).runs == Path("runs/studies/a")
    assert read_plan(["out=reports/a"]) == Plan(out=Path("reports/a"))


def test_as_many_runs_as_a_cluster_has_slots_for(runs: list[Run]) -> None:
    """A worker takes 3 CPUs, the rest of a run 3 and one a storage unit: on 4 GPUs 15 and the storage."""
    plan, config = Plan(Path("out")), copy.deepcopy(runs[0].config)
    storage = config.transfer_queue.backend.SimpleStorage.num_data_storage_units
    config.trainer.n_gpus_per_node = 4
    a_run = 15 + storage

    def free(cpus: float, gpus: float) -> int:
        return num_jobs(plan, config, lambda address: (cpus, gpus))

    assert free(100, 100) == 1  # on this machine, whatever it has
    config.ray_kwargs.ray_init.address = "10.0.0.1:6379"
    assert (free(3 * a_run, 0), free(3 * a_run - 1, 0)) == (3, 2)  # a CPU run needs no GPU
    config.cpu = None
    assert (free(9 * a_run, 8), free(9 * a_run, 7)) == (2, 1)
    assert free(0, 0) == 1  # it waits
    assert num_jobs(replace(plan, jobs=5), config, lambda address: (0, 0)) == 5


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["arms=[self_play]", "seeds=[1]"], "experiment must be given"),
        (["experiment=demo", "seeds=[1]"], "arms must be a list such as [self_play,seeds_only]; got None"),
        (["experiment=demo", "arms=random", "seeds=[1]"], "arms must be a list"),
        (["experiment=demo", "arms=[random,random]", "seeds=[1]"], "arms must not repeat; got random"),
        (["experiment=demo", "arms=[nope,none]", "seeds=[1]"], "self_play, "),
        (["experiment=demo", "arms=[nope,none]", "seeds=[1]"], "; got nope, none"),
        (
            ["experiment=demo", "arms=[random]", "seeds=[3,1,3]"],
            "seeds must not repeat; got 3 more than once",
        ),
        (
            ["experiment=demo", "arms=[random]", "seeds=[a]"],
            "seeds must be a list such as [1,2,3]; got ['a']",
        ),
        ([*TWO_ARMS, "jobs=0"], "jobs must be a number of at least 1; got 0"),
        ([*TWO_ARMS, "azr.seed=4"], "azr.seed must be left to the study"),
        ([*TWO_ARMS, "control=random"], "control must be left to the study"),
        ([*TWO_ARMS, "random:azr.oversample=4"], "random must be among arms"),
        ([*TWO_ARMS, "self_play:azr.seed=4"], "azr.seed must be left to the study"),
        ([*TWO_ARMS, "nonsense"], "an override must be KEY=VALUE; got nonsense"),
        (["experiment=nope", "arms=[self_play]", "seeds=[1]"], "Available options in"),
    ],
)
def test_mistake_is_one_line(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, words: Sequence[str], said: str
) -> None:
    def command(run: Run) -> list[str]:
        raise AssertionError("nothing may be started")

    folders = [] if words[-1].startswith("arms") else [f"out={tmp_path}", f"runs={tmp_path}"]
    assert main([*folders, *words], command) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert said in printed.err
    assert printed.err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_arms_are_the_files_of_the_folder() -> None:
    names = {path.stem for path in (CONF / "control").glob("*.yaml")}
    assert known_arms()[0] == "self_play"
    assert set(known_arms()) == (names - {"none"}) | {"self_play"}


def test_every_arm_is_in_the_docs() -> None:
    page = (ROOT / "docs" / "studies.md").read_text(encoding="utf-8")
    assert [arm for arm in known_arms() if f"| `{arm}` |" not in page] == []


def test_all_arms_of_a_seed_come_before_the_next_seed(runs: list[Run]) -> None:
    assert [run.name for run in runs] == ["self_play-1", "seeds_only-1", "self_play-2", "seeds_only-2"]
    for run in runs:
        assert run.folder.name == run.name
        assert run.config.azr.seed == run.seed
        assert run.config.trainer.default_local_dir == f"{run.folder}/checkpoints"
        assert run.config.trainer.total_training_steps == 3
    assert {"experiment=demo", "control=seeds_only", "azr.seed=2"} < {*runs[3].words}
    assert {"control=none", "trainer.total_training_steps=3"} < {*runs[0].words}


def test_runs_differ_in_what_their_controls_set(runs: list[Run]) -> None:
    """Where the run is made is not among it: of paths of this machine the last part stands."""
    self_play, seeds_only, other_seed, _ = runs
    assert self_play.asked == other_seed.asked
    assert self_play.set_by_control == ()
    changed = {key for key in self_play.asked if self_play.asked[key] != seeds_only.asked[key]}
    assert changed == set(seeds_only.set_by_control) != set()
    assert all(key.startswith("azr.") for key in changed)
    assert self_play.asked["x"] == runs[0].folder.parent.name
    assert not any(key.startswith("run.") or key == "azr.seed" for key in self_play.asked)


def test_an_arm_is_given_what_its_control_asks_for_and_nothing_else(tmp_path: Path) -> None:
    words = ["experiment=demo", "arms=[base_forced]", "seeds=[1]", f"runs={tmp_path}"]
    given = 'azr.elicit.beginning="("'
    (run,) = runs_of(read_plan([*words, f"base_forced:{given}"]))
    assert run.config.azr.elicit.beginning == "("
    assert "azr.elicit.beginning" in run.set_by_control
    assert run.words[-1] == given
    with pytest.raises(StudyError, match=r"^base_forced: may be given .*; got azr\.oversample\. Give all"):
        runs_of(read_plan([*words, "base_forced:azr.oversample=2"]))


def test_an_arm_that_the_pack_cannot_have_is_refused_at_once(runs: list[Run]) -> None:
    bad = Run(**{name: getattr(runs[3], name) for name in runs[3].__slots__})
    OmegaConf.update(bad.config, "azr.oversample", 2.0)
    try:
        with pytest.raises(StudyError, match=r"^seeds_only-2: azr\.oversample must be"):
            require_startable([bad], survey_nodes)
    finally:
        OmegaConf.update(bad.config, "azr.oversample", 1.0)


def test_a_directory_of_another_configuration_is_refused(runs: list[Run]) -> None:
    run = runs[2]
    run.folder.mkdir()
    begun = OmegaConf.merge(run.config, {"azr": {"seed": 9}})
    OmegaConf.save(begun, run.folder / outputs.CONFIG, resolve=True)
    with pytest.raises(StudyError, match=r"self_play-2 was begun with another .*azr\.seed: 9 -> 2"):
        require_startable([run], survey_nodes)


def test_other_settings_than_those_of_finished_runs_are_refused_before_the_start(
    capsys: pytest.CaptureFixture[str], make, tmp_path: Path
) -> None:
    write_record(tmp_path, make("self_play", 1, {0: "1111"}))
    assert path_of(tmp_path, "self_play-1").exists()
    assert main(["experiment=demo", "arms=[self_play]", "seeds=[2]", f"out={tmp_path}"]) == 2
    assert "self_play-1 and self_play-2 must differ in what their controls set" in capsys.readouterr().err
