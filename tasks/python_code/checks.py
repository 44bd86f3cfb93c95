"""Check what a model wrote: whether a draft is a task, and whether an answer to one is right.

A program makes a task if it keeps the rules of `tasks/kit/program.py` and gives equal values in two processes
with different hash seeds, within half of the time that an attempt will have. Answers are compared by value,
and where a program has to run, by its results outside the sandbox: no expected value ever enters it, so no
program can look it up or compare itself right.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence

from tasks.contract import Rejected, TaskRecord, Verdict
from tasks.execution import BUILT_IN_ERRORS, NOT_DETERMINISTIC, Runner, error_class, fault
from tasks.kit.program import Rules, bound_names, check_program
from tasks.python_code.composite import compose
from tasks.python_code.knobs import MAX_LITERAL_CHARS, MAX_PROGRAM_CHARS, PythonCodeKnobs
from tasks.python_code.records import ABDUCTION, ERROR, INDUCTION, Draft, Example, Task, to_record
from tasks.python_code.written import written_error, written_input, written_value
from tasks.sandbox import Call, CallStatus
from tasks.sandbox.literals import LiteralError, equal, parse_arguments, parse_literal, render_arguments

MAX_MESSAGE_CHARS = 2_000
MACHINE_ERRORS = frozenset({"MemoryError", "RecursionError"})  # about the machine, not about the program
CORRECT = Verdict.correct()
SHARE = "share"  # of the hidden examples that hold, in [0, 1]: a measure of an induction program that ran
_DEFINITION = re.compile(r"\bdef\s+f\b|\bf\s*=\s*lambda\b")  # how a message would tell the program itself
# Sizes are the largest that any knob allows, so that a task of another run keeps its right answers.
_ANSWER_RULES = Rules(MAX_PROGRAM_CHARS, keep_comments=True, keep_globals=True)


def validate(
    kind: str, draft: Draft, knobs: PythonCodeKnobs, runner: Runner, given: Sequence[str] = ()
) -> TaskRecord | Rejected:
    """Return the task that a draft makes, or why it makes none; waits while `runner` runs its program.

    The program has to call the programs `given`, as `g_0`, `g_1` and so on. Raises SandboxBroken where the
    sandbox itself fails.
    """
    # A terse program is one expression: it has neither comments nor globals, and stays as it is written.
    kept = (knobs.keep_comments or knobs.terse, knobs.keep_globals or knobs.terse)
    program = check_program(draft.program, Rules(knobs.max_program_chars, *kept))
    if given and isinstance(program, str):
        program = compose(program, given, knobs.max_program_chars)
    if isinstance(program, Rejected):
        return program
    if kind == ERROR and not bound_names(program).isdisjoint(BUILT_IN_ERRORS):
        # Errors are told apart by their names, so a name has to stand for one class.
        return Rejected.wrong("error-redefined")
    inputs = []
    for text in draft.inputs:
        arguments = _read_input(text, knobs.max_literal_chars)
        if isinstance(arguments, Rejected):
            return arguments
        inputs.append(arguments)
    message = draft.message.strip()
    if kind == INDUCTION:
        if not message:
            return Rejected.malformed("no-message")
        if reason := _message_fault(draft.message):
            return Rejected.wrong(reason)
        pairs = itertools.combinations(map(parse_arguments, inputs), 2)
        if any(equal(*pair, knobs.strict_equality) for pair in pairs):
            # A hidden example would be a shown one.
            return Rejected.wrong("repeated-input")
    calls = runner.run(program, inputs)
    faults = (_call_fault(kind, call, knobs.max_literal_chars) for call in calls)
    if reason := next(filter(None, faults), "") or runner.repeat_fault(program, inputs, calls):
        return Rejected.wrong(reason)
    outputs = [error_class(call) if kind == ERROR else call.literal or "" for call in calls]
    return to_record(kind, program, list(map(Example, inputs, outputs)), message)


def grade_error(task: Task, answer: str) -> Verdict:
    """Compare the name of an exception class with the one that the task's program raises."""
    name = written_error(answer) if len(answer) <= MAX_LITERAL_CHARS else ""
    if name not in BUILT_IN_ERRORS:
        return Verdict.malformed("answer-not-an-error")
    is_right = BUILT_IN_ERRORS[name] is BUILT_IN_ERRORS.get(task.output)
    return CORRECT if is_right else Verdict.wrong("wrong-error")


def grade_output(task: Task, answer: str, strict: bool) -> Verdict:
    """Compare a value with what the task's program returns; `strict` tells `1`, `1.0` and `True` apart."""
    if len(answer) > MAX_LITERAL_CHARS:
        return Verdict.malformed("answer-too-big")
    try:
        value = _read_value(answer, task.input)
    except LiteralError:
        return Verdict.malformed("answer-not-a-literal")
    is_right = equal(value, parse_literal(task.output), strict)
    return CORRECT if is_right else Verdict.wrong("wrong-output")


def grade_by_running(task: Task, answer: str, strict: bool, runner: Runner) -> Verdict:
    """Run the task's program on the answered input, or the answered program on the hidden inputs, and wait.

    What is right is run a second time: a result that changes from run to run would let a proposer choose how
    often its task is solved. What is wrong would only be wrong again, at twice the price. Raises
    SandboxBroken where the sandbox itself fails.
    """
    is_input = task.kind == ABDUCTION
    found = _read_call(answer, task.program) if is_input else check_program(answer, _ANSWER_RULES)
    if isinstance(found, Rejected):
        return Verdict(found.outcome, found.reason)
    if is_input:
        program, examples, wrong = task.program, [Example(found, task.output)], "wrong-input"
    else:
        program, examples, wrong = found, list(task.hidden), "wrong-program"
    inputs = [example.input for example in examples]
    calls = runner.run(program, inputs)
    faults = [_answer_fault(*each, wrong, strict) for each in zip(calls, examples, strict=True)]
    if not any(faults):
        faults = ["" if same else NOT_DETERMINISTIC for same in runner.repeated(program, inputs, calls)]
    measures = {} if is_input else {SHARE: faults.count("") / len(faults)}
    reason = next(filter(None, faults), "")
    return Verdict.wrong(reason, measures) if reason else Verdict.correct(measures)


def _read_value(text: str, arguments: str) -> object:
    """The value of a literal, or of one that is stated as the output for `arguments`; or LiteralError."""
    try:
        return parse_literal(text)
    except LiteralError:
        written = written_value(text, arguments)
        if written is None:
            raise
        return parse_literal(written)


def _read_call(text: str, program: str) -> str | Rejected:
    """An argument list as `_read_input` returns it, also of a call of the program or of named arguments."""
    found = _read_input(text, MAX_LITERAL_CHARS)
    if isinstance(found, str) or len(text) > MAX_LITERAL_CHARS:
        return found
    written = written_input(text, program)
    return found if written is None else _read_input(written, MAX_LITERAL_CHARS)


def _read_input(text: str, max_chars: int) -> str | Rejected:
    """Return an argument list in canonical form, or why it is none; nothing in it is evaluated."""
    if len(text) > max_chars:
        return Rejected.malformed("input-too-big")
    try:
        arguments = parse_arguments(text)
        # A number may be too long in decimal that was not in hexadecimal.
        canonical = render_arguments(arguments)
    except LiteralError as error:
        return Rejected.malformed("input-too-deep" if "too deeply" in str(error) else "input-not-a-literal")
    except ValueError:
        return Rejected.malformed("input-too-big")
    if not arguments:
        return Rejected.malformed("no-input")
    return canonical if len(canonical) <= max_chars else Rejected.malformed("input-too-big")


def _message_fault(message: str) -> str:
    if len(message) > MAX_MESSAGE_CHARS:
        return "message-too-big"
    if any("\ud800" <= char <= "\udfff" for char in message):
        # Half a character could not be written into a ledger or given to a tokenizer.
        return "message-not-unicode"
    return "message-gives-program" if _DEFINITION.search(message) else ""


def _call_fault(kind: str, call: Call, max_chars: int) -> str:
    """Why what a call did makes no task; "" if it does."""
    if kind != ERROR:
        return fault(call) or ("output-too-big" if len(call.literal or "") > max_chars else "")
    if call.status is CallStatus.OK:
        return "no-error"
    error = error_class(call)
    if call.status is not CallStatus.RAISED or error in MACHINE_ERRORS:
        return fault(call)
    return "" if error in BUILT_IN_ERRORS else "error-not-built-in"


def _answer_fault(call: Call, example: Example, wrong: str, strict: bool) -> str:
    """What is wrong with a call that should return the example's output; "" if it does."""
    if call.literal is None:
        return fault(call)
    return "" if equal(parse_literal(call.literal), parse_literal(example.output), strict) else wrong
