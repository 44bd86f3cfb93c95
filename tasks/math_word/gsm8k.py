"""Turn files of GSM8K or MATH, as they are published, into a held-out set.

    python -m tasks.math_word.gsm8k test.jsonl --out gsm8k.jsonl
    python -m recipe.main_azr pack=math_word pack.extraction=strict pack.held_out_path=gsm8k.jsonl ...

With `--shots train.jsonl` every problem of the set is asked behind five solved ones, the first of that file,
as in lm-evaluation-harness: `Question: ...`, `Answer: ...`.

A row of GSM8K has a `question` and an `answer`, which ends in `####` and a number; one of MATH has a
`problem` and an `answer`, or a `solution` that boxes it (`latex.py`). Rows come from a file or by name
(`openai/gsm8k`) from the hub, where it can be reached.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from tasks.contract import Rejected, TaskRecord
from tasks.kit.data_file import Row, Tasks, collect, collect_tasks, describe_left_out, read_data_file
from tasks.kit.held_out_file import render, require_place
from tasks.kit.numbers import NumberError, read_number
from tasks.kit.payload import Payload, read_str
from tasks.math_word.admission import read_question
from tasks.math_word.form import MARK
from tasks.math_word.latex import read_latex_number
from tasks.math_word.pack import MathWordPack
from tasks.math_word.records import SHOTS, problem, shot

NUM_SHOTS = 5

WANTED = "rows of GSM8K (question, answer) or MATH (problem, and answer or solution)"
SUFFIXES = (".jsonl", ".json", ".parquet", ".gz", ".bz2", ".xz")
"""How names of files end, and those of data sets on the hub do not."""


def load_gsm8k(source: str, subset: str = "main", split: str = "test") -> Tasks:
    """Read the problems of a file or, by subset and split, of a data set on the hub, each once.

    Raises:
        OSError: The file cannot be read.
        ValueError: No row makes a problem, or nothing can be read from the source; the message says why.
    """
    return collect_tasks(source, _rows(source, subset, split), _read_row, MathWordPack(), WANTED)


def with_shots(records: Sequence[TaskRecord], source: str, subset: str = "main") -> list[TaskRecord]:
    """The same problems, each to be asked behind the first five of `source` with their worked answers.

    Of a data set on the hub the split `train` is read: the problems' own would give some of them away.

    Raises:
        OSError: The file cannot be read.
        ValueError: There are fewer than five problems of GSM8K, or one of the five is among `records`.
    """
    pack = MathWordPack()
    solved, _ = collect(_rows(source, subset, "train"), _read_solved)
    shots = [shown for _, shown in solved[:NUM_SHOTS]]
    if len(shots) < NUM_SHOTS:
        raise ValueError(f"{source} must hold {NUM_SHOTS} problems of GSM8K at least; it holds {len(shots)}")
    asked = {pack.task_key(record) for record in records}
    if any(pack.task_key(record) in asked for record, _ in shots):
        raise ValueError(f"{source} must be another set: it shows a problem that is asked")
    text = "\n\n".join(shot(read_str(record.payload, "question"), worked) for record, worked in shots)
    return [TaskRecord(record.kind, {**record.payload, SHOTS: text}) for record in records]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program: turn a source into a held-out file."""
    parser = argparse.ArgumentParser(prog="python -m tasks.math_word.gsm8k", description=main.__doc__)
    parser.add_argument("source", help="a file, parquet or JSON, or a name on the hub")
    parser.add_argument("--out", required=True, type=Path, help="the held-out file to write")
    parser.add_argument("--shots", help="a source, of another split, whose first five are shown solved")
    parser.add_argument("--subset", default="main", help="of a data set on the hub")
    parser.add_argument("--split", default="test", help="of a data set on the hub")
    options = parser.parse_args(arguments)
    try:
        require_place(options.out, Path(options.source), *map(Path, filter(None, [options.shots])))
        loaded = load_gsm8k(options.source, options.subset, options.split)
        for line in describe_left_out(options.source, loaded.left_out):
            print(line)
        records: list[TaskRecord] = loaded
        if options.shots is not None:
            records = with_shots(records, options.shots, options.subset)
        options.out.write_text(render(MathWordPack(), records), encoding="utf-8")
    except (OSError, ValueError) as error:
        parser.error(str(error))
    print(f"{options.out}: {len(records)} records")
    return 0


def _read_row(row: Payload) -> list[TaskRecord]:
    """The problem of a row of either set; ValueError if it makes none."""
    if "problem" in row:
        return [problem(_read_question(row, "problem"), read_latex_number(row))]
    return [_read_solved(row)[0]]


def _read_solved(row: Payload) -> tuple[TaskRecord, str]:
    """The problem of a row of GSM8K, and its worked answer as it stands there."""
    question = _read_question(row, "question")
    worked = read_str(row, "answer")
    _, mark, behind = worked.rpartition(MARK)
    if not mark:
        raise ValueError(f"must have an 'answer' that ends in {MARK} and a number")
    try:
        return problem(question, read_number(behind)), worked.strip()
    except NumberError as error:
        raise ValueError(f"must have one number behind {MARK}; {error}") from error


def _read_question(row: Payload, field: str) -> str:
    question = read_question(read_str(row, field))
    if isinstance(question, Rejected):
        raise ValueError(f"must have a question; {question.reason}")
    return question


def _rows(source: str, subset: str, split: str) -> list[Row]:
    path = Path(source)
    if path.exists() or path.suffix in SUFFIXES:
        return read_data_file(path)
    # veRL brings it; a file on disk does without.
    import datasets

    try:
        return list(enumerate(datasets.load_dataset(source, subset, split=split), start=1))
    except (OSError, ValueError) as error:
        raise ValueError(
            f"there is no file {source}, and the hub gave no data set of that name (subset {subset!r}, split "
            f"{split!r}): {error}. Download its .jsonl or .parquet file and name that."
        ) from error


if __name__ == "__main__":
    raise SystemExit(main())
