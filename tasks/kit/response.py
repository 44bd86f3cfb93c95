"""Cut a response into its answer, by the tags `<answer>`, and the fenced blocks inside, in one pass.

The structure is strict: a response that lacks a tag or a block that was asked for is malformed, with a
reason. What stands inside is read as people write it (`tasks/kit/numbers.py`, the packs), and refused where
it may mean two things. One reader judges training and evaluation, so both count the same answers.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

MAX_CHARS = 131_072  # longest response that is read; a model's longest is a few ten thousand
FENCE = "```"
OPENING = re.compile("`{3,}|~{3,}")  # what closes a block is as long at least
PYTHON = re.compile(r"py(?:thon)?(?:3(?:\.[0-9]{1,2})?)?")  # what Markdown's highlighters call Python 3
THINK, THINK_END = "<think>", "</think>"
ANSWER, ANSWER_END = "<answer>", "</answer>"


class Tags(StrEnum):
    """What a response is wrapped in."""

    # `<think>...</think>`, then `<answer>...</answer>`. The opening `<think>` may stand in the prompt.
    THINK_ANSWER = "think_answer"
    # `<answer>...</answer>`, after any text: for models that think in tags of their own.
    ANSWER = "answer"
    # No tags: the blocks of the whole response, or of what follows `</think>`.
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block."""

    label: str  # the language behind the opening fence: its first word, in lower case; of Python, `python`
    text: str  # the lines between the fences


@dataclass(frozen=True, slots=True)
class Unread:
    """Why a response has no answer that could be read; a slug."""

    reason: str


def read_blocks(response: str, tags: Tags) -> list[Block] | Unread:
    """Return the fenced blocks of a response's answer, or why there are none."""
    answer = cut_answer(response, tags)
    if isinstance(answer, Unread):
        return answer
    blocks: list[Block] = []
    label: str | None = None
    fence, lines = "", list[str]()
    # Not `splitlines`: it would also break at marks that may stand inside a string literal.
    for line in answer.replace("\r\n", "\n").split("\n"):
        stripped = line.strip()
        if label is None:
            if opening := OPENING.match(stripped):
                fence, lines, label = opening[0], [], _language(stripped[opening.end() :])
        elif stripped.startswith(fence):
            if stripped.strip(fence[0]):
                break
            blocks.append(Block(label, "\n".join(lines)))
            label = None
        elif stripped.endswith(fence):
            # Without a line of its own
            blocks.append(Block(label, "\n".join([*lines, line.rstrip().removesuffix(fence)])))
            label = None
        else:
            lines.append(line)
    return blocks if label is None else Unread("unclosed-block")


def _language(info: str) -> str:
    """The language that the text behind an opening fence names; "" if it names none."""
    word = "".join(info.lower().split()[:1])
    return "python" if PYTHON.fullmatch(word) else word


def cut_answer(response: str, tags: Tags) -> str | Unread:
    """Return what a response has between its answer tags, or why there is nothing.

    The first answer behind the thinking counts: whatever a model goes on with is not read in its place.
    """
    if len(response) > MAX_CHARS:
        return Unread("response-too-big")
    behind = _behind_thinking(response)
    if tags is Tags.NONE:
        return response if behind is None else behind.partition(THINK)[0]
    if tags is Tags.THINK_ANSWER and behind is None:
        return Unread("no-think-tags")
    text = response if behind is None else behind
    start = text.find(ANSWER)
    end = text.find(ANSWER_END, start) if start >= 0 else -1
    if end < 0:
        return Unread("no-answer-tags")
    # The last `<answer>` before the first fence: a program inside the fence may hold one as text.
    fence = text.find(FENCE, start, end)
    start = text.rfind(ANSWER, start, end if fence < 0 else fence)
    return text[start + len(ANSWER) : end]


def _behind_thinking(response: str) -> str | None:
    """What follows the first `</think>`; None without one that belongs to the response's own turn.

    A `<think>` behind an answer opens a turn that the model invented, as base models do.
    """
    thought, mark, behind = response.partition(THINK_END)
    answered = thought.find(ANSWER_END)
    return behind if mark and not 0 <= answered < thought.rfind(THINK) else None


def stop_strings(tags: Tags) -> tuple[str, ...]:
    """What ends a response in these tags (`TaskPack.stop_strings`)."""
    return () if tags is Tags.NONE else (ANSWER_END,)


def wrap(answer: str, tags: Tags, thought: str) -> str:
    """The response that `read_blocks` reads as `answer`."""
    if tags is Tags.NONE:
        return answer
    wrapped = f"{ANSWER}\n{answer}\n{ANSWER_END}"
    return f"{THINK}\n{thought}\n{THINK_END}\n{wrapped}" if tags is Tags.THINK_ANSWER else wrapped


def block(label: str, text: str) -> str:
    """A fenced block."""
    return f"{FENCE}{label}\n{text}\n{FENCE}"
