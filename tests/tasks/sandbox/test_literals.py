"""Literals: what enters, what leaves, and when two are equal. Hostile text is an error, never a surprise."""

from __future__ import annotations

import ast
import time

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from tasks.sandbox import (
    LiteralError,
    equal,
    parse_arguments,
    parse_literal,
    render,
    render_arguments,
)

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.complex_numbers(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8)
    | st.binary(max_size=8)
)
HASHABLE = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4).map(tuple) | st.frozensets(inner, max_size=4),
    max_leaves=6,
)
VALUES = st.recursive(
    SCALARS | st.sets(HASHABLE, max_size=4) | HASHABLE,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(HASHABLE, inner, max_size=4)
    ),
    max_leaves=12,
)
FRAGMENTS = [
    "(", ")", "[", "]", "{", "}", ",", ":", "1", "-", "+", "1e999", "1j", "'", '"', "'''", "\\", "\\x",
    "\\N{", "f'",
    "b'", "{1}", "set()", "frozenset(", "x", "...", "None", "True", "lambda:", "*", "**", "=", "if", "not ",
    "\n",
    "\x00", "\ud800", "#", " ", "0x", "1_0", "07", "9" * 5000, "(" * 300, "[" * 120, "-" * 3000, "1+" * 3000,
    "{" * 150, "\u0661", "\N{FULLWIDTH DIGIT ONE}", "await ", "yield ", ":=", "@", "`", "$", "?", "\\\n",
]  # fmt: skip


@settings(max_examples=100, deadline=None)
@given(VALUES)
def test_rendering_keeps_value_and_types_and_is_canonical(value: object) -> None:
    text = render(value)
    again = parse_literal(text)
    assert equal(again, value, strict=True)
    assert render(again) == text


@settings(max_examples=100, deadline=None)
@given(st.lists(st.sampled_from(FRAGMENTS), max_size=12).map("".join) | st.text(max_size=30))
def test_any_text_is_a_literal_or_a_literal_error(text: str) -> None:
    for parse in (parse_literal, parse_arguments):
        try:
            value = parse(text)
        except LiteralError:
            continue
        assert equal(parse(render_arguments(value) if isinstance(value, tuple) and parse is parse_arguments
                           else render(value)), value, strict=True)  # fmt: skip


READ = [
    "'a' \"b\" # c\n'''d\n'''", r"r'\d' u'\x41'", r"Rb'\d' B'\x00'", r"'\N{SNOWMAN}\
'", r"'''a'b''c\''''", '"\'"', "''", "b''", '""""""', "'#'", "'a''b'", "0x_fF", "0b1", "0O17", "00", ".5",
    "1_0.5e-1_0", "5.", "- 1", "-0.0", "(1+2j)", "-1.5-0.5j", "+1J", "1e3j", "((1))", "((1),)", "()",
    "1, 2", "1,", "[1,\n2 # two\n,]", "{1: {2}, 3: {},}", "{1, 1}", "{1: 2, 1: 3}", "set()",
    "[None, True, (False,)]",
]  # fmt: skip
NOT_READ = [
    "", "x", "Nonex", "1None", "1 2", "[1 2]", "1:2", "[1:2]", "(1]", "1)", "(1", ",", "[,]", "[1,,2]", "{,}",
    "{:1}", "{1:}", "{1:2:3}", "{1: 2, 3}", "{1, 2: 3}", "{[]}", "{{}: 1}", "set({1})", "set(1)",
    "frozenset([1])", "frozenset({1: 2})", "frozenset({1}, {2})", "frozenset", "[1](2)", "1(2)", "0777",
    "1__0", "1_", "0x", "0xg", "1e", "1.2.3", ".", "...", "1+2", "1j+1", "1j+1j", "+-1", "--1", "1e999",
    "1e999j", "'a", "''''a'", "'''", "'a\nb'", r"'\x4'", r"'\N{NO SUCH}'", "'a' b'b'", "b'\xe9'", "'\0'",
    "'\ud800'", "f'a'", "f'{1}'", "'a' f'b'", "rf'a'", "lambda: 1", "[*[1]]", "{**{}}", "\\\n1",
]  # fmt: skip


def test_each_spelling_is_read_as_python_reads_it() -> None:
    wrong = [
        (text, parse_literal(text))
        for text in READ
        if not equal(parse_literal(text), ast.literal_eval(f"(\n{text}\n)"), strict=True)
    ]
    assert wrong == []
    assert parse_literal("frozenset({1, 2})") == frozenset({1, 2})
    assert parse_literal("[frozenset()]") == [frozenset()]


def test_what_is_no_literal_is_refused() -> None:
    def is_refused(text: str) -> bool:
        try:
            parse_literal(text)
        except LiteralError:
            return True
        return False

    assert [text for text in NOT_READ if not is_refused(text)] == []


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from([*FRAGMENTS, "0", "2", ".5", "e3", "'a'", "b'c'", "set()"]), max_size=9))
def test_what_is_read_is_what_python_reads(fragments: list[str]) -> None:
    text = "".join(fragments)
    try:
        value = parse_literal(text)
    except LiteralError:
        return
    if "frozenset" not in text:
        assert equal(value, ast.literal_eval(f"(\n{text}\n)"), strict=True)


@settings(max_examples=300, deadline=None)
@given(
    st.recursive(st.integers() | st.floats(-1e9, 1e9), lambda items: st.lists(items, max_size=4)).map(str)
    | st.lists(st.sampled_from(["[", "]", "1", "0", "-", ".", ", ", "9" * 400]), max_size=9).map("".join)
)
@example("[" * 39 + "]" * 39)
@example("[" * 41 + "]" * 41)
@example("[" + "9" * 400 + ".0]")
@example("[-0, -0.0, 01]")
def test_lists_of_numbers_are_read_alike_by_the_grammar(text: str) -> None:
    def read(text: str) -> object:
        try:
            return render(parse_literal(text))
        except LiteralError:
            return LiteralError

    assume(text)
    assert read(text) == read(f"({text})"), "the grammar alone reads what stands in parentheses"


HOSTILE = [
    "(" * 60_000, "[" * 60_000, "[" * 30_000 + "]" * 30_000, "-" * 60_000 + "1", "+".join("1" * 20_000),
    "{" * 60_000,
    "9" * 60_000, "'" * 60_001, "((((" * 15_000, "f'" + "{" * 1000, "[" + "1," * 30_000, "1e" + "9" * 50_000,
    "not " * 15_000 + "1", "~" * 60_000, "()" * 30_000, "1j+" * 20_000, "lambda:" * 8_000, "\\\n" * 30_000,
    "{" + ",".join(str(k * (2**61 - 1)) for k in range(3_000)) + "}", "0x" + "f" * 60_000, "x" * 10_000_000,
    "9" * 4_000 + "+1j",
    "f'" + "{1}" * 21_000 + "'", "f'" + "{f'" * 20_000, "[" + r"'\n'," * 13_000 + "]", "'a' " * 16_000,
    "b'a' " * 13_000, "'a'" + " " * 60_000 + "1", "'" + "\\" * 60_001, "'''" + "''\\" * 20_000, "." * 60_000,
    "1." + "9" * 60_000, "[" * 32_000 + "]" * 32_000, "(" * 32_000 + "1" + ")" * 32_000, "#" * 60_000,
    "{" + ",".join(f"({k * (2**61 - 1)},1)" for k in range(2_000)) + "}",
    "{" + ",".join(f"{k * (2**61 - 1)}:1" for k in range(2_000)) + "}",
]  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: f"{text[:12]!r}x{len(text)}")
def test_hostile_text_costs_little(text: str) -> None:
    started = time.process_time()
    for parse in (parse_literal, parse_arguments):
        try:
            render(parse(text))
        except LiteralError as error:
            assert len(str(error)) < 100  # it is shown to people, and holds nothing of the text
    assert time.process_time() - started < 2.0


def nest(item: str, level: int) -> str:
    """Sets of two items with the same hash, which differ only at their ends, at each level."""
    return item if level == 0 else nest(f"frozenset({{({item}, 0), ({item}, {2**61 - 1})}})", level - 1)


def test_comparisons_of_items_with_the_same_hash_are_bounded() -> None:
    def multiples(count: int) -> str:
        return "{" + ", ".join(str(k * (2**61 - 1)) for k in range(count)) + "}"

    # 300 items, each with 300 to compare it with, are 90,000 comparisons, and 330 are 108,900.
    assert parse_literal(multiples(300)) == {k * (2**61 - 1) for k in range(300)}
    with pytest.raises(LiteralError, match="same hash"):
        parse_literal(multiples(330))
    with pytest.raises(LiteralError, match="same hash"):
        parse_literal(nest("0", 10))
    # -1 and -2 have the same hash, so in this plane many points have another one's.
    plane = {(x, y) for x in range(-20, 20) for y in range(-20, 20)}
    assert parse_literal(render(plane)) == plane
    assert parse_literal(nest("0", 5)) == parse_literal(nest("0", 5))


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        (" [1,2 , 3]\n", "[1, 2, 3]"),
        ("{3, 1, 20}", "{1, 3, 20}"),
        ("{'b', 'a', 1}", "{'a', 'b', 1}"),
        ("{frozenset({2, 1}), frozenset()}", "{frozenset(), frozenset({1, 2})}"),
        ("{'b': 1, 'a': {2, 1}}", "{'b': 1, 'a': {1, 2}}"),
        ("(1)", "1"),
        ("(1,)", "(1,)"),
        ("set()", "set()"),
        ("-1.50", "-1.5"),
        ("'a' 'b'", "'ab'"),
        ("1_000", "1000"),
        ("(1-2j)", "(1-2j)"),
        ("+1", "1"),
    ],
)
def test_canonical_form(text: str, canonical: str) -> None:
    assert render(parse_literal(text)) == canonical


@pytest.mark.parametrize(
    ("text", "arguments"),
    [
        ("", ()),
        (" \n", ()),
        ("1", (1,)),
        ("1, 2,", (1, 2)),
        ("[1], 'a' # two", ([1], "a")),
        ("(1, 2)", ((1, 2),)),
    ],
)
def test_argument_lists(text: str, arguments: tuple[object, ...]) -> None:
    assert parse_arguments(text) == arguments


@pytest.mark.parametrize(
    ("left", "right", "loose", "strict"),
    [
        ("1", "True", True, False),
        ("1", "1.0", True, False),
        ("[1, [2]]", "[1, [2.0]]", True, False),
        ("{1, 2}", "{2, 1}", True, True),
        ("{1}", "{True}", True, False),
        ("{1: 2, 3: 4}", "{3: 4, 1: 2}", True, True),
        ("{1: 2}", "{1.0: 2}", True, False),
        ("{1}", "frozenset({1})", True, False),
        ("(1,)", "[1]", False, False),
        ("'1'", "1", False, False),
        ("0.0", "-0.0", True, True),
        ("'a'", "b'a'", False, False),
    ],
)
def test_equality(left: str, right: str, loose: bool, strict: bool) -> None:
    values = parse_literal(left), parse_literal(right)
    assert equal(*values) is loose
    assert equal(*values, strict=True) is strict


def test_depth_and_size_are_capped() -> None:
    assert parse_literal("[[1]]", max_depth=2) == [[1]]
    with pytest.raises(LiteralError, match="deep"):
        parse_literal("[[1]]", max_depth=1)
    with pytest.raises(LiteralError, match="longer than 4 bytes"):
        parse_literal("12345", max_bytes=4)
    with pytest.raises(LiteralError, match="longer than 4 bytes"):
        parse_literal("'\N{SNOWMAN}'", max_bytes=4)
