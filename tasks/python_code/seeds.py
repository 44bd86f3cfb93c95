"""What the buffer starts from: the identity function, or a file of somebody's own tasks.

The file is JSON, one object a line: `{"program": ..., "input": ...}` gives a deduction and an abduction task,
or with `"kind"` only that one; `{"program": ..., "inputs": [...], "message": ...}` gives an induction task.
Outputs are not in it: every line passes the validation that proposals pass.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

from tasks.contract import Rejected, TaskRecord
from tasks.python_code.records import ABDUCTION, DEDUCTION, ERROR, INDUCTION, KINDS, Draft, Example, to_record

IDENTITY = "def f(x): return x"
INPUTS = (
    "'Hello world'", "7", "[3, 1, 2]", "{'a': 1}", "True", "-2.5", "('b', None)", "''", "[[], [0]]", "{4}",
)  # fmt: skip
RAISING = "def f(x): return 1/x"
MESSAGE = "It returns what it is given."


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
    """Read a seed file; all of it or nothing. Lines about kinds that are off are checked for form only.

    Raises FileNotFoundError where there is no such file, and ValueError where a line is no task; the message
    has the file, the line's number and the reason.
    """
    if not path.is_file():
        raise FileNotFoundError(f"pack.seed_path must name a JSONL file of tasks; {path} is missing")
    records: list[TaskRecord] = []
    lines_by_key: dict[str, int] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").split("\n"), start=1):
        if not line.strip():
            continue
        try:
            for kind, draft in _read_line(line, num_inputs):
                if kind not in kinds:
                    continue
                record = make(kind, draft)
                if isinstance(record, Rejected):
                    raise ValueError(f"is no {kind} task: {record.reason}")
                known = lines_by_key.setdefault(task_key(record), number)
                if known != number:
                    raise ValueError(f"repeats the {kind} task of line {known}")
                records.append(record)
        except ValueError as error:
            raise ValueError(f"pack.seed_path: {path}:{number} {error}; nothing was loaded") from error
    return records


def _read_line(line: str, num_inputs: int) -> list[tuple[str, Draft]]:
    """The drafts that one line holds, by kind."""
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        raise ValueError(f"must be JSON; {error}") from error
    if not isinstance(row, dict) or not isinstance(row.get("program"), str):
        raise ValueError("must be an object with a string 'program'")
    is_induction = "inputs" in row
    extra = sorted(set(row) - ({"kind", "program"} | ({"inputs", "message"} if is_induction else {"input"})))
    if extra:
        raise ValueError(f"must not have the field {extra[0]!r}")
    kind = row.get("kind", INDUCTION if is_induction else None)
    if kind is not None and (kind not in KINDS or (kind == INDUCTION) != is_induction):
        raise ValueError(f"must have a kind that fits its fields; got {kind!r}")
    inputs = row["inputs"] if is_induction else [row.get("input")]
    if not isinstance(inputs, list) or not all(isinstance(text, str) for text in inputs):
        raise ValueError("must have a string 'input', or a list of strings 'inputs'")
    if is_induction and len(inputs) != num_inputs:
        raise ValueError(f"must have {num_inputs} inputs; got {len(inputs)}")
    message = row.get("message") if is_induction else ""
    if not isinstance(message, str):
        raise ValueError("must have a string 'message'")
    draft = Draft(row["program"], tuple(inputs), message)
    return [(each, draft) for each in ((DEDUCTION, ABDUCTION) if kind is None else (kind,))]
