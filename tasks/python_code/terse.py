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
from tasks.kit.parsing import last_line
from tasks.kit.payload import read_str
from tasks.kit.program import parse_program
from tasks.python_code.form import Form, malformed, stored_answer, unanswered
from tasks.python_code.records import (
    ABDUCTION,
    DEDUCTION,
    ERROR,
    INDUCTION,
    Draft,
    Example,
    read_examples,
    read_program,
)
from tasks.python_code.rule_draws import TERSE_INPUTS, TERSE_MESSAGE, to_program
from tasks.python_code.rules import Rule, compact, parse_rule
from tasks.sandbox.literals import equal, parse_arguments, parse_literal

REQUEST = "new"
HEAD = "f(x)="


class TerseForm(Form):
    """One line each way."""

    num_inputs = TERSE_INPUTS

    def request(self, kind: str, references: Sequence[TaskRecord], given: str) -> str:
        """See `Form.request`; the reference says of which kind, and nothing is given."""
        return "\n".join([REQUEST, *(self.proposal(record) for record in references)])

    def read_proposal(self, kind: str, response: str) -> Draft | Rejected:
        """See `Form.read_proposal`."""
        line = last_line(response)
        if not line.startswith(HEAD):
            return malformed("no-program")
        text = line.removeprefix(HEAD)
        tree = parse_program(text)
        if isinstance(tree, str):
            return malformed(tree)
        first, *rest = tree.body or [ast.Pass()]
        if not isinstance(first, ast.Expr):
            return malformed("no-program")
        if len(rest) != (self.num_inputs if kind == INDUCTION else 1):
            return malformed("number-of-inputs")
        inputs = [_input(kind, text, statement) for statement in rest]
        found = tuple(each for each in inputs if each is not None)
        if len(found) < len(inputs):
            return malformed("no-input")
        program = to_program(ast.get_source_segment(text, first.value) or "")
        return Draft(program, found, TERSE_MESSAGE if kind == INDUCTION else "")

    def proposal(self, record: TaskRecord) -> str:
        """See `Form.proposal`."""
        head = _shown_program(record)
        if record.kind == INDUCTION:
            shown, hidden = read_examples(record.payload)
            return ";".join([head, *(_arguments(example.input) for example in [*shown, *hidden])])
        text = _arguments(read_str(record.payload, "input"))
        return {
            DEDUCTION: f"{head};f({text})",
            ABDUCTION: f"{head};x={text}",
            ERROR: f"{head};raise f({text})",
        }[record.kind]

    def question(self, record: TaskRecord) -> str:
        """See `Form.question`."""
        if record.kind == INDUCTION:
            shown, _ = read_examples(record.payload)
            return " ".join(f"{_arguments(each.input)}>{_value(each.output)}" for each in shown)
        if record.kind == ABDUCTION:
            return f"{_shown_program(record)};f(?)={_value(read_str(record.payload, 'output'))}"
        return self.proposal(record)

    def read_answer(self, kind: str, response: str) -> str | Verdict:
        """See `Form.read_answer`: what stands behind the colon, which steps in parentheses may precede."""
        line = last_line(response)
        if line.startswith("("):
            line = ":" + line.partition("):")[2]
        answer = line[1:].strip()
        if not line.startswith(":") or not answer:
            return unanswered("no-answer")
        return to_program(answer.removeprefix(HEAD)) if kind == INDUCTION else answer

    def answer(self, record: TaskRecord) -> str:
        """See `Form.answer`; of the inputs of a rule always the same one, not the one that was drawn."""
        if record.kind == INDUCTION:
            return f":{_shown_program(record).removeprefix(HEAD)}"
        if record.kind == DEDUCTION:
            return f":{_value(stored_answer(record))}"
        if record.kind == ERROR:
            return f":{stored_answer(record)}"
        rule, output = _rule(record), parse_literal(read_str(record.payload, "output"))
        found = rule.invert(output) if rule is not None else None
        return f":{_arguments(stored_answer(record)) if found is None else compact(found)}"

    def worked_answer(self, record: TaskRecord) -> str:
        """See `Form.worked_answer`; only rules have steps."""
        rule = _rule(record)
        steps = _steps(record, rule) if rule is not None and record.kind != ERROR else []
        answer = self.answer(record)
        return f"({' '.join(steps)}){answer}" if steps else answer


def _steps(record: TaskRecord, rule: Rule) -> list[str]:
    payload = record.payload
    if record.kind == INDUCTION:
        shown, _ = read_examples(payload)
        pairs = [(_only(each.input), parse_literal(each.output)) for each in shown]
        return rule.steps_from(pairs) if all(rule.apply(x) == y for x, y in pairs) else []
    example = Example(read_str(payload, "input"), read_str(payload, "output"))
    output = parse_literal(example.output)
    if record.kind == DEDUCTION:
        value = _only(example.input)
        return rule.steps(value) if equal(rule.apply(value), output, strict=True) else []
    return rule.steps_back(output) if rule.invert(output) is not None else []


def _input(kind: str, text: str, statement: ast.stmt) -> str | None:
    """The text of an argument list in one statement of a proposal; None if it is of another form."""
    if kind == INDUCTION:
        return ast.get_source_segment(text, statement.value) if isinstance(statement, ast.Expr) else None
    if kind == ABDUCTION:
        if isinstance(statement, ast.Assign) and [ast.unparse(each) for each in statement.targets] == ["x"]:
            return ast.get_source_segment(text, statement.value)
        return None
    call = None
    if kind == DEDUCTION and isinstance(statement, ast.Expr):
        call = statement.value
    elif kind == ERROR and isinstance(statement, ast.Raise) and statement.cause is None:
        call = statement.exc
    if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name) or call.func.id != "f":
        return None
    segment = ast.get_source_segment(text, call) or ""
    return segment.partition("(")[2].removesuffix(")")


def _shown_program(record: TaskRecord) -> str:
    """The program in one line if it is `def f(x): return <expression>`; any other as it is."""
    program = read_program(record)
    expression = program.removeprefix(to_program(""))
    return program if expression == program or "\n" in expression else HEAD + expression


def _rule(record: TaskRecord) -> Rule | None:
    return parse_rule(_shown_program(record).removeprefix(HEAD))


def _only(arguments: str) -> object:
    """The argument, if there is one; else the tuple of all, which fits no rule."""
    found = parse_arguments(arguments)
    return found[0] if len(found) == 1 else found


def _arguments(arguments: str) -> str:
    return ",".join(map(compact, parse_arguments(arguments)))


def _value(literal: str) -> str:
    return compact(parse_literal(literal))
