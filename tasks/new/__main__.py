"""`python -m tasks.new NAME --out DIR`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from tasks.new import write


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program; return its exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m tasks.new", description="Write a new task pack, which passes its checks as it stands."
    )
    parser.add_argument("name", help="name of the pack, such as my_pack")
    parser.add_argument("--out", type=Path, help="folder to write it to; default: one of its name, here")
    options = parser.parse_args(arguments)
    folder = options.out or Path(options.name)
    try:
        written = write(options.name, folder)
    except ValueError as error:
        parser.error(str(error))
    print(*written, sep="\n")
    print(f"\npip install --no-deps --no-build-isolation -e {folder}")
    print(f"python -m tasks.check {options.name}")
    print(f"python -m pytest {folder}")
    print(f"python -m recipe.main_azr experiment=demo pack={options.name}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
