"""The README.md of an exported model: what it is, what it was trained on, and what was measured of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from recipe.selfplay.metrics import ALL_KINDS

NOT_MEASURED = "-"

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


@dataclass(frozen=True, slots=True)
class Card:
    """What a model card says.

    Attributes:
        name: Name of the run.
        step: The step that was exported.
        base: The model before training, as the run's configuration names it.
        pack: Name of the pack.
        estimator: What advantages were computed with (`algorithm.adv_estimator`).
        dtype: Number type of the weights.
        before: The evaluation before the first step, as `held_out_of` gives it, or None.
        after: The evaluation of the exported step, likewise.
        summary: The run's `summary.json`; empty if the run has not ended.
    """

    name: str
    step: int
    base: str
    pack: str
    estimator: str
    dtype: str
    before: Mapping[str, Any] | None
    after: Mapping[str, Any] | None
    summary: Mapping[str, Any]


def render(card: Card) -> str:
    """The card as Markdown."""
    return CARD.format(
        name=card.name,
        step=card.step,
        pack=card.pack,
        estimator=card.estimator,
        dtype=card.dtype,
        held_out="\n".join(_held_out(card.before, card.after)),
        facts="\n".join(_facts(card)),
    )


def _held_out(before: Mapping[str, Any] | None, after: Mapping[str, Any] | None) -> Sequence[str]:
    """A table with one row a kind."""
    evaluations = [_by_kind(before), _by_kind(after)]
    kinds = list(dict.fromkeys(kind for found in evaluations for kind in found))
    rows = [f"| {kind} | {' | '.join(_share(found.get(kind)) for found in evaluations)} |" for kind in kinds]
    return ["| kind | before | after |", "|---|---|---|", *rows] if rows else ["It was not evaluated."]


def _by_kind(found: Mapping[str, Any] | None) -> dict[str, Mapping[str, Any]]:
    return {} if found is None else {ALL_KINDS: found, **found["by_kind"]}


def _share(numbers: Mapping[str, Any] | None) -> str:
    if numbers is None:
        return NOT_MEASURED
    low, high = 100 * numbers["low"], 100 * numbers["high"]
    return f"{numbers['accuracy']:.1%} [{low:.1f}, {high:.1f}] n={numbers['n']}"


def _facts(card: Card) -> list[str]:
    facts = {"base model": f"`{card.base}`", "steps": str(card.step)}
    for name in ("commit", "command"):
        if card.summary.get(name) is not None:
            facts[name] = f"`{card.summary[name]}`"
    versions = card.summary.get("versions", {})
    if versions:
        facts["versions"] = ", ".join(f"{name} {version}" for name, version in versions.items())
    return ["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in facts.items())]
