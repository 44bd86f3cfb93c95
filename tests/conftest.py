"""What a dataclass of settings says of itself, for tests of every room."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable
from dataclasses import fields
from typing import Any

import pytest


def meanings_of(settings: type[Any]) -> dict[str, str]:
    """The docstring of every field of a dataclass, by name: its own first, then those of its bases.

    Raises:
        ValueError: A field has none.
    """
    found: dict[str, str] = {}
    for each in settings.__mro__[:-1]:
        body = ast.parse(textwrap.dedent(inspect.getsource(each))).body[0]
        assert isinstance(body, ast.ClassDef)
        for field, text in zip(body.body, body.body[1:], strict=False):
            if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Expr):
                found.setdefault(ast.unparse(field.target), " ".join(ast.literal_eval(text.value).split()))
    names = [field.name for field in fields(settings)]
    silent = [name for name in names if name not in found]
    if silent:
        raise ValueError(f"every field of {settings.__name__} must have a docstring; {silent[0]} has none")
    return {name: text for name, text in found.items() if name in names}


@pytest.fixture
def field_meanings() -> Callable[[type[Any]], dict[str, str]]:
    """`meanings_of`."""
    return meanings_of
