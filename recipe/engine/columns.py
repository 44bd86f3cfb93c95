"""Cells by the columns of a data set, for verl's own trainer.

verl 0.9.1 gives an estimator rewards, mask, uids and configuration, and none of a row's columns. Its V1
trainer keeps them in TransferQueue, under the key "<uid>_<session>_<index>" of each row, and computes
advantages in a process that is connected to it. So they are read there.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

import transfer_queue as tq

PARTITION = "train"
"""Where verl keeps the rows that it trains on."""


def cells_by_columns(uids: Sequence[str], columns: Sequence[str]) -> list[str]:
    """The name of the cell of each of (B,) rows: its values of `columns` as a list in JSON.

    Raises:
        ValueError: The data set has no such column, or the trainer does not keep its rows in TransferQueue.
    """
    if not uids:
        return []
    try:
        tq.get_client()
    except AssertionError as error:
        raise ValueError(
            "algorithm.trr.columns needs trainer.use_v1=true: verl's old trainer gives an estimator no "
            "column. Without columns, algorithm.trr.cells=global makes one cell of all rows"
        ) from error
    key_of: dict[str, str] = {}
    for key in tq.kv_list(PARTITION)[PARTITION]:
        uid, is_row, _ = key.partition("_")  # the key of a prompt is its uid alone, and holds no columns
        if is_row:
            key_of.setdefault(uid, key)
    prompts = list(dict.fromkeys(uids))  # all rows of a prompt have its columns
    # With the uid, which is always there: the storage leaves out what it does not have, without a word.
    found = tq.kv_batch_get([key_of[uid] for uid in prompts], PARTITION, ["uid", *columns])
    if missing := sorted(set(columns) - set(found.keys())):
        raise ValueError(f"algorithm.trr.columns must name columns of the data set; {missing} are none")
    values = zip(*(found.get(column).tolist() for column in columns), strict=True)
    cell_of = {uid: json.dumps([*map(str, row)]) for uid, row in zip(prompts, values, strict=True)}
    return [cell_of[uid] for uid in uids]
