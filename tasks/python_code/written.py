"""Read answers that are no bare literals, as people and models write them: `f(3, y=4) == 7`, `output: 'ab'`.

They are taken apart by Python's parser, and nothing is evaluated: what counts of them is again text that the
reader of literals has to accept. Texts are short here (`MAX_LITERAL_CHARS`).
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping, Sequence

from tasks.kit.program import ENTRY, parse_program
from tasks.sandbox.literals import LiteralError, equal, parse_arguments

MAX_ARGUMENTS = 50  # to cut one out takes time in proportion to the text

_LABEL = re.compile(r"(?:input|argument|arg|output|answer|result|value|error)s?[ ]?:", re.IGNORECASE)
_CALL = re.compile(rf"(?:>>>|assert\b|print\(|{ENTRY}\()")
_NAMED_LINE = re.compile(r"[A-Za-z_]\w*[ ]*=(?!=)")
_PROMPT = re.compile(r">>>[^\n]*\n(?=.)")
_STATED = re.compile(r"\)[ \t]*(?:->|=(?!=)|returns\b)")
_ERROR = re.compile(
    r"(?:raise[ ]+|<class[ ]')?(?:builtins\.)?([A-Za-z]+)(?:'>|\.|\([^\n]*\)|:[ ][^\n]*)?(?<!:[ ])"
)
_RESULT_NAMES = frozenset({"output", "answer", "result", "value", "ans", "res", "returned"})


def written_value(text: str, arguments: str) -> str | None:
    """The literal that a text states as the output for `arguments`; None if it states none, or for others."""
    stated = _read(_bare(text))
    if stated is None:
        return None
    text, statement = stated
    match statement:
        case ast.Return(ast.expr() as value):
            pass
        case ast.Assign([ast.Name(name)], value) if name.lower() in _RESULT_NAMES:
            pass
        case ast.Expr(ast.Compare(call, [ast.Eq()], [value])) | ast.Assert(
            ast.Compare(call, [ast.Eq()], [value])
        ):
            inside = _positional(text, call, ())
            if inside is None or not _are_equal(inside, arguments):
                return None
        case ast.Expr(value):
            pass
        case _:
            return None
    return _source(text, value)


def written_input(text: str, program: str) -> str | None:
    """The argument list of a call of `f`, or of named arguments; None if a text is neither."""
    text = _bare(text)
    if _CALL.match(text) is None:
        lines = text.split("\n")
        if all(map(_NAMED_LINE.match, lines)):
            text = ", ".join(lines)
        text = f"{ENTRY}({text}\n)"
    stated = _read(text)
    if stated is None:
        return None
    text, statement = stated
    match statement:
        case (
            ast.Expr(ast.Compare(call, [ast.Eq()], [_]))
            | ast.Assert(ast.Compare(call, [ast.Eq()], [_]))
            | ast.Expr(ast.Call(ast.Name("print"), [call], []))
            | ast.Expr(call)
        ):
            return _positional(text, call, _parameters(program))
    return None


def written_error(text: str) -> str:
    """The name of the class in `IndexError: index out of range`, `IndexError()` and the like."""
    found = _ERROR.fullmatch(_bare(text).strip("'\""))
    return found[1] if found else ""


def _bare(text: str) -> str:
    """A text without backticks, emphasis, quotes and a label around it."""
    text = text.strip().strip("`").strip()
    label = _LABEL.match(text)
    text = text[label.end() :].strip().strip("`") if label else text
    return text.removeprefix("**").removesuffix("**").strip()


def _read(text: str) -> tuple[str, ast.stmt] | None:
    """A text, in which `f(2) = 4` and `f(2) -> 4` become comparisons, and the one statement that it is."""
    text = _PROMPT.sub("", text, count=1)
    tree = parse_program(text)
    if isinstance(tree, str) and text.startswith(f"{ENTRY}("):
        text = _STATED.sub(") ==", text)
        tree = parse_program(text)
    match tree:
        case ast.Module([statement]):
            return text, statement
    return None


def _positional(text: str, node: ast.expr, names: Sequence[str]) -> str | None:
    """The arguments of a call of `f` in the order of its parameters `names`; None if it is none."""
    match node:
        case ast.Call(ast.Name(name), arguments, keywords) if (
            name == ENTRY and len(arguments) + len(keywords) <= MAX_ARGUMENTS
        ):
            named = {each.arg: each.value for each in keywords}
            order = names[len(arguments) : len(arguments) + len(named)]
            if set(order) != set(named) or len(named) < len(keywords):
                return None
            return _joined(text, arguments, order, named)
    return None


def _joined(
    text: str, arguments: Sequence[ast.expr], order: Sequence[str], named: Mapping[str | None, ast.expr]
) -> str | None:
    parts = [_source(text, node) for node in [*arguments, *(named[name] for name in order)]]
    return ", ".join(part or "" for part in parts)


def _source(text: str, node: ast.AST) -> str | None:
    """The source of a node; of `set([1, 2])` the set."""
    match node:
        case ast.Call(ast.Name("set"), [(ast.List(items) | ast.Tuple(items)) as inner], []) if items:
            return "{" + (ast.get_source_segment(text, inner) or "")[1:-1] + "}"
    return ast.get_source_segment(text, node)


def _parameters(program: str) -> list[str]:
    """The names of the parameters of `f` that can be given by position."""
    tree = parse_program(program)
    for node in tree.body if isinstance(tree, ast.Module) else []:
        if isinstance(node, ast.FunctionDef) and node.name == ENTRY:
            return [each.arg for each in (*node.args.posonlyargs, *node.args.args)]
    return []


def _are_equal(left: str, right: str) -> bool:
    try:
        return equal(parse_arguments(left), parse_arguments(right))
    except LiteralError:
        return False
