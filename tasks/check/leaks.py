"""Find out whether a solver's prompt gives its answer away.

An answer may stand in a prompt by chance, as 4 does in `8 - 4`, or because the prompt names all the answers
there are. A leak holds the answer as a rule, and more often than it holds the answers of other tasks. So the
words of each answer are looked for at every place of its own prompt, counted from the front and from the
back, and anywhere in it; and so are those of the answer to the next task. Where both answers are the same, as
half of all that are yes or no, this tells nothing, so only the other pairs are counted. Round the whole list
as many pairs lead from one answer to others as lead to it: an answer that all prompts name cancels out,
however often it is the right one.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from itertools import takewhile

MIN_PAIRS = 10  # with fewer pairs of unlike answers than this, nothing can be told from chance
LEAK_SHARE = 0.5  # a place leaks if in so much more of the pairs it holds the right answer than the other one
ANYWHERE_SHARE = 0.9  # the same for an answer at any place at all, where chance has more to choose from
ANYWHERE = "anywhere"


def find_leak(prompts: Sequence[str], answers: Sequence[str]) -> str:
    """Say where solver's prompts of many tasks of a kind hold their answers, with an example; "" if nowhere.

    `answers` has a right response to each of the `prompts`.
    """
    golds = _bare([_words(answer) for answer in answers])
    pairs = [i for i in range(len(golds)) if golds[i] != golds[i - 1]]
    if len(pairs) < MIN_PAIRS:
        return ""
    hits: Counter[int | str] = Counter()
    for i in pairs:
        shown = _words(prompts[i])
        hits.update(_places(shown, golds[i]))
        hits.subtract(_places(shown, golds[i - 1]))
    for place, count in hits.most_common():
        if count >= len(pairs) * (ANYWHERE_SHARE if place == ANYWHERE else LEAK_SHARE):
            where = ANYWHERE if place == ANYWHERE else f"at word {place}"
            return f"{' '.join(golds[0])!r} {where} of {prompts[0]!r}"
    return ""


def _places(shown: list[str], gold: list[str]) -> set[int | str]:
    """Places of a prompt that hold an answer: 0 is the first word, -1 the last, and `ANYWHERE` is any."""
    starts = [i for i in range(len(shown) - len(gold) + 1) if shown[i : i + len(gold)] == gold]
    places: set[int | str] = {place for i in starts for place in (i, i - len(shown))}
    return places | {ANYWHERE} if places else places


def _bare(golds: list[list[str]]) -> list[list[str]]:
    """Answers without the words that all of them begin or end with: tags, a box, `The answer is`."""
    spare = min(len(gold) for gold in golds) - 1  # an answer keeps one word at least
    front = _common([gold[: max(spare, 0)] for gold in golds])
    back = _common([gold[::-1][: max(spare - front, 0)] for gold in golds])
    return [gold[front : len(gold) - back] for gold in golds]


def _common(runs: list[list[str]]) -> int:
    """Length of the beginning that all share."""
    return sum(1 for _ in takewhile(lambda words: len(set(words)) == 1, zip(*runs, strict=False)))


def _words(text: str) -> list[str]:
    """Numbers and single words of a text, without the marks around them."""
    return re.findall(r"-?\w+", text)
