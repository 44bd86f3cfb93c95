"""Turn files of output- and input-prediction benchmarks, as they are published, into a held-out set.

    python -m tasks.python_code.benchmarks cruxeval.jsonl livecodebench_execution.parquet --out crux.jsonl
    python -m recipe.main_azr pack=python_code pack.held_out_path=crux.jsonl ...

A CruxEval row has `code`, `input` (arguments) and `output`. A row of LiveCodeBench's execution part has
`code`, `function_name`, `input` (a call, such as `minimum(nums = [1, 2])`) and `output`. Nothing is
downloaded. Every program runs in the sandbox: what its row says has to be what it returns.
"""

from __future__ import annotations

import argparse
import ast
import builtins
import importlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import cache, partial
from pathlib import Path

from tasks.contract import CheckBrokenError, PackUnavailableError, TaskRecord
from tasks.execution import Runner, error_class, fault
from tasks.kit.data_file import Tasks, collect_tasks, describe_left_out, read_data_file
from tasks.kit.held_out_file import render, require_place
from tasks.kit.knobs import read_knobs
from tasks.kit.payload import Payload, read_str
from tasks.kit.program import ENTRY, bound_names, parse_program
from tasks.kit.syntax import parse_expression
from tasks.python_code.pack import PythonCodePack
from tasks.python_code.records import ABDUCTION, DEDUCTION, Example, to_record
from tasks.sandbox import Call, LiteralError, equal, parse_arguments, parse_literal, render_arguments
from tasks.sandbox import render as render_literal

TRIPLET_KINDS = (DEDUCTION, ABDUCTION)

WANTED = "rows of CruxEval (code, input, output) or of LiveCodeBench's execution part (function_name as well)"

TAKEN_FOR_GRANTED = (
    "collections", "itertools", "functools", "math", "heapq", "bisect", "operator", "string", "copy", "re",
    "typing",
)  # fmt: skip
"""Modules whose names LiveCodeBench's programs use and do not import; the first that has a name gives it.

Its runner imports them (BASE_IMPORTS in lcb_runner/evaluation/utils_execute.py of its repository). It imports
numpy, pandas and random as well; rows that need those are left out.
"""

RENAMING = {
    "re_search": "from re import search as re_search",
    "commonprefix": "from os.path import commonprefix",
}
"""What that runner imports from elsewhere, or under another name."""


def load_benchmark(
    path: Path, kinds: Sequence[str] = TRIPLET_KINDS, sandbox: Mapping[str, object] | None = None
) -> Tasks:
    """Read a benchmark's file: of each row a task of each kind, deduction or abduction; and what is left out.

    `sandbox` are keys of the sandbox that its programs run in, as in the pack's knob of that name.

    Raises:
        OSError: The file cannot be read.
        ValueError: It is no data file, or no row of it makes a task.
        PackUnavailableError: Programs cannot be run on this machine.
        CheckBrokenError: The sandbox broke.
    """
    pack = PythonCodePack(kinds=list(kinds), sandbox=sandbox)
    rows = read_data_file(path)
    pack.require_available()
    return collect_tasks(path, rows, partial(_read_row, runner=pack.runner), pack, WANTED)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program: turn benchmark files into one held-out file."""
    parser = argparse.ArgumentParser(prog="python -m tasks.python_code.benchmarks", description=main.__doc__)
    parser.add_argument("files", nargs="+", type=Path, help="files of CruxEval or LiveCodeBench, any format")
    parser.add_argument("--out", required=True, type=Path, help="the held-out file to write")
    parser.add_argument("--kinds", nargs="+", choices=TRIPLET_KINDS, default=list(TRIPLET_KINDS))
    parser.add_argument(
        "--sandbox", nargs="+", default=[], metavar="KEY=VALUE", help="of the sandbox, such as backend=wasm"
    )
    options = parser.parse_args(arguments)
    by_key: dict[str, TaskRecord] = {}
    pack = PythonCodePack()
    try:
        require_place(options.out, *options.files)
        for path in options.files:
            loaded = load_benchmark(path, options.kinds, read_knobs(options.sandbox))
            print(*describe_left_out(path, loaded.left_out), f"{path}: {len(loaded)} tasks", sep="\n")
            for record in loaded:
                by_key.setdefault(pack.task_key(record), record)
        options.out.write_text(render(pack, list(by_key.values())), encoding="utf-8")
    except (OSError, ValueError, CheckBrokenError, PackUnavailableError) as error:
        parser.error(str(error))
    print(f"{options.out}: {len(by_key)} records")
    return 0


def _read_row(row: Payload, runner: Runner) -> list[TaskRecord]:
    """The tasks of a row, in canonical form.

    Raises:
        ValueError: The row is of neither benchmark, or its program does not return what it says.
    """
    code, text, output = (read_str(row, field) for field in ("code", "input", "output"))
    entry = row.get("function_name")
    function = _find_function(code, entry or ENTRY)
    call = _read_call(text if entry else f"{ENTRY}({text}\n)", function.name)
    program = _import_missing(code)
    arguments = _arguments(program, _order_arguments(function, call), runner)
    value = _value(program, output, runner)
    if function.name != ENTRY:
        program = f"{program.rstrip()}\n\n{ENTRY} = {function.name}"
    example = Example(render_arguments(arguments), render_literal(value))
    calls = runner.run(program, [example.input])
    if calls[0].literal is None:
        raise ValueError(f"its program gives no literal ({_fault(calls[0])})")
    if not equal(parse_literal(calls[0].literal), value):
        raise ValueError("its program does not return its output")
    if reason := runner.repeat_fault(program, [example.input], calls):
        raise ValueError(f"its program is {reason}")
    return [to_record(kind, program, [example]) for kind in TRIPLET_KINDS]


def _find_function(code: str, name: object) -> ast.FunctionDef:
    tree = parse_program(code)
    if isinstance(tree, str):
        raise ValueError(f"'code' must be a program ({tree})")
    for node in reversed(tree.body):  # the last one is the one that is called
        if isinstance(node, ast.FunctionDef) and node.name == name:
            return node
    raise ValueError("'code' must define the function that is called")


def _read_call(text: str, function: str) -> ast.Call:
    match parse_program(text):
        # `1)(2` closes the parenthesis itself: then it is no plain call any more.
        case ast.Module([ast.Expr(ast.Call(ast.Name(name)) as call)]) if name == function:
            return call
    raise ValueError("'input' must be arguments, or a call where there is a 'function_name'")


def _order_arguments(function: ast.FunctionDef, call: ast.Call) -> list[str]:
    """The arguments of a call with keywords, in the order of the function's parameters.

    Those that are left out before others have their defaults.
    """
    keywords = {keyword.arg: keyword.value for keyword in call.keywords}
    parameters = [parameter.arg for parameter in [*function.args.posonlyargs, *function.args.args]]
    defaults = zip(reversed(parameters), reversed(function.args.defaults), strict=False)
    value_of: dict[str | None, ast.expr] = {**dict(defaults), **keywords}
    names = parameters[len(call.args) :]
    while names and names[-1] not in keywords:
        names.pop()
    if not set(keywords) <= set(names) <= set(value_of):
        raise ValueError("'input' must give values to the first parameters of the function")
    return [ast.unparse(node) for node in [*call.args, *(value_of[name] for name in names)]]


def _arguments(program: str, arguments: Sequence[str], runner: Runner) -> tuple[object, ...]:
    """The values of arguments; of expressions such as `''.join(['b'] * 4)` what the sandbox makes of them."""
    try:
        return parse_arguments(", ".join(arguments))
    except LiteralError:
        value = _work_out(program, f"({', '.join(arguments)},)", "input", runner)
        assert isinstance(value, tuple)
        return value


def _value(program: str, output: str, runner: Runner) -> object:
    try:
        return parse_literal(output)
    except LiteralError:
        try:
            expression = ast.unparse(parse_expression(output.strip()))
        except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
            raise ValueError("'output' must be an expression") from error
        return _work_out(program, expression, "output", runner)


def _work_out(program: str, expression: str, what: str, runner: Runner) -> object:
    """The value of an expression that may use the program's names, if it is a literal."""
    (call,) = runner.run(_import_missing(f"{program}\n\ndef {ENTRY}():\n    return {expression}"), [""])
    if call.literal is None:
        raise ValueError(f"its {what} is an expression that gives no literal ({_fault(call)})")
    return parse_literal(call.literal)


def _fault(call: Call) -> str:
    """What went wrong with a call, and by which error."""
    return f"{fault(call)}: {error_class(call)}" if call.error else fault(call)


def _import_missing(program: str) -> str:
    """The program behind imports of the names that it takes for granted."""
    tree = parse_program(program)
    if isinstance(tree, str):
        raise ValueError(f"'code' must be a program ({tree})")
    try:
        known = bound_names(program) | set(dir(builtins))
    except SyntaxError as error:
        raise ValueError(f"'code' must be a program ({error.msg})") from error
    nodes = list(ast.walk(tree))
    modules = {n.value.id for n in nodes if isinstance(n, ast.Attribute) and isinstance(n.value, ast.Name)}
    imports: defaultdict[str, list[str]] = defaultdict(list)
    lines = []
    for name in sorted({node.id for node in nodes if isinstance(node, ast.Name)} - known):
        if name in TAKEN_FOR_GRANTED and name in modules:
            lines.append(f"import {name}")
        elif name in RENAMING:
            lines.append(RENAMING[name])
        elif module := next((each for each in TAKEN_FOR_GRANTED if name in _names_of(each)), None):
            imports[module].append(name)
    lines += [f"from {module} import {', '.join(found)}" for module, found in sorted(imports.items())]
    return _behind_docstring(tree, program, lines) if lines else program


def _behind_docstring(tree: ast.Module, program: str, lines: Sequence[str]) -> str:
    """The program with lines before its first statement, but for a docstring and imports of `__future__`."""
    first = 0
    for node in tree.body:
        match node:
            case ast.Expr(ast.Constant(str())) | ast.ImportFrom("__future__"):
                first = node.end_lineno or 0
            case _:
                break
    source = program.split("\n")
    return "\n".join([*source[:first], *lines, "", *source[first:]])


@cache
def _names_of(module: str) -> frozenset[str]:
    """What `from module import *` would give."""
    found = importlib.import_module(module)
    return frozenset(getattr(found, "__all__", dir(found)))


if __name__ == "__main__":
    raise SystemExit(main())
