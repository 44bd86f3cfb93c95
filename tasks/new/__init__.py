"""Write the beginnings of a pack as a distribution of its own: `python -m tasks.new my_pack --out DIR`.

What is written is `template/`, a small pack that passes every check as it stands, with the name put in.
"""

from __future__ import annotations

import keyword
import re
from importlib.util import find_spec
from pathlib import Path

from tasks.registry import available_packs

TEMPLATE = Path(__file__).with_name("template")
TEMPLATE_NAME = "my_pack"


def render(name: str) -> dict[Path, str]:
    """The files of a new pack of this name, by path; `my_pack` gives the template itself."""
    files = sorted(path for path in TEMPLATE.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return {Path(_put(name, str(path.relative_to(TEMPLATE)))): _put(name, path.read_text()) for path in files}


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
    written = []
    for path, text in render(name).items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
        written.append(folder / path)
    return written


def _put(name: str, text: str) -> str:
    class_name = "".join(part.capitalize() for part in name.split("_"))
    # A pack called `sums_pack` has the class SumsPack, and one called `sums` has it too.
    class_name = class_name if class_name.endswith("Pack") else f"{class_name}Pack"
    return text.replace(TEMPLATE_NAME, name).replace("MyPack", class_name)
