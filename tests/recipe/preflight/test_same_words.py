"""Mistakes, each given to `recipe.doctor` and to a run: both say the same line, without a traceback."""

from __future__ import annotations

import json
import re
import socket
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from omegaconf import DictConfig, OmegaConf

from recipe import doctor, main_azr
from recipe.life import survey_nodes
from recipe.preflight import machine
from recipe.preflight.setup import Setup

MODEL = "actor_rollout_ref.model.path"

Say = Callable[[Callable[[], int | None]], tuple[int, str]]

OVERRIDES = {
    "type": ("azr.seed=abc", "Error merging override azr.seed=abc"),
    "unknown key": ("azr.sed=1", "azr.sed is no key of the configuration; azr has "),
    "former key": (
        "baselines=six",
        "baselines is no key of the configuration any more; give algorithm.trr.cells",
    ),
    "unknown pack": ("pack=nope", "In 'azr': Could not find 'pack/nope'. Available options in 'pack': arith"),
}
"""Those that Hydra refuses."""

# What is given, and how the line that comes back begins. FOLDER is the test's own; in it are a file, a model
# directory whose config.json is cut short, and the result of a run. Nothing listens at ADDRESS.
MISTAKES = {
    "enum": ("azr.solve_on=abc", "azr.solve_on must be one of fresh, previous, attempts; got 'abc'"),
    "pack knob": ("pack.deduction_max=1", "pack arithmetic: pack.deduction_max must be an integer from 9 to"),
    "negative size": ("azr.held_out_samples=-1", "azr.held_out_samples must be at least 0; got -1"),
    "no GPU": ("trainer.n_gpus_per_node=0", "trainer.n_gpus_per_node must be at least 1; got 0"),
    "oversample": (
        "azr.propose=false azr.oversample=2.0",
        "azr.oversample must be at least 1, and 1 with azr.p",
    ),
    "profile": ("reward_profile=nope", "reward_profile must be one of arithmetic, "),
    "measure": ("reward_profile=paper_accuracy", "reward_profile=paper_accuracy grades wrong attempts by "),
    "feature": (
        "azr.bonus.terms={beauty: {}}",
        "azr.bonus.terms.beauty is no feature of the pack arithmetic; it has ",
    ),
    "cells": ("algorithm.trr.cells=kind", "algorithm.trr.cells must be one of role-kind, "),
    "resume mode": (
        "trainer.resume_mode=nope",
        "trainer.resume_mode must be one of auto, disable, resume_path",
    ),
    "rollout.n": ("actor_rollout_ref.rollout.n=8", "actor_rollout_ref.rollout.n must be 1: "),
    "val n": (
        "actor_rollout_ref.rollout.val_kwargs.n=4",
        "actor_rollout_ref.rollout.val_kwargs.n must be 1: ",
    ),
    "checkpoints": ("trainer.max_actor_ckpt_to_keep=1", "trainer.max_actor_ckpt_to_keep must be null or at "),
    "lengths": (
        "data.max_response_length=65",
        "data.max_prompt_length + data.max_response_length = 289 must fit ",
    ),
    "slots": (
        "ray_kwargs.ray_init.num_cpus=6",
        "ray_kwargs.ray_init.num_cpus must be at least 7, which verl ",
    ),
    "prompts": ("data.train_batch_size=47", "data.train_batch_size must be left alone: azr.* and "),
    "no model": (
        f"{MODEL}=/no/such/model",
        f"{MODEL} must be a model directory or a name on the hub; /no/such",
    ),
    "unset model": (f"{MODEL}=null", f"{MODEL} must be a model directory or a name on the hub; it is not"),
    "broken model": (f"{MODEL}=FOLDER/model", "FOLDER/model/config.json must hold a JSON object, "),
    "unwritable": (
        "run.dir=FOLDER/file/run",
        "run.dir must be writable; FOLDER/file/run is not: Not a dir",
    ),
    "result": ("run.dir=FOLDER/done", "run.dir must not hold the result of a run without checkpoints, "),
    "cluster": ("ray_kwargs.ray_init.address=ADDRESS", "Ray's head must listen at ADDRESS "),
}


@pytest.fixture(autouse=True)
def roomy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "available_gib", lambda: (1000.0, 2000.0))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str]) -> Say:
    """Call a command: its exit status, and what it printed of problems."""

    def call(command: Callable[[], int | None]) -> tuple[int, str]:
        try:
            status: object = command()
        except SystemExit as end:
            status = end.code
        printed = capsys.readouterr()
        assert "Traceback" not in printed.out + printed.err
        assert isinstance(status, int)
        return status, printed.err or printed.out

    return call


@pytest.mark.parametrize(("given", "said"), OVERRIDES.values(), ids=OVERRIDES)
def test_override_is_refused_alike(say: Say, monkeypatch: pytest.MonkeyPatch, given: str, said: str) -> None:
    monkeypatch.setattr(sys, "argv", ["command", "experiment=demo", given])
    status, line = say(doctor.main)
    assert (status, line.count("\n")) == (2, 1)
    assert line.startswith(f"error: {said}")
    assert say(main_azr.command_line) == (status, line)


@pytest.mark.parametrize(("given", "said"), MISTAKES.values(), ids=MISTAKES)
def test_doctor_and_run_say_the_same(
    config: DictConfig, tmp_path: Path, say: Say, given: str, said: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:  # nothing listens there any more
        address = f"127.0.0.1:{server.getsockname()[1]}"
    (tmp_path / "file").touch()
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text('{"hidden_size": 8')
    (tmp_path / "model" / "tokenizer_config.json").write_text(json.dumps({"chat_template": "{{ messages }}"}))
    (tmp_path / "model" / "model.safetensors").touch()
    (tmp_path / "done").mkdir()
    (tmp_path / "done" / "summary.json").write_text("{}")
    given, said = (
        text.replace("FOLDER", str(tmp_path)).replace("ADDRESS", address) for text in (given, said)
    )
    for override in re.split(r" (?=azr)", given):
        key, _, value = override.partition("=")
        OmegaConf.update(config, key, yaml.safe_load(value), force_add=True)
    status, line = say(lambda: main_azr.main.__wrapped__(config))
    assert (status, line.count("\n")) == (2, 1)
    assert line.startswith(f"error: {said}")
    status, told = say(lambda: doctor.diagnose(Setup(config, survey_nodes)))
    assert status == 1
    assert f"\n- {line.removeprefix('error: ')}" in told
    assert not (tmp_path / "run").exists()
