"""Whatever a model writes gets an outcome: no text raises, none runs in this process."""

from __future__ import annotations

import asyncio
import random
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tasks.contract import Accepted, Outcome
from tasks.python_code import PythonCodePack
from tasks.python_code.records import KINDS
from tasks.python_code.response import MAX_CHARS

PACKS = [
    PythonCodePack(num_inputs=2, kinds=list(KINDS), time_limit_s=0.05),
    PythonCodePack(num_inputs=2, kinds=list(KINDS), time_limit_s=0.05, tags="none", keep_comments=False),
    PythonCodePack(terse=True, kinds=list(KINDS), time_limit_s=0.05),
]
SLUG = re.compile("[a-z0-9]+(-[a-z0-9]+)*")

FRAGMENTS = [
    "<think>", "</think>", "<answer>", "</answer>", "```", "```python\n", "```input\n", "```output\n",
    "```message\n", "```error\n", "\n```\n", "def f(x):\n    return x", "def f(x): return x*2+3", "def f(",
    "def f(a, b=1, *c, **d):", "    while True: pass", "async def f(x):", "class f:", "import os\n",
    "import math\n", "from x import *", "__import__('os').abort()", "eval('1')", "exec('1')",
    "open('/x', 'w')",
    "f(x)=", "x*2+3", "x[::-1]", ";f(4)", ";x=4", ";1;2;3;4;5;6", ";raise f(0)", ":", "(4*2=8):", ":11",
    "1", "-7", "'a'", "[1, 2", "{'k': 1}", "set()", "frozenset({1})", "1e999", "0x" + "f" * 5000, "9" * 5000,
    "[" * 300, "(" * 300, "-" * 3000, "not " * 500, "lambda: " * 200, "x if x else " * 100, "a." * 3000 + "b",
    "f'{x!r:{y}}'", "f'{", "'''", '"', "\\", "\x00", "\ud800", "\ufeff", "\u2028", "\x0c", "\r", "\t",
    "\N{GRINNING FACE}", "\u4e00" * 30, "# -*- coding: utf-16 -*-\n", "IndexError", "TypeError", "nan", "...",
    "match x:\n case {**f}: pass", "global f", "nonlocal f", "@f\n", "yield", "await x", "*x", "**x",
    "=" * 20, " " * 2000, "\n" * 200, "return", "del f", "print(1)", "raise SystemExit", "x := 1",
]  # fmt: skip

LARGE = [
    "x" * (MAX_CHARS + 1), "```python\n" * 100_000, "<answer>" * 300_000, "f(x)=" + "(" * 4000,
    "f(x)=" + "-" * 4000 + "x;f(1)", "f(x)=" + "x+" * 1900 + "x;f(1)", "<think></think><answer>" * 100_000,
    "```input\n" + "[" * 60_000 + "\n```", "```output\n" + "9" * 60_000 + "\n```",
    "```python\n" + "def f(x): return x\n" * 6000 + "```\n```input\n1\n```",
]  # fmt: skip

_watched: list[str] | None = None


def _watch(event: str, arguments: tuple[object, ...]) -> None:
    """Note the code objects that this process executes, but for modules that it imports from files."""
    if _watched is not None and event == "exec":
        name = getattr(arguments[0], "co_filename", "?")
        if not name.endswith(".py") and not name.startswith("<frozen"):
            _watched.append(name)


sys.addaudithook(_watch)


@contextmanager
def nothing_runs_here() -> Iterator[None]:
    """Fail if this process executes code that was no module's."""
    global _watched
    _watched = []
    try:
        yield
        assert _watched == []
    finally:
        _watched = None


def test_the_watch_sees_code_that_runs() -> None:
    with pytest.raises(AssertionError), nothing_runs_here():
        eval("1 + 1")


def generated(rng: random.Random) -> str:
    """One response: fragments, or a good response with damage."""
    if rng.random() < 0.5:
        return rng.choice(["", " ", "\n"]).join(rng.choices(FRAGMENTS, k=rng.randint(1, 9)))
    pack = rng.choice([PACKS[0], PACKS[2]])
    record = pack.seeds()[rng.randrange(len(KINDS))]
    text = rng.choice([pack.gold_proposal, pack.gold_response])(record)
    for _ in range(rng.randint(0, 3)):
        place = rng.randint(0, len(text))
        text = text[:place] + rng.choice([*FRAGMENTS, ""]) + text[place + rng.randint(0, 4) :]
    return text


async def check(response: str) -> int:
    """Ask every kind of every pack about one response; the number of answers."""
    count = 0
    for pack in PACKS:
        for record in pack.seeds():
            found = await pack.accept(record.kind, response, [])
            assert isinstance(found, Accepted) or SLUG.fullmatch(found.reason), found
            verdict = await pack.judge(record, response)
            assert isinstance(verdict.outcome, Outcome)
            assert (
                verdict.reason == "" if verdict.outcome is Outcome.CORRECT else SLUG.fullmatch(verdict.reason)
            )
            count += 2
    return count


def run(responses: list[str]) -> None:
    """Check responses in one event loop."""

    async def all_of_them() -> list[int]:
        return [await check(response) for response in responses]

    with nothing_runs_here():
        assert set(asyncio.run(all_of_them())) == {2 * len(KINDS) * len(PACKS)}


def test_some_hundred_responses_get_an_outcome() -> None:
    rng = random.Random(0)
    run([generated(rng) for _ in range(200)])


@pytest.mark.slow
def test_ten_thousand_responses_get_an_outcome() -> None:
    rng = random.Random(1)
    run([generated(rng) for _ in range(10_000)])


def test_large_responses_get_an_outcome() -> None:
    run(LARGE)


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(text=st.lists(st.sampled_from(FRAGMENTS) | st.text(max_size=20), max_size=8).map("".join))
def test_any_text_gets_an_outcome(text: str) -> None:
    assert asyncio.run(check(text)) == 2 * len(KINDS) * len(PACKS)
