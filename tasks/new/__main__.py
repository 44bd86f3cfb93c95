"""Write the beginnings of a pack as a distribution of its own: `python -m tasks.new my_pack --out DIR`.

What is written is `template/`, a small pack that passes every check as it stands, with the name put in.
"""

from __future__ import annotations

import argparse
import keyword
import re
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from tasks.registry import available_packs

TEMPLATE = Path(__file__).with_name("template")


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
    print(f"python -m recipe.main_azr experiment=demo pack={options.name} run.dir=runs/{options.name}")
    return 0


def write(name: str, folder: Path) -> list[Path]:
    """Write a new pack; return what was written.

    Raises:
        ValueError: The name or the folder is taken, or the name is no name for a pack.
    """
    if not re.fullmatch("[a-z][a-z0-9_]*", name) or keyword.iskeyword(name):
        raise ValueError(
            f"a pack's name must be lower case letters, digits and underscores, and no word of Python's; "
            f"got {name!r}"
        )
    if name in available_packs() or find_spec(name) is not None:
        raise ValueError(f"a pack's name must be new; a pack or a module {name} exists already")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ValueError(f"--out must be a new or an empty folder; {folder} is not")
    files = {folder / path: text for path, text in render(name).items()}
    for path, text in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return list(files)


def render(name: str) -> dict[Path, str]:
    """The files of a new pack of this name, by path; `my_pack` gives the template itself."""
    class_name = "".join(part.capitalize() for part in name.removesuffix("_pack").split("_")) + "Pack"

    def put(text: str) -> str:
        return text.replace("my_pack", name).replace("MyPack", class_name)

    files = sorted(path for path in TEMPLATE.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return {Path(put(str(path.relative_to(TEMPLATE)))): put(path.read_text()) for path in files}


if __name__ == "__main__":
    raise SystemExit(main())
