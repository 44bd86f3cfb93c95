"""Every rule that is looked at before Ray or a model is started, and the one collector of what is broken.

`recipe.doctor` asks for all of it (`find_problems`); a run stops at the first rule that refuses (`check`). To
add a rule about one key, add a row to a table in `keys.py`; for any other, write one function with the
decorator `rule` in the module of its subject: it yields a line for everything that is wrong, which names the
key, what it got, and what to do. Rules read a `Setup`; none needs verl, and none imports Ray.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from omegaconf import DictConfig

from recipe.preflight import PreflightError
from recipe.preflight.rules import cluster, folders, here, keys, loggers, model, pack, selfplay
from recipe.preflight.rules.register import RULES, Rule
from recipe.preflight.setup import REFUSALS, Setup, Survey
from tasks.contract import TaskPack

# The order in which they are asked: first what a look at the configuration tells. GPUs are asked for by torch
# and clusters by Ray, which take seconds to load.
SUBJECTS = [module.__name__ for module in (keys, selfplay, folders, loggers, pack, model, cluster, here)]
RULES.sort(key=lambda asked: (asked.last, SUBJECTS.index(asked.find.__module__)))


def find_problems(setup: Setup, rules: Iterable[Rule] = RULES) -> list[str]:
    """Everything that is broken, a line each; what takes seconds to find only where nothing else refuses."""
    return list(dict.fromkeys(_ask(setup, rules)))  # two rules may stumble over one file


def _ask(setup: Setup, rules: Iterable[Rule]) -> Iterator[str]:
    readable, refused = not any(keys.sizes(setup)), False
    for asked in rules:
        if (
            (asked.needs_sizes and not readable)
            or (asked.last and refused)
            or (asked.here and not setup.is_for_here)
            or not asked.applies(setup.config)
        ):
            continue
        for problem in _found(asked, setup):
            refused |= asked.refuses
            yield problem


def _found(asked: Rule, setup: Setup) -> Iterator[str]:
    try:
        yield from asked.find(setup)
    except REFUSALS as error:  # what ended the rule before its time is the last that it finds
        yield str(error)


def check(config: DictConfig, survey: Survey) -> TaskPack:
    """Check a composed configuration; return its pack.

    Raises:
        PreflightError: A rule is broken that refuses.
    """
    setup = Setup(config, survey)
    for problem in _ask(setup, (asked for asked in RULES if asked.refuses)):
        raise PreflightError(problem)
    return setup.pack
