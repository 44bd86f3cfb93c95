"""Whether a pack that cannot run programs says so before a run starts."""

from __future__ import annotations

import pytest

from tasks.contract import PackUnavailableError
from tasks.python_code import PythonCodePack
from tasks.sandbox import SandboxUnavailable


def test_a_machine_with_a_sandbox_passes() -> None:
    PythonCodePack().require_available()


def test_a_machine_without_one_is_told_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(config: object) -> None:
        raise SandboxUnavailable("this kernel refuses seccomp filters; choose one: ...")

    monkeypatch.setattr("tasks.execution.open_sandbox", refuse)
    with pytest.raises(PackUnavailableError, match="refuses seccomp filters; choose one"):
        PythonCodePack().require_available()
