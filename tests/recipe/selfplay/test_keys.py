"""The table of self-play's keys in the docs is what the keys say of themselves."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any

import yaml

from recipe.selfplay.config import AzrConfig

Meanings = Callable[[type[Any]], dict[str, str]]

PAGE = Path(__file__).parents[3] / "docs" / "running.md"


def rows(prefix: str, config: Any, meanings: Meanings) -> Iterator[str]:
    """One row a key, in the order of the fields."""
    for name, meaning in meanings(type(config)).items():
        value = getattr(config, name)
        if is_dataclass(value):
            yield from rows(f"{prefix}.{name}", value, meanings)
        else:
            default = yaml.safe_dump(value).removesuffix("...\n").strip()
            yield f"| `{prefix}.{name}` | `{default}` | {meaning} |"


def test_table_of_keys_is_what_the_keys_say(field_meanings: Meanings) -> None:
    table = "\n".join(rows("azr", AzrConfig(), field_meanings))
    assert f"| key | default | meaning |\n|---|---|---|\n{table}\n\n" in PAGE.read_text(encoding="utf-8"), (
        table
    )
