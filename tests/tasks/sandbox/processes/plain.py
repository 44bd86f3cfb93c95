"""Run programs in a plain interpreter: JSON [[source, [input, ...]], ...] on stdin, results on stdout."""

from __future__ import annotations

import json
import sys
import types


def run(source: str, inputs: list[str]) -> list[list[str]]:
    """For each input "ok" and the result's `repr`, or "raised" and the exception's type."""
    results = []
    # A module that can be looked up, as dataclasses do.
    module = sys.modules["__program__"] = types.ModuleType("__program__")
    names = vars(module)
    exec(source, names)
    for text in inputs:
        try:
            results.append(["ok", repr(eval(f"f({text})", names))])
        except Exception as error:  # whatever the program raises is its result
            results.append(["raised", type(error).__name__])
    return results


if __name__ == "__main__":
    print(json.dumps([run(source, inputs) for source, inputs in json.load(sys.stdin)]))
