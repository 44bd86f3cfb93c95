"""The order of self-play's calls in a run, without verl: seeding, steps, checkpoints, resuming.

`AzrTrainer` makes these calls from verl's hooks, with verl as the `Engine`; tests make them with a scripted
model. A step of a run is

    driver.begin_step(step)                     draw the requests and send them
    driver.begin_second_wave()                  with azr.solve_on=fresh: solve what was just proposed
    settlement = driver.finish_step(results)    rewards, ledger, buffer, claims
    driver.save(folder, step)                   at the steps that have a checkpoint
    metrics = driver.end_step(metrics)          self-play's own, and the alarms

Everything that decides the next step is in `SelfPlay.state_dict`, but for the policy. What the alarms
remember stands beside it in a checkpoint, and decides nothing that is trained on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from recipe.run import checkpoint
from recipe.run.files import RunFiles
from recipe.selfplay import metrics
from recipe.selfplay.alarms import Action, Alarms, Raised
from recipe.selfplay.curriculum import SelfPlay, SelfPlayError
from recipe.selfplay.types import LedgerLine, Request, Results, Settlement
from tasks.contract import Role
from tasks.guard import short

WAVES_WITHOUT_ANY = 3
"""Waves of seeding in which not one proposal has to be accepted."""

NUM_SHOWN = 3
"""Refused proposals that the end of a stuck seeding shows."""


class Engine(Protocol):
    """What answers requests: in a run, verl's agent loops and the run's claims."""

    def submit(self, requests: Sequence[Request]) -> list[str]:
        """Send requests on their way; return the uids that they are known by."""

    def collect(self, uids: Sequence[str]) -> Results:
        """Wait for these requests; those that failed have no result."""

    def discard(self, uids: Sequence[str]) -> None:
        """Forget these requests and their results."""

    def reset_claims(self, keys: Sequence[str]) -> None:
        """Make `keys` the only tasks that are taken."""


class Driver:
    """Drives a run's self-play: `engine` answers its requests, `files` is the run's directory.

    Attributes:
        raised: The alarms that the last step began.
    """

    def __init__(self, selfplay: SelfPlay, engine: Engine, files: RunFiles) -> None:
        self.selfplay = selfplay
        self.alarms = Alarms(selfplay.config.alarms, selfplay.pack)
        self.raised: list[Raised] = []
        self._engine = engine
        self._files = files
        self._step = 0
        self._requests: list[Request] = []
        self._uids: list[str] = []
        self._settlement = Settlement(0)

    def seed(self) -> None:
        """Have the model propose until the buffer holds `azr.seeding.target` records of every kind.

        A resumed run's buffer came with its checkpoint; it seeds on only if its sizes were raised.

        Raises:
            SelfPlayError: That took more than `azr.seeding.max_waves` waves, nothing was accepted in
                `WAVES_WITHOUT_ANY` of them, or too many requests failed.
        """
        seeding = self.selfplay.config.seeding
        proposals: list[LedgerLine] = []
        self._engine.reset_claims(self.selfplay.buffer.keys())
        for wave in range(1, seeding.max_waves + 1):
            requests = self.selfplay.seeding_wave()
            if not requests:
                return
            uids = self._engine.submit(requests)
            settlement = self.selfplay.settle(0, requests, self._engine.collect(uids))
            self._engine.discard(uids)
            self._write(settlement)
            self.alarms.remember(settlement.ledger)
            proposals += [line for line in settlement.ledger if line.role is Role.PROPOSE]
            if wave == min(WAVES_WITHOUT_ANY, seeding.max_waves) and all(line.reason for line in proposals):
                raise SelfPlayError(
                    f"seeding: not one of {len(proposals)} proposals was accepted in {wave} waves. "
                    f"{_show_refused(proposals)}. Ask in another form (prompts=base for a base model), train "
                    "the model further, or begin with the pack's seeds alone (azr.seeding.max_waves=0)."
                )
        if self.selfplay.seeding_wave():
            sizes = {kind: self.selfplay.buffer.size(kind) for kind in self.selfplay.kinds}
            raise SelfPlayError(
                f"seeding must reach azr.seeding.target={seeding.target} records of every kind "
                f"within azr.seeding.max_waves={seeding.max_waves} waves; got {sizes}. "
                f"{_show_refused(proposals)}. "
                "Train the model further, lower the target, or allow more waves."
            )

    def begin_step(self, step: int) -> None:
        """Draw the requests of `step` that depend on nothing in it, and send them."""
        self._step = step
        self._requests = self.selfplay.begin_step(step)
        self._uids = self._engine.submit(self._requests)

    def begin_second_wave(self) -> None:
        """Where there is one: wait for the step's proposals, and send the requests that depend on them."""
        if self.selfplay.plan.has_second_wave:
            second = self.selfplay.second_wave(self._requests, self._engine.collect(self._uids))
            self._engine.submit(second)
            self._requests += second

    def finish_step(self, results: Results) -> Settlement:
        """Have `SelfPlay.settle` price the step by the results of all its requests, and write it down."""
        self._settlement = self.selfplay.settle(self._step, self._requests, results)
        self._write(self._settlement)
        return self._settlement

    def end_step(self, numbers: Mapping[str, float]) -> dict[str, float]:
        """Self-play's own metrics of the step that was finished last, and what the alarms make of it.

        Args:
            numbers: Everybody else's metrics of the step, which alarms read too.
        """
        kinds, buffer = self.selfplay.kinds, self.selfplay.buffer
        num_attempts, num_failed = self.selfplay.config.attempts_per_record, self._settlement.num_failed
        own = (
            metrics.step_metrics(self._settlement.ledger, kinds, num_attempts)
            | metrics.buffer_metrics({kind: buffer.size(kind) for kind in kinds}, self.selfplay.exhausted())
            | metrics.prompt_metrics(self._settlement.num_dropped, kinds)
            | metrics.failure_metrics(num_failed)
        )
        looked = self.alarms.look(self._step, self._settlement.ledger, num_failed, {**numbers, **own})
        self.raised = looked.raised
        self._files.ledger.append(raised.to_json() for raised in looked.raised)
        return own | looked.numbers

    @property
    def stops(self) -> list[Raised]:
        """Those of `raised` that end the run."""
        return [raised for raised in self.raised if raised.action is Action.STOP]

    def save(self, folder: Path, step: int) -> None:
        """Have the state put into verl's checkpoint `folder` with the step's metrics; it counts then."""
        self._files.finish_checkpoint_with_metrics(folder, self.selfplay.pack.name, step, self._state)

    def _state(self) -> dict[str, Any]:
        return self.selfplay.state_dict() | {"alarms": self.alarms.state_dict()}

    def resume(
        self, checkpoints: Path, folder: Path | None, load_weights: Callable[[Path | None], None]
    ) -> int:
        """Go on from a checkpoint, and drop what the run wrote after it; the last step that it holds.

        Without a `folder`, or with one that was never finished, begin anew; that is step 0.

        Args:
            checkpoints: The run's folder of checkpoints.
            load_weights: Loads the policy from that folder; None makes it begin anew.

        Raises:
            CheckpointError: The checkpoint is of another format or another pack, or was changed.
        """
        manifest = checkpoint.read_manifest(folder) if folder else None
        if folder is None or manifest is None:
            load_weights(None)
            checkpoint.discard_after(checkpoints, step=0)
            self._files.truncate(ledger_bytes=0, metrics_bytes=0)
            return 0
        checkpoint.check_pack(folder, manifest, self.selfplay.pack.name)
        load_weights(folder)
        checkpoint.discard_after(checkpoints, manifest.step)
        state = checkpoint.read_state(folder, manifest)
        self.selfplay.load_state_dict(state)
        self.alarms.load_state_dict(state["alarms"])
        self._files.truncate(ledger_bytes=manifest.ledger_bytes, metrics_bytes=manifest.metrics_bytes)
        return manifest.step

    def _write(self, settlement: Settlement) -> None:
        self._files.ledger.append(line.to_json() for line in settlement.ledger)
        # Between waves of different steps: what is taken is what the buffer holds.
        self._engine.reset_claims(self.selfplay.buffer.keys())


def _show_refused(proposals: Sequence[LedgerLine]) -> str:
    """The first refused ones and their reasons, in one line; the ledger has them all."""
    refused = [line for line in proposals if line.reason][:NUM_SHOWN]
    shown = [f"{line.kind} {short(line.response)} ({line.reason})" for line in refused]
    return f"Refused: {', '.join(shown) or 'none'}"
