"""Give the objects of a program other addresses in each warm interpreter that it runs in.

An address shows in `repr` and in hashes, and a program's value may hang on it. Copies of one interpreter hand
out the same memory in the same order each time, and interpreters that were started alike hardly differ: the
kernel moves memory by whole pages, WebAssembly not at all. A result that hangs on the last digits of an
address would pass for deterministic.
"""

from __future__ import annotations


def fill_gaps(num_objects: int) -> list[object]:
    """Objects to keep: so many of every small size and of the kinds that Python keeps back to use again.

    The number is to differ between interpreters. A copy that fills no gaps also copies fewer pages.
    """
    kept: list[object] = []
    for number in range(num_objects):
        kept += [object(), [], {}, set(), (number,), number / 2, lambda: None]
    return kept + [bytes(size) for size in range(0, 480, 8) for _ in range(num_objects)]
