"""Configuration and limits: what is refused, and how the message says it."""

from __future__ import annotations

from typing import Any

import pytest

from tasks.sandbox import Capabilities, Limits, SandboxConfig

URL = "http://127.0.0.1:8080/run_code"


@pytest.mark.parametrize(
    "given",
    [
        {"backend": "docker"},
        {"backend": "wasm", "allow_unsafe": True},
        {"backend": "wasm", "http_url": URL},
        {"num_zygotes": -1},
        {"num_zygotes": 5000},
        {"num_zygotes": "4"},
        {"num_zygotes": True},
        {"allow_unsafe": "false"},
        {"backend": "http", "http_url": URL, "num_zygotes": 2},
        {"backend": "http", "http_url": "http://host:port/run_code"},
        {"backend": "http", "http_url": "http://[::1/run_code"},
        {"backend": "http"},
        {"backend": "http", "http_url": ""},
        {"backend": "http", "http_url": "ftp://host/run_code"},
        {"backend": "http", "http_url": "http:///run_code"},
        {"http_url": URL},
        {"backend": "http", "http_url": URL, "http_max_concurrent": 0},
        {"backend": "http", "http_url": URL, "allow_unsafe": True},
    ],
)
def test_a_message_is_one_line_and_names_the_key(given: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"^sandbox\.\w+ [^\n]+$"):
        SandboxConfig(**given)


@pytest.mark.parametrize(
    "given",
    [{"cpu_s": 0.0}, {"cpu_s": float("nan")}, {"wall_s": 0.5}, {"memory_mb": 1}, {"result_bytes": 0},
    {"depth": 0},
     {"depth": 1000}, {"result_bytes": 1 << 30}],
)  # fmt: skip
def test_limits_have_ranges(given: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"^limits\.\w+ must be from "):
        Limits(**given)


def test_defaults_are_a_configuration() -> None:
    assert 1 <= SandboxConfig().count_zygotes() <= 8
    assert SandboxConfig(num_zygotes=3).count_zygotes() == 3
    assert SandboxConfig(num_zygotes=3).count_concurrent() == 3
    assert SandboxConfig(backend="http", http_url=URL, http_max_concurrent=5).count_concurrent() == 5


def test_summary_says_unsafe_first() -> None:
    safe = Capabilities("fork", "3.11.7", True, 7, 65534, {"open": True, "fork": True})
    assert safe.summary() == "sandbox=fork seccomp=on landlock=abi7 uid=65534 python=3.11.7 selftest=2/2"
    unsafe = Capabilities("fork", "3.11.7", False, 0, 0, {"open": False})
    assert unsafe.summary().startswith("UNSAFE sandbox=fork seccomp=off landlock=off uid=0")
