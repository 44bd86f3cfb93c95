"""Deduction: given digits to add from left to right, write down every sum's last digit."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import ClassVar

from tasks.contract import Json, Rejected, Verdict
from tasks.kit.kinds import Kind, Style
from tasks.kit.parsing import last_line
from tasks.kit.payload import Payload, read_str

BASE = 10
SHORTEST, LONGEST = 3, 40
"""Range of a chain's length. There are 1,000 chains of the shortest, so that none runs out of new ones."""

LENGTHS: Mapping[str, int] = {f"len-{length:02d}": length for length in range(SHORTEST, LONGEST + 1)}
"""Number of terms by level, from easy to hard; labels sort as the lengths do."""

LEVELS: Mapping[int, str] = {length: level for level, length in LENGTHS.items()}

PROPOSAL = re.compile(r"(?:Chain:[ \t]*)?([0-9](?:[ \t]*\+[ \t]*[0-9])*)[ \t]*=")
STEP = r"[0-9][ \t]*\+[ \t]*[0-9][ \t]*=[ \t]*[0-9]"
STEPS = re.compile(rf"{STEP}(?:[ \t,;]+{STEP})*")
DIGIT = re.compile("[0-9]")

EXAMPLE = "768"


class Chain(Kind):
    """`Chain: 9+4+5=`, answered by its steps, `9+4=3 3+5=8`; its last digit alone is no answer."""

    num_references = 2
    seeds = ("Chain: 9+4+5=", "Chain: 2+7+6=", "Chain: 8+1+3+6=", "Chain: 5+5+0+2=")
    held_out_counts: ClassVar[Mapping[str, int]] = {LEVELS[length]: 90 for length in range(SHORTEST, 15)}

    def __init__(self, style: Style, longest: int) -> None:
        """Take chains of up to `longest` terms as proposals."""
        super().__init__(style)
        self._longest = longest
        self.request = f"Write one new task in the form of these, with {SHORTEST} to {longest} digits to add."

    def parse(self, response: str) -> Payload | Rejected:
        found = PROPOSAL.fullmatch(last_line(response))
        if found is None:
            return Rejected.malformed("no-task")
        terms = "".join(DIGIT.findall(found[1]))
        if not SHORTEST <= len(terms) <= self._longest:
            return Rejected.malformed("length-out-of-range")
        return {"terms": terms}

    def statement(self, payload: Payload) -> str:
        task = _task(read_str(payload, "terms"))
        return task if self._style is Style.TERSE else f"Chain: {task}"

    def question(self, payload: Payload) -> str:
        task = self.statement(payload)
        if self._style is Style.TERSE:
            return task
        rule = "Add from left to right, and keep the last digit of every sum."
        if self._style is Style.BASE:
            return f"{rule}\nChain: {_task(EXAMPLE)} {_steps(EXAMPLE)}\n{task}"
        shown = f"Reply with every step, on one line: for {_task(EXAMPLE)} they are {_steps(EXAMPLE)}"
        return f"{task}\n{rule} {shown}"

    def judge(self, payload: Payload, response: str) -> Verdict:
        line = last_line(response)
        if STEPS.fullmatch(line) is None:
            return Verdict.malformed("no-steps")
        found, right = (DIGIT.findall(text) for text in (line, self.gold(payload)))
        if len(found) != len(right):
            return Verdict.wrong("number-of-steps")
        return Verdict.correct() if found == right else Verdict.wrong("wrong-step")

    def gold(self, payload: Payload) -> str:
        return _steps(read_str(payload, "terms"))

    def difficulty(self, payload: Payload) -> str:
        return LEVELS[len(read_str(payload, "terms"))]

    def num_tasks(self) -> Mapping[str, int]:
        return {level: BASE ** LENGTHS[level] for level in self.levels()}

    def levels(self) -> tuple[str, ...]:
        return tuple(LEVELS[length] for length in range(SHORTEST, self._longest + 1))

    def draw_at(self, level: str, rng: random.Random) -> dict[str, Json]:
        return self.draw(level, rng)

    def draw(self, variant: str, rng: random.Random) -> dict[str, Json]:
        """Evenly; the variants are the levels."""
        return {"terms": "".join(str(rng.randrange(BASE)) for _ in range(LENGTHS[variant]))}

    def sample(self, rng: random.Random) -> dict[str, Json]:
        """A chain of any level, the levels evenly."""
        return self.draw(rng.choice(self.levels()), rng)

    def key(self, payload: Payload) -> str:
        """The terms in their order, which decides the steps."""
        return f"chain {read_str(payload, 'terms')}"


def _task(terms: Sequence[str]) -> str:
    return f"{'+'.join(terms)}="


def _steps(terms: Sequence[str]) -> str:
    """Every step of a running sum: of 9, 4 and 5 `9+4=3 3+5=8`."""
    sums = list(accumulate(map(int, terms), lambda total, term: (total + term) % BASE))
    return " ".join(f"{sums[i]}+{terms[i + 1]}={sums[i + 1]}" for i in range(len(sums) - 1))
