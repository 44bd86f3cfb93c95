"""What the tasks are made of: drafts that a proposer wrote, and tasks as records store them.

Payloads hold text only. Programs are stored as they are shown; inputs are argument lists and outputs values,
both as canonical literals.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tasks.contract import Json, TaskRecord
from tasks.kit.payload import Payload, read_int, read_str

DEDUCTION = "deduction"
ABDUCTION = "abduction"
INDUCTION = "induction"
ERROR = "error"
KINDS = (DEDUCTION, ABDUCTION, INDUCTION, ERROR)


@dataclass(frozen=True, slots=True)
class Draft:
    """What one proposal says, before any of it is checked."""

    program: str  # "" where it is the reference's
    inputs: tuple[str, ...]  # argument lists: one, or for induction several
    message: str = ""  # what the program does, in words; "" but for induction


@dataclass(frozen=True, slots=True)
class Example:
    """An input and what the program returns for it; in an error task, the exception class that it raises."""

    input: str
    output: str


@dataclass(frozen=True, slots=True)
class Task:
    """The contents of a record."""

    kind: str
    program: str
    shown: tuple[Example, ...]  # one, or for induction those that the solver sees
    hidden: tuple[Example, ...] = ()  # those that an induction program is checked by
    message: str = ""  # what the program does, in words; "" but for induction

    @classmethod
    def read(cls, record: TaskRecord) -> Task:
        """Read a record; raises ValueError if its payload is no task's of that kind."""
        kind, payload, program = record.kind, record.payload, read_program(record)
        if kind != INDUCTION:
            example = Example(read_str(payload, "input"), read_str(payload, output_label(kind)))
            return cls(kind, program, (example,))
        inputs, outputs = _read_texts(payload, "inputs"), _read_texts(payload, "outputs")
        if len(inputs) != len(outputs):
            raise ValueError(f"payload must have an output for every input; got {outputs!r}, {inputs!r}")
        examples, num_shown = tuple(map(Example, inputs, outputs)), read_int(payload, "num_shown")
        return cls(kind, program, examples[:num_shown], examples[num_shown:], read_str(payload, "message"))

    @property
    def examples(self) -> tuple[Example, ...]:
        """All of them."""
        return self.shown + self.hidden

    @property
    def input(self) -> str:
        """The input of a task with one."""
        return self.shown[0].input

    @property
    def output(self) -> str:
        """The output of a task with one."""
        return self.shown[0].output

    @property
    def answer(self) -> str:
        """A right answer: the one that the record holds."""
        if self.kind == INDUCTION:
            return self.program
        return self.input if self.kind == ABDUCTION else self.output


def to_record(kind: str, program: str, examples: Sequence[Example], message: str = "") -> TaskRecord:
    """Store a task; of an induction task the first half of the examples, rounded up, is shown."""
    payload: dict[str, Json] = {"program": program}
    if kind == INDUCTION:
        payload["inputs"] = [example.input for example in examples]
        payload["outputs"] = [example.output for example in examples]
        payload |= {"num_shown": (len(examples) + 1) // 2, "message": message}
    else:
        (example,) = examples
        payload |= {"input": example.input, output_label(kind): example.output}
    return TaskRecord(kind, payload)


def output_label(kind: str) -> str:
    """What the program's result is called, in payloads and in prompts: an output or an error."""
    return "error" if kind == ERROR else "output"


def read_program(record: TaskRecord) -> str:
    """The program of a task of any kind."""
    return read_str(record.payload, "program")


def _read_texts(payload: Payload, field: str) -> list[str]:
    value = payload.get(field)
    if not isinstance(value, list):
        raise ValueError(f"field {field!r} must be a list; got {value!r}")
    return [read_str({field: item}, field) for item in value]
