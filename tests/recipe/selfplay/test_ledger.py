"""The ledger's lines."""

from __future__ import annotations

from recipe.selfplay.types import LedgerLine
from tasks.contract import Outcome, Role

LINE = LedgerLine(
    step=2,
    role=Role.SOLVE,
    kind="deduction",
    cell="solve/hard",
    index=7,
    attempt=1,
    prompt=[{"role": "user", "content": "1 + 1 ="}],
    response="2",
    outcome=Outcome.CORRECT,
    reason="",
    solve_rate=None,
    reward=1.0,
    record={"a": 1},
    measures={"distance": 0.0},
    features={"length": 3.0},
)


def test_line_says_all_of_a_response() -> None:
    assert LINE.to_json() == {
        "step": 2,
        "role": "solve",
        "kind": "deduction",
        "cell": "solve/hard",
        "index": 7,
        "attempt": 1,
        "prompt": [{"role": "user", "content": "1 + 1 ="}],
        "response": "2",
        "outcome": "correct",
        "reason": "",
        "solve_rate": None,
        "reward": 1.0,
        "record": {"a": 1},
        "measures": {"distance": 0.0},
        "features": {"length": 3.0},
    }
