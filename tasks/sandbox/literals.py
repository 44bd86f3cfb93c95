"""Literals: the only thing that enters or leaves a sandbox, and how two of them are compared.

Text from a model or from a sandbox is read by a grammar that is linear in it: nothing is called, nothing is
looked up, and what comes out is made of exact built-in types. Of Python's parser, which takes a minute for an
f-string of a megabyte, only string literals are asked. Everything here runs in the trusted process.
"""

from __future__ import annotations

import ast
import cmath
import json
import re
from collections import Counter
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any

from tasks.kit.syntax import parse_expression

MAX_INPUT_BYTES = 65_536
MAX_INPUT_DEPTH = 40
MAX_INTEGER_BITS = 14_000
"""Python writes no integer of more than 4,300 digits, but reads one in hexadecimal: `render` would fail."""

MAX_BRACKETS = 200  # open at once, as in Python

MAX_COMPARISONS = 100_000
"""How often items may be compared to build a set or a dictionary, or to find its items in an equal one.

Items with the same hash are compared with each other: some thousand multiples of 2 ** 61 - 1 would take
seconds. A few are nothing unusual, since -1 and -2 have the same hash.
"""

# What the conversions below raise on hostile text, and nothing else. SyntaxError: `'\x'`, or text beside
# bytes. ValueError: halves of characters, integers of more than 4,300 digits. TypeError: unhashable items.
# OverflowError: an integer too large to be a part of a complex number.
_HOSTILE = (SyntaxError, ValueError, TypeError, OverflowError)

_BLANK = r"(?: [ \t\f\r\n]++ | \#[^\r\n]*+ )*+"
_STRING = r"""
    (?i:br|rb|[bru])?
    (?: \'{3} (?: [^'\\\0]++ | \\[^\0] | '(?!'') )*+ \'{3}  |  '(?!'') (?: [^'\\\r\n\0]++ | \\[^\0] )*+ '
      | \"{3} (?: [^"\\\0]++ | \\[^\0] | "(?!"") )*+ \"{3}  |  "(?!"") (?: [^"\\\r\n\0]++ | \\[^\0] )*+ "
    )"""
# What is no number in such a token is found out by `int`, `float` and `complex`.
_NUMBER = r"(?: 0[xXoObB][0-9a-fA-F_]++ | [0-9.][0-9_.]*+ (?:[eE][+-]?[0-9_]++)?+ [jJ]?+ )"
_TOKEN = re.compile(
    rf"""{_BLANK} (?:
        (?P<string> {_STRING} (?:{_BLANK}{_STRING})*+ )
      | (?P<number> [+-]?[ \t]*+ {_NUMBER} ) (?:[ \t]*+ (?P<imaginary> [+-][ \t]*+ [+-]?[ \t]*+ {_NUMBER} ))?+
      | (?P<name> None | True | False )
      | (?P<open> frozenset\( | set\( | [\[({{] )
      | (?P<close> [\])}}] )
      | (?P<separator> [,:] )
      | (?P<end> \Z )
    )""",
    re.VERBOSE,
)
_JSON_NUMBERS = re.compile(r"\[[][0-9, .-]*")
_LONG_NUMBER = re.compile("[0-9]{300}")  # it may be too large for a float
_NAMES = {"None": None, "True": True, "False": False}


class LiteralError(ValueError):
    """The text is no literal, or a larger one than allowed."""


def parse_literal(text: str, *, max_bytes: int = MAX_INPUT_BYTES, max_depth: int = MAX_INPUT_DEPTH) -> object:
    """Rebuild the value that a literal stands for.

    Literals are None, bool, int, finite float and complex, str, bytes, list, tuple, dict, set and frozenset,
    nested at will. `set()`, `frozenset()` and `frozenset({...})` count, having no other spelling. Anything
    else, more than `max_bytes` in UTF-8, more than `max_depth` (a number has depth 0) and more comparisons
    than `MAX_COMPARISONS` is a LiteralError.
    """
    text = text.strip()
    if len(text) <= max_bytes and (numbers := _read_numbers(text, max_depth)) is not None:
        return numbers
    whole = _read(text, max_bytes, max_depth)
    if not whole.items:
        raise LiteralError("not a literal")
    return whole.close(")", max_depth)


def parse_arguments(text: str) -> tuple[object, ...]:
    """Rebuild an argument list such as `"[1, 2], 'a'"`; blank text is an empty one.

    No list of literals (keywords are none), or one too long or too deep, is a LiteralError.
    """
    return tuple(_read(text, MAX_INPUT_BYTES, MAX_INPUT_DEPTH).items)


def render(value: object) -> str:
    """Write a value that `parse_literal` made, in canonical form: equal sets give equal text.

    Dictionaries keep their order, which a program can see; sets are sorted, because their order is an
    accident of hashing.
    """
    if isinstance(value, list):
        return "[" + ", ".join(map(render, value)) + "]"
    if isinstance(value, tuple):
        return "(" + ", ".join(map(render, value)) + (",)" if len(value) == 1 else ")")
    if isinstance(value, dict):
        return "{" + ", ".join(f"{render(key)}: {render(item)}" for key, item in value.items()) + "}"
    if isinstance(value, frozenset):
        return "frozenset({" + _render_items(value) + "})" if value else "frozenset()"
    if isinstance(value, set):
        return "{" + _render_items(value) + "}" if value else "set()"
    if isinstance(value, complex):
        # The sign of a zero part does not survive Python's own spelling: `-0j` reads as `(-0-0j)`.
        return repr(value + 0j)
    return repr(value)


def render_arguments(arguments: tuple[object, ...]) -> str:
    """Write an argument list in canonical form, such as `"[1, 2], 'a'"`."""
    return ", ".join(map(render, arguments))


def equal(left: object, right: object, strict: bool = False) -> bool:
    """Compare two values that `parse_literal` or `parse_arguments` made.

    `strict` tells types apart: `1`, `1.0` and `True` are then three values, at any depth. Otherwise this is
    Python's `==`.
    """
    return _tagged(left) == _tagged(right) if strict else left == right


@dataclass(slots=True)
class _Open:
    """A bracket that is not closed yet, and what stands in it."""

    bracket: str  # "(", "[", "{", "set(" or "frozenset("
    items: list[Any] = field(default_factory=list)  # of a dictionary keys and values in turn
    num_commas: int = 0
    num_colons: int = 0
    height: int = 0  # levels of the deepest item
    num_comparisons: int = 1  # that it takes to find an equal value equal

    def add(self, value: object, height: int = 0, num_comparisons: int = 1) -> None:
        """Put a value in; behind the first one each needs a separator before it."""
        if len(self.items) != self.num_commas + self.num_colons:
            raise LiteralError("not a literal")
        self.items.append(value)
        self.height = max(self.height, height)
        self.num_comparisons += num_comparisons

    def separate(self, mark: str) -> None:
        """Put a comma or a colon behind a value."""
        is_colon = mark == ":"
        if len(self.items) != self.num_commas + self.num_colons + 1 or (
            is_colon and (self.bracket != "{" or len(self.items) != 2 * self.num_colons + 1)
        ):
            raise LiteralError("not a literal")
        self.num_colons += is_colon
        self.num_commas += not is_colon

    def close(self, bracket: str, max_depth: int) -> object:
        """Return the value that the brackets stand for."""
        value: object
        match self.bracket + bracket, self.items:
            case "()", [item] if not self.num_commas:
                return item
            case "frozenset()", [set() as items] if not self.num_commas:
                return frozenset(items)
            case "frozenset()", []:
                value = frozenset()
            case "set()", []:
                value = set()
            case "()", items:
                value = tuple(items)
            case "[]", items:
                value = items
            case "{}", items if items and not self.num_colons:
                self._weigh(items)
                value = set(items)
            case "{}", items if len(items) == 2 * self.num_colons:
                self._weigh(items[::2])
                value = dict(zip(items[::2], items[1::2], strict=True))
            case _:
                raise LiteralError("not a literal")
        self.height += 1
        if self.height > max_depth:
            raise LiteralError("nested too deeply")
        return value

    def _weigh(self, hashed: Sequence[object]) -> None:
        """Refuse what has too many items of one hash, before a set or a dictionary compares them."""
        most_alike = max(Counter(map(hash, hashed)).values(), default=1)
        self.num_comparisons *= most_alike
        if most_alike > 1 and self.num_comparisons > MAX_COMPARISONS:
            raise LiteralError("too many items with the same hash")


def _read(text: str, max_bytes: int, max_depth: int) -> _Open:
    """Read the literals in a text, as if it stood in parentheses."""
    try:
        # Characters first: encoding megabytes only to refuse them would be work for nothing.
        if len(text) > max_bytes or len(text.encode()) > max_bytes:
            raise LiteralError(f"longer than {max_bytes} bytes")
        return _build(list(_tokens(text)), max_depth)
    except LiteralError:
        raise
    except _HOSTILE as error:
        raise LiteralError(f"not a literal ({type(error).__name__})") from None


def _read_numbers(text: str, max_depth: int) -> object | None:
    """Lists of numbers as JSON has them, the commonest long results; None for what the grammar has to read.

    Its reader in C takes a fiftieth of the time, and both give the same value for what both read.
    """
    if not _JSON_NUMBERS.fullmatch(text) or _LONG_NUMBER.search(text):
        return None
    steps = ((mark == "[") - (mark == "]") for mark in text if mark in "[]")
    if max(accumulate(steps), default=0) > min(max_depth, MAX_BRACKETS):
        return None
    try:
        value: object = json.loads(text)
    except json.JSONDecodeError:
        return None
    return value


def _tokens(text: str) -> Iterator[re.Match[str]]:
    position = num_open = 0
    while True:
        token = _TOKEN.match(text, position)
        if token is None:
            raise LiteralError("not a literal")
        if token.lastgroup == "end":
            return
        num_open += (token.lastgroup == "open") - (token.lastgroup == "close")
        if num_open > MAX_BRACKETS:
            raise LiteralError("nested too deeply")
        yield token
        position = token.end()


def _build(tokens: Sequence[re.Match[str]], max_depth: int) -> _Open:
    """Put tokens together, without recursion."""
    strings = iter(_read_strings([token["string"] for token in tokens if token.lastgroup == "string"]))
    stack = [_Open("(")]
    for token in tokens:
        match token.lastgroup:
            case "separator":
                stack[-1].separate(token["separator"])
            case "number" | "imaginary":
                stack[-1].add(_read_number(token["number"], token["imaginary"]))
            case "string":
                stack[-1].add(next(strings))
            case "name":
                stack[-1].add(_NAMES[token["name"]])
            case "open":
                stack.append(_Open(token["open"]))
            case "close" if len(stack) > 1:
                closed = stack.pop()
                value = closed.close(token["close"], max_depth)
                stack[-1].add(value, closed.height, closed.num_comparisons)
            case _:
                raise LiteralError("not a literal")
    if len(stack) > 1:
        raise LiteralError("not a literal")
    return stack[0]


def _read_strings(tokens: Sequence[str]) -> list[Any]:
    """Read string literals, each maybe several in a row; escapes all together, by Python's parser."""
    hard = [token for token in tokens if not _is_plain(token)]
    read = iter(ast.literal_eval(parse_expression("[" + "".join(f"({token}\n)," for token in hard) + "]")))
    return [token[1:-1] if _is_plain(token) else next(read) for token in tokens]


def _is_plain(token: str) -> bool:
    """Whether a string literal is its text in quotes and nothing more."""
    quote = token[0]
    return quote in "'\"" and token[-1] == quote and token.count(quote) == 2 and "\\" not in token


def _read_number(number: str, imaginary: str | None) -> int | float | complex:
    """Read a number, or a complex one that is written as a sum; each part may have a sign."""
    value = _read_part(number)
    if imaginary is not None:
        other = _read_part(imaginary[1:].lstrip())
        if isinstance(value, complex) or not isinstance(other, complex):
            raise LiteralError("arithmetic is not a literal")
        value = value + other if imaginary[0] == "+" else value - other
    if isinstance(value, int):
        if value.bit_length() > MAX_INTEGER_BITS:
            raise LiteralError("an integer of more than 4,200 digits")
    elif not cmath.isfinite(value):
        raise LiteralError("a number that is not finite is not a literal")
    return value


def _read_part(text: str) -> int | float | complex:
    digits = text.lstrip("+- \t")
    value: int | float | complex
    if digits[-1] in "jJ":
        value = complex(digits)
    elif digits[:2].lower() != "0x" and any(mark in digits for mark in ".eE"):
        value = float(digits)
    else:
        value = int(digits, 0)
    return -value if text[0] == "-" else value


def _render_items(items: set[Any] | frozenset[Any]) -> str:
    if {type(item) for item in items} in ({int}, {str}, {bytes}):
        return ", ".join(map(repr, sorted(items)))
    # By their text: sets among the items have no total order, and numbers no order beside strings.
    return ", ".join(sorted(map(render, items)))


def _tagged(value: object) -> Hashable:
    """A value with its types written into it, so that `==` tells `1` from `1.0` and from `True`."""
    kind = type(value).__name__
    if isinstance(value, list | tuple):
        return kind, tuple([_tagged(item) for item in value])
    if isinstance(value, set | frozenset):
        return kind, frozenset([_tagged(item) for item in value])
    if isinstance(value, dict):
        return kind, frozenset([(_tagged(key), _tagged(item)) for key, item in value.items()])
    assert isinstance(value, Hashable)
    return kind, value
