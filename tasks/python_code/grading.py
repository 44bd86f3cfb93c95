"""Grade answers: by value, and where a program has to run, by its results outside the sandbox.

No expected value ever enters the sandbox, so no program can look it up or compare itself right.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from tasks.contract import Rejected, TaskRecord, Verdict
from tasks.execution import BUILT_IN_ERRORS, NOT_DETERMINISTIC, Runner, fault
from tasks.kit.program import Rules, check_program
from tasks.python_code.knobs import MAX_LITERAL_CHARS, MAX_PROGRAM_CHARS
from tasks.python_code.records import ABDUCTION, DEDUCTION, ERROR, Example, Task
from tasks.python_code.validation import read_input
from tasks.sandbox import Call
from tasks.sandbox.literals import LiteralError, equal, parse_literal

CORRECT = Verdict.correct()

SHARE = "share"
"""Measure of an induction program that ran: the share of the hidden examples that hold, in [0, 1]."""

# Sizes are the largest that any knob allows, so that a task of another run keeps its right answers.
_RULES = Rules(MAX_PROGRAM_CHARS, keep_comments=True, keep_globals=True)


class Grader:
    """Compares answers with tasks; `strict` tells `1`, `1.0` and `True` apart. Blocks while `runner` runs."""

    def __init__(self, strict: bool, runner: Runner) -> None:
        self._strict = strict
        self._runner = runner

    def grade(self, record: TaskRecord, answer: str) -> Verdict:
        """Compare an answer (a value, an argument list, a program or a class name) with its task.

        Raises:
            SandboxBroken: The sandbox itself failed.
        """
        task = Task.read(record)
        if task.kind == DEDUCTION:
            return self._grade_output(task, answer)
        if task.kind == ABDUCTION:
            return self._grade_input(task, answer)
        return _grade_error(task, answer) if task.kind == ERROR else self._grade_program(task, answer)

    def _grade_output(self, task: Task, answer: str) -> Verdict:
        if len(answer) > MAX_LITERAL_CHARS:
            return Verdict.malformed("answer-too-big")
        try:
            value = parse_literal(answer)
        except LiteralError:
            return Verdict.malformed("answer-not-a-literal")
        is_right = equal(value, parse_literal(task.output), self._strict)
        return CORRECT if is_right else Verdict.wrong("wrong-output")

    def _grade_input(self, task: Task, answer: str) -> Verdict:
        arguments = read_input(answer, MAX_LITERAL_CHARS)
        if isinstance(arguments, Rejected):
            return Verdict(arguments.outcome, arguments.reason)
        (verdict,) = self._run(task.program, [Example(arguments, task.output)], "wrong-input")
        return verdict

    def _grade_program(self, task: Task, answer: str) -> Verdict:
        program = check_program(answer, _RULES)
        if isinstance(program, Rejected):
            return Verdict(program.outcome, program.reason)
        verdicts = self._run(program, task.hidden, "wrong-program")
        first_fault = next((verdict for verdict in verdicts if verdict != CORRECT), CORRECT)
        return replace(first_fault, measures={SHARE: verdicts.count(CORRECT) / len(verdicts)})

    def _run(self, program: str, examples: Sequence[Example], reason: str) -> list[Verdict]:
        """Verdicts on what a program returns, one an example.

        What is right is run a second time: a result that changes from run to run would let a proposer choose
        how often its task is solved. What is wrong would only be wrong again, at twice the price.
        """
        inputs = [example.input for example in examples]
        calls = self._runner.run(program, inputs)
        pairs = zip(calls, examples, strict=True)
        verdicts = [self._compare(call, example.output, reason) for call, example in pairs]
        if any(verdict != CORRECT for verdict in verdicts):
            return verdicts
        repeated = self._runner.repeated(program, inputs, calls)
        return [CORRECT if same else Verdict.wrong(NOT_DETERMINISTIC) for same in repeated]

    def _compare(self, call: Call, right: str, reason: str) -> Verdict:
        if call.literal is None:
            return Verdict.wrong(fault(call))
        same = equal(parse_literal(call.literal), parse_literal(right), self._strict)
        return CORRECT if same else Verdict.wrong(reason)


def _grade_error(task: Task, answer: str) -> Verdict:
    name = answer.strip()
    if name not in BUILT_IN_ERRORS:
        return Verdict.malformed("answer-not-an-error")
    is_right = BUILT_IN_ERRORS[name] is BUILT_IN_ERRORS.get(task.output)
    return CORRECT if is_right else Verdict.wrong("wrong-error")
