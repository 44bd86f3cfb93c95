"""Absolute Zero on the hooks of verl's synchronous V1 trainer.

`AzrTrainer` owns no training loop: verl's `fit` and `step` run unchanged, and call

    on_train_begin      seeding: fill the buffer before the first step
    prepare_step        draw the step's requests and send them to the agent loops
    _balance_batch      the rollout is in: settle it, write rewards, leave out what was not priced
    _compute_metrics    add self-play's numbers to verl's
    _save_checkpoint    save self-play's state beside verl's; finished once the step's metrics are on disk

Written for verl 0.9.1.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import ray
import torch
import transfer_queue as tq
from omegaconf import DictConfig, OmegaConf
from transfer_queue import KVBatchMeta
from verl.trainer.ppo.v1.trainer_sync import PPOTrainerSync
from verl.utils import tensordict_utils as tu
from verl.utils.debug import marked_timer
from verl.utils.tracking import Tracking

from recipe.engine.claims import start_admission
from recipe.engine.estimator import trr_plus_plus  # noqa: F401  (registers algorithm.adv_estimator=trr_plus_plus)
from recipe.run import checkpoint
from recipe.run.files import RunFiles
from recipe.selfplay import metrics
from recipe.selfplay.baselines import Baseline, Cells, RunningMeans
from recipe.selfplay.config import AzrConfig
from recipe.selfplay.curriculum import SelfPlay, SelfPlayError, Settlement
from recipe.selfplay.facts import attempt_from_json, proposal_from_json
from recipe.selfplay.rollout import Attempt, Proposal, Request
from recipe.selfplay.uid import make_uid
from rewards.profile import load_profile
from rewards.propose import find_shape
from tasks.contract import Role
from tasks.guard import GuardedPack
from tasks.registry import load_pack

logger = logging.getLogger("verl.azr")

AGENT_NAMES = {Role.PROPOSE: "azr_propose", Role.SOLVE: "azr_solve"}


class AzrTrainer(PPOTrainerSync):
    """verl's synchronous trainer with self-play in the place of a data set."""

    def __init__(self, config: DictConfig) -> None:
        super().__init__(config)
        azr = OmegaConf.to_object(config.azr)
        assert isinstance(azr, AzrConfig)
        self.azr: AzrConfig = azr
        self.pack = GuardedPack(load_pack(config.pack), azr.pack_deadline_s)
        profile = load_profile(config.reward_profile, find_shape(**config.azr.learnability))
        self.selfplay = SelfPlay(self.pack, profile, self.azr)
        self.files = RunFiles(Path(config.run.dir))
        self.admission = start_admission(
            config.run.dir,
            (self.pack.task_key(record) for record in self.pack.held_out()),
            self.azr.proposals_per_kind,
        )
        self.running_means = RunningMeans(Cells(config.algorithm.trr.cells))
        self._requests: list[Request] = []
        self._settlement: Settlement | None = None
        self._waited_s = 0.0

    # ------------------------------ logging ------------------------------

    @property
    def logger(self) -> Tracking:
        """verl's loggers; `fit` sets them, and the run's own files join them then."""
        return self._tracking

    @logger.setter
    def logger(self, tracking: Tracking) -> None:
        tracking.logger["azr"] = self.files
        self._tracking = tracking

    # ------------------------------ seeding ------------------------------

    def on_train_begin(self) -> None:
        """Have the model propose until the buffer holds `azr.seeding.target` records of every kind.

        A resumed run's buffer came with its checkpoint; it seeds on only if its sizes were raised.
        """
        super().on_train_begin()
        self._release_tasks()
        for _ in range(self.azr.seeding.max_waves):
            requests = self.selfplay.seeding_wave()
            if not requests:
                return
            uids = self._submit(requests)
            keys = self.replay_buffer.wait_for(uids, "train")
            settlement = self.selfplay.settle_seeding(requests, self._fetch_results(keys))
            self.replay_buffer.discard(uids, keys, "train")
            self.files.append_ledger(line.to_json() for line in settlement.ledger)
            self._release_tasks()
        if self.selfplay.seeding_wave():
            sizes = {spec.name: self.selfplay.buffer.size(spec.name) for spec in self.pack.kinds}
            raise SelfPlayError(
                f"seeding must reach azr.seeding.target={self.azr.seeding.target} records of every kind "
                f"within azr.seeding.max_waves={self.azr.seeding.max_waves} waves; got {sizes}. "
                "The ledger says why proposals were refused: train the model further, lower the target, "
                "or allow more waves."
            )

    # ------------------------------ one step ------------------------------

    def prepare_step(self) -> dict[str, float]:
        """Send the step's requests to the agent loops; with `azr.solve_on=fresh` in two waves."""
        with marked_timer("draw", self.timing_raw):
            self._requests = self.selfplay.begin_step(self.global_steps)
            uids = self._submit(self._requests)
        with marked_timer("gen_propose", self.timing_raw):
            if self.selfplay.plan.has_second_wave:
                results = self._fetch_results(self.replay_buffer.wait_for(uids, "train"))
                second = self.selfplay.second_wave(self._requests, results)
                self._submit(second)
                self._requests += second
        return {}

    def _balance_batch(
        self, batch: KVBatchMeta, metrics: dict[str, float], *args: Any, **kwargs: Any
    ) -> KVBatchMeta:
        """Settle the rollout, then balance what is trained on over the workers."""
        with marked_timer("settle", self.timing_raw):
            batch = self._settle(batch)
        batch = super()._balance_batch(batch, metrics, *args, **kwargs)
        # verl splits a batch into updates of this size. The method makes one update a step, over all of it.
        self.config.actor_rollout_ref.actor.ppo_mini_batch_size = len(batch)
        return batch

    def _get_required_batch_multiple(self, dp_size: int) -> int:
        """Rows that verl pads the batch to: every worker gets as many as the others."""
        return dp_size

    def _submit(self, requests: Sequence[Request]) -> list[str]:
        """Send requests to the agent loops; return the uids that verl knows them by."""
        uids = [make_uid(request.role, request.kind) for request in requests]
        batch = tu.get_tensordict(
            {
                "uid": _objects(uids),
                "index": _objects([request.index for request in requests]),
                "agent_name": _objects([AGENT_NAMES[request.role] for request in requests]),
                "request": _objects([json.dumps(request.to_json()) for request in requests]),
            }
        )
        tu.assign_non_tensor_data(batch, "global_steps", self.global_steps)
        self._submit_batch_to_rollout(batch)
        return uids

    def _fetch_results(self, keys: Sequence[str]) -> dict[int, Proposal | Attempt]:
        """What the agent loops found out, by request index."""
        if not keys:
            return {}
        data = tq.kv_batch_get(keys=list(keys), partition_id="train", select_fields=["extra_fields"])
        return _results(list(data["extra_fields"]))

    def _settle(self, batch: KVBatchMeta) -> KVBatchMeta:
        """Price the step; write rewards and uids to verl's storage; return the rows to train on."""
        if not batch.keys:
            raise SelfPlayError(f"step {self.global_steps}: no request was answered; see the run's log")
        data = tq.kv_batch_get(
            keys=batch.keys, partition_id=batch.partition_id, select_fields=["extra_fields"]
        )
        extra_fields = list(data["extra_fields"])
        settlement = self.selfplay.settle(self.global_steps, self._requests, _results(extra_fields))
        self._settlement = settlement
        if self.config.algorithm.trr.baseline == Baseline.RUNNING_MEAN:
            self._advance_running_means(settlement)
        num_workers: int = self.config.actor_rollout_ref.rollout.agent.num_workers
        self._waited_s = sum(extra["azr_waited_s"] for extra in extra_fields) / num_workers
        self.files.append_ledger(line.to_json() for line in settlement.ledger)
        self._release_tasks()

        keys, tags, rewards, uids, dropped = [], [], [], [], []
        for key, tag, extra in zip(batch.keys, batch.tags, extra_fields, strict=True):
            priced = settlement.priced.get((extra["azr_index"], extra["azr_attempt"]))
            if priced is None:
                dropped.append(key)
                continue
            reward = torch.zeros(tag["response_len"])
            reward[-1] = priced.reward
            keys.append(key)
            tags.append(tag)
            rewards.append(reward)
            uids.append(priced.uid)
        if dropped:
            tq.kv_clear(keys=dropped, partition_id=batch.partition_id)
        if not keys:
            raise SelfPlayError(f"step {self.global_steps}: no response can be trained on; see the ledger")
        rm_scores = torch.nested.as_nested_tensor(rewards, layout=torch.jagged)
        tq.kv_batch_put(
            keys=keys,
            partition_id=batch.partition_id,
            fields=tu.get_tensordict({"rm_scores": rm_scores, "uid": _objects(uids)}),
        )
        return KVBatchMeta(partition_id=batch.partition_id, keys=keys, tags=tags, extra_info=batch.extra_info)

    def _advance_running_means(self, settlement: Settlement) -> None:
        """Take the step's rewards in; tell the estimator, in its configuration, the means from before."""
        priced = settlement.priced.values()
        before = self.running_means.advance([one.uid for one in priced], [one.reward for one in priced])
        OmegaConf.update(self.config, "algorithm.trr.running_means", before, merge=False, force_add=True)

    def _release_tasks(self) -> None:
        """Between waves of different steps: what is taken is what the buffer holds."""
        ray.get(self.admission.replace.remote(self.selfplay.buffer.keys()))

    # ------------------------------ metrics ------------------------------

    def _compute_metrics(
        self,
        batch: KVBatchMeta,
        metrics_of_step: dict[str, float],
        timing_raw: Mapping[str, float],
        global_steps: int,
        epoch: int,
    ) -> None:
        """verl's metrics of the step, then ours."""
        super()._compute_metrics(batch, metrics_of_step, timing_raw, global_steps=global_steps, epoch=epoch)
        settlement = self._settlement
        assert settlement is not None
        kinds = [spec.name for spec in self.pack.kinds]
        metrics_of_step |= metrics.step_metrics(settlement.ledger, kinds, self.azr.attempts_per_record)
        metrics_of_step |= metrics.buffer_metrics({kind: self.selfplay.buffer.size(kind) for kind in kinds})
        metrics_of_step |= metrics.time_metrics(timing_raw, self._waited_s)
        metrics_of_step |= metrics.failure_metrics(settlement.num_failed)
        metrics_of_step.update(self._batch_metrics(batch))

    def _batch_metrics(self, batch: KVBatchMeta) -> dict[str, float]:
        """Advantages and lengths of the trained rows, by role and kind."""
        rows = [
            (key, tag) for key, tag in zip(batch.keys, batch.tags, strict=True) if "is_padding" not in tag
        ]
        data = tq.kv_batch_get(
            keys=[key for key, _ in rows],
            partition_id=batch.partition_id,
            select_fields=["uid", "advantages"],
        )
        uids = list(data["uid"])
        advantages = [row.abs().mean().item() for row in data["advantages"].unbind()]
        return (
            metrics.row_means("advantage_magnitude", uids, advantages)
            | metrics.row_means("response_tokens", uids, [tag["response_len"] for _, tag in rows])
            | metrics.row_means("prompt_tokens", uids, [tag["prompt_len"] for _, tag in rows])
        )

    def _val_metrics_update(
        self,
        data_sources: list[str],
        sample_uids: list[str],
        reward_extra_infos_dict: dict[str, list[Any]],
        sample_turns: list[int],
        expected_acc_counts: dict[tuple[str, str], int] | None = None,
    ) -> dict[str, float]:
        """verl's validation metrics, and accuracy with its interval by group."""
        result: dict[str, float] = super()._val_metrics_update(
            data_sources, sample_uids, reward_extra_infos_dict, sample_turns, expected_acc_counts
        )
        num_asked = sum((expected_acc_counts or {}).values())
        num_failed = num_asked - len(data_sources)
        if num_failed > self.azr.failures.max_share * num_asked:
            raise SelfPlayError(
                f"validation: {num_failed} of {num_asked} held-out items got no response, more than "
                f"azr.failures.max_share={self.azr.failures.max_share} allows; see the run's log"
            )
        return result | metrics.held_out_metrics(
            data_sources,
            reward_extra_infos_dict["acc"],
            reward_extra_infos_dict["format"],
            num_failed,
            reward_extra_infos_dict.get("sampled", []),
            self.azr.held_out_samples,
        )

    # ------------------------------ checkpoints ------------------------------

    def _save_checkpoint(self) -> None:
        """Save verl's state and ours. The checkpoint counts once the step's metrics are written as well."""
        checkpoints = Path(self.config.trainer.default_local_dir)
        checkpoint.make_room(checkpoints, self.config.trainer.max_actor_ckpt_to_keep)
        super()._save_checkpoint()
        folder = checkpoints / f"global_step_{self.global_steps}"
        state = self.selfplay.state_dict() | {"running_means": self.running_means.state_dict()}
        digest = checkpoint.write_state(folder, state)
        self.files.finish_checkpoint_with_metrics(folder, self.pack.name, self.global_steps, digest)

    def _load_checkpoint(self) -> None:
        """Resume from the newest finished checkpoint; verl's own tracker file may name an unfinished one."""
        mode = self.config.trainer.resume_mode
        checkpoints = Path(self.config.trainer.default_local_dir)
        folder = None
        if mode == "auto":
            folder = checkpoint.latest_checkpoint(checkpoints)
        elif mode == "resume_path":
            folder = Path(self.config.trainer.resume_from_path)
        manifest = checkpoint.read_manifest(folder) if folder else None
        if folder is None or manifest is None:
            self.config.trainer.resume_mode = "disable"
            super()._load_checkpoint()
            checkpoint.discard_after(checkpoints, step=0)
            self.files.truncate(ledger_bytes=0, metrics_bytes=0)
            return
        checkpoint.check_pack(folder, manifest, self.pack.name)
        self.config.trainer.resume_mode = "resume_path"
        self.config.trainer.resume_from_path = str(folder.absolute())
        super()._load_checkpoint()
        checkpoint.discard_after(checkpoints, manifest.step)
        state = checkpoint.read_state(folder, manifest)
        self.selfplay.load_state_dict(state)
        self.running_means.load_state_dict(state["running_means"])
        self.files.truncate(ledger_bytes=manifest.ledger_bytes, metrics_bytes=manifest.metrics_bytes)
        # The run validated before its first step; the numbers are in its metrics.
        self.config.trainer.val_before_train = self.config.trainer.val_only
        logger.info("resumed from %s", folder)


def _objects(values: Sequence[Any]) -> np.ndarray:
    """A one-dimensional array of Python objects, which verl's batches carry as they are."""
    return np.fromiter(values, dtype=object, count=len(values))


def _results(extra_fields: Sequence[Mapping[str, Any]]) -> dict[int, Proposal | Attempt]:
    results: dict[int, Proposal | Attempt] = {}
    for extra in extra_fields:
        facts = json.loads(extra["azr_facts"])
        if facts is not None:
            is_proposal = "attempts" in facts
            results[extra["azr_index"]] = (
                proposal_from_json(facts) if is_proposal else attempt_from_json(facts)
            )
    return results
