"""Find the answer that most attempts at a problem give, where nothing else says what is right."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence

from tasks.math_word.number import equal

MIN_VOTES = 2
"""An answer that only one attempt gives is agreed on by nobody."""


def find_majority(answers: Sequence[str]) -> str | None:
    """Return the answer that more of `answers` are equal to than to any other.

    `equal` judges attempts as well, so the votes for an answer are the attempts that it makes right. Of equal
    answers the plainest is returned: no percentage, short, early in the alphabet. Where an answer equals two
    that differ, as `50%` does 50 and 0.5, it has no votes: those two are no agreement.

    Args:
        answers: Canonical numbers, one an attempt; their order decides nothing.

    Returns:
        None if two answers that differ have as many votes, or if no answer has two.
    """
    counts = Counter(answers)
    same = {answer: {answer} for answer in counts}
    for left, right in itertools.combinations(sorted(counts), 2):
        if equal(left, right):
            same[left].add(right)
            same[right].add(left)
    votes = {
        answer: sum(counts[voter] for voter in voters)
        for answer, voters in same.items()
        if all(voters <= same[voter] for voter in voters)
    }
    most = max(votes.values(), default=0)
    leaders = [answer for answer in votes if votes[answer] == most]
    if most < MIN_VOTES or not same[leaders[0]].issuperset(leaders):
        return None
    return min(leaders, key=lambda answer: (answer.endswith("%"), len(answer), answer))
