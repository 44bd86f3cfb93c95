"""A pack's tasks as a veRL data set: what the columns hold, and that nothing held out is to be trained on."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from pyarrow import parquet

from tasks.contract import Outcome, TaskRecord
from tasks.export import main
from tasks.math_word import gsm8k
from tasks.python_code import benchmarks
from tasks.registry import load_pack, own_packs

PRODUCTS = ["kinds=[deduction]", "operations=['*']"]
"""All products of two numbers to 12: 13 * 14 / 2 = 91 tasks, of which 30 are held out."""


def export(tmp_path: Path, *arguments: str) -> list[dict[str, Any]]:
    """The rows that the program writes."""
    out = tmp_path / "tasks.parquet"
    assert main([*arguments, "--out", str(out)]) == 0
    rows: list[dict[str, Any]] = parquet.read_table(out).to_pylist()
    return rows


def refusal(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The one line with which the program ends."""
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    return capsys.readouterr().err.strip().splitlines()[-1]


@pytest.mark.parametrize("split", ["sample", "held_out"])
@pytest.mark.parametrize("name", own_packs())
def test_a_row_has_all_that_its_task_is_judged_by(name: str, split: str, tmp_path: Path) -> None:
    rows = export(tmp_path, name, "--split", split, "--count", "9")
    assert len(rows) == 9
    for index, row in enumerate(rows):
        assert set(row) == {"data_source", "prompt", "ability", "reward_model", "extra_info"}
        record = TaskRecord.from_json(row["reward_model"]["ground_truth"])
        pack = load_pack(json.loads(row["extra_info"]["pack"]))
        assert row["data_source"] == pack.name == name and row["reward_model"]["style"] == "rule"
        assert row["extra_info"]["kind"] == row["ability"] == record.kind
        assert (row["extra_info"]["split"], row["extra_info"]["index"]) == (split, index)
        assert row["prompt"] == pack.solve_prompt(record)
        verdict = asyncio.run(pack.judge(record, pack.gold_response(record)))
        assert verdict.outcome is Outcome.CORRECT


def test_no_held_out_task_is_drawn_to_train_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """All that may be trained on is drawn, 91 - 30 = 61 products, and not one task more."""
    pack = load_pack({"_target_": "arithmetic", "kinds": ["deduction"], "operations": ["*"]})
    held_out = {pack.task_key(record) for record in pack.held_out()}
    rows = export(tmp_path, "arithmetic", *PRODUCTS, "--split", "sample", "--count", "61")
    drawn = {pack.task_key(TaskRecord.from_json(row["reward_model"]["ground_truth"])) for row in rows}
    assert len(drawn) == 61 and drawn.isdisjoint(held_out)
    assert "none of them held out" in capsys.readouterr().out
    more = ["--split", "sample", "--count", "62", "--out", str(tmp_path / "more.parquet")]
    assert "--count must be at most 61" in refusal(capsys, "arithmetic", *PRODUCTS, *more)
    assert not (tmp_path / "more.parquet").exists()


def test_kinds_seed_count_and_knobs_are_options(tmp_path: Path) -> None:
    def records(*arguments: str) -> list[str]:
        rows = export(tmp_path, "arithmetic", *arguments)
        return [row["reward_model"]["ground_truth"] for row in rows]

    sample = ["--split", "sample", "--count", "8"]
    assert records(*sample) == records(*sample, "--seed", "0") != records(*sample, "--seed", "1")
    kinds = Counter(
        TaskRecord.from_json(text).kind for text in records(*sample, "--kinds", "abduction", "induction")
    )
    assert kinds == {"abduction": 4, "induction": 4}
    every = load_pack("arithmetic").held_out()
    assert len(records("--split", "held_out")) == len(every)
    spread = records("--split", "held_out", "--count", "3")
    assert spread == [every[i * len(every) // 3].to_json() for i in range(3)]
    knobs = tmp_path / "knobs.yaml"
    knobs.write_text("prompts: base\nnum_references:\n  deduction: 1\n  abduction: 1\n")
    (row, *_) = export(
        tmp_path, "arithmetic", *sample, "--config", str(knobs), "num_references.abduction=3", "terse=true"
    )
    assert json.loads(row["extra_info"]["pack"]) == {
        "prompts": "base",
        "num_references": {"deduction": 1, "abduction": 3},
        "terse": True,
        "_target_": "arithmetic",
    }
    assert row["prompt"] == load_pack({"_target_": "arithmetic", "terse": True}).solve_prompt(
        TaskRecord.from_json(row["reward_model"]["ground_truth"])
    )


MISTAKES = {
    ("no_such_pack",): "Available packs: arithmetic",
    ("arithmetic", "maximum=3"): "pack.maximum is no knob",
    ("arithmetic", "terse"): "a knob must be KNOB=VALUE; got 'terse'",
    ("arithmetic", "terse=true,false"): "a knob must be KNOB=VALUE",
    ("arithmetic", "~terse"): "a knob must be KNOB=VALUE",
    ("arithmetic", "--kinds", "proof"): "kind must be one of deduction",
    ("arithmetic", "--count", "0"): "--count must be at least 1; got 0",
    ("arithmetic", "--config", "no.yaml"): "No such file",
    ("arithmetic", "held_out_path=none.jsonl"): "none.jsonl is missing",
    ("python_code", "seed_path=x", "sandbox.url=x"): "pack.sandbox.url is no key",
}


def test_mistakes_end_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "tasks.parquet"
    lines = {
        words: (said, refusal(capsys, *words, "--split", "sample", "--out", str(out)))
        for words, said in MISTAKES.items()
    }
    assert {words: line for words, (said, line) in lines.items() if said not in line} == {}
    assert "--out must end in .parquet" in refusal(
        capsys, "arithmetic", "--split", "sample", "--out", "tasks.json"
    )
    assert not out.exists()
    error_kind = ["python_code", "kinds=[error]", "--split", "held_out", "--out", str(out)]
    assert "must have tasks of error; it has none" in refusal(capsys, *error_kind)
    nowhere = str(tmp_path / "none" / "tasks.parquet")
    assert nowhere in refusal(capsys, "arithmetic", "--split", "held_out", "--out", nowhere)


def test_a_place_that_cannot_be_written_is_said_before_the_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_text(json.dumps({"question": "How many?", "answer": "#### 1"}))
    shots = tmp_path / "shots.jsonl"
    shots.write_text(before := "not read")
    programs = [
        (main, ["arithmetic", "--split", "held_out"], "tasks.parquet"),
        (gsm8k.main, [str(rows), "--shots", str(shots)], "out.jsonl"),
        (benchmarks.main, [str(rows)], "out.jsonl"),
    ]
    for program, arguments, name in programs:
        (tmp_path / f"folder_{name}").mkdir(exist_ok=True)
        places = {
            tmp_path / "none" / name: f"Make {tmp_path / 'none'}",
            tmp_path / f"folder_{name}": "is a folder",
            **({shots: "none of the files that are read"} if str(shots) in arguments else {}),
        }
        for place, said in places.items():
            with pytest.raises(SystemExit):
                program([*arguments, "--out", str(place)])
            line = capsys.readouterr().err.strip().splitlines()[-1]
            assert "--out must" in line and str(place) in line and said in line
    assert shots.read_text() == before


@pytest.mark.slow
def test_verl_s_own_reader_reads_it(tmp_path: Path) -> None:
    from omegaconf import OmegaConf
    from verl.utils.dataset.rl_dataset import RLHFDataset, collate_fn

    rows = export(tmp_path, "arithmetic", "--split", "held_out", "--count", "5")
    config = OmegaConf.create({"filter_overlong_prompts": False, "cache_dir": str(tmp_path / "cache")})
    data_set = RLHFDataset(str(tmp_path / "tasks.parquet"), None, config)
    items = [data_set[i] for i in range(len(data_set))]
    assert [item["raw_prompt"] for item in items] == [row["prompt"] for row in rows]
    batch = collate_fn(items)
    assert list(batch["data_source"]) == ["arithmetic"] * 5
    assert list(batch["index"]) == list(range(5))
    assert [extra["pack"] for extra in batch["extra_info"]] == ['{"_target_": "arithmetic"}'] * 5
    assert [each["ground_truth"] for each in batch["reward_model"]] == [
        row["reward_model"]["ground_truth"] for row in rows
    ]
