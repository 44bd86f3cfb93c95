"""Literals: the only thing that enters or leaves a sandbox, and how two of them are compared.

Text from a model or from a sandbox is read by Python's parser and rebuilt from its syntax tree, node by node:
nothing is called, nothing is looked up, and what comes out is made of exact built-in types. Everything here
runs in the trusted process.
"""

from __future__ import annotations

import ast
import cmath
from collections.abc import Callable, Hashable, Sequence
from typing import Any, TypeVar

from tasks.kit.syntax import parse_expression

MAX_INPUT_BYTES = 65_536
MAX_INPUT_DEPTH = 40
MAX_INTEGER_BITS = 14_000
"""Python writes no integer of more than 4,300 digits, but reads one in hexadecimal: `render` would fail."""

# What CPython's parser and the conversion below raise on hostile text, and nothing else. ValueError: null
# bytes, integers of more than 4,300 digits. MemoryError: the parser's own stack. TypeError: unhashable keys.
# OverflowError: an integer too large to be a part of a complex number.
_HOSTILE = (SyntaxError, ValueError, TypeError, MemoryError, RecursionError, OverflowError)

Value = TypeVar("Value")


class LiteralError(ValueError):
    """The text is no literal, or a larger one than allowed."""


def parse_literal(text: str, *, max_bytes: int = MAX_INPUT_BYTES, max_depth: int = MAX_INPUT_DEPTH) -> object:
    """Rebuild the value that a literal stands for.

    Literals are None, bool, int, finite float and complex, str, bytes, list, tuple, dict, set and frozenset,
    nested at will. `set()`, `frozenset()` and `frozenset({...})` count, having no other spelling. Anything
    else, more than `max_bytes` in UTF-8 and more than `max_depth` (a number has depth 0) is a LiteralError.
    """
    return _read(text, text.strip(), max_bytes, lambda node: _rebuild(node, max_depth))


def parse_arguments(text: str) -> tuple[object, ...]:
    """Rebuild an argument list such as `"[1, 2], 'a'"`; blank text is an empty one.

    No list of literals (keywords are none), or one too long or too deep, is a LiteralError.
    """

    def rebuild(call: ast.expr) -> tuple[object, ...]:
        match call:
            # `1)(2` and `1), (2` close the parenthesis themselves: then this is no plain call any more.
            case ast.Call(ast.Name(), arguments, []):
                return tuple(_rebuild(node, MAX_INPUT_DEPTH) for node in arguments)
        raise LiteralError("not a list of literals")

    return _read(text, f"f({text}\n)", MAX_INPUT_BYTES, rebuild)


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


def _read(text: str, source: str, max_bytes: int, rebuild: Callable[[ast.expr], Value]) -> Value:
    """Parse `source`, which `text` was made into, and rebuild what it stands for."""
    # Characters first: encoding megabytes only to refuse them would be work for nothing.
    if len(text) > max_bytes or len(text.encode("utf-8", "surrogatepass")) > max_bytes:
        raise LiteralError(f"longer than {max_bytes} bytes")
    try:
        return rebuild(parse_expression(source))
    except LiteralError:
        raise
    except _HOSTILE as error:
        raise LiteralError(f"not a literal ({type(error).__name__})") from None


def _rebuild(node: ast.expr | None, depth: int) -> object:
    """Turn a syntax tree into the value it stands for; `depth` levels of nesting are left."""

    def rebuild(nodes: Sequence[ast.expr | None]) -> list[Any]:
        return [_rebuild(item, depth - 1) for item in nodes]

    match node:
        case ast.Constant() | ast.UnaryOp():
            return _check_scalar(ast.literal_eval(node))
        case ast.BinOp():
            return _check_scalar(_rebuild_complex(node))
        case None:  # in the place of a dictionary's key
            raise LiteralError("`**` is not a literal")
        case _ if depth == 0:
            raise LiteralError("nested too deeply")
        case ast.List(items):
            return rebuild(items)
        case ast.Tuple(items):
            return tuple(rebuild(items))
        case ast.Set(items):
            return set(rebuild(items))
        case ast.Dict(keys, values):
            return dict(zip(rebuild(keys), rebuild(values), strict=True))
        case ast.Call(ast.Name("set"), [], []):
            return set()
        case ast.Call(ast.Name("frozenset"), [], []):
            return frozenset()
        case ast.Call(ast.Name("frozenset"), [ast.Set(items)], []):
            return frozenset(rebuild(items))
        case ast.Call():
            raise LiteralError("a call is not a literal")
    raise LiteralError(f"not a literal ({type(node).__name__})")


def _rebuild_complex(node: ast.BinOp) -> object:
    """Rebuild a complex number written as a sum; each part may have a sign."""
    match node:
        case ast.BinOp(ast.Constant() | ast.UnaryOp(), ast.Add() | ast.Sub(), ast.Constant() | ast.UnaryOp()):
            real, imaginary = ast.literal_eval(node.left), ast.literal_eval(node.right)
            if type(real) in (int, float) and type(imaginary) is complex:
                return real + imaginary if isinstance(node.op, ast.Add) else real - imaginary
    raise LiteralError("arithmetic is not a literal")


def _check_scalar(value: object) -> object:
    if value is Ellipsis:
        raise LiteralError("`...` is not a literal")
    if isinstance(value, int) and value.bit_length() > MAX_INTEGER_BITS:
        raise LiteralError("an integer of more than 4,200 digits")
    if isinstance(value, float | complex) and not cmath.isfinite(value):
        raise LiteralError("a number that is not finite is not a literal")
    return value


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
