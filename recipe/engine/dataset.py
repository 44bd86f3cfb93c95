"""The two data sets that verl's trainer wants: one that holds nothing, and the pack's held-out set.

verl builds both from one class (`data.custom_cls`), by the path it is given in `data.train_files` and
`data.val_files`; ours are the words `self-play` and `held-out`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

from omegaconf import DictConfig
from torch.utils.data import Dataset

from recipe.selfplay.elicit import prompt_with_examples
from recipe.selfplay.metrics import GROUP_MARK
from recipe.selfplay.types import Request
from tasks.guard import GuardedPack
from tasks.registry import load_pack

SELF_PLAY = "self-play"
HELD_OUT = "held-out"

Item = TypeVar("Item")


class AzrDataset(Dataset[dict[str, Any]]):
    """`self-play`: as many empty rows as one step has prompts, so that verl counts one step an epoch.
    `held-out`: one row a record of the pack's evaluation set, as a solve request.

    `config` is verl's `data` node, with the pack's in `azr_pack`, and in `azr_examples` the number of solved
    tasks before each held-out one; `max_samples` is -1 for all rows.
    """

    def __init__(
        self, data_files: str, tokenizer: Any, processor: Any, config: DictConfig, max_samples: int = -1
    ) -> None:
        del tokenizer, processor
        if data_files == SELF_PLAY:
            self._rows: list[dict[str, Any]] = [{} for _ in range(config.train_batch_size)]
        elif data_files == HELD_OUT:
            self._rows = held_out_rows(config.azr_pack, max_samples, config.azr_examples)
        else:
            raise ValueError(
                f"data.train_files must be {SELF_PLAY!r} and data.val_files {HELD_OUT!r}; got {data_files!r}"
            )

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self._rows[index]


def held_out_rows(pack_config: DictConfig, max_samples: int, num_examples: int) -> list[dict[str, Any]]:
    """The evaluation set as rows that verl's validation sends to `HeldOutLoop`."""
    pack = GuardedPack(load_pack(pack_config))
    held_out = pack.held_out()
    keys = {pack.task_key(record) for record in held_out}
    records = even_spread(held_out, max_samples)
    prompts = [prompt_with_examples(pack, record, num_examples, keys) for record in records]
    return [
        {
            "agent_name": "azr_held_out",
            "data_source": GROUP_MARK.join(pack.held_out_groups(record)),
            "index": index,
            "raw_prompt": prompt,
            "reward_model": {"style": "rule", "ground_truth": pack.gold_response(record)},
            "request": Request.solve(index, record, prompt).to_json(),
        }
        for index, (record, prompt) in enumerate(zip(records, prompts, strict=True))
    ]


def even_spread(items: Sequence[Item], max_samples: int) -> list[Item]:
    """At most `max_samples` (`data.val_max_samples`) of a held-out set's items; -1 for all.

    They are spread evenly over the set, in its order, so that every kind keeps its share.
    """
    count = len(items) if max_samples < 0 else min(max_samples, len(items))
    return [items[i * len(items) // count] for i in range(count)]
