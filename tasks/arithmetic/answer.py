"""What answers look like: with steps, bare, and how one integer is judged."""

from __future__ import annotations

import re

from tasks.contract import Outcome, Verdict
from tasks.kit.numbers import NumberError, read_number
from tasks.kit.parsing import last_line

INTEGER = re.compile(r"-?[0-9]{1,9}")
"""ASCII digits only, and few enough that `int` never refuses them."""

MARK = re.compile(r"\\boxed\{|\*\*")
"""What an instruct model puts in front of the answer that it means, and behind it if it is bold."""

DISPLAY_END = r"\]"
"""Ends a displayed formula, often on a line of its own."""

DISTANCE = "distance"
"""Measure of an answer that is one integer: how far it is from the right one."""


def bare(answer: str) -> str:
    """An answer without steps. The first character tells it from one with steps."""
    return f":{answer}"


def after_steps(steps: str, answer: str) -> str:
    """An answer behind the steps that lead to it."""
    return f"({steps}):{answer}"


def judge_integer(response: str, right: int) -> Verdict:
    """Judge the last line of a response, as an instruct model may write one integer.

    It is what stands behind the line's last `=` or `:`, or the whole line; of that, what the last box or bold
    mark holds. Words may be around it, but no other number.
    """
    line = last_line(response.rstrip().removesuffix(DISPLAY_END))
    answer = line[_behind_sign(line) :]
    is_cut_off = answer.count("{") > answer.count("}")
    marked = [part for part in MARK.split(answer) if any(map(str.isdigit, part))]
    try:
        return _judge(read_number("" if is_cut_off or not marked else marked[-1]), right)
    except NumberError:
        return _judge("", right)


def judge_bare_integer(response: str, right: int) -> Verdict:
    """Judge the last line of a terse response: all of it, or what stands behind its last `=` or `:`."""
    line = last_line(response)
    return _judge(line[_behind_sign(line) :].strip().removesuffix("."), right)


def _behind_sign(line: str) -> int:
    return max(line.rfind("="), line.rfind(":")) + 1


def _judge(answer: str, right: int) -> Verdict:
    if INTEGER.fullmatch(answer) is None:
        return Verdict(Outcome.MALFORMED, "no-answer")
    measures = {DISTANCE: float(abs(int(answer) - right))}
    if int(answer) != right:
        return Verdict(Outcome.WRONG, "wrong-value", measures)
    return Verdict(Outcome.CORRECT, "", measures)
