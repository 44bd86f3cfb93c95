"""Rows of GSM8K and MATH become problems that their own answers solve, or are left out with a reason."""

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
from tasks.math_word.latex import read_latex_number
from tasks.math_word.records import problem

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
    with pytest.raises(ValueError, match=r"rows\.parquet must be a parquet file.*"):
        load_gsm8k(str(path))


LEFT_OUT: list[tuple[object, str]] = [
    ("{", "must be JSON"),
    ("[1]", "must be an object"),
    ({"question": 3, "answer": "#### 1"}, "field 'question' must be a string; got 3"),
    ({"question": "How many?"}, "field 'answer' must be a string; got None"),
    ({"question": " ", "answer": "#### 1"}, "must have a question; no-question"),
    ({"question": "a" * 2_001, "answer": "#### 1"}, "must have a question; question-too-big"),
    ({"question": "\udcff?", "answer": "#### 1"}, "must have a question; question-not-unicode"),
    ({"question": "How many?", "answer": "13"}, "must have an 'answer' that ends in ####"),
    ({"question": "How many?", "answer": "#### many"}, "must have one number behind ####; no-number"),
    ({"question": "How many?", "answer": "#### 1e9999"}, "must have one number behind ####; not-a-number"),
    ({"question": "How many?", "answer": "#### 1 2"}, "must have one number behind ####; several-numbers"),
    (ROWS[0], "repeats the problem task of an earlier row"),
]


def test_rows_that_make_no_problem_are_left_out_by_number_and_reason(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = write(tmp_path / "rows.jsonl", ROWS[0], "", *(row for row, _ in LEFT_OUT), ROWS[1])
    problems = load_gsm8k(source)
    assert [record.payload["answer"] for record in problems] == ["13", "2468"]
    reasons = {number: reason for reason, numbers in problems.left_out.items() for number in numbers}
    assert list(reasons) == list(range(3, 3 + len(LEFT_OUT)))
    assert [
        said for (_, said), reason in zip(LEFT_OUT, reasons.values(), strict=True) if said not in reason
    ] == []
    assert main([source, "--out", str(tmp_path / "out.jsonl")]) == 0
    printed = capsys.readouterr().out
    assert "rows.jsonl: 1 left out, must be an object: row 4\n" in printed and "2 records" in printed


# Answers as they stand in MATH, and the number that each is; None where it is none of the pack's.
LATEX = {
    "42": "42", "-3": "-3", "058": "58", "58,500": "58500", r"10,\!080": "10080",
    r"11,\! 111,\! 100": "11111100", "5.4": "5.4", ".35625": "0.35625", r"\$32,\!348": "32348",
    r"\$18.90": "18.90", r"5.4 \text{ cents}": "5.4", r"\frac{14}{3}": "14/3", r"\dfrac{17}{50}": "17/50",
    r"-\frac{35}{9}": "-35/9", r"\frac43": "4/3", r"\frac 59": "5/9", r"\frac9{19}": "9/19",
    r"1\frac{4}{5}": "9/5", r"137 \frac{1}{2}": "275/2", r"90^\circ": "90",
    r"\frac{270}7\text{ degrees}": "270/7", r"15\mbox{ cm}^2": "15", r"864 \mbox{ inches}^2": "864",
    r"10{,}080": "10080", r"\frac{ -3 }{ 4 }": "-3/4", r"5~\text{cm}": "5", r"5\ \textrm{ m}^2": "5",
    r"1\frac{-1}{3}": None, r"-\frac{-1}{3}": None, "5~6": None, r"5\ 6": None, "1{,}2": None,
    "-2,1": None, "1,2,3": None, "1,000,3": None, "5.": "5", "3/0": None, "1.2.3": None, ".": None, ",": None,
    r"10\%": "10%", "1/3": "1/3", "x=5": "5", r"\sqrt{51}": None, r"11\sqrt2": None, r"\pi": None,
    r"7\pi": None, "p - q": None, "2k+2": None, "2k": None, "52_8": None, "4210_{5}": None, "1,-2": None,
    "3, 5, 7": None, "6 - 5i": None, "(2,4)": None, "(3,4]": None, r"x \in [-2,7]": None,
    r"\text{(C)}": None, r"\text{Evelyn}": None, r"1 \pm \sqrt{19}": None,
    r"\begin{pmatrix} 3 \\ 4 \end{pmatrix}": None, r"\frac{20000}{\pi}": None, "3R^2": None, "": None,
    r"\frac{3}{0}": None, "10^{10^{10}}": None, r"\infty": None, "y = 2x + 3": None,
}  # fmt: skip


def test_answers_of_math_are_numbers_or_left_out() -> None:
    wrong = []
    for text, number in LATEX.items():
        for row in ({"answer": text, "solution": r"\boxed{7}"}, {"solution": rf"So $2 = \boxed{{{text}}}.$"}):
            try:
                found = read_latex_number(row)
            except ValueError:
                found = None
            if found != number:
                wrong.append((text, list(row), found, number))
    assert wrong == []


def test_answers_of_math_are_right_as_they_stand_there() -> None:
    """A model that was trained on MATH writes as MATH does."""
    pack, wrong = MathWordPack(), []
    for text, number in LATEX.items():
        if number is None:
            continue
        task = problem("How many?", number)
        for said in (text, f"${text}$", rf"\boxed{{{text}}}", rf"The answer is $\boxed{{{text}}}$."):
            response = f"<think>\nw\n</think>\n<answer>\n{said}\n</answer>"
            verdict = asyncio.run(pack.judge(task, response))
            if verdict.outcome is not Outcome.CORRECT:
                wrong.append((said, number, verdict.reason))
    assert wrong == []


def test_rows_of_math_become_solvable_problems(tmp_path: Path) -> None:
    rows = [
        {
            "problem": "What is $2/6$?",
            "solution": r"It is $\boxed{\frac{1}{3}}$.",
            "level": "Level 1",
            "type": "Algebra",
        },
        {"problem": "What is $6 + 4$?", "answer": "10", "solution": "Ten.", "subject": "Algebra", "level": 1},
        {"problem": "What is $x$?", "answer": r"\sqrt{2}", "solution": "", "subject": "Algebra", "level": 1},
    ]
    problems = load_gsm8k(write(tmp_path / "rows.jsonl", *rows))
    assert [record.payload["answer"] for record in problems] == ["1/3", "10"]
    assert problems.left_out == {"must have one rational number for an answer": [3]}
    for extraction in ("tags", "strict", "flexible"):
        pack = MathWordPack(extraction=extraction)
        for record in problems:
            verdict = asyncio.run(pack.judge(record, pack.gold_response(record)))
            assert verdict.outcome is Outcome.CORRECT, record


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
    with pytest.raises(ValueError, match=r"rows\.jsonl must hold rows of GSM8K .*; it is empty"):
        load_gsm8k(write(tmp_path / "rows.jsonl"))
    with pytest.raises(FileNotFoundError, match=r"none\.jsonl"):
        load_gsm8k(str(tmp_path / "none.jsonl"))
    with pytest.raises(ValueError, match=f"{tmp_path} .*it is a folder"):
        load_gsm8k(str(tmp_path))


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
