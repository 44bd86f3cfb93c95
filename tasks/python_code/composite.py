"""Composite programs: a proposal that has to call programs that self-play found earlier.

Which references are to be called follows from the references and the step, not from a generator: the prompt
and the check of the response see the same ones at different times, maybe in different processes.
"""

from __future__ import annotations

import ast
import math
import random
from collections.abc import Sequence
from dataclasses import dataclass

from tasks.contract import TaskRecord
from tasks.kit.program import ENTRY, Refusal, bound_names, canonical_program, parse_program
from tasks.kit.syntax import parse
from tasks.python_code.records import read_program


@dataclass(frozen=True, slots=True)
class Schedule:
    """How composites come in as a run goes on: their share and their size grow together, step by step.

    Both are nothing before `from_step`, grow in a straight line, and are as given from `until_step` on. The
    official code of Absolute Zero raises the two by stairs of their own; one ramp stands for both here.

    Attributes:
        share: Share of the proposals with references that have to call some of them, in [0, 1].
        maximum: Most functions that such a proposal has to call.
        from_step: Training step at which the ramp begins.
        until_step: Training step at which it ends, not before it begins. In a ramp without length that step
            has all of them.
    """

    share: float
    maximum: int
    from_step: int
    until_step: int

    def grown(self, step: int) -> float:
        """How far the ramp is up at `step`, in [0, 1]."""
        if step >= self.until_step:
            return 1.0
        if step <= self.from_step:
            return 0.0
        return (step - self.from_step) / (self.until_step - self.from_step)


def choose_given(references: Sequence[TaskRecord], schedule: Schedule, step: int) -> list[str]:
    """Return the programs that a proposal with these references has to call; none outside the share.

    Args:
        references: The records in the prompt.
        schedule: How many proposals have to call any, and how many programs they call.
        step: The training step of the prompt.
    """
    grown = schedule.grown(step)
    programs = list(dict.fromkeys(canonical_program(read_program(record)) for record in references))
    programs = [program for program in programs if _can_be_given(program)]
    rng = random.Random("composite " + "\n".join(programs))
    if not programs or rng.random() >= grown * schedule.share:
        return []
    maximum = math.ceil(grown * schedule.maximum)
    return rng.sample(programs, rng.randint(1, min(maximum, len(programs))))


def define_given(programs: Sequence[str]) -> str:
    """Python definitions of `g_0`, `g_1` and so on.

    Each program as a whole becomes the body of its function, so that none can touch another's names.
    """
    return "\n\n".join(_define(f"g_{number}", program) for number, program in enumerate(programs))


def compose(program: str, given: Sequence[str], max_chars: int) -> str | Refusal:
    """Return a program behind the functions `g_0`, `g_1` and so on, or why it is no composite of them."""
    wanted = {f"g_{number}" for number in range(len(given))}
    if wanted & bound_names(program):
        return Refusal("given-function-redefined", False)
    called = {
        node.func.id
        for node in ast.walk(parse(program))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }
    if not wanted <= called:
        return Refusal("given-function-not-called", False)
    composite = f"{define_given(given)}\n\n{program}"
    # Inside a function a program is a few levels deeper than it was at the top.
    if len(composite) > max_chars or isinstance(parse_program(composite), str):
        return Refusal("composite-too-big", False)
    return composite


def _can_be_given(program: str) -> bool:
    # Inside a function, `global` no longer names what stands beside it.
    return not any(isinstance(node, ast.Global) for node in ast.walk(parse(program)))


def _define(name: str, program: str) -> str:
    tree = parse(f"def {name}(*args):\n    return {ENTRY}(*args)")
    wrapper = tree.body[0]
    assert isinstance(wrapper, ast.FunctionDef)
    wrapper.body = [*parse(program).body, *wrapper.body]
    return ast.unparse(tree)
