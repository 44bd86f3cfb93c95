"""Ordinary programs give in the sandbox what they give in a plain interpreter.

The programs are drawn from a grammar of what tasks look like: lists, text, dictionaries, recursion, classes,
generators, exceptions and the standard library's usual modules.

Run: pytest tests/tasks/sandbox/test_fidelity.py
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from tasks.sandbox import CallStatus, Limits, Program, Sandbox, parse_literal, render

PLAIN = Path(__file__).parent / "processes" / "plain.py"

NUMBERS = [
    "x", "x", "A", "B", "(NUM + NUM)", "(NUM - NUM)", "(NUM * NUM)", "(NUM // (abs(NUM) % 7 + 1))",
    "(NUM % A)",
    "abs(NUM)", "max(NUM, NUM)", "int(NUM > NUM)", "sum(LIST)", "len(LIST)", "len(TEXT)",
    "(NUM if COND else NUM)",
    "pow(abs(NUM) % 9, A, 97)", "math.gcd(NUM, A)", "min(LIST + [A])", "(NUM ^ A)", "(NUM << 2)", "LIST[A]",
    "functools.reduce(lambda a, b: a + b, LIST, A)", "round(NUM / A, 3)", "bisect.bisect(sorted(LIST), A)",
]  # fmt: skip
LISTS = [
    "y", "[NUM, NUM]", "sorted(LIST)", "LIST[::-1]", "[NUM for x in LIST]", "[i for i in LIST if i % 2]",
    "LIST + LIST",
    "list(range(A))", "list(map(lambda x: NUM, LIST))", "list(itertools.accumulate(LIST))",
    "heapq.nsmallest(2, LIST)",
    "list({i % 5 for i in LIST})[:0] + LIST", "LIST[A:]", "list(collections.OrderedDict.fromkeys(LIST))",
    "[ord(c) for c in TEXT]", "list(zip(LIST, LIST))[0:0] + LIST",
]  # fmt: skip
TEXTS = [
    "'abc'", "str(NUM)", "TEXT[::-1]", "TEXT.upper()", "TEXT + TEXT", "','.join(map(str, LIST))", "TEXT[:A]",
    "TEXT.replace('a', 'xy')", "format(NUM, '5')", "re.sub('[0-4]', '#', TEXT)", "TEXT.center(A, '*')",
    "chr(97 + abs(NUM) % 26)",
    "TEXT.encode().hex()[:6]", "string.ascii_lowercase[:A]", "textwrap.shorten(TEXT, 12)",
    "str(decimal.Decimal(A) / B)", "str(fractions.Fraction(NUM, A))", "json.dumps(LIST)", "repr(TEXT)",
    "datetime.date(2024, A % 12 + 1, 3).isoformat()", "calendar.month_name[A % 12 + 1]",
]  # fmt: skip
CONDITIONS = [
    "NUM > NUM",
    "NUM % 2 == 0",
    "NUM in LIST",
    "not TEXT",
    "TEXT.isdigit()",
    "all(LIST)",
    "COND and COND",
]
RESULTS = [
    "NUM", "LIST", "TEXT", "(NUM, TEXT)", "{NUM: LIST, TEXT: NUM}", "{NUM, NUM}", "[LIST, TEXT]", "COND",
    "None",
    "dict(collections.Counter(TEXT))", "frozenset(LIST)", "TEXT.encode()", "NUM / A", "complex(A, B)",
    "{'a': {B: TEXT}}",
    "statistics.mean(LIST + [A])", "[x for x in GENERATOR]", "(LIST,)", "sorted(set(TEXT))",
    "P(NUM, B).total()",
    "random.Random(A).sample(range(50), B)", "struct.pack('<h', A)", "base64.b64encode(TEXT.encode())",
]  # fmt: skip
STATEMENTS = [
    "x = NUM", "y = LIST", "y.append(NUM)", "if COND:\n        x = NUM", "for i in LIST[:6]:\n        x += i",
    "while x > A:\n        x //= 2", "try:\n        x = NUM // (x % 3)\n    except ZeroDivisionError:\n"
    "        x = A",
    "assert COND", "x = g(abs(NUM) % 8)", "d = {}\n    for i in LIST:\n"
    "        d.setdefault(i % A, []).append(i)\n    y = [len(v) for v in d.values()]",
    "if COND:\n        raise ValueError(TEXT)", "y.sort(key=lambda i: (i % A, i))",
    "x, y = len(y), [x, *y[:5]]",
    "match x:\n        case 0:\n            x = A\n        case _:\n            x = B", "print(x, y)",
    "del y[A:]",
]  # fmt: skip
HEAD = """\
import base64, bisect, calendar, collections, datetime, decimal, fractions, functools, heapq
import itertools, json, math, random, re, statistics, string, struct, textwrap
from dataclasses import dataclass

@dataclass
class P:
    a: int
    b: int = 3
    def total(self):
        return [self.a + self.b, self == P(self.a, self.b)]

@functools.lru_cache(None)
def g(n):
    return n if n < 2 else g(n - 1) + g(n - 2)

def h(y):
    for i in y[:5]:
        yield i * 2

def f(x, y):
"""
RULES = {
    "NUM": NUMBERS,
    "LIST": LISTS,
    "TEXT": TEXTS,
    "COND": CONDITIONS,
    "GENERATOR": ["h(LIST)", "(i for i in LIST)"],
}


def expand(text: str, rng: random.Random, depth: int) -> str:
    """Replace every rule's name by one of its forms; deep down only by the first, which are the simplest."""
    out, position = [], 0
    while position < len(text):
        for name, forms in RULES.items():
            if text.startswith(name, position):
                form = rng.choice(forms if depth else forms[:1])
                out.append(expand(form, rng, max(depth - 1, 0)))
                position += len(name)
                break
        else:
            if text[position] in "AB" and not text[position - 1 : position].isalpha():
                out.append(str(rng.randint(1, 9)))
            else:
                out.append(text[position])
            position += 1
    return "".join(out)


def draw_program(rng: random.Random) -> str:
    """One program of up to four statements and a result."""
    body = [expand(rng.choice(STATEMENTS), rng, 3) for _ in range(rng.randint(0, 4))]
    return HEAD + "\n".join(
        f"    {line}" for line in [*body, f"return {expand(rng.choice(RESULTS), rng, 3)}"]
    )


def draw_input(rng: random.Random) -> str:
    """An integer and a list of integers."""
    return f"{rng.randint(-20, 20)}, {[rng.randint(-9, 30) for _ in range(rng.randint(0, 7))]}"


@pytest.mark.parametrize(
    ("backend", "num_programs"),
    [
        ("fork", 100),
        pytest.param("fork", 1500, marks=pytest.mark.slow),
        pytest.param("wasm", 400, marks=pytest.mark.slow),
    ],
)
def test_programs_give_what_they_give_in_a_plain_interpreter(
    start_sandbox: Callable[..., Sandbox],
    start_wasm_sandbox: Callable[..., Sandbox],
    backend: str,
    num_programs: int,
) -> None:
    rng = random.Random(num_programs)
    programs = [(draw_program(rng), [draw_input(rng) for _ in range(3)]) for _ in range(num_programs)]
    done = subprocess.run(
        [sys.executable, "-I", str(PLAIN)],
        input=json.dumps(programs),
        capture_output=True,
        text=True,
        check=True,
    )
    # The programs print as well; the results are the last line.
    expected = json.loads(done.stdout.splitlines()[-1])
    with (start_sandbox if backend == "fork" else start_wasm_sandbox)() as sandbox:
        found = [sandbox.run(Program(source), inputs, Limits(wall_s=60.0)) for source, inputs in programs]
    seen: Counter[str] = Counter()
    for (source, inputs), theirs, ours in zip(programs, expected, found, strict=True):
        for text, (status, value), call in zip(inputs, theirs, ours, strict=True):
            seen[status] += 1
            where = f"{source}\n# {text}\n# {call}"
            if status == "ok":
                assert call.literal == render(parse_literal(value)), where
            else:
                assert call.status is CallStatus.RAISED, where
                assert (call.error or "").split(":")[0] == value, where
    # The grammar is worth something: most calls return, some raise, and the results are many.
    assert seen["ok"] > num_programs
    assert seen["raised"] > num_programs / 10
    assert len({call.literal for calls in found for call in calls}) > num_programs / 2
