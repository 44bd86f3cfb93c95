"""Composite programs: a proposal that has to call programs that self-play found earlier.

Which references are to be called follows from the references and the step, not from a generator: the prompt
and the check of the response see the same ones at different times, maybe in different processes.
"""

from __future__ import annotations

import ast
import math
import random
from collections.abc import Sequence

from tasks.contract import Rejected, TaskRecord
from tasks.kit.program import ENTRY, bound_names, canonical_program, parse_program
from tasks.kit.syntax import parse
from tasks.python_code.knobs import PythonCodeKnobs
from tasks.python_code.records import INDUCTION, read_program


def ramp(knobs: PythonCodeKnobs, step: int) -> float:
    """How far composites have come in at `step`, in [0, 1]: their share and their size grow together.

    The official code of Absolute Zero raises the two by stairs of their own; one straight line stands for
    both here. In a ramp without length its step has all of them.
    """
    first, last = knobs.composite_from_step, knobs.composite_until_step
    if step >= last:
        return 1.0
    return (step - first) / (last - first) if step > first else 0.0


def choose_given(kind: str, references: Sequence[TaskRecord], knobs: PythonCodeKnobs, step: int) -> list[str]:
    """Return the programs that a proposal with these references has to call; none outside the share."""
    if kind == INDUCTION or knobs.composite_share == 0:
        return []
    grown = ramp(knobs, step)
    programs = list(dict.fromkeys(canonical_program(read_program(record)) for record in references))
    # Inside a function, `global` no longer names what stands beside it.
    programs = [
        each for each in programs if not any(isinstance(node, ast.Global) for node in ast.walk(parse(each)))
    ]
    rng = random.Random("composite " + "\n".join(programs))
    if not programs or rng.random() >= grown * knobs.composite_share:
        return []
    maximum = math.ceil(grown * knobs.composite_max)
    return rng.sample(programs, rng.randint(1, min(maximum, len(programs))))


def define_given(programs: Sequence[str]) -> str:
    """Python definitions of `g_0`, `g_1` and so on.

    Each program as a whole becomes the body of its function, so that none can touch another's names.
    """
    defined = []
    for number, program in enumerate(programs):
        tree = parse(f"def g_{number}(*args):\n    return {ENTRY}(*args)")
        wrapper = tree.body[0]
        assert isinstance(wrapper, ast.FunctionDef)
        wrapper.body = [*parse(program).body, *wrapper.body]
        defined.append(ast.unparse(tree))
    return "\n\n".join(defined)


def compose(program: str, given: Sequence[str], max_chars: int) -> str | Rejected:
    """Return a program behind the functions `g_0`, `g_1` and so on, or why it is no composite of them."""
    wanted = {f"g_{number}" for number in range(len(given))}
    if wanted & bound_names(program):
        return Rejected.wrong("given-function-redefined")
    called = {
        node.func.id
        for node in ast.walk(parse(program))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }
    if not wanted <= called:
        return Rejected.wrong("given-function-not-called")
    composite = f"{define_given(given)}\n\n{program}"
    # Inside a function a program is a few levels deeper than it was at the top.
    if len(composite) > max_chars or isinstance(parse_program(composite), str):
        return Rejected.wrong("composite-too-big")
    return composite
