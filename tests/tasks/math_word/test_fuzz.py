"""Whatever a model writes gets an outcome: no text raises, none runs in this process, none takes long."""

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
from tasks.math_word import MathWordPack
from tasks.math_word.number import equal

# Outside of pytest, which sets filters of its own, these are silenced where the text is parsed.
pytestmark = [
    pytest.mark.filterwarnings("ignore:invalid:DeprecationWarning", "ignore::SyntaxWarning"),
    pytest.mark.usefixtures("own_garbage"),
]

PACKS = [
    MathWordPack(time_limit_s=0.05),
    MathWordPack(time_limit_s=0.05, tags="none", extraction="flexible"),
    MathWordPack(time_limit_s=0.05, terse=True),
    MathWordPack(verify="claimed", extraction="strict"),
]
SLUG = re.compile("[a-z0-9]+(-[a-z0-9]+)*")
LIMIT_S = 0.05
"""Most CPU seconds that this process, the trusted side, spends on a response."""

PROGRAMS = [
    "16 - 3", "(16 - 3) * 2", "16 / 3", "1 / 0", "10 ** 10 ** 10", "1e9999", "nan", "float('inf')", "0x10",
    "print(16)", "input()", "exit()", "open(16)", "__import__('os').abort()", "eval('16')", "lambda: 16",
    "[0] * 10 ** 9", "sum(range(10 ** 9))", "hash(object())", "'16'", "b'16'", "f'{16}'", "16j", "True",
    "def f():\n    while True: pass", "def f():\n    return 16", "def f(x):\n    return x", "yield 16",
    "import time\ndef f():\n    time.sleep(9)", "from os import *\ndef f(): pass", "class f: pass", "16;3",
    "def f():\n    raise KeyError(16)", "def f():\n    return f()", "await 16", "x := 16", "-" * 300 + "16",
    "(" * 300, "16 if 16 else " * 99 + "3", "16\x00", "\ud800", "\u0661\u0666", "1_6", "16 .real", "...",
    "",
]  # fmt: skip

NUMBERS = [
    "16", "-16", "$1,234.50", "50%", "1/2", "1/0", "3 1/2", "nan", "-inf", "1e9999", "10**10**10",
    "10^10^10", "16!", "0x10", "\u0665", "\N{VULGAR FRACTION ONE HALF}", "\N{SUPERSCRIPT TWO}", "\uff17",
    "1,23", "16 or 17", "", r"\boxed{16}", r"\frac{1}{2}", r"10^{10^{10}}", "sixteen", "True",
    "." * 150, "1." * 99, "1,000" * 30, "%" * 99, "-" * 180, "1/" * 90, "$" * 99, "16\x00", "\ud800",
    "9" * 5_000, "--5", "16" + "0" * 190, "\u201316", r"1{,}234", r"1,\!234", "1\u202f234", "16kg",
    "-**16**", "3 1/2",
    r"\frac{1}{2}", r"\boxed{\sqrt{16}}", "16 - 3", "16x", "**16**", "1 million", "(16)", "x = 16",
    "\u00bd" * 90,
    "1{,}" * 45, "**" * 90, r"\frac{1}" * 20, r"\text{" * 30, r"\boxed{" * 25, "{" * 150,
]  # fmt: skip

FRAGMENTS = [
    "<think>", "</think>", "<answer>", "</answer>", "```", "```question\n", "```python\n", "```answer\n",
    "\n```\n", "####", "#### ", "|", ":", "(16-3=13):", "13", "Ann has 16 eggs and 3 hens.", "\n", "\r", "\t",
    "\u2028", "\u202e", "\N{GRINNING FACE}", "\x1b[2J", " " * 2_000, "\n" * 200, "{0}", "%s", "\\",
    *PROGRAMS, *NUMBERS,
]  # fmt: skip

LARGE = [
    "x" * (MAX_CHARS + 1), "9" * 3_000_000, "1," * 1_000_000, "#### " * 500_000, "1 " * 1_000_000,
    "```question\n" * 100_000, "<answer>" * 300_000, "<answer>" + "1" * 100_000 + "</answer>",
    "<think></think><answer>" + "1 " * 50_000 + "</answer>", "-" * 1_000_000, "." * 1_000_000,
    "16|" + "(" * 4_000, "16|" + "1+" * 2_000 + "1", ":" + "9" * 4_000, "$" * 3_000_000, "1/" * 1_000_000,
]  # fmt: skip


def generated(rng: random.Random) -> str:
    """One response: a bad program or number in good form, fragments, or a good response with damage."""
    question = rng.choice(
        ["Ann has 16 eggs and 3 hens, 10 days. How many?", "How many?", "16 - 3?", "\ud800?"]
    )
    form = rng.randrange(6)
    if form == 0:
        blocks = [block("question", question), block("python", rng.choice(PROGRAMS))]
        return wrap("\n".join(blocks), Tags.THINK_ANSWER, "")
    if form == 1:
        return f"{question}|{rng.choice(PROGRAMS)}"
    if form == 2:
        blocks = [block("question", question), block("answer", rng.choice(NUMBERS))]
        return wrap("\n".join(blocks), Tags.THINK_ANSWER, "")
    if form == 3:
        number = rng.choice(NUMBERS)
        return rng.choice([wrap(number, Tags.THINK_ANSWER, ""), f"#### {number}", f":{number}", number])
    if form == 4:
        return rng.choice(["", " ", "\n"]).join(rng.choices(FRAGMENTS, k=rng.randint(1, 9)))
    pack = rng.choice(PACKS)
    text = rng.choice([pack.gold_proposal, pack.gold_response])(pack.seeds()[0])
    for _ in range(rng.randint(0, 3)):
        place = rng.randint(0, len(text))
        text = text[:place] + rng.choice([*FRAGMENTS, ""]) + text[place + rng.randint(0, 4) :]
    return text


async def check(response: str, packs: Sequence[MathWordPack] = PACKS) -> list[str]:
    """Ask the packs about one response; the reasons, "" for what is accepted or right."""
    reasons = []
    for pack in packs:
        record = pack.seeds()[0]
        times = [time.process_time()]
        found = await pack.accept("problem", response, [])
        times.append(time.process_time())
        verdict = await pack.judge(record, response)
        times.append(time.process_time())
        assert max(b - a for a, b in itertools.pairwise(times)) < LIMIT_S, (times, response[:200])
        assert isinstance(found, Accepted) or SLUG.fullmatch(found.reason), found
        assert isinstance(verdict.outcome, Outcome)
        assert verdict.reason == "" if verdict.outcome is Outcome.CORRECT else SLUG.fullmatch(verdict.reason)
        reasons += ["" if isinstance(found, Accepted) else found.reason, verdict.reason]
    return reasons


def run(responses: Sequence[str]) -> Counter[str]:
    """Check responses in one event loop; how often each reason was given."""

    async def all_of_them() -> list[list[str]]:
        return [await check(response) for response in responses]

    return Counter(itertools.chain.from_iterable(asyncio.run(all_of_them())))


@pytest.fixture(autouse=True, scope="module")
def _all_is_there() -> None:
    """The import of sympy takes half a second and makes classes out of text; a sandbox starts its zygotes."""
    equal("1", "1.5")
    for pack in PACKS:
        asyncio.run(pack.accept("problem", pack.gold_proposal(pack.seeds()[0]), []))


@pytest.mark.usefixtures("nothing_runs_here")
def test_some_hundred_responses_get_an_outcome() -> None:
    rng = random.Random(0)
    reasons = run([generated(rng) for _ in range(300)])
    assert reasons[""] > 20 and len(reasons) > 25, reasons


@pytest.mark.slow
@pytest.mark.usefixtures("nothing_runs_here")
def test_ten_thousand_responses_get_an_outcome() -> None:
    rng = random.Random(1)
    reasons = run([generated(rng) for _ in range(10_000)])
    assert reasons[""] > 1_000 and len(reasons) > 30, reasons


@pytest.mark.usefixtures("nothing_runs_here")
@pytest.mark.parametrize("response", LARGE, ids=range(len(LARGE)))
def test_large_responses_get_an_outcome(response: str) -> None:
    run([response])


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(text=st.lists(st.sampled_from(FRAGMENTS) | st.text(max_size=20), max_size=8).map("".join))
def test_any_text_gets_an_outcome(text: str) -> None:
    assert len(asyncio.run(check(text))) == 2 * len(PACKS)
