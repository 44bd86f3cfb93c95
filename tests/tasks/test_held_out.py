"""Held-out sets are fixed, distinct, solvable, and what their seed draws."""

from __future__ import annotations

import asyncio
import functools
import gzip
import json
from collections import Counter
from pathlib import Path

import pytest

from tasks import held_out
from tasks.contract import Outcome, TaskRecord, Verdict
from tasks.kit.held_out_file import FilePack, build, render
from tasks.registry import load_pack

SIZES = {
    "arithmetic": {"deduction": 380, "abduction": 220, "induction": 450},
    "chain": {"deduction": 1080},
    "math_word": {"problem": 500},
    "prime_inversion": {"deduction": 460, "abduction": 460, "induction": 460},
    "python_code": {"deduction": 225, "abduction": 225, "induction": 225},
}

# Its set is drawn by running some thousand programs.
SLOW = pytest.param("python_code", marks=pytest.mark.slow)

pytestmark = pytest.mark.parametrize(
    "name", [SLOW if name == "python_code" else name for name in sorted(SIZES)]
)


def file_pack(name: str, **knobs: object) -> FilePack:
    """Build a pack with a held-out file."""
    pack = load_pack({"_target_": name, **knobs})
    assert isinstance(pack, FilePack)
    return pack


@functools.cache
def drawn(name: str) -> tuple[TaskRecord, ...]:
    """The set that the seed draws, drawn once for all tests of a pack."""
    return tuple(build(file_pack(name)))


@pytest.fixture
def drawn_once(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the program take the set that was drawn."""
    monkeypatch.setattr(held_out, "build", lambda pack: drawn(name))


def test_size_and_kinds(name: str) -> None:
    assert Counter(record.kind for record in file_pack(name).held_out()) == SIZES[name]


def test_tasks_are_distinct_and_no_seeds(name: str) -> None:
    pack = file_pack(name)
    keys = [pack.task_key(record) for record in [*pack.held_out(), *pack.seeds()]]
    assert len(set(keys)) == len(keys)


def test_regenerated_bit_for_bit(name: str) -> None:
    pack = file_pack(name)
    assert render(pack, drawn(name)).encode() == pack.default_held_out_path.read_bytes()


@pytest.mark.usefixtures("drawn_once")
def test_program_checks_the_file(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert held_out.main([name, "--check"]) == 0
    assert "as drawn" in capsys.readouterr().out


@pytest.mark.usefixtures("drawn_once")
def test_program_tells_a_file_that_differs(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(type(file_pack(name)), "default_held_out_path", tmp_path / "held_out.jsonl")
    assert held_out.main([name, "--check"]) == 1
    assert held_out.main([name]) == 0
    assert held_out.main([name, "--check"]) == 0
    (tmp_path / "held_out.jsonl").write_text("")
    assert held_out.main([name, "--check"]) == 1
    assert "differs" in capsys.readouterr().out


def test_gold_solves_every_task_whatever_the_knobs(name: str) -> None:
    smallest: dict[str, dict[str, object]] = {
        "arithmetic": {"abduction_max": 9, "deduction_max": 9},
        "chain": {"longest": 4},
        "math_word": {"verify": "claimed", "extraction": "strict", "num_references": 0},
        "prime_inversion": {"max_prime": 23},
        "python_code": {"max_literal_chars": 16, "max_program_chars": 64, "keep_globals": False},
    }

    async def solve(pack: FilePack) -> list[Verdict]:
        return await asyncio.gather(*(pack.judge(r, pack.gold_response(r)) for r in pack.held_out()))

    for pack in (file_pack(name), file_pack(name, **smallest[name])):
        assert {verdict.outcome for verdict in asyncio.run(solve(pack))} == {Outcome.CORRECT}


def test_missing_file_says_what_to_do(name: str, tmp_path: Path) -> None:
    pack = file_pack(name, held_out_path=str(tmp_path / "none.jsonl"))
    with pytest.raises(FileNotFoundError, match=f"python -m tasks.held_out {name}"):
        pack.held_out()


def test_another_path_is_read(name: str, tmp_path: Path) -> None:
    pack = file_pack(name)
    copy = tmp_path / "copy.jsonl"
    copy.write_text(render(pack, drawn(name)[:7]))
    assert list(file_pack(name, held_out_path=str(copy)).held_out()) == list(pack.held_out())[:7]


def test_a_set_may_be_compressed_and_have_a_byte_order_mark(name: str, tmp_path: Path) -> None:
    pack = file_pack(name)
    copy = tmp_path / "copy.jsonl.gz"
    copy.write_bytes(gzip.compress(b"\xef\xbb\xbf" + pack.default_held_out_path.read_bytes()))
    assert list(file_pack(name, held_out_path=str(copy)).held_out()) == list(pack.held_out())


def test_an_odd_row_of_a_set_is_named(name: str, tmp_path: Path) -> None:
    path = tmp_path / "odd.jsonl"
    path.write_bytes(file_pack(name).default_held_out_path.read_bytes() + b"{\n")
    with pytest.raises(ValueError, match=r"odd\.jsonl: 1 left out, must be JSON.*: row \d+; run"):
        file_pack(name, held_out_path=str(path)).held_out()


@pytest.mark.parametrize("field", ["pack", "version", "count"])
def test_wrong_header_is_refused(name: str, field: str, tmp_path: Path) -> None:
    pack = file_pack(name)
    header, *rows = render(pack, list(pack.seeds())).splitlines()
    changed = {**json.loads(header), field: "other" if field == "pack" else 99}
    path = tmp_path / "changed.jsonl"
    path.write_text("\n".join([json.dumps(changed), *rows]))
    with pytest.raises(ValueError, match=r"must be pack .*python -m tasks\.held_out"):
        file_pack(name, held_out_path=str(path)).held_out()


@pytest.mark.parametrize("text", ["", "\n", "[]", "{}", '{"pack": "x"', "{no json", '{"code": ""}'])
def test_damaged_file_is_refused(name: str, text: str, tmp_path: Path) -> None:
    path = tmp_path / "damaged.jsonl"
    path.write_text(text)
    with pytest.raises(ValueError, match="must be a header and one record a line"):
        file_pack(name, held_out_path=str(path)).held_out()


def test_exhausted_stratum_is_named(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pack = file_pack(name)
    stratum = pack.held_out_strata()[0]
    first = drawn(name)[0]
    monkeypatch.setattr("tasks.kit.held_out_file.DRAWS_PER_RECORD", 20)
    monkeypatch.setattr(
        type(pack),
        "held_out_strata",
        lambda self: [type(stratum)(name="narrow", count=2, draw=lambda rng: first)],
    )
    with pytest.raises(ValueError, match="stratum narrow must have 2 distinct tasks"):
        build(pack)
