"""Write or check a pack's held-out set: `python -m tasks.held_out PACK [--terse] [--set NAME] [--check]`.

The set is drawn from the pack's default knobs and its own seed, so the file comes out the same bit for bit.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from tasks.kit.held_out_file import FilePack, build, render
from tasks.registry import load_pack


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program; 0, or 1 if `--check` finds a file that differs."""
    parser = argparse.ArgumentParser(prog="python -m tasks.held_out", description="Write a held-out set.")
    parser.add_argument("pack", help="name of a pack, such as arithmetic")
    parser.add_argument("--terse", action="store_true", help="the set for terse prompts, if it differs")
    parser.add_argument("--set", metavar="NAME", help="one of a pack's sets, for a pack with a knob held_out")
    parser.add_argument("--check", action="store_true", help="compare with the file and write nothing")
    options = parser.parse_args(arguments)
    try:
        knobs: dict[str, object] = {"terse": True} if options.terse else {}
        if options.set:
            knobs["held_out"] = options.set
        pack = load_pack({"_target_": options.pack, **knobs})
    except ValueError as error:
        parser.error(str(error))
    if not isinstance(pack, FilePack):
        parser.error(f"pack {pack.name} keeps no held-out file")
    text = render(pack, build(pack))
    path = pack.held_out_path
    if options.check:
        same = path.is_file() and path.read_text(encoding="utf-8") == text
        print(f"{path}: {'as drawn' if same else 'differs from what its seed draws'}")
        return 0 if same else 1
    path.write_text(text, encoding="utf-8")
    print(f"{path}: {text.count(chr(10)) - 1} records")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
