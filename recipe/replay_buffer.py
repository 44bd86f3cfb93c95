"""verl's replay buffer, polled often enough for short steps and able to wait for the first of two waves.

Chosen by `trainer.v1.sampler.custom_sampler`; written for verl 0.9.1, whose buffer polls every 2 s.
"""

from __future__ import annotations

import time
from collections.abc import Collection
from typing import Any

import transfer_queue as tq
from verl.trainer.ppo.v1.replay_buffer import ReplayBuffer


class AzrReplayBuffer(ReplayBuffer):
    """`ReplayBuffer` with `trainer.v1.sampler.sampler_kwargs.poll_interval_s`."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(poll_interval=kwargs["sampler_kwargs"].poll_interval_s, **kwargs)

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

    def discard(self, uids: Collection[str], keys: Collection[str], partition_id: str) -> None:
        """Take prompts and their rows out of the store."""
        tq.kv_clear(keys=[*uids, *keys], partition_id=partition_id)
