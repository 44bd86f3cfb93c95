"""Grade answers: by value, and where a program has to run, by its results outside the sandbox.

No expected value ever enters the sandbox, so no program can look it up or compare itself right.
"""

from __future__ import annotations

from tasks.contract import Rejected, Verdict
from tasks.execution import BUILT_IN_ERRORS, NOT_DETERMINISTIC, Runner, fault
from tasks.kit.program import Rules, check_program
from tasks.python_code.knobs import MAX_LITERAL_CHARS, MAX_PROGRAM_CHARS
from tasks.python_code.records import ABDUCTION, Example, Task
from tasks.python_code.validation import read_input
from tasks.sandbox import Call
from tasks.sandbox.literals import LiteralError, equal, parse_literal

CORRECT = Verdict.correct()
SHARE = "share"  # of the hidden examples that hold, in [0, 1]: a measure of an induction program that ran
# Sizes are the largest that any knob allows, so that a task of another run keeps its right answers.
_RULES = Rules(MAX_PROGRAM_CHARS, keep_comments=True, keep_globals=True)


def grade_error(task: Task, answer: str) -> Verdict:
    """Compare the name of an exception class with the one that the task's program raises."""
    name = answer.strip()
    if name not in BUILT_IN_ERRORS:
        return Verdict.malformed("answer-not-an-error")
    is_right = BUILT_IN_ERRORS[name] is BUILT_IN_ERRORS.get(task.output)
    return CORRECT if is_right else Verdict.wrong("wrong-error")


def grade_output(task: Task, answer: str, strict: bool) -> Verdict:
    """Compare a value with what the task's program returns; `strict` tells `1`, `1.0` and `True` apart."""
    if len(answer) > MAX_LITERAL_CHARS:
        return Verdict.malformed("answer-too-big")
    try:
        value = parse_literal(answer)
    except LiteralError:
        return Verdict.malformed("answer-not-a-literal")
    is_right = equal(value, parse_literal(task.output), strict)
    return CORRECT if is_right else Verdict.wrong("wrong-output")


def grade_by_running(task: Task, answer: str, strict: bool, runner: Runner) -> Verdict:
    """Run the task's program on the answered input, or the answered program on the hidden inputs, and wait.

    What is right is run a second time: a result that changes from run to run would let a proposer choose how
    often its task is solved. What is wrong would only be wrong again, at twice the price.
    """
    is_input = task.kind == ABDUCTION
    found = read_input(answer, MAX_LITERAL_CHARS) if is_input else check_program(answer, _RULES)
    if isinstance(found, Rejected):
        return Verdict(found.outcome, found.reason)
    if is_input:
        program, examples, wrong = task.program, [Example(found, task.output)], "wrong-input"
    else:
        program, examples, wrong = found, list(task.hidden), "wrong-program"
    inputs = [example.input for example in examples]
    calls = runner.run(program, inputs)
    faults = [_fault(*each, wrong, strict) for each in zip(calls, examples, strict=True)]
    if not any(faults):
        faults = ["" if same else NOT_DETERMINISTIC for same in runner.repeated(program, inputs, calls)]
    measures = {} if is_input else {SHARE: faults.count("") / len(faults)}
    reason = next(filter(None, faults), "")
    return Verdict.wrong(reason, measures) if reason else Verdict.correct(measures)


def _fault(call: Call, example: Example, wrong: str, strict: bool) -> str:
    """What is wrong with a call that should return the example's output; "" if it does."""
    if call.literal is None:
        return fault(call)
    return "" if equal(parse_literal(call.literal), parse_literal(example.output), strict) else wrong
