"""Grade answers: by value, and where a program has to run, by its results outside the sandbox.

No expected value ever enters the sandbox, so no program can look it up or compare itself right.
"""

from __future__ import annotations

from dataclasses import replace

from tasks.contract import Outcome, Rejected, TaskRecord, Verdict
from tasks.execution import BUILT_IN_ERRORS, NOT_DETERMINISTIC, Runner, fault
from tasks.kit.payload import read_str
from tasks.kit.program import Refusal, Rules, check_program
from tasks.python_code.admission import read_input
from tasks.python_code.knobs import LITERAL_CHARS, PROGRAM_CHARS
from tasks.python_code.records import ABDUCTION, DEDUCTION, ERROR, read_examples, read_program
from tasks.sandbox import Call
from tasks.sandbox.literals import LiteralError, equal, parse_literal

CORRECT = Verdict(Outcome.CORRECT, "")

SHARE = "share"
"""Measure of an induction program that ran: the share of the hidden examples that hold, in [0, 1]."""


class Grader:
    """Compares answers with tasks. Blocks while programs run.

    Sizes are the largest that any knob allows, so that a task of another run keeps its right answers.

    Args:
        strict: Tell `1`, `1.0` and `True` apart.
        runner: Runs the programs.
    """

    def __init__(self, strict: bool, runner: Runner) -> None:
        self._rules = Rules(PROGRAM_CHARS[1], keep_comments=True, keep_globals=True)
        self._strict = strict
        self._runner = runner

    def grade(self, record: TaskRecord, answer: str) -> Verdict:
        """Compare an answer (a value, an argument list, a program or a class name) with its task."""
        if record.kind == DEDUCTION:
            return self._grade_output(record, answer)
        if record.kind == ABDUCTION:
            return self._grade_input(record, answer)
        if record.kind == ERROR:
            return _grade_error(record, answer)
        return self._grade_program(record, answer)

    def _grade_output(self, record: TaskRecord, answer: str) -> Verdict:
        if len(answer) > LITERAL_CHARS[1]:
            return _malformed("answer-too-big")
        try:
            value = parse_literal(answer)
        except LiteralError:
            return _malformed("answer-not-a-literal")
        right = parse_literal(read_str(record.payload, "output"))
        return CORRECT if equal(value, right, self._strict) else _wrong("wrong-output")

    def _grade_input(self, record: TaskRecord, answer: str) -> Verdict:
        arguments = read_input(answer, LITERAL_CHARS[1])
        if isinstance(arguments, Rejected):
            return Verdict(arguments.outcome, arguments.reason)
        right = read_str(record.payload, "output")
        (verdict,) = self._run(read_program(record), [arguments], [right], "wrong-input")
        return verdict

    def _grade_program(self, record: TaskRecord, answer: str) -> Verdict:
        program = check_program(answer, self._rules)
        if isinstance(program, Refusal):
            return _malformed(program.reason) if program.is_malformed else _wrong(program.reason)
        _, hidden = read_examples(record.payload)
        inputs, outputs = [example.input for example in hidden], [example.output for example in hidden]
        verdicts = self._run(program, inputs, outputs, "wrong-program")
        first_fault = next((verdict for verdict in verdicts if verdict != CORRECT), CORRECT)
        return replace(first_fault, measures={SHARE: verdicts.count(CORRECT) / len(verdicts)})

    def _run(self, program: str, inputs: list[str], outputs: list[str], reason: str) -> list[Verdict]:
        """Verdicts on what a program returns, one an input.

        What is right is run a second time: a result that changes from run to run would let a proposer choose
        how often its task is solved. What is wrong would only be wrong again, at twice the price.
        """
        calls = self._runner.run(program, inputs)
        verdicts = [self._compare(*pair, reason) for pair in zip(calls, outputs, strict=True)]
        if any(verdict != CORRECT for verdict in verdicts):
            return verdicts
        repeated = self._runner.repeated(program, inputs, calls)
        return [CORRECT if same else _wrong(NOT_DETERMINISTIC) for same in repeated]

    def _compare(self, call: Call, right: str, reason: str) -> Verdict:
        if call.literal is None:
            return _wrong(fault(call))
        same = equal(parse_literal(call.literal), parse_literal(right), self._strict)
        return CORRECT if same else _wrong(reason)


def _grade_error(record: TaskRecord, answer: str) -> Verdict:
    name = answer.strip()
    if name not in BUILT_IN_ERRORS:
        return _malformed("answer-not-an-error")
    right = BUILT_IN_ERRORS.get(read_str(record.payload, "error"))
    return CORRECT if BUILT_IN_ERRORS[name] is right else _wrong("wrong-error")


def _malformed(reason: str) -> Verdict:
    return Verdict(Outcome.MALFORMED, reason)


def _wrong(reason: str) -> Verdict:
    return Verdict(Outcome.WRONG, reason)
