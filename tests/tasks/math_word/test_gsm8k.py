"""GSM8K's rows become records of ours, all of them or none."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pyarrow
import pytest
from pyarrow import parquet

from tasks.contract import Outcome
from tasks.math_word import MathWordPack
from tasks.math_word.gsm8k import load_gsm8k, main

ROWS: list[object] = [
    {"question": "Ann has 16 eggs and eats 3. How many are left?", "answer": "16-3 = <<16-3=13>>13\n#### 13"},
    {"question": "What do 2 cars cost at $1,234 each?", "answer": "2*1234\n#### 2,468", "id": 7},
]


def write(path: Path, *rows: object) -> str:
    """A JSONL file; its name."""
    path.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows) + "\n")
    return str(path)


def test_rows_become_solvable_records(tmp_path: Path) -> None:
    records = load_gsm8k(write(tmp_path / "rows.jsonl", *ROWS, "", ROWS[0]))
    assert [record.payload["answer"] for record in records] == ["13", "2468"]
    assert set(records[0].payload) == {"question", "answer"}
    for extraction in ("tags", "strict", "flexible"):
        pack = MathWordPack(extraction=extraction)
        for record in records:
            assert pack.solve_prompt(record)[0]["content"]
            verdict = asyncio.run(pack.judge(record, pack.gold_response(record)))
            assert verdict.outcome is Outcome.CORRECT, record


def test_its_own_answers_are_right_in_both_styles(tmp_path: Path) -> None:
    for record, row in zip(load_gsm8k(write(tmp_path / "rows.jsonl", *ROWS)), ROWS, strict=True):
        assert isinstance(row, dict)
        for extraction in ("strict", "flexible"):
            verdict = asyncio.run(MathWordPack(extraction=extraction).judge(record, row["answer"]))
            assert verdict.outcome is Outcome.CORRECT


def test_parquet_is_read_as_well(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    parquet.write_table(pyarrow.Table.from_pylist(ROWS), path)
    assert load_gsm8k(str(path)) == load_gsm8k(write(tmp_path / "rows.jsonl", *ROWS))
    path.write_bytes(b"PAR1 and no more")
    with pytest.raises(ValueError, match=r"rows\.parquet must be a parquet file"):
        load_gsm8k(str(path))


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("{", "must be JSON"),
        ("[1]", "must be an object"),
        ({"question": 3, "answer": "#### 1"}, "field 'question' must be a string; got 3"),
        ({"question": "How many?"}, "field 'answer' must be a string; got None"),
        ({"question": " ", "answer": "#### 1"}, "must have a question; no-question"),
        ({"question": "a" * 2_001, "answer": "#### 1"}, "must have a question; question-too-big"),
        ({"question": "How many?", "answer": "13"}, "must have an 'answer' that ends in ####"),
        ({"question": "How many?", "answer": "#### many"}, "must have one number behind ####; no-number"),
        (
            {"question": "How many?", "answer": "#### 1e9999"},
            "must have one number behind ####; not-a-number",
        ),
        (
            {"question": "How many?", "answer": "#### 1 2"},
            "must have one number behind ####; several-numbers",
        ),
    ],
)
def test_a_bad_row_is_named_and_nothing_is_written(
    row: object, reason: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = write(tmp_path / "rows.jsonl", ROWS[0], "", row)
    with pytest.raises(ValueError, match=rf"rows\.jsonl:3 {reason}.*; nothing was loaded"):
        load_gsm8k(source)
    with pytest.raises(SystemExit):
        main([source, "--out", str(tmp_path / "out.jsonl")])
    assert reason in capsys.readouterr().err
    assert not (tmp_path / "out.jsonl").exists()


TRAIN = [
    {"question": f"How much are {n} and 1?", "answer": f"{n}+1=<<{n}+1={n + 1}>>{n + 1}\n#### {n + 1:,}"}
    for n in range(1000, 1007)
]
ASKED = """\
Question: How much are 1000 and 1?
Answer: 1000+1=<<1000+1=1001>>1001
#### 1,001

Question: How much are 1001 and 1?
Answer: 1001+1=<<1001+1=1002>>1002
#### 1,002

"""


def test_problems_are_asked_behind_five_solved_ones(tmp_path: Path) -> None:
    test, train, out = (
        write(tmp_path / "a.jsonl", *ROWS),
        write(tmp_path / "b.jsonl", *TRAIN),
        tmp_path / "out",
    )
    assert main([test, "--shots", train, "--out", str(out)]) == 0
    for extraction in ("strict", "flexible"):
        pack = MathWordPack(extraction=extraction, held_out_path=str(out))
        first, second = pack.held_out()
        prompt = pack.solve_prompt(first)[0]["content"]
        assert prompt.startswith(ASKED)
        assert prompt.endswith(
            "#### 1,005\n\nQuestion: Ann has 16 eggs and eats 3. How many are left?\nAnswer:"
        )
        assert prompt.count("Question:") == 6
        assert "16 eggs" not in pack.solve_prompt(second)[0]["content"]
        for goes_on in ("", "\n\nQuestion: How much are 1 and 2?\nAnswer: 1+2=3\n#### 3"):
            answer = f" 16 - 3 = 13\n#### 13{goes_on}"
            assert asyncio.run(pack.judge(first, answer)).outcome is Outcome.CORRECT
    for knobs in ({}, {"terse": True, "extraction": "strict"}):
        with pytest.raises(ValueError, match=r"pack\.extraction must be strict or flexible"):
            MathWordPack(held_out_path=str(out), **knobs).held_out()  # type: ignore[arg-type]


def test_solved_problems_are_five_others(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    test = write(tmp_path / "a.jsonl", *ROWS)
    for rows, said in ((TRAIN[:4], "must hold 5 problems"), ([*TRAIN[:4], ROWS[0]], "must be another set")):
        shots = write(tmp_path / "b.jsonl", *rows)
        with pytest.raises(SystemExit):
            main([test, "--shots", shots, "--out", str(tmp_path / "out")])
        assert said in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_source_without_rows_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="must hold a problem at least"):
        load_gsm8k(write(tmp_path / "rows.jsonl"))
    with pytest.raises(ValueError, match=r"none\.jsonl is missing"):
        load_gsm8k(str(tmp_path / "none.jsonl"))


def test_a_name_is_asked_of_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []

    def load(*arguments: object, **keywords: object) -> list[object]:
        asked.extend([*arguments, keywords["split"]])
        return ROWS

    monkeypatch.setattr("datasets.load_dataset", load)
    assert len(load_gsm8k("openai/gsm8k", split="train")) == 2
    assert asked == ["openai/gsm8k", "main", "train"]


def test_a_hub_out_of_reach_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object, **keywords: object) -> None:
        raise ConnectionError("could not reach the hub")

    monkeypatch.setattr("datasets.load_dataset", refuse)
    with pytest.raises(ValueError, match=r"no file openai/gsm8k.*could not reach the hub.*Download its"):
        load_gsm8k("openai/gsm8k")


def test_the_program_writes_a_held_out_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "gsm8k.jsonl"
    assert main([write(tmp_path / "rows.jsonl", *ROWS), "--out", str(out)]) == 0
    assert "2 records" in capsys.readouterr().out
    for terse in (False, True):
        assert len(MathWordPack(held_out_path=str(out), terse=terse).held_out()) == 2
