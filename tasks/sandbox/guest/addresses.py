"""Give the objects of a program other addresses in each warm interpreter that it runs in.

An address shows in `repr` and in hashes, and a program's value may hang on it. Copies of one interpreter hand
out the same memory in the same order each time, and interpreters that were started alike hardly differ: the
kernel moves memory by whole pages, WebAssembly not at all. A result that hangs on the last digits of an
address would pass for deterministic.
"""

from __future__ import annotations

_HEAD_BYTES = 33  # what `bytes` takes beside its content


def fill_gaps(num_objects: int) -> list[object]:
    """Objects to keep: of the kinds that Python keeps back to use again, and of every small size.

    The number is to differ between interpreters. So many objects of the first sort are made; those of a size
    take the same room whatever the size is, 16 KiB up to a number of 256, since an allocator hands a size
    out from blocks as large. More would only make each fork dearer. A copy that fills no gaps also copies
    fewer pages.
    """
    kept: list[object] = []
    for number in range(num_objects):
        kept += [object(), [], {}, set(), (number,), number / 2, lambda: None]
    sizes = range(0, 480, 8)
    return kept + [bytes(size) for size in sizes for _ in range(64 * num_objects // (size + _HEAD_BYTES))]
