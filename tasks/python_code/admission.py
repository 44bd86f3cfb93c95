"""Decide whether a draft is a task, and work out what its solver is to find.

A program is admitted if it keeps the rules of `tasks/kit/program.py` and gives equal values in two processes
with different hash seeds, within half of the time that an attempt will have.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence

from tasks.contract import Outcome, Rejected, TaskRecord
from tasks.execution import BUILT_IN_ERRORS, Runner, error_class, fault
from tasks.kit.program import Refusal, Rules, bound_names, check_program, parse_program
from tasks.python_code.composite import composite_fault
from tasks.python_code.records import (
    ERROR,
    INDUCTION,
    Draft,
    Example,
    error_task,
    induction_task,
    triplet,
)
from tasks.sandbox import Call, CallStatus
from tasks.sandbox.literals import (
    LiteralError,
    equal,
    parse_arguments,
    render_arguments,
)

MAX_MESSAGE_CHARS = 2_000

_DEFINITION = re.compile(r"\bdef\s+f\b|\bf\s*=\s*lambda\b")
"""How a message would tell the program itself."""

MACHINE_ERRORS = frozenset({"MemoryError", "RecursionError"})
"""Errors that tell of the machine rather than of the program."""


class Admission:
    """Checks drafts. Blocks while programs run.

    Args:
        rules: What programs may be.
        max_literal_chars: Longest input and output.
        strict: Tell `1`, `1.0` and `True` apart, as the grader of the tasks does.
        runner: Runs the programs.
    """

    def __init__(self, rules: Rules, max_literal_chars: int, strict: bool, runner: Runner) -> None:
        self._rules = rules
        self._max_literal_chars = max_literal_chars
        self._strict = strict
        self._runner = runner

    def admit(self, kind: str, draft: Draft, given: str = "", num_given: int = 0) -> TaskRecord | Rejected:
        """Return the task that a draft makes, or why it makes none.

        Args:
            kind: The kind of task.
            draft: The draft.
            given: Definitions of `g_0`, `g_1` and so on, which the program has to call.
            num_given: How many.
        """
        program = check_program(draft.program, self._rules)
        if isinstance(program, Refusal):
            return _rejected(program.reason, program.is_malformed)
        if num_given:
            reason = composite_fault(program, num_given)
            if reason:
                return _rejected(reason)
            program = f"{given}\n\n{program}"
            # Inside a function a program is a few levels deeper than it was at the top.
            if len(program) > self._rules.max_chars or isinstance(parse_program(program), str):
                return _rejected("composite-too-big")
        if kind == ERROR and not bound_names(program).isdisjoint(BUILT_IN_ERRORS):
            # Errors are told apart by their names, so a name has to stand for one class.
            return _rejected("error-redefined")
        inputs: list[str] = []
        for text in draft.inputs:
            read = read_input(text, self._max_literal_chars)
            if isinstance(read, Rejected):
                return read
            inputs.append(read)
        if kind == INDUCTION:
            if not draft.message.strip():
                return _rejected("no-message", True)
            reason = _message_fault(draft.message) or self._repeat_fault(inputs)
            if reason:
                return _rejected(reason)
        return self._run(kind, program, inputs, draft.message.strip())

    def _run(self, kind: str, program: str, inputs: list[str], message: str) -> TaskRecord | Rejected:
        first = self._runner.run(program, inputs)
        reason = self._fault(kind, first)
        if reason:
            return _rejected(reason)
        reason = self._runner.repeat_fault(program, inputs, first)
        if reason:
            return _rejected(reason)
        if kind == ERROR:
            return TaskRecord(kind, error_task(program, inputs[0], error_class(first[0])))
        examples = [Example(text, call.literal or "") for text, call in zip(inputs, first, strict=True)]
        if kind == INDUCTION:
            return TaskRecord(kind, induction_task(program, examples, message))
        return TaskRecord(kind, triplet(program, examples[0]))

    def _repeat_fault(self, inputs: Sequence[str]) -> str:
        """Why a hidden example would be a shown one; "" if it is none."""
        pairs = itertools.combinations(map(parse_arguments, inputs), 2)
        return "repeated-input" if any(equal(*pair, self._strict) for pair in pairs) else ""

    def _fault(self, kind: str, calls: Sequence[Call]) -> str:
        if kind == ERROR:
            return _error_fault(calls[0])
        for call in calls:
            reason = fault(call)
            if not reason and len(call.literal or "") > self._max_literal_chars:
                reason = "output-too-big"
            if reason:
                return reason
        return ""


def read_input(text: str, max_chars: int) -> str | Rejected:
    """Return an argument list in canonical form, or why it is none; nothing in it is evaluated."""
    if len(text) > max_chars:
        return _rejected("input-too-big", True)
    try:
        arguments = parse_arguments(text)
        # A number may be too long in decimal that was not in hexadecimal.
        canonical = render_arguments(arguments)
    except LiteralError as error:
        return _rejected("input-too-deep" if "too deeply" in str(error) else "input-not-a-literal", True)
    except ValueError:
        return _rejected("input-too-big", True)
    if not arguments:
        return _rejected("no-input", True)
    return canonical if len(canonical) <= max_chars else _rejected("input-too-big", True)


def _error_fault(call: Call) -> str:
    if call.status is CallStatus.OK:
        return "no-error"
    if call.status is not CallStatus.RAISED:
        return fault(call)
    error = error_class(call)
    if error in MACHINE_ERRORS:
        return fault(call)
    return "" if error in BUILT_IN_ERRORS else "error-not-built-in"


def _message_fault(message: str) -> str:
    if len(message) > MAX_MESSAGE_CHARS:
        return "message-too-big"
    if any("\ud800" <= char <= "\udfff" for char in message):
        # Half a character could not be written into a ledger or given to a tokenizer.
        return "message-not-unicode"
    return "message-gives-program" if _DEFINITION.search(message) else ""


def _rejected(reason: str, is_malformed: bool = False) -> Rejected:
    return Rejected(Outcome.MALFORMED if is_malformed else Outcome.WRONG, reason)
