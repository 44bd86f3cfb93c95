"""What the tasks are made of: drafts that a proposer wrote, and records as they are stored.

Payloads hold text only. Programs are stored as they are shown; inputs are argument lists and outputs values,
both as canonical literals.
"""

from __future__ import annotations

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
    """An input and what the program returns for it."""

    input: str
    output: str


def triplet(program: str, example: Example) -> dict[str, Json]:
    """Payload of a deduction or an abduction task."""
    return {"program": program, "input": example.input, "output": example.output}


def error_task(program: str, input_text: str, error: str) -> dict[str, Json]:
    """Payload of an error task: `error` is the name of an exception class."""
    return {"program": program, "input": input_text, "error": error}


def induction_task(program: str, examples: list[Example], message: str) -> dict[str, Json]:
    """Payload of an induction task; the first half of the examples, rounded up, is shown."""
    return {
        "program": program,
        "inputs": [example.input for example in examples],
        "outputs": [example.output for example in examples],
        "num_shown": (len(examples) + 1) // 2,
        "message": message,
    }


def read_program(record: TaskRecord) -> str:
    """The program of a task of any kind."""
    return read_str(record.payload, "program")


def read_examples(payload: Payload) -> tuple[list[Example], list[Example]]:
    """The shown and the hidden examples of an induction task.

    Raises:
        ValueError: The payload is no induction task's.
    """
    inputs, outputs = _read_texts(payload, "inputs"), _read_texts(payload, "outputs")
    if len(inputs) != len(outputs):
        raise ValueError(f"payload must have an output for every input; got {len(inputs)}, {len(outputs)}")
    examples = [Example(*pair) for pair in zip(inputs, outputs, strict=True)]
    num_shown = read_int(payload, "num_shown")
    return examples[:num_shown], examples[num_shown:]


def to_draft(record: TaskRecord) -> Draft:
    """The draft that admission turns into `record`."""
    payload = record.payload
    if record.kind == INDUCTION:
        inputs = tuple(_read_texts(payload, "inputs"))
        return Draft(read_program(record), inputs, read_str(payload, "message"))
    return Draft(read_program(record), (read_str(payload, "input"),))


def _read_texts(payload: Payload, field: str) -> list[str]:
    value = payload.get(field)
    if not isinstance(value, list):
        raise ValueError(f"payload field {field!r} must be a list; got {value!r}")
    texts = [item for item in value if isinstance(item, str)]
    if len(texts) < len(value):
        raise ValueError(f"payload field {field!r} must hold strings only; got {value!r}")
    return texts
