"""Build the tiny base model of a pack: `python -m recipe.tiny_model --pack arithmetic --out models`."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

from recipe.tiny_model.cache import MANIFEST, ensure_tiny_model, model_path
from recipe.tiny_model.config import TinyModelConfig
from tasks.guard import GuardedPack
from tasks.kit.knobs import read_knobs
from tasks.registry import load_pack


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program; return its exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m recipe.tiny_model",
        description="Build the tiny base model that self-play on a CPU starts from, or find it in --out.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--pack", default="arithmetic", help="task pack")
    parser.add_argument(
        "--knob",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="knob of the pack: terse=true is what the demo has; may be repeated",
    )
    parser.add_argument("--out", type=Path, default="runs/tiny_models", help="folder of all tiny models")
    for field in fields(TinyModelConfig):
        option = "--" + field.name.replace("_", "-")
        kind = type(field.default)
        parser.add_argument(option, type=kind, default=field.default, help=field.metadata["help"])
    options = vars(parser.parse_args(arguments))
    name, knobs, folder = (options.pop(option) for option in ("pack", "knob", "out"))
    try:
        pack = GuardedPack(load_pack({"_target_": name, **read_knobs(knobs)}))
        config = TinyModelConfig(**options)
    except ValueError as error:
        parser.error(str(error))
    cached = model_path(pack, config, folder).is_dir()
    if not cached:
        count = config.steps * config.batch_size
        print(f"warming up a tiny model on {count} transcripts of {pack.name}", flush=True)
    path = ensure_tiny_model(pack, config, folder)
    manifest = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
    print(f"parameters  {manifest['num_parameters']}")
    print(f"steps       {config.steps} of {config.batch_size} transcripts")
    print(f"loss        {manifest['warmup']['loss']:.3f} nats a response token, at the end")
    found = " (built before)" if cached else ""
    print(f"time        {manifest['wall_s']} s{found}")
    print(f"path        {path}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
