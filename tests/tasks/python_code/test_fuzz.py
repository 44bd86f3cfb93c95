"""Whatever a model writes gets an outcome: no text raises, none runs in this process."""

from __future__ import annotations

import asyncio
import itertools
import random
import re
import time
from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tasks.contract import Accepted, Outcome
from tasks.kit.response import MAX_CHARS, Tags, block, wrap
from tasks.python_code import PythonCodePack
from tasks.python_code.records import KINDS

# Outside of pytest, which sets filters of its own, these are silenced where the text is parsed.
pytestmark = [
    pytest.mark.filterwarnings("ignore:invalid:DeprecationWarning", "ignore::SyntaxWarning"),
    pytest.mark.usefixtures("own_garbage"),
]

PACKS = [
    PythonCodePack(num_inputs=2, kinds=list(KINDS), time_limit_s=0.05),
    PythonCodePack(num_inputs=2, kinds=list(KINDS), time_limit_s=0.05, tags="none", keep_comments=False),
    PythonCodePack(terse=True, kinds=list(KINDS), time_limit_s=0.05),
]
SLUG = re.compile("[a-z0-9]+(-[a-z0-9]+)*")
LIMIT_S = 0.05
"""Most CPU seconds that this process, the trusted side, spends on a generated response."""

LARGE_LIMIT_S = 0.5
"""The same for a program as long as one may be: 1,900 sums took 0.064 s."""

FRAGMENTS = [
    "<think>", "</think>", "<answer>", "</answer>", "```", "```python\n", "```input\n", "```output\n",
    "```message\n", "```error\n", "\n```\n", "def f(x):\n    return x", "def f(x): return x*2+3", "def f(",
    "def f(a, b=1, *c, **d):", "    while True: pass", "async def f(x):", "class f:", "import os\n",
    "import math\n", "from x import *", "__import__('os').abort()", "eval('1')", "exec('1')",
    "open('/x', 'w')", "f(x)=", "x*2+3", "x[::-1]", ";f(4)", ";x=4", ";1;2;3;4;5;6", ";raise f(0)", ":",
    "(4*2=8):", ":11", "1", "-7", "'a'", "[1, 2", "{'k': 1}", "set()", "frozenset({1})", "1e999",
    "0x" + "f" * 5000, "9" * 5000, "[" * 300, "(" * 300, "-" * 3000, "not " * 500, "lambda: " * 200,
    "x if x else " * 100, "a." * 3000 + "b", "f'{x!r:{y}}'", "f'{", "'''", '"', "\\", "\x00", "\ud800",
    "\ufeff", "\u2028", "\x0c", "\r", "\t", "\N{GRINNING FACE}", "\u4e00" * 30,
    "# -*- coding: utf-16 -*-\n", "IndexError", "TypeError", "nan", "...", "match x:\n case {**f}: pass",
    "```python3\n", "```py\n", "~~~python\n", "\n~~~\n", "````input\n", "\n````\n", "f(1) == ", "assert ",
    "output: ", ">>> f(1)\n", "x=1, ", "print(f(", " -> ", "set([", "IndexError: ",
    "global f", "nonlocal f", "@f\n", "yield", "await x", "*x", "**x", "=" * 20, " " * 2000, "\n" * 200,
    "return", "del f", "print(1)", "raise SystemExit", "x := 1",
]  # fmt: skip

BODIES = [
    "return x", "return x * 2", "return 1 / x", "return x[0]", "return open(x)", "return lambda: x",
    "yield x", "return f(x)", "return 10 ** 9 ** x", "return 'a' * 10 ** 8", "return [0] * 10 ** 9",
    "return x.__class__", "return hash(x)", "return hash('a')", "return id(x)", "return {*()}",
    "return float('inf')", "return print", "print(x)", "return input()", "raise SystemExit",
    "raise KeyboardInterrupt", "raise KeyError(x)", "return x+", "while True: pass", "import os",
    "import math; return math.pi", "from random import *", "return eval('1')", "return object()",
    "return str(object())", "return [x] * 2000", "return '\\ud800'", "return {x: {x}}", "pass",
    "return frozenset({x})", "global K; K = x; return K", "return __name__", "return f.__code__",
    "return ...", "x = [x]; x.append(x); return x", "return type('T', (int,), {})(3)", "exec('y = 1')",
    "return vars()", "return 0x" + "f" * 3700, "return " + "-" * 120 + "1", "return f\"{x!r:>{'9'}}\"",
    "nonlocal x", "await x",
]  # fmt: skip

ARGUMENTS = [
    "1", "0", "'a'", "[1, 2]", "{'k': [1]}", "()", "1, 2", "None", "-1.5", "x", "", "1 +", "1e999", "f(1)",
    "f(1) == 2", "f(x=1)", "x=1\ny=2", "input: 1", "f('a') = 'b'", "set([1])",
    "[" * 60 + "]" * 60, "'\\x00'", "'" + "a" * 1200 + "'", "*[1]", "x=1", "0x" + "f" * 4000, "b'1'",
    "True",
]  # fmt: skip

MORE = [
    "", "import math\n", "K = 1\n", "def g(y):\n    return y\n", "class f:\n    pass\n", "@g\n",
    "def f(x):\n    pass\n",
]  # fmt: skip

LARGE = [
    "x" * (MAX_CHARS + 1), "```python\n" * 100_000, "<answer>" * 300_000, "f(x)=" + "(" * 4000,
    "f(x)=" + "-" * 4000 + "x;f(1)", "f(x)=" + "x+" * 1900 + "x;f(1)", "<think></think><answer>" * 100_000,
    "```input\n" + "[" * 60_000 + "\n```", "```output\n" + "9" * 60_000 + "\n```",
    "```python\n" + "def f(x): return x\n" * 6000 + "```\n```input\n1\n```",
]  # fmt: skip


def generated(rng: random.Random) -> str:
    """One response: a bad program in good form, fragments, or a good response with damage."""
    if rng.random() < 0.4:
        program = f"{rng.choice(MORE)}def f(x):\n    {rng.choice(BODIES)}"
        inputs = rng.sample(ARGUMENTS, rng.randint(1, 2))
        blocks = [block("python", program), *(block("input", text) for text in inputs)]
        if rng.random() < 0.4:
            label = rng.choice(["message", "error", "output"])
            blocks.append(block(label, rng.choice([*ARGUMENTS, "ValueError"])))
        return wrap("\n".join(blocks), Tags.THINK_ANSWER, "")
    if rng.random() < 0.2:
        head, tail = rng.choice([("f(", ")"), ("x=", ""), ("raise f(", ")")])
        return f"f(x)={rng.choice(BODIES).removeprefix('return ')};{head}{rng.choice(ARGUMENTS)}{tail}"
    if rng.random() < 0.5:
        return rng.choice(["", " ", "\n"]).join(rng.choices(FRAGMENTS, k=rng.randint(1, 9)))
    pack = rng.choice([PACKS[0], PACKS[2]])
    record = pack.seeds()[rng.randrange(len(KINDS))]
    text = rng.choice([pack.gold_proposal, pack.gold_response])(record)
    for _ in range(rng.randint(0, 3)):
        place = rng.randint(0, len(text))
        text = text[:place] + rng.choice([*FRAGMENTS, ""]) + text[place + rng.randint(0, 4) :]
    return text


async def check(
    response: str, packs: Sequence[PythonCodePack] = PACKS, limit_s: float = LIMIT_S
) -> list[str]:
    """Ask every kind of the packs about one response; the reasons, "" for what is accepted or right."""
    reasons = []
    for pack in packs:
        for record in pack.seeds():
            times = [time.process_time()]
            found = await pack.accept(record.kind, response, [])
            times.append(time.process_time())
            verdict = await pack.judge(record, response)
            times.append(time.process_time())
            assert max(b - a for a, b in itertools.pairwise(times)) < limit_s, (times, response[:200])
            assert isinstance(found, Accepted) or SLUG.fullmatch(found.reason), found
            assert isinstance(verdict.outcome, Outcome)
            assert (
                verdict.reason == "" if verdict.outcome is Outcome.CORRECT else SLUG.fullmatch(verdict.reason)
            )
            reasons += ["" if isinstance(found, Accepted) else found.reason, verdict.reason]
    return reasons


def run(
    responses: list[str], packs: Sequence[PythonCodePack] = PACKS, limit_s: float = LIMIT_S
) -> Counter[str]:
    """Check responses in one event loop; how often each reason was given."""

    async def all_of_them() -> list[list[str]]:
        return [await check(response, packs, limit_s) for response in responses]

    found = asyncio.run(all_of_them())
    assert {len(reasons) for reasons in found} == {2 * len(KINDS) * len(packs)}
    return Counter(itertools.chain.from_iterable(found))


@pytest.mark.usefixtures("nothing_runs_here")
def test_some_hundred_responses_get_an_outcome() -> None:
    rng = random.Random(0)
    reasons = run([generated(rng) for _ in range(200)])
    assert reasons[""] > 20 and len(reasons) > 20, reasons


@pytest.mark.slow
@pytest.mark.usefixtures("nothing_runs_here")
def test_ten_thousand_responses_get_an_outcome() -> None:
    rng = random.Random(1)
    responses = [generated(rng) for _ in range(10_000)]
    reasons = sum((run(responses[i::3], [pack]) for i, pack in enumerate(PACKS)), Counter())
    assert reasons[""] > 1000 and len(reasons) > 40, reasons


@pytest.mark.usefixtures("nothing_runs_here")
def test_large_responses_get_an_outcome() -> None:
    run(LARGE, limit_s=LARGE_LIMIT_S)


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(text=st.lists(st.sampled_from(FRAGMENTS) | st.text(max_size=20), max_size=8).map("".join))
def test_any_text_gets_an_outcome(text: str) -> None:
    assert len(asyncio.run(check(text))) == 2 * len(KINDS) * len(PACKS)
