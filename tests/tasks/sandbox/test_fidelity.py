"""Ordinary programs give in the sandbox what they give in a plain interpreter.

The programs are drawn from a grammar of what tasks look like: lists, text, dictionaries, recursion, classes,
generators, exceptions and the standard library's usual modules.

Run: pytest tests/tasks/sandbox/test_fidelity.py
"""

from __future__ import annotations

import encodings.aliases
import json
import os
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tasks.sandbox import Call, CallStatus, Limits, Program, Sandbox, parse_literal, render
from tasks.sandbox.guest.modules import LIBRARY_CODECS
from tasks.sandbox.guest.protocol import NEEDS_CODECS
from tasks.sandbox.wasm_runtime import WasmSandbox

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


LAZY = [
    # What a module of the list imports when it is needed first, and not before.
    "collections.Counter('abca').most_common(1)",
    "functools.singledispatch(lambda y: type(y).__name__)(x)",
    "[functools.singledispatch(lambda y: 0).register(int, abs)(-3)]",
    "re.findall(r'\\N{DIGIT ONE}|\\N{LATIN SMALL LETTER A}', 'a1')",
    "datetime.datetime.strptime('3 Feb 2024', '%d %b %Y').isoformat()",
    "time.strptime('2024', '%Y').tm_year",
    "datetime.date(2024, 2, 3).strftime('%A %j %B')",
    "calendar.month(2024, 2)",
    "list(map(json.loads, ('[1]'.encode(how) for how in ('utf-16', 'utf-16-be', 'utf-32', 'utf-32-le'))))",
    "random.Random('seed').random()",
    "divmod(7 ** 9000, 3 ** 5000)[1] % 1000",
    "len(str(7 ** 5000 % 10 ** 4000))",
    "weakref.finalize(C(), print).alive",
    "format(decimal.Decimal('1234.5'), 'n') + format(1234, 'n')",
    "decimal.Decimal(2).sqrt().as_tuple()[1][:9]",
    "str(inspect.signature(C.m)) + inspect.cleandoc(' a')",
    "pprint.pformat({'b': 1, 'a': list(range(40))})",
    "list(difflib.unified_diff(['a'], ['b'])) + difflib.get_close_matches('appel', ['ape', 'apple'])",
    "io.TextIOWrapper(io.BytesIO(b'\\xa1\\xa2'), encoding='gbk').read()",
    "'\\N{SNOWMAN}'.encode('ascii', 'namereplace'), 'b\\xfc.de'.encode('idna'), 'b\\xfc'.encode('punycode')",
    "base64.a85decode(base64.a85encode(b'abc')) + base64.b32hexencode(b'a')",
    "ast.unparse(ast.parse('x = f\"{y!r:>3}\"'))",
    "copy.deepcopy(C()).n, repr(types.SimpleNamespace(a=1))",
    "typing.get_type_hints(C.m)['return'] is int",
    "isinstance(C(), typing.runtime_checkable(type('P', (typing.Protocol,), {'n': 0})))",
    "warnings.warn('x'), E(3).name, E['A'] | E.B",
    "statistics.NormalDist(0, 1).inv_cdf(0.75), statistics.correlation([1, 2, 4], [1, 3, 2])",
    "string.Template('$a').substitute(a=1), struct.pack('>d', 1.5)",
    "reprlib.repr(list(range(99))), contextlib.suppress(KeyError).__class__.__name__",
    "int('0x' + 'f' * 3000, 16) % 97, int('7' * 4000) % 97",
]
NOT_IN_WASM = {"random.Random('seed').random()", "ast.unparse(ast.parse('x = f\"{y!r:>3}\"'))"}
"""Its CPython is newer, and imports for them what is not in its image."""
OTHER_IN_WASM = {"idna", "punycode", "undefined"}
"""Codecs whose errors a newer CPython says in other words, or does not raise."""
LAZY_HEAD = """
import ast, base64, calendar, collections, contextlib, copy, datetime, decimal, difflib, enum, functools
import inspect, io, json, pprint, random, re, reprlib, statistics, string, struct, time, types
import typing, warnings, weakref
class C:
    n = 1
    def m(self, x: 'str' = '') -> 'int':
        return 1
class E(enum.IntFlag):
    A = 1
    B = 2
"""


@pytest.mark.filterwarnings("ignore")
def test_what_python_imports_when_it_needs_it_is_there(sandbox: Sandbox) -> None:
    wrong = []
    for expression in LAZY:
        source = f"{LAZY_HEAD}def f(x): return [{expression}].__repr__()"
        space: dict[str, Any] = {"__name__": "__program__"}
        exec(compile(source, "<lazy>", "exec", dont_inherit=True), space)
        (call,) = sandbox.run(Program(source), ["1"], Limits(wall_s=60.0))
        if isinstance(sandbox, WasmSandbox) and expression in NOT_IN_WASM:
            assert call.status is CallStatus.RAISED
        elif call.literal != repr(space["f"](1)):
            wrong.append((expression, call))
    assert wrong == []


CODEC = """
def f(how):
    try:
        encoded = 'ab\\u00e9\\u4e00'.encode(how, 'replace')
        return encoded, encoded.decode(how, 'replace'), b'a\\xe9\\xb0b'.decode(how, 'replace')
    except BaseException as error:
        return type(error).__name__, str(error)
"""
CODEC_NAMES = sorted(
    {name[:-3] for name in os.listdir(encodings.__path__[0]) if name.endswith(".py")}
    | {*encodings.aliases.aliases.keys()}
    | {"UTF-8", "Shift-JIS", "latin 1", "no such codec", "", "..", "utf_8.utf_8"}
)


def run_codecs(sandbox: Sandbox, names: list[str], hash_seed: int = 0) -> dict[str, Call]:
    """What becomes of `CODEC` with each name."""
    calls = sandbox.run(
        Program(CODEC), [repr(name) for name in names], Limits(wall_s=60.0), hash_seed=hash_seed
    )
    return dict(zip(names, calls, strict=True))


def test_codecs_give_what_they_give_in_a_plain_interpreter(sandbox: Sandbox) -> None:
    space: dict[str, Callable[[str], object]] = {}
    exec(CODEC, space)
    names = CODEC_NAMES
    if isinstance(sandbox, WasmSandbox):
        left_out = LIBRARY_CODECS | OTHER_IN_WASM
        names = [name for name in names if encodings.aliases.aliases.get(name, name) not in left_out]
    found = run_codecs(sandbox, names)
    wrong = [(name, call) for name, call in found.items() if call.literal != render(space["f"](name))]
    assert len(names) > 300
    assert wrong == []


def test_program_that_needs_a_library_s_codec_is_run_where_it_is(
    start_sandbox: Callable[..., Sandbox],
) -> None:
    with start_sandbox() as sandbox:
        before = sandbox.worker_pids()  # type: ignore[attr-defined]
        assert run_codecs(sandbox, ["koi8_r", "idna"])["koi8_r"].status is CallStatus.OK
        assert sandbox.worker_pids() == before  # type: ignore[attr-defined]
        for hash_seed in (0, 1, 0, 1):
            found = run_codecs(sandbox, ["ascii", "gbk", "sjis", "EUC-KR"], hash_seed)
            assert [call.status for call in found.values()] == [CallStatus.OK] * 4
        # One for each of the two hash seeds, and none of them has to be started twice.
        assert len(sandbox.worker_pids()) == len(before) + 2  # type: ignore[attr-defined]


def test_program_that_ends_as_if_it_needed_a_codec_gains_nothing(
    start_sandbox: Callable[..., Sandbox],
) -> None:
    ending = f"def f(x): return __import__('os')._exit({NEEDS_CODECS})"
    with start_sandbox(guards=False) as sandbox:
        for _ in range(3):
            (call,) = sandbox.run(Program(ending), ["1"])
            assert call.status is CallStatus.EXITED
        assert sandbox.run(Program("def f(x): return x"), ["1"])[0].literal == "1"
