"""Attacks on what a result means: the harness, later programs, the comparison, the determinism check.

Run: pytest tests/tasks/sandbox/test_attacks_on_the_reward.py
"""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from tasks.execution import BUILT_IN_ERRORS, error_class
from tasks.sandbox import Call, CallStatus, Limits, LiteralError, Program, Sandbox, equal, parse_literal
from tasks.sandbox.wasm_runtime import WasmSandbox

Strike = Callable[..., Call]
OK, RAISED, EXITED = CallStatus.OK, CallStatus.RAISED, CallStatus.EXITED
UNSUPPORTED = CallStatus.UNSUPPORTED_RESULT

GOLD = ["azr", "gold", 271828]
"""An expected value; it exists in this process only."""

WRITE = "def write(line): find('os').write(3, line + b'\\n')\n"

HARNESS = {
    "close_socket": ("def f(x):\n find('os').close(3)\n return 1", {EXITED}, None),
    "lie_about_own_value": (
        WRITE + 'def f(x):\n write(b\'{"i": 0, "s": "ok", "v": "666"}\')\n return 1',
        {OK},
        "666",
    ),
    "code_as_result": (
        WRITE + "def f(x):\n write(b'{\"i\": 0, \"s\": \"ok\", \"v\": "
        "\"__import__(\\'os\\').getpid()\"}')\n return 1",
        {UNSUPPORTED},
        None,
    ),
    "long_result_line": (
        WRITE + 'def f(x):\n write(b\'{"i": 0, "s": "ok", "v": "\' + b"1" * 99999 + b\'"}\')\n return 1',
        {CallStatus.OUTPUT_LIMIT},
        None,
    ),
    "deep_json": (WRITE + "def f(x):\n write(b'[' * 99999)\n return 1", {OK}, "1"),
    "odd_json": (
        WRITE + "def f(x):\n"
        " for line in (b'', b'\\xff\\xfe', b'1', b'null', b'{}', b'[1]', b'{\"i\": ' + b'9' * 9999 + b'}',"
        ' b\'{"i": 0}\', b\'{"i": true, "s": "ok", "v": "2"}\', b\'{"i": 0, "s": ["ok"], "v": "2"}\','
        ' b\'{"i": 0, "s": "ok", "v": 2}\', b\'{"i": 99, "s": "ok", "v": "2"}\'): write(line)\n'
        " return 1",
        # So many lines that its own is not read any more.
        {EXITED},
        None,
    ),
    "unfinished_line": ("def f(x):\n find('os').write(3, b'{\"i\": 0')\n return 1", {EXITED}, None),
    "patch_harness": (
        "def f(x):\n names = sys._getframe(1).f_globals\n names['_repr'] = lambda v: 'GOLD'\n"
        " names['_write'] = lambda v, n: \"'gold' or 1\"\n return 1",
        {UNSUPPORTED},
        None,
    ),
    "trace_harness": ("def f(x):\n sys.settrace(lambda *a: 1 / 0)\n sys._getframe(1).f_trace = f\n return 1",
                      {OK, RAISED, EXITED}, "1"),
    "replace_stdout": ("def f(x):\n sys.stdout = None\n print(1)\n return 1", {OK}, "1"),
}  # fmt: skip


@pytest.mark.parametrize(("source", "outcomes", "literal"), HARNESS.values(), ids=HARNESS.keys())
def test_the_harness_gives_no_more_than_ones_own_value(
    strike: Strike, source: str, outcomes: set[CallStatus], literal: str | None
) -> None:
    strike(source, *outcomes, literal=literal)


CONTAMINATION = {
    "builtins": "import builtins\nbuiltins.len = lambda x: 0\nbuiltins.poison = 1\ndef f(x): return 1",
    "math": "import math\nmath.sqrt = lambda x: 0\ndef f(x): return 1",
    "json": "import json\njson.dumps = json.loads = lambda *a, **k: 0\ndef f(x): return 1",
    "modules": "sys.modules.clear()\ndef f(x): return 1",
    "recursion_limit": "def f(x):\n sys.setrecursionlimit(120)\n return 1",
    "random_state": "import random\nrandom.seed(5)\nrandom.Random.randint = lambda *a: 0\ndef f(x): return 1",
    "decimal_context": "import decimal\ndecimal.getcontext().prec = 2\ndef f(x): return 1",
    "no_collector": "def f(x):\n find('gc').disable()\n return 1",
    "class_attribute": "import collections\ncollections.Counter.most_common = None\ndef f(x): return 1",
    "small_integers": "def f(x):\n c = find('ctypes')\n c.memset(id(3) + 24, 9, 1)\n return 1",
}


@pytest.mark.parametrize("source", CONTAMINATION.values(), ids=CONTAMINATION.keys())
def test_the_next_program_is_not_touched(strike: Strike, source: str) -> None:
    """`strike` runs one after the attack; the attack itself may hurt itself."""
    strike(source, OK, EXITED, RAISED, CallStatus.CRASHED)


IMPOSTORS = {
    "equal_to_all": "class E:\n __eq__ = lambda s, o: True\n __hash__ = lambda s: 1\ndef f(x): return E()",
    "inside_a_list": "class E:\n __eq__ = lambda s, o: True\ndef f(x): return ['azr', E(), 271828]",
    "string_with_own_repr": "class S(str):\n __repr__ = lambda s: '1'\ndef f(x): return S('x')",
    "integer_subclass": "class I(int):\n __eq__ = lambda s, o: True\ndef f(x): return I(3)",
    "list_subclass": "class L(list):\n __eq__ = lambda s, o: True\ndef f(x): return L()",
    "dictionary_key": "class K(str): pass\ndef f(x): return {K('a'): 1}",
    "counter": "import collections\ndef f(x): return collections.Counter('aab')",
    "named_tuple": "import collections\ndef f(x): return collections.namedtuple('P', 'a b')(1, 2)",
    "false_class": "class C:\n __class__ = property(lambda s: int)\n __repr__ = lambda s: '1'\n"
    "def f(x): return C()",
    "metaclass": "class M(type):\n __eq__ = lambda s, o: True\n __hash__ = lambda s: hash(int)\n"
    "class C(metaclass=M):\n __repr__ = lambda s: '1'\ndef f(x): return C()",
    "metaclass_with_a_name": "class M(type):\n __name__ = property(lambda s: 1 / 0)\n"
    "class C(metaclass=M): pass\ndef f(x): return C()",
    "error_without_a_name": "class M(type):\n __name__ = property(lambda s: 1 / 0)\n"
    "class E(Exception, metaclass=M): pass\ndef f(x): raise E",
    "pickle": "class P:\n def __reduce__(self): return (print, (1,))\ndef f(x): return P()",
    "not_a_number": "def f(x): return float('nan')",
    "infinity": "def f(x): return [1e999, -1e999]",
    "ellipsis": "def f(x): return ...",
    "function": "def f(x): return f",
    "coroutine": "async def f(x): return 1",
    "bytearray": "def f(x): return bytearray(b'x')",
    "range": "def f(x): return range(3)",
}


@pytest.mark.parametrize("source", IMPOSTORS.values(), ids=IMPOSTORS.keys())
def test_only_exact_builtin_values_come_back(strike: Strike, source: str) -> None:
    strike(source, UNSUPPORTED, RAISED)


def test_the_expected_value_is_nowhere_to_be_found(strike: Strike) -> None:
    """Frames, the collector's objects and every module are searched for it."""
    source = """
def f(x):
    found, frame = [], sys._getframe()
    while frame:
        seen = list(frame.f_locals.values()) + list(frame.f_globals.values())
        found += [v for v in seen if "271828" in repr(v)[:9999]]
        frame = frame.f_back
    for module in list(sys.modules.values()):
        for value in list(getattr(module, '__dict__', {}).values()):
            if type(value) in (str, list, tuple, int) and "2718" + "28" in repr(value)[:9999]:
                found.append(repr(value))
    try:
        import gc
        found += [repr(o) for o in gc.get_objects() if type(o) is list and 2718 * 100 + 28 in o]
    except ImportError:
        pass
    return [v for v in found if "gold" in repr(v) and "def f" not in repr(v)]
"""
    call = strike(source, OK, cpu_s=2.0)
    assert call.literal == "[]"
    assert not equal(parse_literal(call.literal), GOLD)


@pytest.mark.parametrize(
    "text",
    [
        "0) or print(True) or (0", "1), (2", "1)(2", "x", "f(1)", "__import__('os')", "lambda: 1", "a=1",
        "*[1]",
        "**{}", "[i for i in [1]]", "f'{1}'", "1 if 1 else 2", "1 + 1", "(1).real", "[1][0]", "...", "1e999",
        "x := 1", "yield 1", "not 1", "1 < 2", "{**{}}", "{1: 2, **{}}", "[*[1]]", "frozenset([print()])",
        "set([1])", "set(x)", "--1", "1j + 1", "\0", "'\ud800" "'",
    ],
)  # fmt: skip
def test_an_input_that_is_no_literal_is_refused(sandbox: Sandbox, text: str) -> None:
    with pytest.raises(LiteralError, match=r"inputs\[1\]"):
        sandbox.run(Program("def f(x): return x"), ["1", text])


FORGED_ERRORS = {
    "class": "class KeyError(Exception): pass\ndef f(x): raise KeyError('k')",
    "class_of_class": "def f(x): raise type('KeyError', (Exception,), {})('k')",
    "subclass": "def f(x): raise type('KeyError', (KeyError,), {})('k')",
    "renamed": "class E(Exception): __module__ = 'builtins'\nE.__name__ = E.__qualname__ = 'KeyError'\n"
    "def f(x): raise E",
    "with_a_colon": "def f(x): raise type('KeyError: k', (Exception,), {})",
    "with_blanks": "def f(x): raise type(' KeyError\\t', (Exception,), {})",
    "metaclass": "class M(type):\n __name__ = property(lambda s: 'KeyError')\n"
    "class E(Exception, metaclass=M): pass\ndef f(x): raise E",
    "false_class": "class E(Exception):\n __class__ = KeyError\ndef f(x): raise E",
    "replaced": "import builtins\nbuiltins.KeyError = type('KeyError', (Exception,), {})\n"
    "def f(x): raise KeyError",
    "base_exception": "def f(x): raise type('KeyError', (BaseException,), {})",
}


@pytest.mark.parametrize("source", FORGED_ERRORS.values(), ids=FORGED_ERRORS.keys())
def test_error_is_labelled_by_its_class_and_not_by_its_name(strike: Strike, source: str) -> None:
    call = strike(source, RAISED)
    assert call.status is not RAISED or error_class(call) not in BUILT_IN_ERRORS, call


def test_built_in_errors_keep_their_names(sandbox: Sandbox) -> None:
    source = (
        "def f(name):\n kind = vars(__import__('builtins'))[name]\n"
        " if kind is ExceptionGroup: raise kind('k', [KeyError()])\n"
        " if kind is BaseExceptionGroup: raise kind('k', [KeyboardInterrupt()])\n raise kind.__new__(kind)"
    )
    # Of these two the harness says more than the class.
    names = [name for name in BUILT_IN_ERRORS if name not in ("MemoryError", "SystemExit")]
    calls = sandbox.run(Program(source), [repr(name) for name in names])
    assert [error_class(call) for call in calls] == [BUILT_IN_ERRORS[name].__name__ for name in names]


COSTLY = {
    "f_string": ("\"f'\" + '{1}' * 21000 + \"'\"", UNSUPPORTED),
    "nested_f_string": ("\"f'\" + '{f\\\"{' * 10000", UNSUPPORTED),
    "open_brackets": ("'[' * 65000", UNSUPPORTED),
    "brackets": ("'[' * 32000 + ']' * 32000", UNSUPPORTED),
    "parentheses": ("'(' * 32000 + '1' + ')' * 32000", UNSUPPORTED),
    "signs": ("'-' * 65000 + '1'", UNSUPPORTED),
    "sum": ("'1+' * 32000 + '1j'", UNSUPPORTED),
    "strings_in_a_row": ("'(' + \"'a' \" * 16000 + ')'", OK),
    "escapes": ("'[' + r\"'\\n',\" * 13000 + ']'", OK),
    "bytes_in_a_row": ("'(' + \"b'a' \" * 13000 + ')'", OK),
    "quotes": ('"\'" * 65001', UNSUPPORTED),
    "digits": ("'9' * 65000", UNSUPPORTED),
    "integers": ("'[' + ('9' * 4200 + ',') * 15 + ']'", OK),
    "equal_hashes": ("'{' + ','.join(str(k * (2**61 - 1)) for k in range(2500)) + '}'", UNSUPPORTED),
    "equal_hashes_of_keys": (
        "'{' + ','.join(f'{k * (2**61 - 1)}:1' for k in range(2500)) + '}'",
        UNSUPPORTED,
    ),
    "equal_hashes_of_tuples": (
        "'{' + ','.join(f'({k * (2**61 - 1)},1)' for k in range(2000)) + '}'",
        UNSUPPORTED,
    ),
    "equal_hashes_at_each_level": ("nest('0', 10)", UNSUPPORTED),
    "few_equal_hashes": ("'{' + ','.join(str(k * (2**61 - 1)) for k in range(100)) + '}'", OK),
}
"""Texts that a program writes as its results, and what becomes of each."""

FORGE = """
def nest(item, level):
    for _ in range(level):
        item = 'frozenset({(%s, 0), (%s, 2305843009213693951)})' % (item, item)
    return item
line = ', "s": "ok", "v": ' + __import__('json').dumps(TEXT) + '}\\n'
calls = []
def f(x):
    find('os').write(3, ('{"i": %d' % len(calls) + line).encode())
    calls.append(x)
    return x
"""


@pytest.mark.parametrize(("text", "status"), COSTLY.values(), ids=COSTLY.keys())
def test_no_result_costs_the_trusted_side_more_than_its_length(
    sandbox: Sandbox, prelude: str, text: str, status: CallStatus
) -> None:
    if isinstance(sandbox, WasmSandbox):
        pytest.skip("there is no descriptor to write to")
    source = prelude + FORGE.replace("TEXT", text)
    started = time.process_time()
    calls = sandbox.run(Program(source), ["1", "2", "3"], Limits(cpu_s=5.0, wall_s=60.0))
    assert time.process_time() - started < 3.0  # one such f-string of a megabyte took Python's parser 73 s
    assert {call.status for call in calls} == {status}


RANDOM = {
    "string_hash": "def f(x): return hash('a')",
    "set_order": "def f(x): return list({str(i) for i in range(50)})",
    "address": "def f(x): return id(object())",
    "address_in_text": "def f(x): return str(object())",
    "last_digits_of_addresses": "class A: pass\n"
    "def f(x): return [str(y)[-4:-1] for y in (object(), f, A(), lambda: 0, [].append, {}.get, set().add)]",
    "random_number": "import random\ndef f(x): return random.random()",
    "random_generator": "import random\ndef f(x): return random.Random().random()",
    "fine_clock": "import time\ndef f(x): return time.time_ns()",
    "cpu_clock": "import time\ndef f(x): return time.process_time_ns()",
}


@pytest.mark.parametrize("source", RANDOM.values(), ids=RANDOM.keys())
def test_two_hash_seeds_show_what_is_random(sandbox: Sandbox, source: str) -> None:
    first, second = (sandbox.run(Program(source), ["1"], hash_seed=seed)[0] for seed in (0, 1))
    assert first.status is second.status
    if isinstance(sandbox, WasmSandbox) and first.status is CallStatus.CRASHED:
        return  # no clock and no source of chance is there, and asking for one is the end
    assert first.status is OK
    assert first.literal != second.literal


STEADY = {
    "set": "def f(x): return {str(i) for i in range(50)}",
    "nested_sets": "def f(x): return [frozenset({('a', i), 'b'}) for i in range(5)] + [{frozenset('abc')}]",
    "dictionary": "def f(x): return {str(i): i for i in range(50)}",
    "seeded_random": "import random\ndef f(x): return random.Random(4).random()",
    "numbers": "def f(x): return [0.1 + 0.2, -0.0, 1j, 10 ** 40, True, None]",
}


@pytest.mark.parametrize("source", STEADY.values(), ids=STEADY.keys())
def test_two_hash_seeds_agree_on_what_is_not(sandbox: Sandbox, source: str) -> None:
    first, second = (sandbox.run(Program(source), ["1"], hash_seed=seed)[0] for seed in (0, 1))
    assert first.status is OK
    assert first.literal == second.literal
