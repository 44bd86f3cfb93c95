"""Which proposals become tasks, and the reason that the ledger shows for those that do not."""

from __future__ import annotations

import asyncio
import json
import random
import time

import pytest

from tasks.contract import Accepted, Outcome, Rejected, TaskRecord
from tasks.kit.program import ALLOWED_MODULES
from tasks.kit.response import Tags, block, wrap
from tasks.python_code import PythonCodePack
from tasks.sandbox import Call, CallStatus

PACK = PythonCodePack(num_inputs=3, kinds=["deduction", "abduction", "induction", "error"])
QUICK = PythonCodePack(time_limit_s=0.2, memory_mb=128)


def proposal(program: str, *inputs: str, message: str | None = None) -> str:
    """A proposer's response."""
    parts = [block("python", program), *(block("input", text) for text in inputs)]
    if message is not None:
        parts.append(block("message", message))
    return wrap("\n".join(parts), Tags.THINK_ANSWER, "thinking")


def accept(kind: str, response: str, pack: PythonCodePack = PACK) -> Accepted | Rejected:
    """What the pack says of a proposal without references."""
    return asyncio.run(pack.accept(kind, response, []))


def returning(expression: str) -> str:
    """A program."""
    return f"def f(x):\n    return {expression}"


def test_deduction_stores_the_triplet_in_canonical_form() -> None:
    found = accept("deduction", proposal(returning("x[::-1], {3, 1, 2}"), "  [1,2,\n 'a'] "))
    assert found == Accepted(
        TaskRecord(
            "deduction",
            {
                "program": returning("x[::-1], {3, 1, 2}"),
                "input": "[1, 2, 'a']",
                "output": "(['a', 2, 1], {1, 2, 3})",
            },
        )
    )


def test_several_arguments_and_every_literal_pass() -> None:
    program = "def f(a, b, *rest):\n    return [a, b, rest]"
    inputs = "None, True, -1.5, b'x', (1,), {'k': {2}}, frozenset({1}), 1+2j, set()"
    found = accept("abduction", proposal(program, inputs))
    assert isinstance(found, Accepted)
    assert (
        found.record.payload["input"]
        == "None, True, -1.5, b'x', (1,), {'k': {2}}, frozenset({1}), (1+2j), set()"
    )


def test_induction_hides_the_second_half() -> None:
    found = accept("induction", proposal(returning("x + 1"), "1", "2", "5", message=" adds one \n"))
    assert isinstance(found, Accepted)
    assert found.record.payload == {
        "program": returning("x + 1"),
        "inputs": ["1", "2", "5"],
        "outputs": ["2", "3", "6"],
        "num_shown": 2,
        "message": "adds one",
    }
    prompt = PACK.solve_prompt(found.record)[0]["content"]
    assert "adds one" in prompt and "\n3\n" in prompt and "\n6\n" not in prompt and "x + 1" not in prompt


def test_induction_takes_the_program_of_its_reference() -> None:
    seed = next(record for record in PACK.seeds() if record.kind == "deduction")
    inputs = [block("input", text) for text in ("1", "2", "3")]
    bare = wrap("\n".join([*inputs, block("message", "same")]), Tags.THINK_ANSWER, "")

    def ask(response: str, references: list[TaskRecord]) -> Accepted | Rejected:
        return asyncio.run(PACK.accept("induction", response, references))

    found = ask(bare, [seed])
    assert isinstance(found, Accepted)
    assert found.record.payload["program"] == seed.payload["program"]
    same = proposal("def f(x):\n    # again\n    return x", "1", "2", "3", message="same")
    assert ask(same, [seed]) == found
    other = proposal(returning("x + 1"), "1", "2", "3", message="same")
    assert ask(other, [seed]) == Rejected(Outcome.MALFORMED, "other-program")
    # A prompt without room for a reference shows the seed's program.
    prompt = PACK.propose_prompt("induction", [], random.Random(0))[0]["content"]
    assert "def f(x): return x" in prompt
    of_seed = ask(bare, [])
    assert isinstance(of_seed, Accepted)
    assert of_seed.record.payload["outputs"] == ["1", "2", "3"]
    assert PACK.spec("induction").reference_kinds == ("deduction", "abduction")


def test_error_tasks_store_the_own_name_of_the_class() -> None:
    found = accept("error", proposal("def f(x):\n    raise IOError", "1"))
    assert isinstance(found, Accepted)
    assert found.record.payload["error"] == "OSError"


def test_error_tasks_store_the_class() -> None:
    found = accept("error", proposal(returning("x['k']"), "{}"))
    assert isinstance(found, Accepted)
    assert found.record.payload == {"program": returning("x['k']"), "input": "{}", "error": "KeyError"}


GRAMMAR = [
    ("deduction", "", "no-think-tags"),
    ("deduction", wrap("", Tags.THINK_ANSWER, ""), "no-program"),
    ("deduction", wrap(block("input", "1"), Tags.THINK_ANSWER, ""), "no-program"),
    ("deduction", proposal(returning("x")), "no-input"),
    ("deduction", proposal(returning("x"), "1", "2"), "several-inputs"),
    ("deduction", proposal(returning("x"), "1") * 2, ""),
    ("deduction", proposal(returning("x") + "\n```\n```python\n" + returning("x"), "1"), "several-programs"),
    ("deduction", proposal(returning("x"), ""), "no-input"),
    ("deduction", proposal(returning("x"), "x"), "input-not-a-literal"),
    ("deduction", proposal(returning("x"), "1 + 1"), "input-not-a-literal"),
    ("deduction", proposal(returning("x"), "x=1"), "input-not-a-literal"),
    ("deduction", proposal(returning("x"), "1) or (2"), "input-not-a-literal"),
    ("deduction", proposal(returning("x"), "__import__('os').getpid()"), "input-not-a-literal"),
    ("deduction", proposal(returning("x"), "f'{1}'"), "input-not-a-literal"),
    ("deduction", proposal(returning("x"), "..."), "input-not-a-literal"),
    ("deduction", proposal(returning("x"), "1e999"), "input-not-a-literal"),
    ("deduction", proposal(returning("x"), "'\0'"), "input-not-a-literal"),
    ("deduction", proposal(returning("x"), "'\ud800'"), "input-not-a-literal"),
    ("deduction", proposal(returning("x"), "[" * 60 + "]" * 60), "input-too-deep"),
    ("deduction", proposal(returning("x"), "'" + "a" * 1000 + "'"), "input-too-big"),
    ("deduction", proposal(returning("x"), "0x" + "f" * 950), "input-too-big"),
    ("abduction", proposal("def f(x) return x", "1"), "syntax-error"),
    ("abduction", proposal("def g(x): return x", "1"), "no-entry-function"),
    ("induction", proposal(returning("x"), "1", "2", message="m"), "number-of-inputs"),
    ("induction", proposal(returning("x"), "1", "2", "3"), "no-message"),
    ("induction", proposal(returning("x"), "1", "2", "3", message=""), "no-message"),
    ("induction", proposal(returning("x"), "1", "2", "3", message=" \n "), "no-message"),
    (
        "induction",
        proposal(returning("x"), "1", "2", "3", message="a\n```\n```message\nb"),
        "several-messages",
    ),
    ("induction", proposal(returning("x"), "1", "2", "y", message="m"), "input-not-a-literal"),
]


@pytest.mark.parametrize(("kind", "response", "reason"), GRAMMAR, ids=range(len(GRAMMAR)))
def test_what_is_outside_the_grammar_is_malformed(kind: str, response: str, reason: str) -> None:
    found = accept(kind, response)
    assert found == Rejected(Outcome.MALFORMED, reason) if reason else isinstance(found, Accepted)


RUN = [
    ("deduction", returning("x['a']"), "{}", "raises"),
    ("deduction", returning("x"), "1, 2", "raises"),
    ("deduction", "def f(x):\n    return x\nreturn 1", "1", "raises"),
    ("deduction", "def f(x):\n    raise KeyboardInterrupt", "1", "raises-base-exception"),
    ("deduction", "def f(x):\n    raise BaseException('x')", "1", "raises-base-exception"),
    ("deduction", "def f(x):\n    raise SystemExit(0)", "1", "exits"),
    ("deduction", "def f(x):\n    return f(x)", "1", "recursion-limit"),
    ("deduction", returning("lambda: x"), "1", "output-not-a-literal"),
    ("deduction", returning("(y for y in x)"), "[1]", "output-not-a-literal"),
    ("deduction", returning("float('nan')"), "1", "output-not-a-literal"),
    ("deduction", returning("10 ** 5000"), "1", "output-not-a-literal"),
    ("deduction", "class A:\n    pass\ndef f(x):\n    return A()", "1", "output-not-a-literal"),
    ("deduction", "class A(str):\n    pass\ndef f(x):\n    return A('x')", "1", "output-not-a-literal"),
    ("deduction", "def f(x):\n    yield x", "1", "output-not-a-literal"),
    ("deduction", returning("'a' * 999"), "1", "output-too-big"),
    ("deduction", returning("'a' * 10 ** 6"), "1", "output-too-big"),
    ("deduction", returning("'a' * 998"), "1", ""),
    ("deduction", returning("'\\ud800'"), "1", ""),
    ("deduction", returning("hash(x)"), "'a'", "not-deterministic"),
    ("deduction", returning("list({'a', 'b', 'c', 'd', 'e', 'g'})"), "1", "not-deterministic"),
    ("deduction", returning("{'a', 'b', 'c', 'd', 'e', 'g'}"), "1", ""),
    ("deduction", returning("str(object())"), "1", "not-deterministic"),
    ("error", returning("x"), "1", "no-error"),
    ("error", "class MyError(Exception):\n    pass\ndef f(x):\n    raise MyError", "1", "error-not-built-in"),
    ("error", "class KeyError(Exception):\n    pass\ndef f(x):\n    raise KeyError", "1", "error-redefined"),
    ("error", "KeyError = ValueError\ndef f(x):\n    raise KeyError", "1", "error-redefined"),
    ("error", "def f(x, KeyError=ValueError):\n    raise KeyError", "1", "error-redefined"),
    ("deduction", "KeyError = ValueError\ndef f(x):\n    return x", "1", ""),
    ("error", "def f(x):\n    raise type('KeyError', (Exception,), {})", "1", "error-not-built-in"),
    ("error", "def f(x):\n    raise type('KeyError: x', (Exception,), {})", "1", "error-not-built-in"),
    (
        "error",
        "class E(Exception):\n    pass\nE.__name__ = 'KeyError'\ndef f(x):\n    raise E",
        "1",
        "error-not-built-in",
    ),
    ("error", "def f(x):\n    return f(x)", "1", "recursion-limit"),
    ("error", "def f(x):\n    raise SystemExit", "1", "exits"),
    ("error", "def f(x):\n    raise KeyError(list({'a', 'b', 'c'}))", "1", ""),
    ("error", "def f(x):\n    raise (KeyError if hash('a') % 64 < 32 else ValueError)", "1", None),
]


@pytest.mark.parametrize(("kind", "program", "argument", "reason"), RUN, ids=range(len(RUN)))
def test_what_running_shows_is_wrong(kind: str, program: str, argument: str, reason: str | None) -> None:
    found = accept(kind, proposal(program, argument))
    if reason is None:
        return
    assert found == Rejected(Outcome.WRONG, reason) if reason else isinstance(found, Accepted), found


TIES = [
    "max(set(x), key=x.count)",
    "sorted(set(x), key=len)[0]",
    "next(iter(frozenset(x)))",
    "{y for y in x}.pop()",
    "list(dict.fromkeys(x).keys() & x)[0]",
    "hash(x[0]) % 2",
]


@pytest.mark.parametrize("expression", TIES)
def test_what_hangs_on_the_order_of_a_set_is_no_task(expression: str) -> None:
    """Two equally good answers: of ten such programs two hash seeds let five pass, eight none or one."""
    inputs = [repr([2 * a, 2 * b]) for a, b in zip("abcdefghij", "klmnopqrst", strict=True)]
    found = [accept("deduction", proposal(returning(expression), text)) for text in inputs]
    refused = [each for each in found if each == Rejected(Outcome.WRONG, "not-deterministic")]
    assert len(refused) >= 9, found


ADDRESSES = [
    "str(object())[-{n}] > '7'",
    "f'{{f}}'[-{n}] > '7'",
    "('%s' % f)[-{n}] > '7'",
    "type('')(f)[-{n}] > '7'",
    "'{{}}'.format(f)[-{n}] > '7'",
]


@pytest.mark.parametrize("expression", ADDRESSES)
def test_what_hangs_on_an_address_is_no_task(expression: str) -> None:
    """A choice between two, by one digit of an address: two processes agree half of the time."""
    found = [accept("deduction", proposal(returning(expression.format(n=n)), "1")) for n in (4, 5, 6, 7)]
    assert [each for each in found if each == Rejected(Outcome.WRONG, "not-deterministic")] != []
    assert len([each for each in found if isinstance(each, Accepted)]) <= 1, found


def test_what_hangs_on_how_much_memory_there_is_is_no_task() -> None:
    """It differs by some MiB between processes; in that range, two of them agree half of the time."""

    def ask(megabytes: int) -> Accepted | Rejected:
        held = f"len(bytes({megabytes} << 20))"
        return accept(
            "deduction",
            proposal(f"def f(x):\n    try:\n        return {held}\n    except:\n        return 0", "1"),
        )

    refused = [found for found in map(ask, range(470, 500)) if isinstance(found, Rejected)]
    assert refused != []
    assert set(refused) == {Rejected(Outcome.WRONG, "not-deterministic")}
    assert isinstance(ask(400), Accepted)


def test_sets_that_do_not_show_their_order_make_tasks() -> None:
    for expression in ("sorted(set(x))", "len(set(x)), 'a' in set(x)", "set(x) | {'z'}", "max(set(x))"):
        assert isinstance(accept("deduction", proposal(returning(expression), "['b', 'a']")), Accepted)


def test_order_of_sets_is_asked_for_where_there_are_sets_only(monkeypatch: pytest.MonkeyPatch) -> None:
    seeds: list[int] = []

    class Counted:
        def run(self, program: object, inputs: list[str], *_: object, hash_seed: int) -> list[Call]:
            seeds.append(hash_seed)
            return [Call(CallStatus.OK, "1", None, 1) for _ in inputs]

    monkeypatch.setattr("tasks.execution.process_sandbox", lambda config: Counted())
    assert isinstance(accept("deduction", proposal(returning("x"), "1")), Accepted)
    assert seeds == [0, 1]
    seeds.clear()
    assert isinstance(accept("deduction", proposal(returning("len(set(x))"), "'a'")), Accepted)
    assert seeds == list(range(8))


def test_coin_of_a_distribution_is_no_task() -> None:
    coin = "from statistics import NormalDist\n" + returning("NormalDist().samples(1)[0] > x")
    for _ in range(8):
        assert accept("deduction", proposal(coin, "3")) == Rejected(Outcome.WRONG, "uses-random")


STUBBORN = """\
def f(x):
    while True:
        try:
            f(x)
        except BaseException:
            pass"""


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        ("def f(x):\n    while True:\n        pass", "times-out"),
        (STUBBORN, "times-out"),
        ("def f(x):\n    return len('a' * 10 ** 9)", "too-much-memory"),
        ("while True:\n    pass\ndef f(x):\n    return x", "times-out"),
    ],
)
def test_programs_without_end_or_measure_are_stopped(program: str, reason: str) -> None:
    start = time.monotonic()
    assert accept("deduction", proposal(program, "1"), QUICK) == Rejected(Outcome.WRONG, reason)
    assert time.monotonic() - start < 10


@pytest.mark.parametrize(("cpu_ms", "is_slow"), [(100, False), (101, True)])
def test_half_of_the_time_limit_is_for_proposals(
    cpu_ms: int, is_slow: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Timed:
        def run(self, program: object, inputs: list[str], *_: object, hash_seed: int) -> list[Call]:
            return [Call(CallStatus.OK, "1", None, cpu_ms if hash_seed else 1) for _ in inputs]

    monkeypatch.setattr("tasks.execution.process_sandbox", lambda config: Timed())
    found = accept("deduction", proposal(returning("x"), "1"), QUICK)
    assert found == Rejected(Outcome.WRONG, "too-slow") if is_slow else isinstance(found, Accepted)


def test_induction_rejects_state_between_calls_and_repeats() -> None:
    counting = "seen = []\ndef f(x):\n    seen.append(x)\n    return len(seen)"

    def ask(program: str, *inputs: str, message: str = "m") -> str:
        found = accept("induction", proposal(program, *inputs, message=message))
        assert isinstance(found, Rejected)
        return found.reason

    assert ask(counting, "1", "2", "3") == "not-deterministic"
    assert ask(returning("x"), "1", "2", " 1") == "repeated-input"
    assert ask(returning("1 / x"), "1", "2", "0") == "raises"
    for told in (
        "it is def f(x): return x",
        "def  f(x)",
        "async def\tf(x):",
        "f = lambda x: x",
        "f=lambda: 1",
    ):
        assert ask(returning("x"), "1", "2", "3", message=told) == "message-gives-program"
    assert ask(returning("x"), "1", "2", "3", message="m" * 2001) == "message-too-big"
    assert ask(returning("x"), "1", "2", "3", message="half a \ud800") == "message-not-unicode"


@pytest.mark.parametrize(
    ("inputs", "is_repeated", "is_repeated_strictly"),
    [
        (("1", "2", "1.0"), True, False),
        (("1", "2", "True"), True, False),
        (("[1, 'a']", "[]", "[1.0, 'a']"), True, False),
        (("{'a': 1, 'b': 2}", "{}", "{'b': 2, 'a': 1}"), True, True),
        (("1", "1, 1", "[1]"), False, False),
    ],
)
def test_inputs_differ_by_the_measure_of_the_answers(
    inputs: tuple[str, ...], is_repeated: bool, is_repeated_strictly: bool
) -> None:
    response = proposal("def f(*x):\n    return len(x)", *inputs, message="m")
    strict = PythonCodePack(num_inputs=3, strict_equality=True)
    for pack, repeats in ((PACK, is_repeated), (strict, is_repeated_strictly)):
        found = accept("induction", response, pack)
        if repeats:
            assert found == Rejected(Outcome.WRONG, "repeated-input")
        else:
            assert isinstance(found, Accepted)


@pytest.mark.parametrize("message", ["the default of f", "defines f", "a lambda", "undef f"])
def test_messages_may_use_the_words_of_programs(message: str) -> None:
    assert isinstance(accept("induction", proposal(returning("x"), "1", "2", "3", message=message)), Accepted)


@pytest.mark.parametrize("module", sorted(ALLOWED_MODULES))
def test_allowed_modules_can_be_imported_in_the_sandbox(module: str) -> None:
    found = accept("deduction", proposal(f"import {module} as m\n" + returning("[x, bool(m)]"), "1"))
    assert isinstance(found, Accepted), found


USES = """\
import copy, dataclasses, decimal, enum, fractions, json, re, statistics, string, textwrap, unicodedata
from collections import Counter, OrderedDict, deque, namedtuple
from functools import reduce, lru_cache, cmp_to_key

class Color(enum.Enum):
    RED = 1

@dataclasses.dataclass(order=True)
class Point:
    x: int
    y: list = dataclasses.field(default_factory=list)

@lru_cache(maxsize=None)
def fib(n):
    return n if n < 2 else fib(n - 1) + fib(n - 2)

def f(x):
    pair = namedtuple('Pair', 'a b')(1, 2)
    return [
        fib(x), Color.RED.name, dataclasses.asdict(Point(x)), Point(1) < Point(2), dict(Counter('aab')),
        list(deque([1, 2], maxlen=1)), str(decimal.Decimal('1.10') + 1), str(fractions.Fraction(1, 3)),
        json.loads(json.dumps({'k': [1, None]})), re.sub(r'(\\d)', r'<\\1>', 'a1'), statistics.median([1, 2]),
        string.ascii_lowercase[:3], textwrap.fill('a b c', 3), unicodedata.name('a'), copy.deepcopy([x]),
        list(OrderedDict(a=1)), reduce(lambda a, b: a * b, [1, 2, 3]), pair.a, 'abc'.upper(),
        sorted([3, 1], key=cmp_to_key(lambda a, b: b - a)), 'x'.encode('utf-16-le'), f'{x:>5}|{x!r:*^7}',
    ]"""


def test_ordinary_programs_find_what_they_need_in_the_sandbox() -> None:
    found = accept("deduction", proposal(USES, "12"))
    assert isinstance(found, Accepted), found
    assert str(found.record.payload["output"]).startswith(
        "[144, 'RED', {'x': 12, 'y': []}, True, {'a': 2, 'b': 1}, [2]"
    )


def test_policy_reasons_reach_the_ledger() -> None:
    assert accept("deduction", proposal("import time\n" + returning("time.time()"), "1")) == Rejected(
        Outcome.WRONG, "imports-time"
    )


def test_task_keys_ignore_what_the_solver_cannot_tell_apart() -> None:
    def key(kind: str, program: str, *inputs: str, message: str | None = None) -> str:
        found = accept(kind, proposal(program, *inputs, message=message))
        assert isinstance(found, Accepted), found
        back = TaskRecord(kind, json.loads(json.dumps(found.record.payload)))
        assert PACK.task_key(back) == PACK.task_key(found.record)
        return PACK.task_key(back)

    plain = key("deduction", returning("abs(x)"), "2")
    assert key("deduction", "def f(x): return abs(x)  # size", "(2)") == plain
    assert key("deduction", returning("abs(x)"), "-2") != plain
    assert key("abduction", returning("abs(x)"), "-2") == key("abduction", returning("abs(x)"), "2") != plain
    first = key("induction", returning("abs(x)"), "1", "2", "3", message="m")
    assert key("induction", returning("abs(x)"), "3", "1", "2", message="n") == first
    assert key("induction", returning("abs(x)"), "3", "1", "4", message="m") != first
