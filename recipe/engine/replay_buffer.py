"""verl's replay buffer, polled often enough for short steps and able to wait for the first of two waves.

It is also where a pack's fault stops a run: an agent loop reports it in verl's store, where the trainer looks
all the time while it waits.

Chosen by `trainer.v1.sampler.custom_sampler`; written for verl 0.9.1, whose buffer polls every 2 s.
"""

from __future__ import annotations

import time
from collections.abc import Collection
from typing import Any

import transfer_queue as tq
from verl.trainer.ppo.v1.replay_buffer import ReplayBuffer

from tasks.guard import PackError

PACK_ERROR = "pack-error"
"""Partition, key and tag of the store under which a fault of the pack is reported."""


def report_pack_error(error: PackError) -> None:
    """Tell the trainer, from any thread of an agent loop's process, that the run has to stop."""
    tq.kv_put(key=PACK_ERROR, partition_id=PACK_ERROR, tag={PACK_ERROR: str(error)})


class AzrReplayBuffer(ReplayBuffer):
    """`ReplayBuffer` with `trainer.v1.sampler.sampler_kwargs.poll_interval_s`."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(poll_interval=kwargs["sampler_kwargs"].poll_interval_s, **kwargs)

    def _sync_metadata_from_transfer_queue(self) -> None:
        """Look what the store holds; PackError if an agent loop has reported one."""
        super()._sync_metadata_from_transfer_queue()
        tag = self.partitions.get(PACK_ERROR, {}).get(PACK_ERROR, {})
        if PACK_ERROR in tag:  # the store makes a key first and gives it its tag a moment later
            raise PackError(tag[PACK_ERROR])

    def wait_for(self, uids: Collection[str], partition_id: str) -> list[str]:
        """Wait until each of these prompts is finished or failed; return the keys of their rows.

        Nothing is taken out: a later `sample` still finds the prompts.
        """
        wanted = set(uids)
        while True:
            self._sync_metadata_from_transfer_queue()
            terminal = self.finished_keys[partition_id] | self.failure_keys[partition_id]
            if wanted <= terminal:
                return [key for key in self.partitions[partition_id] if key.split("_")[0] in wanted]
            time.sleep(self.poll_interval)
