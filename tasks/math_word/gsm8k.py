"""Turn GSM8K, or a file of its form, into a held-out set.

    python -m tasks.math_word.gsm8k test.jsonl --out gsm8k.jsonl
    python -m recipe.main_azr pack=math_word pack.extraction=strict pack.held_out_path=gsm8k.jsonl ...

With `--shots train.jsonl` every problem of the set is asked behind five solved ones, the first of that file,
as in lm-evaluation-harness: `Question: ...`, `Answer: ...`.

A row has a `question` and an `answer`, which ends in `####` and a number. Rows come from a JSONL file, from a
parquet file, or by name (`openai/gsm8k`) from the hub, where it can be reached. It is all of them or nothing.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from tasks.contract import Rejected, TaskRecord
from tasks.kit.held_out_file import read_rows, render
from tasks.kit.numbers import NumberError, read_number
from tasks.kit.payload import Payload, read_str
from tasks.math_word.admission import read_question
from tasks.math_word.form import MARK
from tasks.math_word.pack import MathWordPack
from tasks.math_word.records import SHOTS, problem, shot

NUM_SHOTS = 5


def load_gsm8k(source: str, subset: str = "main", split: str = "test") -> list[TaskRecord]:
    """Read the problems of a file or, by subset and split, of a data set on the hub, each once.

    Raises:
        ValueError: A row is no problem, or nothing can be read from the source; the message says why.
    """
    pack = MathWordPack()
    by_key: dict[str, TaskRecord] = {}
    for record, _ in _read_solved(source, subset, split):
        by_key.setdefault(pack.task_key(record), record)
    if not by_key:
        raise ValueError(f"{source} must hold a problem at least; it holds none")
    return list(by_key.values())


def with_shots(records: Sequence[TaskRecord], source: str, subset: str = "main") -> list[TaskRecord]:
    """The same problems, each to be asked behind the first five of `source` with their worked answers.

    Of a data set on the hub the split `train` is read: the problems' own would give some of them away.

    Raises:
        ValueError: A row is no problem, there are fewer than five, or one of them is among `records`.
    """
    pack = MathWordPack()
    shots = list(itertools.islice(_read_solved(source, subset, "train"), NUM_SHOTS))
    if len(shots) < NUM_SHOTS:
        raise ValueError(f"{source} must hold {NUM_SHOTS} problems at least; it holds {len(shots)}")
    asked = {pack.task_key(record) for record in records}
    if any(pack.task_key(record) in asked for record, _ in shots):
        raise ValueError(f"{source} must be another set: it shows a problem that is asked")
    text = "\n\n".join(shot(read_str(record.payload, "question"), worked) for record, worked in shots)
    return [TaskRecord(record.kind, {**record.payload, SHOTS: text}) for record in records]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program: turn a source into a held-out file."""
    parser = argparse.ArgumentParser(prog="python -m tasks.math_word.gsm8k", description=main.__doc__)
    parser.add_argument("source", help="a .jsonl or .parquet file, or a name on the hub")
    parser.add_argument("--out", required=True, type=Path, help="the held-out file to write")
    parser.add_argument("--shots", help="a source, of another split, whose first five are shown solved")
    parser.add_argument("--subset", default="main", help="of a data set on the hub")
    parser.add_argument("--split", default="test", help="of a data set on the hub")
    options = parser.parse_args(arguments)
    try:
        records = load_gsm8k(options.source, options.subset, options.split)
        if options.shots is not None:
            records = with_shots(records, options.shots, options.subset)
    except (OSError, ValueError) as error:
        parser.error(str(error))
    options.out.write_text(render(MathWordPack(), records), encoding="utf-8")
    print(f"{options.out}: {len(records)} records")
    return 0


def _read_solved(source: str, subset: str, split: str) -> Iterator[tuple[TaskRecord, str]]:
    """The problems of a source, with their worked answers as they stand there."""
    return read_rows(source, _rows(source, subset, split), _read_row)


def _read_row(row: Payload) -> tuple[TaskRecord, str]:
    question = read_question(read_str(row, "question"))
    if isinstance(question, Rejected):
        raise ValueError(f"must have a question; {question.reason}")
    worked = read_str(row, "answer")
    _, mark, behind = worked.rpartition(MARK)
    if not mark:
        raise ValueError(f"must have an 'answer' that ends in {MARK} and a number")
    try:
        return problem(question, read_number(behind)), worked.strip()
    except NumberError as error:
        raise ValueError(f"must have one number behind {MARK}; {error}") from error


def _rows(source: str, subset: str, split: str) -> Iterable[object]:
    path = Path(source)
    if path.suffix in (".jsonl", ".parquet") and not path.is_file():
        raise ValueError(f"{path} is missing")
    if path.suffix == ".parquet":
        return _read_parquet(path)
    if path.is_file():
        return path.read_text(encoding="utf-8").split("\n")
    return _read_hub(source, subset, split)


def _read_parquet(path: Path) -> Iterable[object]:
    import pyarrow
    from pyarrow import parquet

    try:
        rows: list[object] = parquet.read_table(path).to_pylist()
    except pyarrow.ArrowException as error:
        raise ValueError(f"{path} must be a parquet file; {error}") from error
    return rows


def _read_hub(name: str, subset: str, split: str) -> Iterable[object]:
    # veRL brings it; a file on disk does without.
    import datasets

    try:
        rows: Iterable[object] = datasets.load_dataset(name, subset, split=split)
    except (OSError, ValueError) as error:
        raise ValueError(
            f"there is no file {name}, and the hub gave no data set of that name (subset {subset!r}, split "
            f"{split!r}): {error}. Download its .jsonl or .parquet file and name that."
        ) from error
    return rows


if __name__ == "__main__":
    raise SystemExit(main())
