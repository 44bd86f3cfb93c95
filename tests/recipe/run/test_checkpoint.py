"""Self-play's part of a checkpoint: whole or not there at all."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from recipe.run import checkpoint
from recipe.run.checkpoint import CheckpointError, Manifest

MANIFEST = Manifest(
    format=checkpoint.FORMAT,
    pack="arithmetic",
    step=4,
    state_sha256="0" * 64,
    ledger_bytes=12,
    metrics_bytes=34,
)


def finished(checkpoints: Path, name: str) -> Path:
    """A finished checkpoint."""
    (checkpoints / name / "actor").mkdir(parents=True)
    checkpoint.write_manifest(checkpoints / name, MANIFEST)
    return checkpoints / name


def cut_power(*args: object) -> None:
    raise KeyboardInterrupt


def test_state_comes_back_as_it_was(tmp_path: Path) -> None:
    state = {
        "text": "\ud800 \u2028 \N{RIGHTWARDS ARROW}",
        "numbers": [1, 2.5, None],
        "nested": {"b": 1, "a": 2},
    }
    digest = checkpoint.write_state(tmp_path, state)
    found = checkpoint.read_state(tmp_path, replace(MANIFEST, state_sha256=digest))
    assert found == state
    assert list(found["nested"]) == ["b", "a"]


def test_manifest_comes_back_as_it_was(tmp_path: Path) -> None:
    checkpoint.write_manifest(tmp_path, MANIFEST)
    assert checkpoint.read_manifest(tmp_path) == MANIFEST


def test_manifest_without_a_length_is_not_read_as_one_of_zero(tmp_path: Path) -> None:
    checkpoint.write_manifest(tmp_path, MANIFEST)
    path = tmp_path / "azr" / "manifest.json"
    values = json.loads(path.read_text())
    del values["ledger_bytes"]
    path.write_text(json.dumps(values))
    with pytest.raises(KeyError, match="ledger_bytes"):
        checkpoint.read_manifest(tmp_path)


def test_equal_states_have_equal_digests(tmp_path: Path) -> None:
    digests = [checkpoint.write_state(tmp_path, {"a": number}) for number in (1, 1, 2)]
    assert digests[0] == digests[1] != digests[2]


def test_files_are_called_as_the_docs_say(tmp_path: Path) -> None:
    checkpoint.write_state(tmp_path, {})
    checkpoint.write_manifest(tmp_path, MANIFEST)
    assert sorted(os.listdir(tmp_path / "azr")) == ["manifest.json", "state.json"]


@pytest.mark.parametrize("cut", ["rename", "fsync"])
def test_crash_while_writing_leaves_the_old_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cut: str
) -> None:
    digest = checkpoint.write_state(tmp_path, {"old": True})
    old = replace(MANIFEST, state_sha256=digest)
    checkpoint.write_manifest(tmp_path, old)
    with monkeypatch.context() as patch:
        patch.setattr(*((Path, "rename") if cut == "rename" else (os, "fsync")), cut_power)
        with pytest.raises(KeyboardInterrupt):
            checkpoint.write_state(tmp_path, {"new": "x" * 1000})
        with pytest.raises(KeyboardInterrupt):
            checkpoint.write_manifest(tmp_path, replace(MANIFEST, step=5))
    assert checkpoint.read_manifest(tmp_path) == old
    assert checkpoint.read_state(tmp_path, old) == {"old": True}


def test_crash_while_writing_the_first_time_leaves_no_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "global_step_4"
    (folder / "actor").mkdir(parents=True)
    checkpoint.write_state(folder, {})
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Path, "rename", cut_power)
        checkpoint.write_manifest(folder, MANIFEST)
    assert checkpoint.read_manifest(folder) is None
    assert checkpoint.latest_checkpoint(tmp_path) is None
    # What was left aside is no obstacle.
    checkpoint.write_manifest(folder, MANIFEST)
    assert checkpoint.latest_checkpoint(tmp_path) == folder


def test_content_is_on_disk_before_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    fsync, rename = os.fsync, Path.rename
    monkeypatch.setattr(os, "fsync", lambda fd: (done.append("fsync"), fsync(fd))[1])
    monkeypatch.setattr(Path, "rename", lambda path, to: (done.append("rename"), rename(path, to))[1])
    checkpoint.write_state(tmp_path, {})
    # The file, its new name, and the folder that holds the name.
    assert done == ["fsync", "rename", "fsync"]


def test_newest_checkpoint_is_the_one_of_the_greatest_step(tmp_path: Path) -> None:
    for step in (9, 10, 2):
        finished(tmp_path, f"global_step_{step}")
    assert checkpoint.latest_checkpoint(tmp_path) == tmp_path / "global_step_10"


def test_folder_whose_weights_verl_has_removed_is_never_chosen(tmp_path: Path) -> None:
    finished(tmp_path, "global_step_2")
    finished(tmp_path, "global_step_4")
    (tmp_path / "global_step_4" / "actor").rmdir()
    assert checkpoint.latest_checkpoint(tmp_path) == tmp_path / "global_step_2"


def test_checkpoints_after_the_one_that_is_resumed_from_do_not_count(tmp_path: Path) -> None:
    for step in (2, 4, 10):
        finished(tmp_path, f"global_step_{step}")
    checkpoint.discard_after(tmp_path, 4)
    assert checkpoint.latest_checkpoint(tmp_path) == tmp_path / "global_step_4"
    assert checkpoint.read_manifest(tmp_path / "global_step_10") is None
    assert checkpoint.read_manifest(tmp_path / "global_step_2") is not None


# ------------------------------ what makes way ------------------------------


@pytest.mark.parametrize(
    ("keep", "removed"),
    [(None, []), (5, []), (4, ["2"]), (3, ["2", "4", "6"]), (2, ["2", "4", "6", "8"])],
)
def test_one_more_checkpoint_makes_as_many_as_are_kept(
    tmp_path: Path, keep: int | None, removed: list[str]
) -> None:
    for step in (10, 2, 8, 4):
        finished(tmp_path, f"global_step_{step}")
    (tmp_path / "global_step_6" / "actor").mkdir(parents=True)  # never finished
    (tmp_path / "global_step_12" / "actor").mkdir(parents=True)  # being written when the run was killed
    (tmp_path / "global_step_4.bak" / "actor").mkdir(parents=True)
    checkpoint.make_room(tmp_path, keep)
    without = [folder for folder in tmp_path.iterdir() if not (folder / "actor").exists()]
    assert sorted(folder.name.removeprefix("global_step_") for folder in without) == removed


def test_best_checkpoint_stays_beside_the_newest(tmp_path: Path) -> None:
    accuracies = {0: 0.9, 2: 0.3, 4: 0.5, 6: 0.5, 7: 0.8, 8: 0.2}
    kept = []
    for step in (2, 4, 6, 8, 10):
        checkpoint.make_room(tmp_path, 2, checkpoint.best_of(checkpoint.finished(tmp_path), accuracies))
        finished(tmp_path, f"global_step_{step}")
        kept.append(list(checkpoint.finished(tmp_path)))
    # Of 4 and 6 the first; 0 and 7 have no checkpoint, and 10 is not evaluated.
    assert kept == [[2], [2, 4], [4, 6], [4, 6, 8], [4, 8, 10]]


def test_best_of_steps_that_were_not_evaluated_is_none() -> None:
    assert checkpoint.best_of([2, 4], {}) is None
    assert checkpoint.best_of([], {2: 0.5}) is None


def test_nothing_makes_way_where_nothing_is_finished(tmp_path: Path) -> None:
    checkpoint.make_room(tmp_path / "missing", 2)
    (tmp_path / "global_step_2" / "actor").mkdir(parents=True)
    checkpoint.make_room(tmp_path, 2)
    assert (tmp_path / "global_step_2" / "actor").is_dir()


def test_no_number_of_resumes_leaves_more_than_are_kept(tmp_path: Path) -> None:
    # Every save is by a process that knows of no checkpoint before it, as verl is after a resume.
    for step in range(1, 6):
        checkpoint.make_room(tmp_path, 2)
        finished(tmp_path, f"global_step_{step}")
        assert len(checkpoint.finished(tmp_path)) == min(step, 2)
        assert checkpoint.latest_checkpoint(tmp_path) == tmp_path / f"global_step_{step}"
    assert checkpoint.is_finished(tmp_path / "global_step_1"), "its facts stay"


def test_folder_that_verl_did_not_name_is_passed_over(tmp_path: Path) -> None:
    finished(tmp_path, "global_step_2")
    finished(tmp_path, "global_step_4.bak")
    assert checkpoint.latest_checkpoint(tmp_path) == tmp_path / "global_step_2"


def test_folder_without_a_manifest_is_never_chosen(tmp_path: Path) -> None:
    finished(tmp_path, "global_step_2")
    checkpoint.write_state(tmp_path / "global_step_4", {})
    (tmp_path / "latest_checkpointed_iteration.txt").write_text("4")
    assert checkpoint.latest_checkpoint(tmp_path) == tmp_path / "global_step_2"
    assert checkpoint.read_manifest(tmp_path / "global_step_4") is None


def test_run_without_checkpoints_has_no_newest_one(tmp_path: Path) -> None:
    assert checkpoint.latest_checkpoint(tmp_path) is None
    assert checkpoint.latest_checkpoint(tmp_path / "missing") is None


@pytest.mark.parametrize("format", [1, checkpoint.FORMAT - 1, checkpoint.FORMAT + 1])
def test_checkpoint_of_another_format_is_refused(tmp_path: Path, format: int) -> None:
    # Another format may have other fields, so the format is looked at first.
    path = tmp_path / "azr" / "manifest.json"
    path.parent.mkdir()
    path.write_text(json.dumps({"format": format, "something": "else"}))
    with pytest.raises(CheckpointError, match=rf"checkpoint format 5; got {format}\. Resume it with"):
        checkpoint.read_manifest(tmp_path)


def test_changed_state_is_refused(tmp_path: Path) -> None:
    manifest = replace(MANIFEST, state_sha256=checkpoint.write_state(tmp_path, {"a": 1}))
    path = tmp_path / "azr" / "state.json"
    path.write_bytes(path.read_bytes().replace(b"1", b"2"))
    with pytest.raises(CheckpointError, match=r"state\.json must have the digest .* Remove the folder"):
        checkpoint.read_state(tmp_path, manifest)


def test_checkpoint_of_another_pack_is_refused(tmp_path: Path) -> None:
    checkpoint.check_pack(tmp_path, MANIFEST, "arithmetic")
    with pytest.raises(CheckpointError, match=r"pack must be 'arithmetic' .* got 'prime_inversion'"):
        checkpoint.check_pack(tmp_path, MANIFEST, "prime_inversion")
