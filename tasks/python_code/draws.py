"""Draw tasks of the grammar of ordinary programs; their outputs come from the sandbox."""

from __future__ import annotations

import random

from tasks.contract import TaskRecord
from tasks.execution import Runner, error_class, fault
from tasks.python_code.grammar import draw_input, draw_program
from tasks.python_code.records import (
    ERROR,
    INDUCTION,
    Example,
    error_task,
    induction_task,
    triplet,
)

MAX_DRAWN_CHARS = 200
"""Longest output of a drawn task: one that people can follow, under any knob."""

EMPTY_OUTPUTS = frozenset({"[]", "''", "{}"})
"""Outputs that are too easily guessed, and too easily found an input for."""

MIN_DISTINCT_OUTPUTS = 3
"""Among the examples of a drawn induction task."""


def draw_record(kind: str, domain: str, num_inputs: int, rng: random.Random, runner: Runner) -> TaskRecord:
    """Draw one task about a program whose parameter is of type `domain`.

    Raises:
        SandboxBroken: The sandbox itself failed.
    """
    while True:
        drawn = draw_program(domain, rng, raises=kind == ERROR)
        inputs = [draw_input(domain, rng) for _ in range(num_inputs if kind == INDUCTION else 1)]
        if len(set(inputs)) < len(inputs):
            continue
        calls = runner.run(drawn.program, inputs)
        if kind == ERROR:
            if fault(calls[0]) == "raises":
                return TaskRecord(kind, error_task(drawn.program, inputs[0], error_class(calls[0])))
            continue
        outputs = [call.literal for call in calls if call.literal is not None]
        if len(outputs) < len(calls) or max(map(len, outputs)) > MAX_DRAWN_CHARS:
            continue
        examples = [Example(*pair) for pair in zip(inputs, outputs, strict=True)]
        if kind != INDUCTION and outputs[0] not in EMPTY_OUTPUTS:
            return TaskRecord(kind, triplet(drawn.program, examples[0]))
        if kind == INDUCTION and len(set(outputs)) >= MIN_DISTINCT_OUTPUTS:
            return TaskRecord(kind, induction_task(drawn.program, examples, drawn.message))
