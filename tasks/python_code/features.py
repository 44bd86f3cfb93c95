"""What can be measured of a proposed program, for a proposer's extra rewards (docs/rewards.md).

Nothing here runs the program. The libraries are imported where they are used: most runs reward no feature.
Scales are those of the official code of Absolute Zero, so that its coefficients mean the same here.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Sequence
from statistics import fmean

from tasks.contract import TaskRecord
from tasks.kit.syntax import PARSING, parse
from tasks.python_code.records import read_program


def complexity(record: TaskRecord, references: Sequence[TaskRecord]) -> float:
    """Cognitive complexity of the program (complexipy) / 15, from 0 up."""
    from complexipy import code_complexity

    return code_complexity(read_program(record)).complexity / 15


def halstead(record: TaskRecord, references: Sequence[TaskRecord]) -> float:
    """A mean of three sizes (radon), in [0, 1]: 0.5 effort, 0.3 cyclomatic complexity, 0.2 volume.

    Effort counts up to 10,000, cyclomatic complexity (of all functions together) up to 10, volume up to 500.
    """
    from radon.complexity import cc_visit
    from radon.metrics import h_visit

    program = read_program(record)
    with PARSING:
        sizes = h_visit(program).total
        cyclomatic: int = sum(block.complexity for block in cc_visit(program))
    effort, volume = float(sizes.effort), float(sizes.volume)
    return 0.5 * min(effort / 10_000, 1.0) + 0.3 * min(cyclomatic / 10, 1.0) + 0.2 * min(volume / 500, 1.0)


def edit_distance(record: TaskRecord, references: Sequence[TaskRecord]) -> float:
    """Mean over the references of 1 - the similarity of both syntax trees, in [0, 1]; 0 without references.

    Similarity is 2 * common / (nodes of both trees together), where `common` is the length of the longest
    common subsequence of the nodes in the order of the text, each with its name or value.
    """
    if not references:
        return 0.0
    tree = _nodes(record)
    others = [_nodes(reference) for reference in references]
    return fmean(1.0 - 2 * common_length(other, tree) / (len(other) + len(tree)) for other in others)


def common_length(first: Sequence[str], second: Sequence[str]) -> int:
    """Length of the longest common subsequence.

    The bits of one integer are a row of the usual table (Hyyro, 2004): 10 ms for 10,000 by 10,000, whatever
    is in them, where difflib takes 7 s for 1,000 by 1,000 if they are chosen to.
    """
    places: dict[str, int] = {}
    for number, item in enumerate(second):
        places[item] = places.get(item, 0) | 1 << number
    row = every = (1 << len(second)) - 1
    for item in first:
        here = row & places.get(item, 0)
        row = (row + here | row - here) & every
    # A zero stands where the length grows by one.
    return len(second) - row.bit_count()


def _nodes(record: TaskRecord) -> list[str]:
    """A program's syntax tree as one line a node, children behind their parent."""
    lines: list[str] = []
    pending: list[ast.AST] = [parse(read_program(record))]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.expr_context):
            # Whether a name is read or bound shows in what stands above it.
            continue
        own = [value for _, value in ast.iter_fields(node) if not isinstance(value, ast.AST | list)]
        lines.append(f"{type(node).__name__} {own}")
        pending.extend(reversed(list(ast.iter_child_nodes(node))))
    return lines


FEATURES: dict[str, Callable[[TaskRecord, Sequence[TaskRecord]], float]] = {
    "complexity": complexity,
    "halstead": halstead,
    "edit-distance": edit_distance,
}
"""By the name that `azr.bonus.terms` calls them."""


def measure(name: str, record: TaskRecord, references: Sequence[TaskRecord]) -> float | None:
    """Measure one of `FEATURES`; None where that cannot be done for this program.

    A program need not compile to be a task of the kind `error`: `g(a=1, a=2)` parses and is a SyntaxError all
    the same. What a library makes of such text is its own affair, and is not allowed to stop a run.
    """
    try:
        return FEATURES[name](record, references)
    except ImportError:  # it is not installed
        raise
    except Exception:  # the boundary to libraries that read a model's text
        return None
