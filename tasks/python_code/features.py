"""What can be measured of a proposed program, for a proposer's extra rewards (docs/rewards.md).

Nothing here runs the program. The libraries are imported where they are used: most runs reward no feature.
Scales are those of the official code of Absolute Zero, so that its coefficients mean the same here.
"""

from __future__ import annotations

import ast
import difflib
from collections.abc import Callable, Sequence
from statistics import fmean

from tasks.contract import TaskRecord
from tasks.python_code.records import read_program

COMPLEXITY_SCALE = 15.0
EFFORT_SCALE = 10_000.0
CYCLOMATIC_SCALE = 10.0
VOLUME_SCALE = 500.0


def complexity(record: TaskRecord, references: Sequence[TaskRecord]) -> float:
    """Cognitive complexity of the program (complexipy) / 15, from 0 up."""
    from complexipy import code_complexity

    return code_complexity(read_program(record)).complexity / COMPLEXITY_SCALE


def halstead(record: TaskRecord, references: Sequence[TaskRecord]) -> float:
    """A mean of three sizes (radon), in [0, 1]: 0.5 effort, 0.3 cyclomatic complexity, 0.2 volume.

    Effort counts up to 10,000, cyclomatic complexity (of all functions together) up to 10, volume up to 500.
    """
    from radon.complexity import cc_visit
    from radon.metrics import h_visit

    program = read_program(record)
    sizes = h_visit(program).total
    cyclomatic: int = sum(block.complexity for block in cc_visit(program))
    effort, volume = float(sizes.effort), float(sizes.volume)
    return (
        0.5 * min(effort / EFFORT_SCALE, 1.0)
        + 0.3 * min(cyclomatic / CYCLOMATIC_SCALE, 1.0)
        + 0.2 * min(volume / VOLUME_SCALE, 1.0)
    )


def edit_distance(record: TaskRecord, references: Sequence[TaskRecord]) -> float:
    """Mean over the references of 1 - the similarity of both syntax trees, in [0, 1]; 0 without references.

    Similarity is difflib's ratio of matching characters, of the trees written out.
    """
    if not references:
        return 0.0
    tree = ast.dump(ast.parse(read_program(record)))
    others = (ast.dump(ast.parse(read_program(reference))) for reference in references)
    return fmean(1.0 - difflib.SequenceMatcher(None, other, tree).ratio() for other in others)


FEATURES: dict[str, Callable[[TaskRecord, Sequence[TaskRecord]], float]] = {
    "complexity": complexity,
    "halstead": halstead,
    "edit-distance": edit_distance,
}
"""By the name that `azr.bonus.terms` calls them."""
