"""Absolute Zero on the hooks of verl's synchronous V1 trainer.

`AzrTrainer` owns no training loop: verl's `fit` and `step` run unchanged, and their hooks call
`recipe/engine/driver.py`, whose `Engine` the trainer is.

    on_train_begin      seeding: fill the buffer before the first step
    prepare_step        draw the step's requests and send them to the agent loops
    _balance_batch      the rollout is in: settle it, write rewards, leave out what was not priced
    _compute_metrics    add self-play's numbers to verl's, and look whether an alarm begins
    on_step_begin       end the run if one of `azr.alarms.stop` began
    _val_metrics_update accuracy on held-out tasks, with its interval, by group
    _save_checkpoint    save self-play's state beside verl's; finished once the step's metrics are on disk
    _load_checkpoint    resume from the newest finished checkpoint

Written for verl 0.9.1.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import ray
import torch
import transfer_queue as tq
from omegaconf import DictConfig, OmegaConf
from torch.nn.functional import pad
from transfer_queue import KVBatchMeta
from verl.trainer.ppo.v1.trainer_sync import PPOTrainerSync
from verl.utils import tensordict_utils as tu
from verl.utils.debug import marked_timer
from verl.utils.tracking import Tracking

from recipe.config import samples_as_it_trains
from recipe.engine.agent_loop import ITEM
from recipe.engine.claims import start_claims
from recipe.engine.dataset import even_spread
from recipe.engine.driver import Driver
from recipe.engine.estimator import trr_plus_plus  # noqa: F401  (registers algorithm.adv_estimator=trr_plus_plus)
from recipe.run import checkpoint
from recipe.run.evaluations import Answers, Evaluation, digest_of
from recipe.run.files import RunFiles, read_metrics
from recipe.selfplay import metrics
from recipe.selfplay.alarms import AlarmError, last_words
from recipe.selfplay.config import AzrConfig
from recipe.selfplay.credit import Baseline, Cells, RunningMeans, make_uid
from recipe.selfplay.curriculum import SelfPlay, SelfPlayError
from recipe.selfplay.metrics import GROUP_MARK
from recipe.selfplay.types import PROPOSAL, Attempt, LedgerLine, Place, Proposal, Request, Results
from rewards.profile import load_profile
from rewards.propose import find_shape
from tasks.contract import Role
from tasks.guard import GuardedPack
from tasks.registry import load_pack

logger = logging.getLogger("verl.azr")

MAX_KL = 1e-3
"""Most nats a token between sampling and training in fp32; steps of the demo had 7e-8 at most, of
SmolLM2-135M, whose log-softmax is over 49,152 words, 1.1e-5."""

DUMPED = ("role", "kind", "outcome", "reason", "solve_rate", "index", "attempt")
"""What `trainer.rollout_data_dir` has of each response from its ledger line."""

AGENT_NAMES = {Role.PROPOSE: "azr_propose", Role.SOLVE: "azr_solve"}


class AzrTrainer(PPOTrainerSync):
    """verl's synchronous trainer with self-play in the place of a data set."""

    def __init__(self, config: DictConfig) -> None:
        super().__init__(config)
        azr = OmegaConf.to_object(config.azr)
        assert isinstance(azr, AzrConfig)
        self.azr: AzrConfig = azr
        pack = GuardedPack(load_pack(config.pack), azr.pack_deadline_s)
        profile = load_profile(config.reward_profile, find_shape(**config.azr.learnability))
        trr = config.algorithm.trr
        means = RunningMeans(Cells(trr.cells)) if trr.baseline == Baseline.RUNNING_MEAN else None
        self.files = RunFiles(Path(config.run.dir))
        selfplay = SelfPlay(pack, profile, azr, means, Cells(trr.cells))
        self.driver = Driver(selfplay, self, self.files)
        held_out = pack.held_out()
        keys = [pack.task_key(record) for record in held_out]
        self.claims = start_claims(config.run.dir, keys, azr.proposals_per_kind)
        asked = config.data.val_max_samples
        self._held_out_digest = digest_of(even_spread(keys, asked))
        self._held_out_groups = [
            GROUP_MARK.join(pack.held_out_groups(record)) for record in even_spread(held_out, asked)
        ]
        self._waited_s = 0.0
        self._said: dict[str, LedgerLine] = {}  # of the rows that the step trains on, by verl's key
        bypasses = config.algorithm.rollout_correction.bypass_mode
        self._is_exact = bypasses and samples_as_it_trains(config)

    # ------------------------------ logging ------------------------------

    @property
    def logger(self) -> Tracking:
        """verl's loggers; `fit` sets them, and the run's own files join them then."""
        return self._tracking

    @logger.setter
    def logger(self, tracking: Tracking) -> None:
        if (board := tracking.logger.get("tensorboard")) is not None:
            # TensorBoard's package, which a run without this logger does without
            from recipe.engine.event_files import drop_steps_from

            # The run goes on behind its checkpoint, or begins anew.
            drop_steps_from(board.writer, self.global_steps + 1 if self.global_steps else 0)
        tracking.logger["azr"] = self.files
        self._tracking = tracking

    def _maybe_log_val_generations(self, inputs: list[str], outputs: list[str], scores: list[float]) -> None:
        """verl's table of samples.

        For TensorBoard it would open a second file, and TensorBoard reads on in the newest of a folder alone:
        the metrics would stand still until it is started again.
        """
        if (board := self.logger.logger.get("tensorboard")) is not None:
            self.validation_generations_logger.writer = board.writer
        super()._maybe_log_val_generations(inputs, outputs, scores)

    # ------------------------------ the driver's engine ------------------------------

    def submit(self, requests: Sequence[Request]) -> list[str]:
        """Send requests to the agent loops; return the uids that verl knows them by."""
        uids = [make_uid(request.role, request.kind) for request in requests]
        batch = tu.get_tensordict(
            {
                "uid": _objects(uids),
                "index": _objects([request.index for request in requests]),
                "agent_name": _objects([AGENT_NAMES[request.role] for request in requests]),
                "request": _objects([request.to_json() for request in requests]),
            }
        )
        tu.assign_non_tensor_data(batch, "global_steps", self.global_steps)
        self._submit_batch_to_rollout(batch)
        return uids

    def collect(self, uids: Sequence[str]) -> Results:
        """Wait for these requests; what the agent loops found out, by request index."""
        keys = self.replay_buffer.wait_for(uids, "train")
        return _results(self._extra_fields(keys, "train")) if keys else {}

    def discard(self, uids: Sequence[str]) -> None:
        """Take these requests and their rows out of verl's storage."""
        self.replay_buffer._clear_groups("train", set(uids))

    def reset_claims(self, keys: Sequence[str]) -> None:
        """Make `keys` the only tasks that are taken."""
        ray.get(self.claims.reset.remote(list(keys)))

    # ------------------------------ one step ------------------------------

    def on_train_begin(self) -> None:
        """Seed before the first step."""
        super().on_train_begin()
        self.driver.seed()

    def prepare_step(self) -> dict[str, float]:
        """Send the step's requests to the agent loops; with `azr.solve_on=fresh` in two waves."""
        with marked_timer("draw", self.timing_raw):
            self.driver.begin_step(self.global_steps)
        with marked_timer("gen_propose", self.timing_raw):
            self.driver.begin_second_wave()
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
        """What verl pads the number of rows to a multiple of: every worker gets as many as the others."""
        return dp_size

    def _update_actor(self, batch: KVBatchMeta, metrics: dict[str, float]) -> KVBatchMeta:
        """One update. Where it began from log-probabilities of sampling, look whether they were its own."""
        batch = super()._update_actor(batch, metrics)
        if self._is_exact:
            check_rollout(metrics["actor/ppo_kl"], metrics["actor/pg_clipfrac"], self.global_steps)
        return batch

    def _settle(self, batch: KVBatchMeta) -> KVBatchMeta:
        """Price the step; write rewards and uids to verl's storage; return the rows to train on."""
        if not batch.keys:
            raise SelfPlayError(f"step {self.global_steps}: no request was answered; see the run's log")
        extra_fields = self._extra_fields(batch.keys, batch.partition_id)
        settlement = self.driver.finish_step(_results(extra_fields))
        if settlement.baselines:  # the estimator reads them in its configuration
            OmegaConf.update(
                self.config, "algorithm.trr.running_means", settlement.baselines, merge=False, force_add=True
            )
        num_workers: int = self.config.actor_rollout_ref.rollout.agent.num_workers
        self._waited_s = sum(extra["azr_waited_s"] for extra in extra_fields) / num_workers

        places = [Place(extra["azr_index"], extra["azr_attempt"]) for extra in extra_fields]
        rows = list(zip(batch.keys, batch.tags, places, strict=True))
        if dropped := [key for key, _, place in rows if place not in settlement.priced]:
            tq.kv_clear(keys=dropped, partition_id=batch.partition_id)
        kept = [
            (key, tag, settlement.priced[place]) for key, tag, place in rows if place in settlement.priced
        ]
        if not kept:
            raise SelfPlayError(f"step {self.global_steps}: no response can be trained on; see the ledger")
        lines = {Place(line.index, line.attempt): line for line in settlement.ledger}
        self._said = {key: lines[place] for key, _, place in rows if place in settlement.priced}
        keys, tags, priced = (list(column) for column in zip(*kept, strict=True))
        # A response's reward stands at its last token.
        rewards = [
            pad(torch.tensor([one.reward]).float(), (tag["response_len"] - 1, 0)) for _, tag, one in kept
        ]
        rm_scores = torch.nested.as_nested_tensor(rewards, layout=torch.jagged)
        uids = _objects([one.uid for one in priced])
        tq.kv_batch_put(
            keys=keys,
            partition_id=batch.partition_id,
            fields=tu.get_tensordict({"rm_scores": rm_scores, "uid": uids}),
        )
        return KVBatchMeta(partition_id=batch.partition_id, keys=keys, tags=tags, extra_info=batch.extra_info)

    def _dump_generations(
        self,
        inputs: list[str],
        outputs: list[str],
        gts: list[Any],
        scores: list[float],
        reward_extra_infos_dict: dict[str, list[Any]],
        dump_path: str,
    ) -> None:
        """verl's dump of responses; of those that a step trained on with what the ledger says of them.

        verl's uid does not tell a proposal from the attempts at it, which are one session to verl.
        """
        columns = reward_extra_infos_dict
        if dump_path == self.config.trainer.rollout_data_dir:
            said = [self._said.get(key) for key in columns["uid"]]  # none of a row that pads
            columns = columns | {
                name: [None if line is None else getattr(line, name) for line in said] for name in DUMPED
            }
        super()._dump_generations(inputs, outputs, gts, scores, columns, dump_path)

    def _extra_fields(self, keys: Sequence[str], partition_id: str) -> list[Mapping[str, Any]]:
        """What the agent loops say of these rows."""
        data = tq.kv_batch_get(keys=list(keys), partition_id=partition_id, select_fields=["extra_fields"])
        return list(data["extra_fields"])

    # ------------------------------ metrics ------------------------------

    def _compute_metrics(
        self,
        batch: KVBatchMeta,
        metrics_of_step: dict[str, float],
        timing_raw: Mapping[str, float],
        **at: int,
    ) -> None:
        """verl's metrics of the step, then ours, and what the alarms make of both."""
        super()._compute_metrics(batch, metrics_of_step, timing_raw, **at)
        metrics_of_step |= metrics.time_metrics(timing_raw, self._waited_s)
        metrics_of_step |= self._batch_metrics(batch)
        metrics_of_step |= self.driver.end_step(metrics_of_step)
        for raised in self.driver.raised:
            logger.warning("step %d, alarm %s: %s", raised.step, raised.alarm, raised.sentence)
        is_saved = "save_checkpoint" in timing_raw
        if self.driver.stops and not is_saved and self.config.trainer.save_freq > 0:
            # As before an update: vLLM gives its memory back, which writing weights may take.
            self.checkpoint_manager.sleep_replicas()
            self._save_checkpoint()

    def on_step_begin(self) -> None:
        """End the run before the step if the one before began an alarm of `azr.alarms.stop`.

        That step is whole by now: its metrics are logged, and its checkpoint counts.

        Raises:
            AlarmError: It did.
        """
        super().on_step_begin()
        if stops := self.driver.stops:
            self._shutdown_dump_executor()
            self.logger.finish(exit_code=1)
            raise AlarmError(last_words(stops, is_saved=self.config.trainer.save_freq > 0))

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
        longest = self.config.data.max_response_length
        return (
            metrics.row_means("advantage_magnitude", uids, advantages)
            | metrics.row_means("response_tokens", uids, [tag["response_len"] for _, tag in rows])
            | metrics.row_means("prompt_tokens", uids, [tag["prompt_len"] for _, tag in rows])
            # verl's `response_length/clip_ratio` is the share of the longest in the batch.
            | metrics.row_means(metrics.TRUNCATED, uids, [tag["response_len"] >= longest for _, tag in rows])
        )

    def _val_metrics_update(
        self, data_sources: list[str], uids: list[str], infos: dict[str, list[Any]], *args: Any, **kwargs: Any
    ) -> dict[str, float]:
        """verl's validation metrics, and accuracy with its interval by group; what became of each item."""
        items = infos.pop(ITEM, [])  # an index is no measurement: verl would average it
        result: dict[str, float] = super()._val_metrics_update(data_sources, uids, infos, *args, **kwargs)
        num_asked = sum(kwargs["expected_acc_counts"].values())
        num_failed = num_asked - len(data_sources)
        if num_failed > self.azr.failures.max_share * num_asked:
            raise SelfPlayError(
                f"validation: {num_failed} of {num_asked} held-out items got no response, more than "
                f"azr.failures.max_share={self.azr.failures.max_share} allows; see the run's log"
            )
        num_samples = self.azr.held_out_samples
        sampled = infos["sampled"] if num_samples else [0.0] * len(items)
        columns = items, infos["acc"], infos["format"], sampled
        answers = {item: Answers(*values) for item, *values in zip(*columns, strict=True)}
        evaluation = Evaluation.of_answers(
            self.global_steps, self._held_out_digest, self._held_out_groups, num_samples, answers
        )
        self.files.evaluations.append([asdict(evaluation)])
        result |= metrics.held_out_metrics(
            data_sources, infos["acc"], infos["format"], num_failed, sampled, num_samples
        )
        if self.global_steps == 0:
            self.driver.alarms.evaluated_before_training(result)
        return result

    # ------------------------------ checkpoints ------------------------------

    def _save_checkpoint(self) -> None:
        """Save verl's state and ours. The checkpoint counts once the step's metrics are written as well.

        Old ones are removed here, not by verl: it knows neither those of an earlier process nor the best.
        """
        trainer = self.config.trainer
        checkpoints, keep = Path(trainer.default_local_dir), trainer.max_actor_ckpt_to_keep
        best = None
        if self.azr.keep_best:
            accuracies = metrics.accuracy_by_step(read_metrics(self.files.metrics.path))
            best = checkpoint.best_of(checkpoint.finished(checkpoints), accuracies)
        checkpoint.make_room(checkpoints, keep, best)
        trainer.max_actor_ckpt_to_keep = None
        super()._save_checkpoint()
        trainer.max_actor_ckpt_to_keep = keep
        self.driver.save(checkpoints / f"global_step_{self.global_steps}", self.global_steps)

    def _load_checkpoint(self) -> None:
        """Resume from the newest finished checkpoint; verl's own tracker file may name an unfinished one."""
        mode = self.config.trainer.resume_mode
        checkpoints = Path(self.config.trainer.default_local_dir)
        folder = None
        if mode == "auto":
            folder = checkpoint.latest_checkpoint(checkpoints)
        elif mode == "resume_path":
            folder = Path(self.config.trainer.resume_from_path)
        if self.driver.resume(checkpoints, folder, self._load_weights):
            # The run validated before its first step; the numbers are in its metrics.
            self.config.trainer.val_before_train = self.config.trainer.val_only
            logger.info("resumed from %s", folder)

    def _load_weights(self, folder: Path | None) -> None:
        self.config.trainer.resume_mode = "resume_path" if folder else "disable"
        if folder:
            self.config.trainer.resume_from_path = str(folder.absolute())
        super()._load_checkpoint()


def check_rollout(kl: float, clipped: float, step: int) -> None:
    """Check that the log-probabilities of sampling are the trainer's own, before its one update.

    Args:
        kl: The mean of log p(sampled) - log p(trained) over the tokens: the policies' divergence in nats.
        clipped: Share of tokens whose p(trained) / p(sampled) is outside of the clip range. It is 0 for one
            policy, and not for the log-probabilities of other tokens, whose mean may be the same.

    Raises:
        SelfPlayError: They differ by more than rounding: weights that did not arrive, say.
    """
    if not (abs(kl) <= MAX_KL and clipped == 0):  # `nan` is more as well
        raise SelfPlayError(
            f"step {step}: vLLM's log-probabilities are not the trainer's, by {kl:.2g} nats a token in the "
            f"mean and with {clipped:.2g} of the tokens clipped; "
            "set algorithm.rollout_correction.bypass_mode=false to compute them again"
        )


def _objects(values: Sequence[Any]) -> np.ndarray:
    """A one-dimensional array of Python objects, which verl's batches carry as they are."""
    return np.fromiter(values, dtype=object, count=len(values))


def _results(extra_fields: Sequence[Mapping[str, Any]]) -> Results:
    """By request index. The row of an attempt at a proposal says nothing; the proposal's row has it all."""
    results: dict[int, Proposal | Attempt] = {}
    for extra in extra_fields:
        if extra["azr_facts"]:
            sort = Proposal if extra["azr_attempt"] is PROPOSAL else Attempt
            results[extra["azr_index"]] = sort.from_json(extra["azr_facts"])
    return results
