"""Parse Python text, one thread at a time.

Until Python 3.11.8, CPython counts the depth of the syntax tree that it builds in one place for all threads
(python/cpython#106905). When the garbage collector holds up one parse and another thread begins its own, the
first raises SystemError or RecursionError about a text without a fault: a right answer would be none.
"""

from __future__ import annotations

import ast
import threading
import warnings

FILENAME = "<model>"
# The parser warns on our stderr of `"\\d"` and the like in a model's text. `catch_warnings` around each call
# would not do: it is not thread-safe.
warnings.filterwarnings("ignore", module=FILENAME)

# Reentrant: the garbage collector may run anything in the middle of a parse, in the same thread.
PARSING = threading.RLock()  # held by whatever parses; for libraries that do so themselves


def parse(text: str) -> ast.Module:
    """Parse a program; raises what `ast.parse` raises."""
    with PARSING:
        return ast.parse(text, FILENAME)


def parse_expression(text: str) -> ast.expr:
    """Parse an expression; raises what `ast.parse` raises."""
    with PARSING:
        return ast.parse(text, FILENAME, mode="eval").body
