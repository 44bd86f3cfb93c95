"""Compare the numbers that answers gave, and find the one that most attempts give.

The library math-verify gets numbers that `tasks/kit/numbers.py` read, never text: it reads expressions by
evaluating them, so `10**10**10` would not come to an end, and its time limits are signals, which work in a
main thread only.
"""

from __future__ import annotations

import itertools
import logging
from collections import Counter
from collections.abc import Sequence
from fractions import Fraction

MIN_VOTES = 2
"""An answer that only one attempt gives is agreed on by nobody."""


def equal(left: str, right: str) -> bool:
    """Whether two canonical numbers are the same to math-verify.

    Integers and fractions are compared exactly, decimals after rounding to six places. If only one of the two
    is a percentage, `50%` is both 50 and 0.5.
    """
    # Half a second, and the whole of sympy: only processes that judge need it.
    from math_verify import verify

    # It warns once a process that it runs without its own time limit; numbers of a few digits need none.
    logging.getLogger("math_verify").setLevel(logging.ERROR)
    one_is_percentage = left.endswith("%") != right.endswith("%")
    values = [_values(text, one_is_percentage) for text in (left, right)]
    return bool(verify(*values, timeout_seconds=None, raise_on_error=True))


def find_majority(answers: Sequence[str]) -> str | None:
    """Return the answer that more of `answers` are equal to than to any other.

    The answers are canonical numbers, one an attempt; their order decides nothing. `equal` judges attempts as
    well, so the votes for an answer are the attempts that it makes right. Of equal answers the plainest is
    returned: no percentage, short, early in the alphabet. Where an answer equals two that differ, as `50%`
    does 50 and 0.5, it has no votes: those two are no agreement. None if two answers that differ have as many
    votes, or if no answer has two.
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


def _values(text: str, as_both: bool) -> list[object]:
    """The values that a canonical number may stand for."""
    import sympy

    number = text.removesuffix("%")
    value = sympy.Float(number) if "." in number else sympy.Rational(Fraction(number))
    return [value, value / 100] if as_both and number != text else [value]
