"""The watch of `conftest.py` sees what it is there for."""

from __future__ import annotations


def test_it_sees_code_that_runs(code_that_ran: list[str]) -> None:
    assert code_that_ran == []
    eval("1 + 1")
    assert code_that_ran == ["<string>"]
