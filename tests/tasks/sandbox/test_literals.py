"""Literals: what enters, what leaves, and when two are equal. Hostile text is an error, never a surprise."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
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


HOSTILE = [
    "(" * 60_000, "[" * 60_000, "[" * 30_000 + "]" * 30_000, "-" * 60_000 + "1", "+".join("1" * 20_000),
    "{" * 60_000,
    "9" * 60_000, "'" * 60_001, "((((" * 15_000, "f'" + "{" * 1000, "[" + "1," * 30_000, "1e" + "9" * 50_000,
    "not " * 15_000 + "1", "~" * 60_000, "()" * 30_000, "1j+" * 20_000, "lambda:" * 8_000, "\\\n" * 30_000,
    "{" + ",".join(str(k * (2**61 - 1)) for k in range(3_000)) + "}", "0x" + "f" * 60_000, "x" * 10_000_000,
    "9" * 4_000 + "+1j",
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
