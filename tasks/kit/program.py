"""What can be said of a program without running it: whether it parses, keeps the rules and defines `f`.

The rules keep out programs that make bad tasks: those whose value depends on anything but their input, and
those that talk to the world outside. They are no security boundary; the sandbox is. A model's text is only
ever read here, as a syntax tree: what a program puts together while it runs is not seen.
"""

from __future__ import annotations

import ast
import re
import symtable
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tasks.contract import Rejected
from tasks.kit.syntax import FILENAME, parse

Refusal = Rejected  # what packs by others call it

ENTRY = "f"  # the function that a task calls
MAX_DEPTH = 100  # levels of a syntax tree; Python's own recursive functions stand more, in any thread

ALLOWED_MODULES = frozenset({
    "abc", "bisect", "collections", "copy", "dataclasses", "decimal", "enum", "fractions", "functools",
    "heapq", "itertools", "json", "math", "numbers", "operator", "re", "statistics", "string", "textwrap",
    "typing", "unicodedata",
})  # fmt: skip
"""Top-level modules that a program may import: no clock, no randomness, no files, no processes."""

ALLOWED_SUBMODULES = frozenset({"collections.abc", "json.decoder", "json.encoder", "json.scanner"})

NAMED_MODULES = frozenset({
    "asyncio", "builtins", "ctypes", "datetime", "gc", "hashlib", "importlib", "inspect", "io", "logging",
    "multiprocessing", "numpy", "os", "pathlib", "pickle", "random", "secrets", "shutil", "signal", "socket",
    "subprocess", "sys", "tempfile", "threading", "time", "uuid",
})  # fmt: skip
"""Refused modules with a reason of their own; a reason never holds a word that a model made up."""

HIDDEN_MODULES = frozenset({
    "annotationlib", "bltns", "builtins", "codecs", "contextlib", "copyreg", "inspect", "keyword", "random",
    "sys", "types", "warnings",
})  # fmt: skip
"""Modules, by the names under which allowed ones carry them: `typing.sys` would undo the list above."""

FRAME_ATTRIBUTES = frozenset({
    "ag_code", "ag_frame", "cr_code", "cr_frame", "cr_origin", "f_back", "f_builtins", "f_code", "f_globals",
    "f_lasti", "f_lineno", "f_locals", "f_trace", "gi_code", "gi_frame", "tb_frame", "tb_lasti", "tb_lineno",
    "tb_next", "_getframe",
})  # fmt: skip
"""Attributes that lead to the interpreter's own state, and by it to everything refused here."""

REFUSED_NAMES = frozenset({
    "breakpoint", "compile", "eval", "exec", "exit", "globals", "help", "id", "input", "locals", "open",
    "print", "quit", "vars",
})  # fmt: skip
"""Built-in functions that a program may not use; as names of a function's own variables they are fine."""

TAKE_NAMES = {
    "attrgetter": slice(0, None), "delattr": slice(1, 2), "getattr": slice(1, 2), "methodcaller": slice(0, 1),
    "setattr": slice(1, 2), "update_wrapper": slice(2, None), "wraps": slice(1, None),
}  # fmt: skip
"""Functions that take attributes by name, and which arguments are names; those have to stand in the call."""

EVALUATE_TEXT = frozenset({
    "ForwardRef", "Formatter", "_create_fn", "_eval_type", "_evaluate", "get_type_hints", "singledispatch",
    "singledispatchmethod",
})  # fmt: skip
"""What evaluates text, the annotations of a function for one, or finds an attribute by a path in text."""

ALLOWED_DUNDERS = frozenset({"__init__", "__name__"})  # `super().__init__()`, and the guard of a main part

PRIVATE_NAMES = frozenset({
    "_asdict", "_field_defaults", "_fields", "_generate_next_value_", "_ignore_", "_make", "_member_map_",
    "_member_names_", "_missing_", "_name_", "_order_", "_replace", "_value2member_map_", "_value_",
})  # fmt: skip
"""Attributes of named tuples and enumerations that are public in spite of their names."""

MAKE_FIELDS = frozenset({"NamedTuple", "make_dataclass", "namedtuple"})
"""What makes classes whose fields are named in text."""

_MAIN = "__main__"  # as `__name__` is compared with
_ATTRIBUTE = re.compile(r"\.(\w+)")

_SET_NAMES = frozenset({"set", "frozenset", "hash", "_hash", "_HashedSeq", "_make_key"})
_VIEW_NAMES = frozenset({"keys", "items", "KeysView", "ItemsView"})
_SET_OPERATORS = ast.BitAnd | ast.BitOr | ast.BitXor | ast.Sub
_SET_OPERATOR_NAMES = frozenset({"and_", "or_", "xor", "sub", "iand", "ior", "ixor", "isub"})
_SHOW_ADDRESSES = frozenset({
    "UserString", "args", "ascii", "c_make_encoder", "deepcopy", "format", "format_map", "repr",
    "safe_substitute", "str", "substitute", "type",
})  # fmt: skip
"""What can make text of any object, and that of many holds an address; the memo of a deep copy has some too.

`type` is there for `type("")(x)`, and `args` for what an error says of an object.
"""
_CATCH_ALL = frozenset({"BaseException", "Exception", "MemoryError"})

Function = ast.FunctionDef | ast.AsyncFunctionDef
Documented = Function | ast.ClassDef | ast.Module  # what a docstring can stand in


@dataclass(frozen=True, slots=True)
class Rules:
    """What is kept of a program."""

    max_chars: int  # longest program
    keep_comments: bool  # keep the text as it was written; else comments and docstrings go
    keep_globals: bool
    """Keep more at module level than imports, functions, classes, and `if` and `try` around these alone."""


def check_program(text: str, rules: Rules) -> str | Rejected:
    """Return the program as a task stores it, or why there is none.

    MALFORMED is what cannot be read as a program with one `f`; WRONG what could be read and breaks a rule.
    """
    if len(text) > rules.max_chars:
        return Rejected.malformed("program-too-big")
    tree = parse_program(text)
    if isinstance(tree, str):
        return Rejected.malformed(tree)
    if reason := _entry_fault(tree):
        return Rejected.malformed(reason)
    try:
        scopes = symtable.symtable(text, FILENAME, "exec")
    except SyntaxError:
        # The parser does not look at scopes: `nonlocal x` in a module, a parameter that is also global.
        return Rejected.malformed("syntax-error")
    if reason := next(_rule_faults(tree, scopes), ""):
        return Rejected.wrong(reason)
    if not rules.keep_globals:
        tree.body = [node for node in tree.body if _defines_only(node)]
        text = "\n\n".join(_segments(text, tree.body))
    _drop_docstrings(tree)
    try:
        canonical = ast.unparse(tree)
    except ValueError:
        # Python 3.11 cannot write every f-string that it can read, nor decimals of more than 4,300 digits.
        return Rejected.wrong("no-canonical-form")
    return text.strip("\n") if rules.keep_comments else canonical


def parse_program(text: str) -> ast.Module | str:
    """Parse a program; the reason if it is none, or has more than `MAX_DEPTH` levels."""
    if "\0" in text:
        return "nul-character"
    try:
        tree = parse(text)
    except UnicodeEncodeError:
        return "not-unicode"
    except (MemoryError, RecursionError):
        return "program-too-deep"
    except (SyntaxError, ValueError):
        return "syntax-error"
    # Not by recursion, which is what a deep tree would break.
    level: list[ast.AST] = [tree]
    for _ in range(MAX_DEPTH):
        level = [child for node in level for child in ast.iter_child_nodes(node)]
        if not level:
            return tree
    return "program-too-deep"


def canonical_program(program: str) -> str:
    """The same program for every layout: without comments, docstrings, and blanks that do not count.

    Raises ValueError for a text that is no program; `check_program` returns none of those.
    """
    tree = parse_program(program)
    if isinstance(tree, str):
        raise ValueError(f"record must hold a Python program; got {program[:200]!r} ({tree})")
    _drop_docstrings(tree)
    return ast.unparse(tree)


def is_same_program(text: str, program: str) -> bool:
    """Whether a model's text is `program`, whatever its layout and comments."""
    try:
        return canonical_program(text) == canonical_program(program)
    except ValueError:
        return False


def bound_names(program: str) -> set[str]:
    """Names that a program binds in any scope: variables, parameters, functions, classes, imports.

    Raises SyntaxError for a text that is no program; `check_program` returns none of those.
    """
    return {
        symbol.get_name()
        for scope in _scopes(symtable.symtable(program, FILENAME, "exec"))
        for symbol in scope.get_symbols()
        if symbol.is_assigned() or symbol.is_imported() or symbol.is_parameter()
    }


def may_differ(program: str, inputs: Sequence[str]) -> bool:
    """Whether a program's value may differ between two processes, as far as its text shows.

    It may hang on a set's order, a hash or an address where the program, or an input, makes a set, calls
    `hash` or makes text of objects; set operators make sets of the views of a dictionary. How much memory can
    be had differs by some MiB, which shows where a MemoryError can be held up. `inputs` are argument lists
    in canonical form. False for a text that is no program.
    """
    tree = parse_program("\n".join([program, *inputs]))
    names: set[str] = set()
    operators = False
    for node in [] if isinstance(tree, str) else ast.walk(tree):
        match node:
            case ast.Set() | ast.SetComp() | ast.JoinedStr() | ast.ExceptHandler(None):
                return True
            case ast.Try(finalbody=[_, *_]) | ast.FunctionDef("__exit__" | "__del__"):
                return True
            case ast.Constant(bytes(data)) if b"%" in data:
                return True
            case ast.Constant(str(text)):
                if "%" in text:  # as the left side of an operator it makes text of the right one
                    return True
                names.update(text.split("."))
            case ast.MatchClass(kwd_attrs=attributes):
                names.update(attributes)
            case ast.Name(name) | ast.Attribute(_, name) | ast.alias(name):
                names.add(name)
            case ast.BinOp(_, operator) | ast.AugAssign(_, operator):
                operators |= isinstance(operator, _SET_OPERATORS)
    has_operators = operators or not names.isdisjoint(_SET_OPERATOR_NAMES)
    return not names.isdisjoint(_SET_NAMES | _SHOW_ADDRESSES | _CATCH_ALL) or (
        has_operators and not names.isdisjoint(_VIEW_NAMES)
    )


def _entry_fault(tree: ast.Module) -> str:
    """Why a program has not one module-level `def f`; "" if it has."""
    entries = [node for node in tree.body if isinstance(node, Function) and node.name == ENTRY]
    if not entries:
        return "no-entry-function"
    if [name for node in tree.body for name in _bound_names(node)].count(ENTRY) > 1:
        return "entry-function-twice"
    return "entry-function-async" if isinstance(entries[0], ast.AsyncFunctionDef) else ""


def _bound_names(statement: ast.stmt) -> Iterator[str]:
    """Names that a module-level statement binds in the module, one a binding."""
    pending: list[ast.AST] = [statement]
    while pending:
        node = pending.pop()
        if isinstance(node, Function | ast.ClassDef):
            yield node.name
            continue
        if isinstance(node, ast.Lambda | ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp):
            continue
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.alias):
            yield (node.asname or node.name).split(".")[0]
        elif isinstance(node, ast.ExceptHandler | ast.MatchAs | ast.MatchStar) and node.name:
            yield node.name
        pending.extend(ast.iter_child_nodes(node))


def _scopes(table: symtable.SymbolTable) -> Iterator[symtable.SymbolTable]:
    """A scope and those inside it."""
    yield table
    for inner in table.get_children():
        yield from _scopes(inner)


def _rule_faults(tree: ast.Module, scopes: symtable.SymbolTable) -> Iterator[str]:
    """Reasons for which a program breaks the rules, one a place."""
    nodes = list(ast.walk(tree))  # a call before what is called
    modules: set[str] = set()
    for node in nodes:
        match node:
            case ast.Import(names):
                modules |= {alias.asname or alias.name.split(".")[0] for alias in names}
                for alias in names:
                    yield from _module_fault(alias.name)
            case ast.ImportFrom(module, names, level):
                if level or any(alias.name == "*" for alias in names):
                    yield "imports-relative-or-star"
                yield from _module_fault(module or "")
                for alias in names:
                    yield from _attribute_fault(alias.name)
                    if alias.name.startswith("_"):
                        yield "imports-private"
                    if (module, alias.name) == ("json", "tool"):
                        yield "imports-other"
            case ast.Name(name) if _is_dunder(name):
                yield "dunder-name"
            case ast.Attribute(_, name):
                yield from _attribute_fault(name)
            case ast.MatchClass(kwd_attrs=names):
                for name in names:
                    yield from _taken_fault(name)
            case ast.keyword(str(name)) if _is_dunder(name):
                yield "dunder-attribute"
    yield from _private_faults(nodes, modules)
    pattern_names = list(_pattern_names(nodes))
    for name in pattern_names:
        yield from _taken_fault(name)
    yield from _text_faults(nodes)
    yield from _random_faults(nodes, pattern_names)
    for scope in _scopes(scopes):
        place = scope.get_type()
        for symbol in scope.get_symbols():
            name = symbol.get_name()
            is_bound = symbol.is_assigned() or symbol.is_imported() or symbol.is_parameter()
            if is_bound and place != "class" and _is_dunder(name):
                yield "dunder-name"
            # Only in a function is an own name never the built-in one, not even before it is bound.
            is_own = place == "function" and not symbol.is_global()
            if name in REFUSED_NAMES and symbol.is_referenced() and not is_own:
                yield f"uses-{name}"


def _private_faults(nodes: Sequence[ast.AST], modules: set[str]) -> Iterator[str]:
    """Faults of private attributes that are not the program's own: those of a module, by whatever name."""
    own = set(PRIVATE_NAMES)
    for node in nodes:
        match node:
            case ast.Name(name, ast.Store()) | ast.Attribute(_, name, ast.Store()):
                own.add(name)
            case ast.FunctionDef(name) | ast.AsyncFunctionDef(name) | ast.ClassDef(name):
                own.add(name)
            case ast.Call(ast.Name("setattr"), [_, ast.Constant(str(name)), *_]):
                own.add(name)
    for node in nodes:
        match node:
            case ast.Attribute(value, name) if name.startswith("_") and not name.endswith("__"):
                is_of_module = isinstance(value, ast.Name) and value.id in modules
                if is_of_module or name not in own:
                    yield "imports-private"


def _pattern_names(nodes: Sequence[ast.AST]) -> Iterator[str]:
    """Names that class patterns such as `C(x)` may take as attributes.

    The class says which, by its fields, and need not be that of the object: `C` may be a protocol.
    """
    if not any(isinstance(node, ast.MatchClass) and node.patterns for node in nodes):
        return
    has_fields_in_text = any(
        isinstance(node, ast.Name | ast.Attribute | ast.alias) and not _named(node).isdisjoint(MAKE_FIELDS)
        for node in nodes
    )
    for node in nodes:
        match node:
            case ast.AnnAssign(ast.Name(name)):
                yield name
            case ast.Constant(str(text)) if has_fields_in_text:
                yield from text.replace(",", " ").split()
            case ast.keyword(str(name)) if has_fields_in_text:
                yield name


def _text_faults(nodes: Sequence[ast.AST]) -> Iterator[str]:
    """Faults of what takes attributes by name: the rules see a name only where it stands in the call."""
    seen: set[ast.AST] = set()
    for node in nodes:
        match node:
            case ast.Call(ast.Name("hasattr"), arguments):
                seen.update(arguments)  # it tells no more than whether there is one
            case ast.Call((ast.Name(name) | ast.Attribute(_, name)) as function, arguments, keywords) if (
                name in TAKE_NAMES
            ):
                seen.add(function)
                if any(isinstance(each, ast.Starred) for each in arguments) or (
                    keywords and name != "methodcaller"
                ):
                    yield "attribute-by-name"
                for argument in arguments[TAKE_NAMES[name]]:
                    yield from _named_faults(argument)
            case ast.Name(name) | ast.Attribute(_, name) if name in TAKE_NAMES and node not in seen:
                yield "attribute-by-name"
            case ast.alias(name, str()) if name in TAKE_NAMES:
                yield "attribute-by-name"
            case ast.Name(name) | ast.alias(name) if name in EVALUATE_TEXT:
                yield "evaluates-text"
            case ast.Constant(str(text)):
                is_dunder = _is_dunder(text) and text.isidentifier() and text.strip("_")
                if is_dunder and text != _MAIN and node not in seen:
                    yield "dunder-attribute"
                if "{" in text or "}" in text:  # a format string, or a part of one
                    for name in _ATTRIBUTE.findall(text):
                        yield from _attribute_fault(name)


def _named_faults(argument: ast.expr) -> Iterator[str]:
    """Faults of an argument that is the name of an attribute, or a path of them."""
    match argument:
        case ast.Constant(str(path)):
            for name in path.split("."):
                yield from _taken_fault(name)
        case _:
            yield "attribute-by-name"


def _random_faults(nodes: Sequence[ast.AST], pattern_names: Sequence[str]) -> Iterator[str]:
    """Faults of the one way to chance that the allowed modules have: `NormalDist.samples` without a seed."""
    is_seeded: set[ast.AST] = set()
    has_distribution, has_samples = "NormalDist" in pattern_names, "samples" in pattern_names
    for node in nodes:
        match node:
            case ast.Call(function, _, keywords):
                for keyword in keywords:
                    match keyword:
                        case ast.keyword("seed", ast.Constant(int() | str())):
                            is_seeded.add(function)
        names = _named(node)
        has_samples |= "samples" in names and node not in is_seeded and not isinstance(node, ast.Name)
        has_distribution |= "NormalDist" in names
    if has_distribution and has_samples:
        yield "uses-random"


def _named(node: ast.AST) -> set[str]:
    """Names of variables, attributes and what is imported that stand in a node itself, as text too."""
    match node:
        case ast.Name(name) | ast.Attribute(_, name) | ast.alias(name):
            return {name}
        case ast.Constant(str(text)):
            return {*text.split(".")}
        case ast.MatchClass(kwd_attrs=names):
            return {*names}
    return set()


def _taken_fault(name: str) -> Iterator[str]:
    """Faults of an attribute that is taken by its name and so does not stand behind a dot."""
    if name in TAKE_NAMES:
        yield "attribute-by-name"
    yield from _attribute_fault(name)


def _attribute_fault(name: str) -> Iterator[str]:
    if _is_dunder(name):
        yield "dunder-attribute"
    elif name in EVALUATE_TEXT:
        yield "evaluates-text"
    elif name in FRAME_ATTRIBUTES:
        yield "frame-attribute"
    elif name.lstrip("_") in HIDDEN_MODULES:
        yield from _module_fault(name.lstrip("_"))
    elif (
        name == "_thread"
    ):  # the one private module among those of the allowed ones that tells processes apart
        yield "imports-private"


def _module_fault(module: str) -> Iterator[str]:
    top = module.split(".")[0]
    if top not in ALLOWED_MODULES:
        yield f"imports-{top}" if top in NAMED_MODULES else "imports-other"
    elif module != top and module not in ALLOWED_SUBMODULES:
        yield "imports-other"


def _is_dunder(name: str) -> bool:
    return name.startswith("__") and name.endswith("__") and name not in ALLOWED_DUNDERS


def _drop_docstrings(tree: ast.Module) -> None:
    for node in ast.walk(tree):
        if isinstance(node, Documented) and ast.get_docstring(node, clean=False) is not None:
            # Only a module's body may be empty.
            node.body = node.body[1:] or ([] if isinstance(node, ast.Module) else [ast.Pass()])


def _defines_only(node: ast.AST) -> bool:
    """Whether a statement imports or defines, or chooses between such statements and does nothing else."""
    if isinstance(node, ast.If | ast.Try | ast.ExceptHandler):
        inside = [child for child in ast.iter_child_nodes(node) if not isinstance(child, ast.expr)]
        return all(isinstance(child, ast.Pass) or _defines_only(child) for child in inside)
    return isinstance(node, Function | ast.ClassDef | ast.Import | ast.ImportFrom)


def _segments(text: str, nodes: Sequence[ast.stmt]) -> Iterator[str]:
    """The source of each statement, with the decorators that belong to it."""
    source = text.encode()
    # Positions in a tree are lines and bytes in them.
    starts = [0, *(found.end() for found in re.finditer(b"\r\n|\r|\n", source))]
    for node in nodes:
        assert node.end_lineno is not None and node.end_col_offset is not None
        line, column = node.lineno - 1, node.col_offset
        if isinstance(node, Function | ast.ClassDef) and node.decorator_list:
            # A decorator's node begins behind its `@`, which may be lines above: `@(` opens a parenthesis. No
            # other line between the two can begin with one.
            line, column = node.decorator_list[0].lineno - 1, 0
            while not source[starts[line] : starts[line + 1]].lstrip().startswith(b"@"):
                line -= 1
        end = starts[node.end_lineno - 1] + node.end_col_offset
        yield source[starts[line] + column : end].decode()
