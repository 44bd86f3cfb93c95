"""What answers look like: with steps, bare, and how one integer is judged."""

from __future__ import annotations

import re

from tasks.contract import Outcome, Verdict
from tasks.parsing import last_line

INTEGER = re.compile(r"-?[0-9]{1,9}")
"""ASCII digits only, and few enough that `int` never refuses them."""

DISTANCE = "distance"
"""Measure of an answer that is one integer: how far it is from the right one."""


def bare(answer: str) -> str:
    """An answer without steps. The first character tells it from one with steps."""
    return f":{answer}"


def after_steps(steps: str, answer: str) -> str:
    """An answer behind the steps that lead to it."""
    return f"({steps}):{answer}"


def judge_integer(response: str, right: int) -> Verdict:
    """Judge the last line of a response: all of it, or what stands behind its last `=` or `:`."""
    line = last_line(response)
    answer = line[max(line.rfind("="), line.rfind(":")) + 1 :].strip().removesuffix(".")
    if INTEGER.fullmatch(answer) is None:
        return Verdict(Outcome.MALFORMED, "no-answer")
    measures = {DISTANCE: float(abs(int(answer) - right))}
    if int(answer) != right:
        return Verdict(Outcome.WRONG, "wrong-value", measures)
    return Verdict(Outcome.CORRECT, "", measures)
