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
from tasks.registry import load_pack


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program; return its exit status."""
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        pack = GuardedPack(load_pack({"_target_": options.pack, **dict(options.knob)}))
        config = TinyModelConfig(
            **{field.name: getattr(options, field.name) for field in fields(TinyModelConfig)}
        )
    except ValueError as error:
        parser.error(str(error))
    cached = model_path(pack, config, options.out).is_dir()
    if not cached:
        print(
            f"warming up a tiny model on {config.steps * config.batch_size} transcripts of {pack.name}",
            flush=True,
        )
    path = ensure_tiny_model(pack, config, options.out)
    manifest = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
    print(f"parameters  {manifest['num_parameters']}")
    print(f"steps       {config.steps} of {config.batch_size} transcripts")
    print(f"loss        {manifest['warmup']['loss']:.3f} nats a response token, at the end")
    found = " (built before)" if cached else ""
    print(f"time        {manifest['wall_s']} s{found}")
    print(f"path        {path}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m recipe.tiny_model",
        description="Build the tiny base model that self-play on a CPU starts from, or find it in --out.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--pack", default="arithmetic", help="task pack")
    parser.add_argument(
        "--knob",
        type=_knob,
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="knob of the pack, its value as JSON: terse=true is what the demo has; may be repeated",
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("runs/tiny_models"),
        help="folder in which the model gets its own",
    )
    for field in fields(TinyModelConfig):
        option = "--" + field.name.replace("_", "-")
        parser.add_argument(
            option, type=type(field.default), default=field.default, help=field.metadata["help"]
        )
    return parser


def _knob(text: str) -> tuple[str, object]:
    name, _, value = text.partition("=")
    try:
        return name, json.loads(value)
    except json.JSONDecodeError as error:
        raise argparse.ArgumentTypeError(f"must be NAME=VALUE with a JSON value; got {text!r}") from error


if __name__ == "__main__":
    raise SystemExit(main())
