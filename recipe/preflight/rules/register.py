"""What a rule is: a function that yields a line for everything that breaks it; and the list of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from omegaconf import DictConfig

from recipe.preflight.setup import Setup

Find = Callable[[Setup], Iterator[str]]


@dataclass(frozen=True, slots=True)
class Rule:
    """One thing that has to hold before a start.

    A run stops at a rule that refuses. Another is an estimate, or about this machine alone, which need not be
    the one that trains: the doctor says it, a run goes on.
    """

    find: Find
    applies: Callable[[DictConfig], bool]  # whether it is about such a run at all
    refuses: bool
    needs_sizes: bool  # whether it is asked only where `keys.SIZES` hold: it reads such keys as they are
    here: bool  # whether it is about this machine, and so not asked where the run is for another
    last: bool  # whether it takes seconds, and so is asked only where no other refuses


RULES: list[Rule] = []


def rule(
    *,
    applies: Callable[[DictConfig], bool] = lambda _: True,
    refuses: bool = True,
    needs_sizes: bool = True,
    here: bool = False,
    last: bool = False,
) -> Callable[[Find], Find]:
    """Make a function a rule; arguments as of `Rule`."""

    def add(find: Find) -> Find:
        RULES.append(Rule(find, applies, refuses, needs_sizes, here, last))
        return find

    return add
