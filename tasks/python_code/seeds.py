"""What the buffer starts from: the identity function, or a file of somebody's own tasks.

A row of the file is `{"program": ..., "input": ...}`, which gives a deduction and an abduction task, or with
`"kind"` only that one; `{"program": ..., "inputs": [...], "message": ...}` gives an induction task. Rows of
the method's own seed buffers (LeapLabTHU/Absolute-Zero-Reasoner) have `snippet` in place of `program`, and
more fields. Outputs are worked out anew: a row passes the validation that proposals pass, or is left out.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path

from tasks.contract import Rejected, TaskRecord
from tasks.kit.data_file import collect, describe_left_out, read_data_file
from tasks.kit.payload import Payload
from tasks.python_code.records import ABDUCTION, DEDUCTION, ERROR, INDUCTION, KINDS, Draft, Example, to_record

logger = logging.getLogger(__name__)

IDENTITY = "def f(x): return x"
INPUTS = (
    "'Hello world'", "7", "[3, 1, 2]", "{'a': 1}", "True", "-2.5", "('b', None)", "''", "[[], [0]]", "{4}",
)  # fmt: skip
RAISING = "def f(x): return 1/x"
MESSAGE = "It returns what it is given."

FIELDS_KEPT = ("input", "inputs", "message")
"""Fields of a row of the method's own seed buffers that are read beside the program."""


def built_in_seed(kind: str, num_inputs: int) -> TaskRecord:
    """The seed of `kind`: the identity function, and for errors a division by zero."""
    if kind == ERROR:
        return to_record(kind, RAISING, [Example("0", "ZeroDivisionError")])
    inputs = [*INPUTS, *map(str, range(10, 10 + num_inputs))][: num_inputs if kind == INDUCTION else 1]
    return to_record(kind, IDENTITY, [Example(text, text) for text in inputs], MESSAGE)


def read_seeds(
    path: Path,
    kinds: Sequence[str],
    num_inputs: int,
    make: Callable[[str, Draft], TaskRecord | Rejected],
    task_key: Callable[[TaskRecord], str],
) -> list[TaskRecord]:
    """Read a seed file. Rows that make no task are logged; of kinds that are off only the form is checked.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is no data file, or every row was left out; the message has the file and the reason.
    """
    if not path.is_file():
        raise FileNotFoundError(f"pack.seed_path must name a file of tasks; {path} is missing")
    known: set[str] = set()

    def read_row(row: Payload) -> list[TaskRecord]:
        records = []
        for kind, draft in _read_drafts(row, num_inputs):
            if kind not in kinds:
                continue
            record = make(kind, draft)
            if isinstance(record, Rejected):
                raise ValueError(f"is no {kind} task: {record.reason}")
            if task_key(record) in known:
                raise ValueError(f"repeats the {kind} task of an earlier row")
            records.append(record)
        known.update(map(task_key, records))
        return records

    found, left_out = collect(read_data_file(path), read_row)
    lines = describe_left_out(f"pack.seed_path: {path}", left_out)
    if left_out and not found:
        raise ValueError(f"{lines[0]}; there is no other")
    for line in lines:
        logger.warning(line)
    return [record for _, records in found for record in records]


def _read_drafts(row: Payload, num_inputs: int) -> list[tuple[str, Draft]]:
    """The drafts that one row holds, by kind."""
    # In a table every row has every column.
    row = {name: value for name, value in row.items() if value is not None}
    if "snippet" in row:
        row = {"program": row["snippet"]} | {name: row[name] for name in FIELDS_KEPT if name in row}
    program = row.get("program")
    if not isinstance(program, str):
        raise ValueError("must have a string 'program'")
    is_induction = "inputs" in row
    extra = sorted(set(row) - ({"kind", "program"} | ({"inputs", "message"} if is_induction else {"input"})))
    if extra:
        raise ValueError(f"must not have the field {extra[0]!r}")
    kind = row.get("kind", INDUCTION if is_induction else None)
    if kind is not None and (kind not in KINDS or (kind == INDUCTION) != is_induction):
        raise ValueError(f"must have a kind that fits its fields; got {kind!r}")
    inputs = row["inputs"] if is_induction else [row.get("input")]
    texts = [text for text in inputs if isinstance(text, str)] if isinstance(inputs, list) else []
    if not texts or texts != inputs:
        raise ValueError("must have a string 'input', or a list of strings 'inputs'")
    if is_induction and len(texts) != num_inputs:
        raise ValueError(f"must have {num_inputs} inputs; got {len(texts)}")
    message = row.get("message") if is_induction else ""
    if not isinstance(message, str):
        raise ValueError("must have a string 'message'")
    draft = Draft(program, tuple(texts), message)
    return [(each, draft) for each in ((DEDUCTION, ABDUCTION) if kind is None else (str(kind),))]
