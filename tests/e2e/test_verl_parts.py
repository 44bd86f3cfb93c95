"""verl's own trainer with TRR++ and the reward function, and none of ours: one start, two steps."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

ROOT = Path(__file__).parents[2]
TASKS = 6  # of each pack; a step has them all
ATTEMPTS = 4  # at each

# Loaded by verl in every process (VERL_USE_EXTERNAL_MODULES): keeps what the estimator is given and gives.
WITNESS = """
import os
import torch
import wrapt

def observe(estimator):
    from verl.trainer.ppo.core_algos import ADV_ESTIMATOR_REGISTRY as registry
    trr_plus_plus = registry["trr_plus_plus"]

    def observed(**given):
        advantages, returns = trr_plus_plus(**given)
        kept = {name: given[name] for name in ("token_level_rewards", "response_mask")}
        kept |= {"index": list(given["index"]), "advantages": advantages, "returns": returns}
        folder = os.environ["WITNESS"]
        torch.save(kept, os.path.join(folder, f"{len(os.listdir(folder)) + 1}.pt"))
        return advantages, returns

    registry["trr_plus_plus"] = observed

wrapt.register_post_import_hook(observe, "recipe.engine.estimator")
"""


@dataclass(frozen=True)
class Trained:
    """What a finished run left.

    Attributes:
        task_of: Pack and kind by the ground truth of a row.
        rows: By step: verl's dump of what it trained on.
        estimated: By step: what the estimator was given and gave.
        metrics: By step: verl's own.
    """

    task_of: dict[str, tuple[str, str]]
    rows: dict[int, list[dict[str, Any]]]
    estimated: dict[int, dict[str, Any]]
    metrics: dict[int, dict[str, float]]


def export(pack: str, path: Path) -> None:
    """Write tasks of a pack as a data set of verl."""
    command = [sys.executable, "-m", "tasks.export", pack, "terse=true", "--split", "sample"]
    subprocess.run([*command, "--count", str(TASKS), "--out", path], cwd=ROOT, check=True)


@pytest.fixture(scope="module")
def trained(
    make_run: Any, model_of: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory
) -> Trained:
    """Two steps of `verl.trainer.main_ppo` on tasks of `arithmetic` and of `python_code`."""
    from datasets import load_dataset

    from recipe.cpu.environment import cpu_environment

    folder = tmp_path_factory.mktemp("verl")
    files = [folder / "arithmetic.parquet", folder / "python_code.parquet"]
    for file in files:
        export(file.stem, file)
    (folder / "witness").mkdir()
    (folder / "site").mkdir()
    (folder / "site" / "witness.py").write_text(WITNESS)
    paths = f"[{','.join(map(str, files))}]"
    overrides = [
        "hydra.searchpath=[pkg://conf]",
        "hydra.run.dir=.",
        "hydra.output_subdir=null",
        "+cluster=cpu_1",
        f"data.train_files={paths}",
        f"data.val_files={paths}",
        f"data.train_batch_size={TASKS * len(files)}",
        "data.max_prompt_length=256",
        "data.max_response_length=64",
        "data.dataloader_num_workers=0",
        "algorithm.adv_estimator=trr_plus_plus",
        "+algorithm.trr.columns=[data_source,ability]",
        "reward.custom_reward_function.path=pkg://rewards.verl_reward",
        "reward.custom_reward_function.name=compute_score",
        "+reward.custom_reward_function.reward_kwargs.profile=azr_code",
        "reward.num_workers=1",
        f"actor_rollout_ref.model.path={model_of('python_code', steps=240, terse=True)}",
        "+actor_rollout_ref.model.override_config.attn_implementation=sdpa",
        "actor_rollout_ref.actor.strategy=fsdp2",
        "actor_rollout_ref.actor.use_dynamic_bsz=true",
        f"actor_rollout_ref.actor.ppo_mini_batch_size={TASKS * len(files)}",
        "actor_rollout_ref.actor.optim.lr=1e-4",
        "actor_rollout_ref.rollout.name=vllm",
        "actor_rollout_ref.rollout.tensor_model_parallel_size=1",
        "actor_rollout_ref.rollout.max_model_len=320",
        f"actor_rollout_ref.rollout.n={ATTEMPTS}",
        "trainer.logger=[console,file]",
        "trainer.total_training_steps=2",
        "trainer.val_before_train=false",
        "trainer.test_freq=2",
        f"trainer.rollout_data_dir={folder / 'rollouts'}",
        f"trainer.default_local_dir={folder / 'checkpoints'}",
        "+ray_kwargs.ray_init.address=local",  # and no cluster of another test
    ]
    variables = cpu_environment(threads=2, kv_cache_gib=1) | {
        "PYTHONPATH": os.pathsep.join([str(folder / "site"), str(ROOT)]),
        "VERL_USE_EXTERNAL_MODULES": "witness",
        "WITNESS": str(folder / "witness"),
        "VERL_FILE_LOGGER_PATH": str(folder / "metrics.jsonl"),
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "verl.trainer.main_ppo", *overrides],
        cwd=folder,
        env=os.environ | variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    make_run(folder, ()).finish(process)

    import torch

    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    tasks = (row for file in files for row in load_dataset("parquet", data_files=str(file))["train"])
    origins = ((row["data_source"], row["ability"], row["reward_model"]) for row in tasks)
    dumps = {step: (folder / "rollouts" / f"{step}.jsonl").read_text() for step in (1, 2)}
    return Trained(
        {truth["ground_truth"]: (pack, kind) for pack, kind, truth in origins},
        {step: [json.loads(line) for line in dump.splitlines()] for step, dump in dumps.items()},
        {step: torch.load(folder / "witness" / f"{step}.pt", weights_only=False) for step in (1, 2)},
        {line["step"]: line["data"] for line in lines},
    )


def test_no_response_is_left_out(trained: Trained) -> None:
    for rows in trained.rows.values():
        packs = [trained.task_of[row["gts"]][0] for row in rows]
        assert packs.count("arithmetic") == packs.count("python_code") == TASKS * ATTEMPTS


def test_programs_run_in_a_sandbox_of_verls_reward_worker(trained: Trained) -> None:
    """To judge an input or a program takes a run, unless it is malformed."""
    malformed = -1.0  # in `azr_code`
    runs = [("python_code", "abduction"), ("python_code", "induction")]
    scores = [
        row["score"] for rows in trained.rows.values() for row in rows if trained.task_of[row["gts"]] in runs
    ]
    assert any(score != malformed for score in scores)


def test_rewards_are_those_of_self_play(trained: Trained) -> None:
    from recipe.selfplay.rollout import CheckClock, judge_responses
    from recipe.selfplay.types import Response
    from rewards.profile import load_profile, price_attempt
    from tasks.contract import TaskRecord
    from tasks.registry import load_pack

    packs = {name: load_pack({"_target_": name, "terse": True}) for name in ("arithmetic", "python_code")}
    different, rewards = [], set()
    for row in (row for rows in trained.rows.values() for row in rows):
        pack = packs[trained.task_of[row["gts"]][0]]
        record = TaskRecord.from_json(row["gts"])
        (attempt,) = asyncio.run(judge_responses(pack, record, [Response(row["output"])], CheckClock()))
        reward = price_attempt(load_profile("azr_code"), attempt.outcome, None, attempt.measures)
        rewards.add(reward)
        if reward != row["score"]:
            different.append((row, attempt))
    assert different == []
    assert len(rewards) > 1


def test_advantages_are_those_of_self_play(trained: Trained) -> None:
    """The same rows under self-play's uids, which spell pack and kind, in cells by role and kind."""
    import torch
    from omegaconf import OmegaConf

    from recipe.engine.estimator import trr_plus_plus
    from recipe.selfplay.credit import make_uid

    for step, given in trained.estimated.items():
        scores, task_of = defaultdict(list), {}
        for row in trained.rows[step]:
            uid = row["uid"].partition("_")[0]
            scores[uid].append(row["score"])
            task_of[uid] = trained.task_of[row["gts"]]
        found = defaultdict(list)
        for uid, reward in zip(given["index"], given["token_level_rewards"].sum(-1).tolist(), strict=True):
            found[uid].append(reward)
        assert {uid: sorted(rewards) for uid, rewards in found.items()} == {
            uid: sorted(rewards) for uid, rewards in scores.items()
        }
        names = ["-".join(task_of[uid]).replace("_", "-") for uid in given["index"]]
        advantages, returns = trr_plus_plus(
            given["token_level_rewards"],
            given["response_mask"],
            [make_uid("solve", name) for name in names],
            OmegaConf.create({"trr": {"cells": "role-kind"}}),
        )
        assert torch.equal(given["advantages"], advantages)
        assert torch.equal(given["returns"], returns)
        assert advantages.abs().max() > 0


def test_verl_trains_on_them(trained: Trained) -> None:
    for step, given in trained.estimated.items():
        valid = given["advantages"][given["response_mask"].bool()]
        metrics = trained.metrics[step]
        assert metrics["critic/advantages/max"] == pytest.approx(valid.max().item())
        assert metrics["critic/advantages/min"] == pytest.approx(valid.min().item())
        assert metrics["actor/grad_norm"] > 0
    accuracies = {key for key in trained.metrics[2] if key.startswith("val-core/") and "/acc/" in key}
    assert {key.split("/")[1] for key in accuracies} == {"arithmetic", "python_code"}
