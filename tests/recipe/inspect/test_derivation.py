"""Rewards are derived as they were paid: every line of the golden traces, and every profile."""

from __future__ import annotations

import gzip
import importlib.util
import io
import json
import math
import random
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from recipe.inspect.derivation import Derivation, derive
from recipe.inspect.entries import Entry, read_entries, read_name
from recipe.inspect.index import Index, open_index
from recipe.inspect.run import Run, open_run
from recipe.inspect.task import Task, read_task
from rewards.price import itemize
from rewards.profile import PROFILES, PriceTable, price_attempt, price_proposal
from tasks.contract import Outcome, Role

GOLDEN = Path(__file__).parents[2] / "golden"
MakeRun = Callable[..., Path]
Line = Callable[..., dict[str, Any]]
RunOf = Callable[[str], Path]

FRESH, PREVIOUS = {"solve_on": "fresh"}, {"solve_on": "previous"}
TERMS = {
    "complexity": {},
    "halstead": {},
    "edit-distance": {"coefficient": 0.3},
    "answer-diversity": {},
}
MID_RANGE = {"mid-range": {"coefficient": 0.3, "maximum": 0.3}, "structure-diversity": {}}

SETTINGS: Mapping[str, tuple[str, dict[str, Any]]] = {
    "arithmetic_base": ("arithmetic_rich", {}),
    "arithmetic_rich": ("arithmetic_rich", {**FRESH, "bonus": {"terms": MID_RANGE}}),
    "azr_coder_7b": ("paper", FRESH),
    "code_bonus": ("azr_code", {**PREVIOUS, "bonus": {"terms": TERMS, "combine": "sum-multiply"}}),
    "code_plain": ("azr_code", FRESH),
    "cpu_code": ("paper", {}),
    "demo": ("paper", {}),
    "demo_fresh": ("paper", FRESH),
    "demo_previous": ("paper", {**PREVIOUS, "train_proposer": False}),
    "demo_replay": ("random", {}),
    "demo_role_difficulty": ("paper", {}),
    "demo_seeds_only": ("paper", {**FRESH, "tasks": "buffer"}),
    "math_word": ("paper", {}),
    "math_word_majority": ("paper", {}),
    "math_word_tiny": ("paper", PREVIOUS),
    "math_word_tiny_majority": ("paper", {}),
    "minazr": ("minazr", {}),
    "prime_inversion_3b": ("paper_accuracy", FRESH),
    "prime_inversion_demo": ("paper", {}),
    "sqlm_mult3": ("paper", {"learnability": {"shape": "band"}}),
}
"""Of every trace its profile, and what its configuration has of `azr` that rewards are made by."""

ANY_PACK = {"_target_": "tasks.chain.ChainPack"}
"""Rewards need no pack: that one is built in no time."""


@cache
def ledger_of(trace: str) -> list[dict[str, Any]]:
    with gzip.open(GOLDEN / f"{trace}.jsonl.gz", "rt", encoding="utf-8") as file:
        lines = [json.loads(line) for line in file]
    return [
        {name: value for name, value in line.items() if name != "line"}
        for line in lines
        if line["line"] == "ledger"
    ]


@contextmanager
def opened(folder: Path) -> Iterator[tuple[Run, Index]]:
    run = open_run(folder)
    with open_index(run) as index:
        yield run, index


@pytest.fixture(scope="module")
def run_of(write: MakeRun) -> Callable[[str], Path]:
    """The run of a trace, with its index once it was asked for."""

    @cache
    def build(trace: str) -> Path:
        profile, azr = SETTINGS[trace]
        return write(ledger_of(trace), pack=ANY_PACK, reward_profile=profile, azr=azr)

    return build


def test_there_are_settings_of_every_trace() -> None:
    assert list(SETTINGS) == sorted(path.name.removesuffix(".jsonl.gz") for path in GOLDEN.glob("*.gz"))


@pytest.mark.slow
@pytest.mark.parametrize("trace", SETTINGS)
def test_settings_are_those_that_the_trace_was_recorded_with(trace: str) -> None:
    from hydra import compose, initialize_config_dir

    from recipe.config import CONF, register

    spec = importlib.util.spec_from_file_location("golden_traces", GOLDEN / "test_golden_traces.py")
    assert spec is not None
    assert spec.loader is not None
    traces = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(traces)
    register()
    with initialize_config_dir(str(CONF), version_base=None):
        given = compose("azr", traces.TRACES[trace])
    profile, azr = SETTINGS[trace]
    assert given.reward_profile == profile
    defaults = {"solve_on": "attempts", "train_proposer": True, "tasks": "proposals"}
    assert {name: given.azr[name] for name in defaults} == {
        name: azr.get(name, default) for name, default in defaults.items()
    }
    assert given.azr.learnability.shape == azr.get("learnability", {}).get("shape")
    bonus = azr.get("bonus", {})
    assert given.azr.bonus.combine == bonus.get("combine", "sum")
    full = {"coefficient": 1.0, "maximum": 0.5}
    assert dict(given.azr.bonus.terms) == {name: full | term for name, term in bonus.get("terms", {}).items()}


@pytest.mark.parametrize("trace", SETTINGS)
def test_every_reward_of_a_trace_adds_up(trace: str, run_of: RunOf) -> None:
    ledger = ledger_of(trace)
    with opened(run_of(trace)) as (run, index):
        entries = read_entries(index, "true", {})
        assert [entry.reward for entry in entries] == [line["reward"] for line in ledger]
        for entry in entries:
            found = derive(run, entry)
            assert found.adds_up, (entry, found)
            assert found.total == entry.reward
            if entry.reward is None:
                assert "would have one" not in found.why, entry
                assert found.why
            else:
                assert found.items
                assert found.why == ""


ITEM = re.compile(r"^  ([+-]\S+)  (\S+)", re.MULTILINE)


def printed_items(out: str, entry: Entry) -> tuple[list[float], str | None]:
    """The numbers of the items below a response's head line, and how they join."""
    _, _, below = out.partition(f"\n{entry.id}  {entry.kind}  ")
    below = re.split(r"\n\S", below)[0]
    joined = re.search(r"azr\.bonus\.combine=(\S+):", below)
    found = [(float(number), name) for number, name in ITEM.findall(below)]
    numbers = [number for number, name in found if name not in ("reward", "advantage")]
    return numbers, joined[1] if joined else None


def join(numbers: list[float], how: str | None) -> float:
    first, *extras = numbers
    if how is None:
        assert not extras
        return first
    if how == "sum-multiply":
        return first + math.prod(extras)
    assert how == "sum"
    return first + sum(extras)


def printed(task: Task) -> str:
    console = Console(file=io.StringIO(), width=400)
    with console.capture() as capture:
        for part in task.parts(400):
            console.print(part, markup=False, highlight=False)
    return capture.get()


def test_the_printed_derivation_of_fifty_lines_adds_up_to_their_rewards(run_of: RunOf) -> None:
    ledgers = {trace: ledger_of(trace) for trace in SETTINGS}
    places = [(trace, place) for trace, ledger in ledgers.items() for place in range(len(ledger))]
    drawn = random.Random(50).sample(places, 50)
    drawn += [place for place in places if _has_extras(ledgers, *place)]  # they are few
    found = Counter[str]()
    for trace in sorted({trace for trace, _ in drawn}):
        with opened(run_of(trace)) as (_, index):
            entries = read_entries(index, "true", {})
            for entry in (entries[place] for of, place in drawn if of == trace):
                out = printed(read_task(index, read_name(entry.id)))
                numbers, how = printed_items(out, entry)
                if entry.reward is None:
                    found["unpriced"] += 1
                    assert numbers == []
                    assert "no reward: " in out
                else:
                    found["priced"] += 1
                    found["joined"] += how is not None
                    assert join(numbers, how) == pytest.approx(entry.reward, rel=1e-5), (entry.id, out)
    assert min(found["unpriced"], found["priced"]) > 15, found
    assert found["joined"] >= 5


def _has_extras(ledgers: Mapping[str, list[dict[str, Any]]], trace: str, place: int) -> bool:
    line = ledgers[trace][place]
    return bool(line["features"]) and line["reward"] is not None and 0 < line["solve_rate"] < 1


def priced_by(profile: str, entry: Entry) -> float | None:
    """What a line would have earned with a profile, if it has a price with it; its draw where it draws."""
    prices, outcome = PROFILES[profile], Outcome(entry.outcome)
    if entry.role == Role.SOLVE:
        return price_attempt(prices, outcome, random.Random(entry.line), entry.measures)
    needs_rate = isinstance(prices, PriceTable) and outcome is Outcome.CORRECT
    if needs_rate and entry.solve_rate is None:
        return None
    return price_proposal(prices, outcome, entry.solve_rate, random.Random(entry.line))


@pytest.mark.parametrize("profile", PROFILES)
def test_every_profile_is_derived(profile: str, make_run: MakeRun, run_of: RunOf) -> None:
    with opened(run_of("arithmetic_rich")) as (_, index):
        entries = read_entries(index, "one.step > 0", {})
    run = open_run(make_run([], f"of {profile}", pack=ANY_PACK, reward_profile=profile))
    num_priced = 0
    for entry in random.Random(profile).sample(entries, 50):
        reward = priced_by(profile, entry)
        if reward is not None:
            num_priced += 1
            found = derive(run, replace(entry, reward=reward))
            assert (found.adds_up, found.total) == (True, reward)
            assert sum(item.value for item in found.items) == reward
            # A reward of other prices is told from this one.
            assert not derive(run, replace(entry, reward=reward + 0.01)).adds_up
    assert num_priced > 25


def derivation(make_run: MakeRun, line: dict[str, Any], **settings: Any) -> Derivation:
    run = make_run([line], pack=ANY_PACK, **settings)
    with opened(run) as (run_, index):
        return derive(run_, read_entries(index, "true", {})[0])


@pytest.mark.parametrize(
    ("given", "azr", "why"),
    [
        ({"step": 0}, {}, "seeding"),
        ({"reason": "held-out", "record": None}, {}, "held-out set"),
        ({"reason": "surplus", "record": None}, {}, "as many of its kind as it wanted"),
        ({"solve_rate": 0.5}, {"train_proposer": False}, "azr.train_proposer=false"),
        ({}, {}, "no attempt at the task came back"),
        ({"solve_rate": 0.5}, {}, "the settings were others"),
    ],
)
def test_a_proposal_without_a_reward_says_why(
    make_run: MakeRun, line: Line, given: dict[str, Any], azr: dict[str, Any], why: str
) -> None:
    found = derivation(make_run, line(**{"step": 1, "index": 0} | given), azr=azr)
    assert why in found.why
    assert (found.items, found.total, found.adds_up) == ((), None, True)


def test_an_attempt_for_the_solve_rate_alone_says_so(make_run: MakeRun, line: Line) -> None:
    run_folder = make_run([line(1, 0), line(1, 0, 0)], pack=ANY_PACK, azr={"solve_on": "fresh"})
    with opened(run_folder) as (run, index):
        found = derive(run, read_entries(index, "one.role = 'solve'", {})[0])
    assert "azr.solve_on=fresh" in found.why


def test_extra_rewards_are_worked_out_from_the_features(make_run: MakeRun, line: Line) -> None:
    terms = {"complexity": {"coefficient": 0.5, "maximum": 0.3}, "halstead": {}}
    # 1 - 1/4 = 0.75, with min(0.5 * 0.2, 0.3) = 0.1 and nothing for what was not measured.
    written = line(1, 0, solve_rate=0.25, reward=0.75 + 0.1, features={"complexity": 0.2})
    found = derivation(make_run, written, azr={"bonus": {"terms": terms}})
    assert [(item.name, item.value) for item in found.items] == [
        ("learnability", 0.75),
        ("complexity", 0.1),
        ("halstead", 0.0),
    ]
    assert (found.combine, found.total, found.adds_up) == ("sum", 0.85, True)
    assert itemize({}, {}) == ()


def test_a_reward_of_other_settings_is_shown_as_one(make_run: MakeRun, line: Line) -> None:
    found = derivation(make_run, line(1, 0, solve_rate=0.25, reward=0.5))
    assert (found.total, found.adds_up) == (0.75, False)
    assert "config.yaml" in found.why


def test_a_draw_says_what_it_was_drawn_from(make_run: MakeRun, line: Line) -> None:
    found = derivation(make_run, line(1, 0, reward=-0.5), reward_profile="random")
    assert found.items[0].why == "drawn from -1, -0.5, 1, each equally likely, whatever the outcome"
    assert found.adds_up
    other = derivation(
        lambda *a, **b: make_run(*a, "other", **b), line(1, 0, reward=0.25), reward_profile="random"
    )
    assert not other.adds_up
