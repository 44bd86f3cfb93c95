"""Parse Python text, one thread at a time.

Until Python 3.11.8, CPython counts the depth of the syntax tree that it builds in one place for all threads
(python/cpython#106905). When the garbage collector holds up one parse and another thread begins its own, the
first raises SystemError or RecursionError about a text without a fault: a right answer would be none.
"""

from __future__ import annotations

import ast
import threading

# Reentrant: the garbage collector may run anything in the middle of a parse, in the same thread.
PARSING = threading.RLock()  # held by whatever parses; for libraries that do so themselves


def parse(text: str, filename: str = "<unknown>") -> ast.Module:
    """Parse a program; raises what `ast.parse` raises."""
    with PARSING:
        return ast.parse(text, filename)


def parse_expression(text: str, filename: str) -> ast.expr:
    """Parse an expression; raises what `ast.parse` raises."""
    with PARSING:
        return ast.parse(text, filename, mode="eval").body
