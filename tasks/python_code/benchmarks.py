"""Read the output- and input-prediction benchmarks that a user has on disk, for use as a held-out set.

    python -m tasks.python_code.benchmarks cruxeval.jsonl livecodebench_execution.jsonl --out crux.jsonl
    python -m recipe.main_azr pack=python_code pack.held_out_path=crux.jsonl ...

A CruxEval line has `code`, `input` (arguments) and `output`. A LiveCodeBench execution line has `code`,
`function_name`, `input` (a call, such as `minimum(nums = [1, 2])`) and `output`. Nothing is downloaded, and
nothing is run: outputs are taken from the file.
"""

from __future__ import annotations

import argparse
import ast
from collections.abc import Sequence
from pathlib import Path

from tasks.contract import TaskRecord
from tasks.kit.held_out_file import read_rows, render
from tasks.kit.payload import Payload, read_str
from tasks.kit.program import ENTRY, parse_program
from tasks.python_code.pack import PythonCodePack
from tasks.python_code.records import ABDUCTION, DEDUCTION, Example, to_record
from tasks.sandbox import parse_arguments, parse_literal, render_arguments
from tasks.sandbox import render as render_literal

TRIPLET_KINDS = (DEDUCTION, ABDUCTION)


def load_benchmark(path: Path, kinds: Sequence[str] = TRIPLET_KINDS) -> list[TaskRecord]:
    """Read a benchmark's JSONL file: for each line one record of each kind, deduction or abduction.

    Raises:
        ValueError: A line is of neither benchmark; the message has the file, the number of the line and why.
    """
    rows = read_rows(path, path.read_text(encoding="utf-8").split("\n"), _read_row)
    return [to_record(kind, program, [example]) for program, example in rows for kind in kinds]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program: turn benchmark files into one held-out file."""
    parser = argparse.ArgumentParser(prog="python -m tasks.python_code.benchmarks", description=main.__doc__)
    parser.add_argument("files", nargs="+", type=Path, help="JSONL files of CruxEval or LiveCodeBench")
    parser.add_argument("--out", required=True, type=Path, help="the held-out file to write")
    parser.add_argument("--kinds", nargs="+", choices=TRIPLET_KINDS, default=list(TRIPLET_KINDS))
    options = parser.parse_args(arguments)
    pack = PythonCodePack()
    by_key: dict[str, TaskRecord] = {}
    try:
        for path in options.files:
            for record in load_benchmark(path, options.kinds):
                by_key.setdefault(pack.task_key(record), record)
    except (OSError, ValueError) as error:
        parser.error(str(error))
    records = list(by_key.values())
    options.out.write_text(render(pack, records), encoding="utf-8")
    print(f"{options.out}: {len(records)} records")
    return 0


def _read_row(row: Payload) -> tuple[str, Example]:
    """The program, with a function `f`, and its arguments and output in canonical form."""
    code, text, output = (read_str(row, field) for field in ("code", "input", "output"))
    name = row.get("function_name", ENTRY)
    function = _find_function(code, name)
    if "function_name" in row:
        code = code if name == ENTRY else f"{code.rstrip()}\n\n{ENTRY} = {name}"
        text = _order_arguments(function, text)
    return code, Example(render_arguments(parse_arguments(text)), render_literal(parse_literal(output)))


def _find_function(code: str, name: object) -> ast.FunctionDef:
    tree = parse_program(code)
    if isinstance(tree, str):
        raise ValueError(f"'code' must be a program ({tree})")
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and node.name == name:
            return node
    raise ValueError(f"'code' must define {name!r}")


def _order_arguments(function: ast.FunctionDef, text: str) -> str:
    """The arguments of a call with keywords as a list in the order of the function's parameters."""
    tree = parse_program(text)
    statement = tree.body[0] if isinstance(tree, ast.Module) and len(tree.body) == 1 else None
    call = statement.value if isinstance(statement, ast.Expr) else None
    if not isinstance(call, ast.Call):
        raise ValueError(f"'input' must be a call; got {text[:80]!r}")
    names = [parameter.arg for parameter in function.args.args][len(call.args) :]
    by_name = {keyword.arg: keyword.value for keyword in call.keywords}
    given = names[: len(by_name)]
    if set(by_name) != set(given):
        raise ValueError(f"'input' must give the first parameters of {function.name}; got {text[:80]!r}")
    return ", ".join(ast.unparse(node) for node in [*call.args, *(by_name[name] for name in given)])


if __name__ == "__main__":
    raise SystemExit(main())
