"""Check a pack, inside this repository or installed: `python -m tasks.check PACK [KNOB=VALUE ...]`.

Runs every check of `tasks/check/conformance.py`, says what is wrong, and prints prompts for a person to read.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from tasks.check.conformance import CHECKS, ConformanceError, Examined
from tasks.check.gallery import sample_texts
from tasks.contract import CheckBrokenError, PackUnavailableError, TaskPack
from tasks.guard import BAD_SETTING, PackError
from tasks.kit.knobs import read_knobs
from tasks.registry import load_pack


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program; 0, or 1 if the pack has a fault; 2, by argparse, if there is no such pack or knob."""
    parser = argparse.ArgumentParser(prog="python -m tasks.check", description="Check a task pack.")
    parser.add_argument("pack", help="name of an installed pack, or a dotted path to its class")
    parser.add_argument("knobs", nargs="*", default=[], metavar="KNOB=VALUE", help="such as terse=true")
    options = parser.parse_args(arguments)

    def build() -> TaskPack:
        return load_pack({"_target_": options.pack, **read_knobs(options.knobs)})

    try:
        Examined(build).require_available()
    except (*BAD_SETTING, PackUnavailableError) as error:
        parser.error(str(error))
    except PackError as error:
        print(f"FAULT {error}")
        return 1
    faults = 0
    for check in CHECKS:
        words = (check.__doc__ or check.__name__).splitlines()[0]
        try:
            check(build)
        except (ConformanceError, PackError, CheckBrokenError, *BAD_SETTING) as error:
            print(f"FAULT {words}\n      {error}")
            faults += 1
        else:
            print(f"ok    {words}")
    print()
    if faults:
        print(f"{options.pack}: {faults} of {len(CHECKS)} checks failed")
        return 1
    for kind, texts in sample_texts(Examined(build)).items():
        for title, text in texts.items():
            print(f"--- {kind}: {title}\n{text}\n")
    print(f"{options.pack}: {len(CHECKS)} checks passed")
    return 0


if __name__ == "__main__":
    try:
        status = main()
        sys.stdout.flush()
    except BrokenPipeError:  # who reads it has enough, as in `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python flushes at exit, and fails
        status = 1
    raise SystemExit(status)
