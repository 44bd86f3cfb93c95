"""Write the gallery, every kind of task of the packs here: `python -m tasks.check.gallery [--check]`."""

from __future__ import annotations

import argparse
import random
from collections.abc import Sequence
from pathlib import Path

from tasks.check.conformance import proposal_references
from tasks.contract import Message, TaskPack
from tasks.registry import load_pack, own_packs

PAGE = Path(__file__).parents[2] / "docs" / "gallery.md"

HEAD = """\
# Gallery

What every pack asks and what it takes for an answer, one drawn task a kind, as the model reads it. The
proposal and the answer are the pack's own right ones. A terse prompt is for a model that was trained on it,
such as the tiny one.

`python -m tasks.check.gallery` writes this page; a test keeps it current.
"""

PROMPTS = {"": {}, ", terse": {"terse": True}}  # title -> knobs: both wordings of a pack
SEED = 5
NUM_DRAWS = 20


def sample_texts(pack: TaskPack) -> dict[str, dict[str, str]]:
    """By kind, a proposer's prompt, a proposal, the solver's prompt for it, and an answer; by title.

    The tasks are drawn, the same ones each time, and not out of the evaluation set if there are others.
    """
    held_out = {pack.task_key(record) for record in pack.held_out()}
    texts = {}
    for spec in pack.kinds:
        rng = random.Random(SEED)
        drawn = [pack.sample_record(spec.name, rng) for _ in range(NUM_DRAWS)]
        record = next((record for record in drawn if pack.task_key(record) not in held_out), drawn[0])
        references = proposal_references(pack, spec)
        texts[spec.name] = {
            "the proposer is asked": _text(pack.propose_prompt(spec.name, references, rng)),
            "it proposes": pack.gold_proposal(record),
            "the solver is asked": _text(pack.solve_prompt(record)),
            "it answers": pack.gold_response(record),
        }
    return texts


def render() -> str:
    """The text of the page."""
    parts = [HEAD]
    for name in own_packs():
        for wording, knobs in PROMPTS.items():
            parts.append(f"\n## `{name}`{wording}\n")
            for kind, texts in sample_texts(load_pack({"_target_": name, **knobs})).items():
                parts.append(f"\n### {kind}\n")
                # Tildes, since a text may have fences of backticks inside.
                for title, text in texts.items():
                    parts.append(f"\n{title[0].upper()}{title[1:]}:\n\n~~~~\n{text}\n~~~~\n")
    return "".join(parts)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program; 0, or 1 if `--check` finds a page that differs."""
    program = "python -m tasks.check.gallery"
    parser = argparse.ArgumentParser(prog=program, description="Write docs/gallery.md.")
    parser.add_argument("--check", action="store_true", help="compare with the page and write nothing")
    options = parser.parse_args(arguments)
    text = render()
    if options.check:
        same = PAGE.is_file() and PAGE.read_text(encoding="utf-8") == text
        print(f"{PAGE}:", "current" if same else f"differs; run `{program}`")
        return 0 if same else 1
    PAGE.write_text(text, encoding="utf-8")
    print(PAGE)
    return 0


def _text(messages: list[Message]) -> str:
    """A prompt as text; who speaks is said where it is not the user."""
    return "\n".join(
        message["content"] if message["role"] == "user" else f"[{message['role']}]\n{message['content']}"
        for message in messages
    )


if __name__ == "__main__":
    raise SystemExit(main())
