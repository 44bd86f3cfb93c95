"""A checkpoint as a Hugging Face model: `python -m recipe.export RUN [--step N | --best] [--out DIR]`.

RUN is a run's directory. What comes out loads with transformers or vLLM: weights, tokenizer, chat template,
and a README.md that says what was measured of it. The weights have the number type that the policy was
sampled in (`actor_rollout_ref.rollout.dtype`), so they are the policy that the run evaluated.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from recipe.compare import NOT_MEASURED, percent
from recipe.config import ROLLOUT_DTYPES
from recipe.run import checkpoint
from recipe.run import files as outputs
from recipe.run.model_folder import written_aside
from recipe.selfplay.metrics import ALL_KINDS, accuracy_by_step, held_out_of

CARD = """\
---
library_name: transformers
pipeline_tag: text-generation
tags:
- absolute-zero
- self-play
- verl
---

# {name}, step {step}

A model after {step} steps of self-play on tasks of the pack `{pack}`, without a data set: it invented tasks
that a program can check, and answered them. Both roles were trained in one update with `{estimator}`. The
method is *Absolute Zero* ([arXiv:2505.03335](https://arxiv.org/abs/2505.03335)), the program azr-verl.

## Measured

Held-out accuracy: one greedy attempt at each task, with 95 % Wilson intervals.

{held_out}

## How it was made

{facts}

## Use

```python
from transformers import AutoModelForCausalLM, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained(folder)
model = AutoModelForCausalLM.from_pretrained(folder)
```

It was trained on the pack's prompts, through the chat template that is here. The weights are {dtype}, the
type that it was sampled and measured in.
"""


CHOSEN = """

The step was chosen among the run's checkpoints for this accuracy, so another set would find a little less."""


class ExportError(ValueError):
    """Nothing can be exported; the message is one line that says why, and what there is instead."""


def export(run: Path, step: int | None = None, out: Path | None = None, *, best: bool = False) -> Path:
    """Write the model of a run's checkpoint; return its directory.

    `run` is the run's directory, and that of a live run will do. None stands for the newest step, or with
    `best` for the one with the best held-out accuracy, and for `export/step_<n>` in the run's directory.

    Raises:
        ExportError: There is no such run or checkpoint, or `out` exists.
        OSError: A file cannot be read or written; nothing is left at `out`.
    """
    saved = run / outputs.CONFIG
    if not saved.is_file():
        raise ExportError(f"RUN must be the directory of a run, with its {outputs.CONFIG}; got {run}")
    config = OmegaConf.load(saved)
    assert isinstance(config, DictConfig)
    # The run's directory may have been moved since
    checkpoints, then = Path(config.trainer.default_local_dir), Path(config.run.dir)
    if checkpoints.is_relative_to(then):
        checkpoints = run / checkpoints.relative_to(then)
    folder = find_checkpoint(checkpoints, best_step(run, checkpoints) if best else step)
    out = out or run / "export" / f"step_{checkpoint.step_of(folder)}"
    if out.exists():
        raise ExportError(f"--out must not exist yet; {out} does. Remove it, or give another directory.")
    dtype = config.actor_rollout_ref.rollout.dtype
    if dtype not in ROLLOUT_DTYPES:
        raise ExportError(
            f"actor_rollout_ref.rollout.dtype must say in which type the policy was sampled, one of "
            f"{', '.join(ROLLOUT_DTYPES)}; in {saved} it is {dtype!r}"
        )
    card = render_card(run, config, folder, ROLLOUT_DTYPES[dtype], is_chosen=best)

    from recipe.engine.merger import merge  # torch and verl: after what is cheap to refuse

    with written_aside(out) as model:
        trust_remote_code = bool(config.actor_rollout_ref.model.trust_remote_code)
        with redirect_stdout(sys.stderr):  # verl's merger talks; what is printed here is a directory
            merge(folder / "actor", model, ROLLOUT_DTYPES[dtype], trust_remote_code=trust_remote_code)
        (model / "README.md").write_text(card, encoding="utf-8")
    return out


def best_step(run: Path, checkpoints: Path) -> int:
    """The step with the best held-out accuracy among those that have, or had, a finished checkpoint.

    Raises:
        ExportError: None of them was evaluated.
    """
    accuracies = accuracy_by_step(outputs.read_metrics(run / outputs.METRICS))
    folders = checkpoints.glob("global_step_*")
    written = [checkpoint.step_of(folder) for folder in folders if checkpoint.is_finished(folder)]
    if (step := checkpoint.best_of(written, accuracies)) is None:
        raise ExportError(
            f"--best needs a checkpoint of a step that was evaluated (trainer.save_freq, trainer.test_freq); "
            f"{run} has none"
        )
    return step


def find_checkpoint(checkpoints: Path, step: int | None) -> Path:
    """The finished checkpoint of a step, or the newest.

    Raises:
        ExportError: There is none, it lacks a part, or it holds LoRA adapters.
    """
    finished = checkpoint.finished(checkpoints)
    there_are = ", ".join(map(str, finished)) or "none"
    if step is None and not finished:
        raise ExportError(f"{checkpoints} must hold a finished checkpoint; it has none")
    chosen = max(finished) if step is None else step
    folder = checkpoints / f"global_step_{chosen}"
    if not folder.is_dir():
        raise ExportError(
            f"--step must be a step with a checkpoint; got {chosen}. Finished are: {there_are}."
        )
    if not checkpoint.is_finished(folder):
        raise ExportError(
            f"{folder} was never finished; it may hold half a model. Finished are: {there_are}."
        )
    if chosen not in finished:
        raise ExportError(
            f"{folder} has no weights any more; a run keeps those of its newest "
            "trainer.max_actor_ckpt_to_keep checkpoints, and with azr.keep_best=true of the best. Those that "
            f"have them are: {there_are}."
        )
    # What cannot be merged is refused, in place of a merger's traceback.
    actor = folder / "actor"
    if (actor / "lora_train_meta.json").exists():
        raise ExportError(
            f"{actor} holds LoRA adapters, which verl's merger writes beside the base model and does not add "
            f"to it. For the two apart: python -m verl.model_merger merge --backend fsdp --local_dir {actor} "
            "--target_dir DIR"
        )
    world_size = checkpoint.num_workers(folder)
    if world_size is None:
        raise ExportError(f"{actor} must hold the shards of an FSDP model; it has no fsdp_config.json")
    shards = [f"model_world_size_{world_size}_rank_{rank}.pt" for rank in range(world_size)]
    if missing := [shard for shard in shards if not (actor / shard).is_file()]:
        raise ExportError(f"{actor} must hold the shards of all {world_size} workers; it lacks {missing[0]}")
    return folder


def render_card(run: Path, config: DictConfig, folder: Path, dtype: str, *, is_chosen: bool = False) -> str:
    """The README.md of the model in the checkpoint `folder`, from the run's files.

    `is_chosen` is whether it was chosen by its held-out accuracy.
    """
    # A format that can no longer be resumed from has the pack's name here as well, and the same weights.
    pack = json.loads((folder / "azr" / "manifest.json").read_text())["pack"]
    step, path = checkpoint.step_of(folder), run / outputs.SUMMARY
    summary = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    lines = outputs.read_metrics(run / outputs.METRICS)
    found = [_evaluated(lines, 0), _evaluated(lines, step)]
    table = ["| kind | before | after |", "|---|---|---|"]
    table += [
        f"| {kind} | {' | '.join(of.get(kind, NOT_MEASURED) for of in found)} |"
        for kind in dict.fromkeys(kind for of in found for kind in of)
    ]
    facts = {"base model": f"`{config.actor_rollout_ref.model.path}`", "steps": str(step)}
    facts |= {name: f"`{summary[name]}`" for name in ("commit", "command") if summary.get(name) is not None}
    if versions := summary.get("versions"):
        facts["versions"] = ", ".join(f"{name} {version}" for name, version in versions.items())
    return CARD.format(
        name=run.absolute().name,
        step=step,
        pack=pack,
        estimator=config.algorithm.adv_estimator,
        dtype=dtype,
        held_out="\n".join(table) + is_chosen * CHOSEN if any(found) else "It was not evaluated.",
        facts="\n".join(["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in facts.items())]),
    )


def _evaluated(lines: Sequence[Mapping[str, Any]], step: int) -> dict[str, str]:
    """The accuracy at one step with its interval and number of tasks, by kind; empty if there was none."""
    found = [numbers for line in lines if line["step"] == step and (numbers := held_out_of(line)) is not None]
    if not found:
        return {}
    by_kind = {ALL_KINDS: found[-1], **found[-1]["by_kind"]}
    return {
        kind: f"{percent(round(of['accuracy'] * of['n']), of['n'])} n={of['n']}"
        for kind, of in by_kind.items()
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Export, and print where to; exit status 2 and one line for what cannot be exported."""
    parser = argparse.ArgumentParser(
        prog="python -m recipe.export", description="Write a run's checkpoint as a Hugging Face model."
    )
    parser.add_argument("run", type=Path, metavar="RUN", help="directory of a run")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--step", type=int, help="step of the checkpoint (default: the newest)")
    which.add_argument("--best", action="store_true", help="the step with the best held-out accuracy")
    parser.add_argument("--out", type=Path, help="directory of the model (default: RUN/export/step_N)")
    given = parser.parse_args(arguments)
    try:
        out = export(given.run, given.step, given.out, best=given.best)
    except (ExportError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    print(out)


if __name__ == "__main__":
    main()
