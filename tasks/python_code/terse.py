"""The form for a model that was trained on it: one short line each way, no instructions.

    kind        proposal                  question               answer
    deduction   f(x)=x*2+3;f(4)           f(x)=x*2+3;f(4)        :11  or  (4*2=8 8+3=11):11
    abduction   f(x)=x*2+3;x=4            f(x)=x*2+3;f(?)=11     :4   or  (11-3=8 8/2=4):4
    induction   f(x)=x*2+3;1;2;5;0;4;7    1>5 2>7 5>13           :x*2+3  or  (7-5=2 1*2=2 5-2=3):x*2+3
    error       f(x)=1/x;raise f(0)       f(x)=1/x;raise f(0)    :ZeroDivisionError

A proposal is the last line that is not blank. What stands behind `f(x)=` are Python statements, taken apart
by Python's own parser; the expression becomes `def f(x): return <expression>`.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence

from tasks.contract import Rejected, TaskRecord, Verdict
from tasks.kit.form import TERSE_REQUEST, Form, read_terse_answer, terse_answer
from tasks.kit.parsing import last_line
from tasks.kit.program import parse_program
from tasks.python_code import records
from tasks.python_code.records import ABDUCTION, DEDUCTION, ERROR, INDUCTION, Draft, Task
from tasks.python_code.terse_programs import TERSE_INPUTS, TERSE_MESSAGE, compact, parse_rule, to_program
from tasks.sandbox.literals import equal, parse_arguments, parse_literal

HEAD = "f(x)="


class TerseForm(Form[Draft]):
    """One line each way."""

    num_inputs = TERSE_INPUTS

    def request(self, kind: str, references: Sequence[TaskRecord], given: str = "") -> str:
        """A proposer's prompt; the reference says of which kind, and nothing is given."""
        return "\n".join([TERSE_REQUEST, *map(self.proposal, references)])

    def read_proposal(self, kind: str, response: str) -> Draft | Rejected:
        line = last_line(response)
        if not line.startswith(HEAD):
            return Rejected.malformed("no-program")
        text = line.removeprefix(HEAD)
        tree = parse_program(text)
        if isinstance(tree, str):
            return Rejected.malformed(tree)
        first, *rest = tree.body or [ast.Pass()]
        if not isinstance(first, ast.Expr):
            return Rejected.malformed("no-program")
        if len(rest) != (self.num_inputs if kind == INDUCTION else 1):
            return Rejected.malformed("number-of-inputs")
        inputs = [_input(kind, text, statement) for statement in rest]
        found = tuple(each for each in inputs if each is not None)
        if len(found) < len(inputs):
            return Rejected.malformed("no-input")
        program = to_program(ast.get_source_segment(text, first.value) or "")
        return Draft(program, found, TERSE_MESSAGE if kind == INDUCTION else "")

    def proposal(self, record: TaskRecord) -> str:
        task = Task.read(record)
        inputs = [_arguments(example.input) for example in task.examples]
        shown = {DEDUCTION: "f({})", ABDUCTION: "x={}", ERROR: "raise f({})"}.get(task.kind, "{}")
        return ";".join([_one_line(task), *map(shown.format, inputs)])

    def question(self, record: TaskRecord) -> str:
        task = Task.read(record)
        if task.kind == INDUCTION:
            return " ".join(f"{_arguments(each.input)}>{_value(each.output)}" for each in task.shown)
        if task.kind == ABDUCTION:
            return f"{_one_line(task)};f(?)={_value(task.output)}"
        return self.proposal(record)

    def read_answer(self, record: TaskRecord, response: str) -> str | Verdict:
        answer = (read_terse_answer(response) or "").strip()
        if not answer:
            return Verdict.malformed("no-answer")
        return to_program(answer.removeprefix(HEAD)) if record.kind == INDUCTION else answer

    def answer(self, record: TaskRecord) -> str:
        """A right response; of the inputs of a rule always the same one, not the one that was drawn."""
        return terse_answer(_work_out(Task.read(record))[0])

    def worked_answer(self, record: TaskRecord) -> str:
        """A right response with its steps, which only rules have."""
        answer, steps = _work_out(Task.read(record))
        return terse_answer(answer, " ".join(steps))


def _work_out(task: Task) -> tuple[str, list[str]]:
    """A right answer, and the steps to it that the program's rule gives; none where it follows no rule."""
    if task.kind == ERROR:
        return task.output, []
    line = _one_line(task).removeprefix(HEAD)
    rule, output = parse_rule(line), parse_literal(task.output)
    if task.kind == ABDUCTION:
        found = None if rule is None else rule.invert(output)
        if rule is None or found is None:
            return _arguments(task.input), []
        return compact(found), rule.steps_back(output)
    answer = line if task.kind == INDUCTION else compact(output)
    pairs = [(_only(each.input), parse_literal(each.output)) for each in task.shown]
    if rule is None or not all(equal(rule.apply(x), y, strict=True) for x, y in pairs):
        return answer, []
    return answer, rule.steps_from(pairs) if task.kind == INDUCTION else rule.steps(pairs[0][0])


def _input(kind: str, text: str, statement: ast.stmt) -> str | None:
    """The source of the input that a statement gives; None if it gives none in the form of this kind."""
    match kind, statement:
        case (records.INDUCTION, ast.Expr(value)) | (records.ABDUCTION, ast.Assign([ast.Name("x")], value)):
            return ast.get_source_segment(text, value)
        case (records.DEDUCTION, ast.Expr(call)) | (records.ERROR, ast.Raise(call, None)):
            if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "f":
                return (ast.get_source_segment(text, call) or "").partition("(")[2].removesuffix(")")
    return None


def _one_line(task: Task) -> str:
    """The program in one line if it is `def f(x): return <expression>`; any other as it is."""
    expression = task.program.removeprefix(to_program(""))
    return task.program if expression == task.program or "\n" in expression else HEAD + expression


def _only(arguments: str) -> object:
    """The argument, if there is one; else the tuple of all, which fits no rule."""
    found = parse_arguments(arguments)
    return found[0] if len(found) == 1 else found


def _arguments(arguments: str) -> str:
    return ",".join(map(compact, parse_arguments(arguments)))


def _value(literal: str) -> str:
    return compact(parse_literal(literal))
