"""The pack keeps the contract, and its grammar says what it should."""

import asyncio

import pytest
from my_pack import MyPack

from tasks.check.conformance import Check
from tasks.contract import Accepted, Outcome, Rejected, TaskRecord
from tasks.registry import load_pack

pytest_plugins = ["tasks.check.pytest_plugin"]


@pytest.mark.parametrize("largest", [99, 255])
def test_pack_keeps_the_contract(pack_check: Check, largest: int) -> None:
    pack_check(lambda: load_pack({"_target_": "my_pack.MyPack", "largest": largest}))


@pytest.mark.parametrize(
    ("kind", "response", "expected"),
    [
        ("deduction", "bin 5", Accepted(TaskRecord("deduction", {"number": 5}))),
        ("abduction", "dec 101", Accepted(TaskRecord("abduction", {"number": 5}))),
        ("deduction", "bin 256", Rejected.wrong("too-large")),
        ("deduction", "dec 101", Rejected.malformed("no-task")),
    ],
)
def test_proposals(kind: str, response: str, expected: Accepted | Rejected) -> None:
    assert asyncio.run(MyPack().accept(kind, response, [])) == expected


@pytest.mark.parametrize(
    ("response", "outcome"),
    [("101", Outcome.CORRECT), ("110", Outcome.WRONG), ("five", Outcome.MALFORMED)],
)
def test_answers(response: str, outcome: Outcome) -> None:
    record = TaskRecord("deduction", {"number": 5})
    assert asyncio.run(MyPack().judge(record, response)).outcome is outcome
