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
    """What one proposal says, before any of it is checked.

    Attributes:
        program: The program; "" where it is the reference's.
        inputs: Argument lists: one, or for induction several.
        message: What the program does, in words; "" but for induction.
    """

    program: str
    inputs: tuple[str, ...]
    message: str = ""


@dataclass(frozen=True, slots=True)
class Example:
    """An input and what the program returns for it; in an error task, the exception class that it raises."""

    input: str
    output: str


@dataclass(frozen=True, slots=True)
class Task:
    """The contents of a record.

    Attributes:
        kind: The kind of task.
        program: The program.
        examples: One, or for induction several.
        message: What the program does, in words; "" but for induction.
        num_shown: Of an induction task, how many of its examples the solver sees.
    """

    kind: str
    program: str
    examples: tuple[Example, ...]
    message: str
    num_shown: int

    @classmethod
    def read(cls, record: TaskRecord) -> Task:
        """Read a record.

        Raises:
            ValueError: The payload is no task's of that kind.
        """
        payload, program = record.payload, read_program(record)
        if record.kind != INDUCTION:
            example = Example(read_str(payload, "input"), read_str(payload, output_label(record.kind)))
            return cls(record.kind, program, (example,), "", 0)
        inputs, outputs = _read_texts(payload, "inputs"), _read_texts(payload, "outputs")
        if len(inputs) != len(outputs):
            raise ValueError(
                f"payload must have an output for every input; got {len(inputs)}, {len(outputs)}"
            )
        examples = tuple(map(Example, inputs, outputs))
        return cls(INDUCTION, program, examples, read_str(payload, "message"), read_int(payload, "num_shown"))

    @property
    def input(self) -> str:
        """The input of a task with one."""
        return self.examples[0].input

    @property
    def output(self) -> str:
        """The output of a task with one."""
        return self.examples[0].output

    @property
    def shown(self) -> tuple[Example, ...]:
        """The examples that a solver of an induction task sees."""
        return self.examples[: self.num_shown]

    @property
    def hidden(self) -> tuple[Example, ...]:
        """The examples that its program is checked by."""
        return self.examples[self.num_shown :]

    @property
    def answer(self) -> str:
        """A right answer: the one that the record holds."""
        return {ABDUCTION: self.input, INDUCTION: self.program}.get(self.kind, self.output)

    @property
    def draft(self) -> Draft:
        """The draft that validation turns into this task."""
        return Draft(self.program, tuple(example.input for example in self.examples), self.message)


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
        raise ValueError(f"payload field {field!r} must be a list; got {value!r}")
    texts = [item for item in value if isinstance(item, str)]
    if len(texts) < len(value):
        raise ValueError(f"payload field {field!r} must hold strings only; got {value!r}")
    return texts
