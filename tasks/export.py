"""Write a pack's tasks as a veRL data set: `python -m tasks.export PACK --split sample --out tasks.parquet`.

    python -m tasks.export arithmetic --split sample --count 2000 --out train.parquet operations=[+,-]
    python -m tasks.export arithmetic --split held_out --out test.parquet operations=[+,-]

`sample` draws tasks to train on by the pack's `sample_record`: each once, and none of the held-out set.
`held_out` is that set, for `data.val_files` alone. Rows have the columns of veRL's own reader
(`verl/utils/dataset/rl_dataset.py`), and in them what `rewards.verl_reward` needs to judge an answer:

    data_source   the pack's name
    prompt        the solver's, as chat messages; its form is a knob (prompts=base, terse=true, tags=none)
    ability       the kind of task
    reward_model  style "rule", and as ground_truth the TaskRecord as JSON
    extra_info    kind, pack (what `load_pack` builds it from, as JSON), split, index
"""

from __future__ import annotations

import argparse
import json
import random
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tasks.contract import CheckBrokenError, PackUnavailableError, TaskPack, TaskRecord
from tasks.guard import GuardedPack, PackError
from tasks.kit.held_out_file import DRAWS_PER_RECORD, require_place
from tasks.kit.knobs import read_knobs
from tasks.registry import load_pack

HELD_OUT, SAMPLE = "held_out", "sample"
DEFAULT_COUNT = 1000
"""Tasks of a sample, where none is given."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program: write one split of a pack's tasks."""
    parser = argparse.ArgumentParser(prog="python -m tasks.export", description=main.__doc__)
    parser.add_argument("pack", help="name of a pack, or a dotted path to its class")
    parser.add_argument(
        "knobs",
        nargs="*",
        default=[],
        metavar="KNOB=VALUE",
        help="such as prompts=base, sandbox.backend=wasm",
    )
    parser.add_argument("--split", required=True, choices=[HELD_OUT, SAMPLE])
    parser.add_argument("--out", required=True, type=Path, help="the file to write, *.parquet")
    parser.add_argument("--config", type=Path, help="a YAML file of knobs; those of the command line win")
    parser.add_argument("--kinds", nargs="+", help="of the pack's kinds; default: all that are on")
    parser.add_argument("--count", type=int, help=f"tasks; default: {DEFAULT_COUNT}, of {HELD_OUT} all")
    parser.add_argument("--seed", type=int, default=0, help=f"of the draws of {SAMPLE}")
    options = parser.parse_intermixed_args(arguments)
    try:
        if options.out.suffix != ".parquet":
            raise ValueError(f"--out must end in .parquet, by which veRL knows the format; got {options.out}")
        require_place(options.out)
        if options.count is not None and options.count < 1:
            raise ValueError(f"--count must be at least 1; got {options.count}")
        config = {**_read_config(options.config, options.knobs), "_target_": options.pack}
        pack = GuardedPack(load_pack(config))
        kinds = [pack.spec(kind).name for kind in options.kinds or [spec.name for spec in pack.kinds]]
        if options.split == HELD_OUT:
            records = choose_held_out(pack, kinds, options.count)
        else:
            records = draw_sample(pack, kinds, options.count or DEFAULT_COUNT, options.seed)
        if not records:
            raise ValueError(f"the held-out set must have tasks of {', '.join(kinds)}; it has none")
        write(options.out, to_rows(pack, config, records, options.split))
    except (OSError, ValueError, PackError, PackUnavailableError, CheckBrokenError) as error:
        parser.error(str(error))
    found = ", ".join(f"{count} {kind}" for kind, count in Counter(record.kind for record in records).items())
    use = "for data.val_files alone" if options.split == HELD_OUT else "none of them held out"
    print(f"{options.out}: {len(records)} tasks ({found}), {use}")
    return 0


def choose_held_out(pack: TaskPack, kinds: Sequence[str], count: int | None) -> list[TaskRecord]:
    """The held-out tasks of some kinds; `count` of them, where there are more, spread evenly over the set."""
    records = [record for record in pack.held_out() if record.kind in kinds]
    wanted = len(records) if count is None else min(count, len(records))
    return [records[i * len(records) // wanted] for i in range(wanted)]


def draw_sample(pack: TaskPack, kinds: Sequence[str], count: int, seed: int) -> list[TaskRecord]:
    """Draw tasks to train on, the kinds in turn: no two the same, and none of the pack's held-out set.

    Raises:
        ValueError: The pack's `sample_record` does not draw as many that are distinct and not held out.
    """
    pack.require_available()
    rng = random.Random(seed)
    taken = {pack.task_key(record) for record in pack.held_out()}
    drawn: list[TaskRecord] = []
    for number in range(count):
        kind = kinds[number % len(kinds)]
        for _ in range(DRAWS_PER_RECORD):
            record = pack.sample_record(kind, rng)
            key = pack.task_key(record)
            if key not in taken:
                taken.add(key)
                drawn.append(record)
                break
        else:
            raise ValueError(
                f"--count must be at most {len(drawn)} with these kinds and knobs: {DRAWS_PER_RECORD} more "
                f"draws of {kind} gave only tasks that are held out or drawn already"
            )
    return drawn


def to_rows(
    pack: TaskPack, config: Mapping[str, object], records: Iterable[TaskRecord], split: str
) -> list[dict[str, Any]]:
    """The rows of a veRL data set; `config` is what `load_pack` builds the pack from."""
    built_from = json.dumps(config)
    return [
        {
            "data_source": pack.name,
            "prompt": pack.solve_prompt(record),
            "ability": record.kind,
            "reward_model": {"style": "rule", "ground_truth": record.to_json()},
            "extra_info": {"kind": record.kind, "pack": built_from, "split": split, "index": index},
        }
        for index, record in enumerate(records)
    ]


def write(path: Path, rows: Sequence[Mapping[str, object]]) -> None:
    """Write rows as a parquet file."""
    import pyarrow
    from pyarrow import parquet

    parquet.write_table(pyarrow.Table.from_pylist(list(rows)), path)


def _read_config(path: Path | None, knobs: Sequence[str]) -> dict[str, Any]:
    """The knobs of a YAML file, with those of the command line over them."""
    given = read_knobs(knobs)
    if path is None:
        return given
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError

    try:
        merged = OmegaConf.to_container(OmegaConf.merge(OmegaConf.load(path), given), resolve=True)
    except (OmegaConfBaseException, YAMLError) as error:
        raise ValueError(f"--config {path} must be YAML of knobs; {error}") from error
    if not isinstance(merged, dict):
        raise ValueError(f"--config {path} must be a mapping of knobs")
    return {str(name): value for name, value in merged.items()}


if __name__ == "__main__":
    raise SystemExit(main())
