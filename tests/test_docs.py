"""The pages name what there is: links and paths lead somewhere, and the tree lists every file.

Run: pytest tests/test_docs.py. After a change of files or of their first sentences: python tests/test_docs.py
"""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("tests/*/README.md")])
NAMING = [
    path
    for pattern in ("*.md", "*.py", "Makefile", "docs/*.md", *(f"{top}/**/*" for top in ("conf", "launch")))
    for path in ROOT.glob(pattern)
    if path.is_file()
]
"""Files whose words are read for paths; of the rooms' own modules ruff and mypy see the imports."""

TOPS = ("benchmarks", "conf", "docs", "launch", "recipe", "requirements", "rewards", "tasks", "tests")
OF_A_NEW_PACK = {"tests/test_my_pack.py"}
"""What docs/your_domain.md has python -m tasks.new write."""

ROOMS = ("recipe", "rewards", "tasks")
TREE = re.compile(r"(?<=<!-- tree -->\n```\n).*?(?=```\n<!-- /tree -->)", re.DOTALL)
ARCHITECTURE = ROOT / "docs" / "architecture.md"


def links(page: str) -> Iterator[str]:
    """Targets of a page's links to files and headings, without those in code."""
    prose = re.sub(r"```.*?```|`[^`\n]*`(?!\])", "", page, flags=re.DOTALL)
    yield from (target for target in re.findall(r"\]\(([^)\s]+)\)", prose) if "://" not in target)


def anchors(page: str) -> set[str]:
    """What GitHub calls the headings of a page."""
    headings = re.findall(r"^#+ (.*)$", page, flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def named_paths(text: str) -> set[str]:
    """Paths from the root of the repository that a text names; patterns and placeholders are left out."""
    found = re.findall(rf"(?<![\w./-])((?:{'|'.join(TOPS)})/[\w./<>*$\{{}}-]*)", text)
    return {path.rstrip(".") for path in found if not re.search(r"[<>*$\{}]", path)} - OF_A_NEW_PACK


def test_every_link_leads_somewhere() -> None:
    broken = []
    for page in PAGES:
        for target in links(page.read_text(encoding="utf-8")):
            file, _, heading = target.partition("#")
            path = (page.parent / file).resolve() if file else page
            if not path.exists() or (heading and heading not in anchors(path.read_text(encoding="utf-8"))):
                broken.append(f"{page.relative_to(ROOT)}: {target}")
    assert broken == []


def test_every_named_path_exists() -> None:
    missing = []
    for file in NAMING:
        for path in sorted(named_paths(file.read_text(encoding="utf-8"))):
            if not (ROOT / path).exists():
                missing.append(f"{file.relative_to(ROOT)}: {path}")
    assert missing == []


def commands(page: str) -> Iterator[list[str]]:
    """The words behind each `python -m recipe.main_azr` of a page."""
    for line in re.findall(r"python -m recipe\.main_azr([^`|#\n]*)", page.replace("\\\n", " ")):
        yield shlex.split(line)


def test_a_command_of_other_settings_has_a_directory_of_its_own() -> None:
    pages = [*PAGES, ROOT / "tasks" / "new" / "template" / "README.md"]
    for words in (words for page in pages for words in commands(page.read_text(encoding="utf-8"))):
        given = dict(word.partition("=")[::2] for word in words if "=" in word)
        file = ROOT / "conf" / "experiment" / f"{given.pop('experiment', None)}.yaml"
        if given and file.exists() and "\n  dir: " in file.read_text(encoding="utf-8"):
            # Without one it is refused, once the experiment has been run as it is
            assert given.keys() & {"run.dir", "control"}, words


def first_sentence(path: Path) -> str:
    """What a file says it is."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".py":
        said = ast.get_docstring(ast.parse(text)) or ""
    elif path.suffix == ".jsonl":
        return "a held-out set"
    else:
        said = text.partition("\n")[0].strip("#/*<!-> ")
    sentence = re.split(r"(?<=\.)\s|\n\n", said)[0]
    return " ".join(sentence.replace("`", "").split()).rstrip(".")


def tree() -> str:
    """The rooms as an indented list, folders last."""
    return "".join(line for room in ROOMS for line in entries(ROOT / room, 0))


def entries(folder: Path, depth: int) -> Iterator[str]:
    inside = [path for path in sorted(folder.iterdir()) if path.name not in ("__pycache__", "__init__.py")]
    files = [path for path in inside if path.is_file() and path.suffix != ".pyc"]
    init = folder / "__init__.py"
    yield row(f"{folder.name}/", first_sentence(init) if init.exists() else "", depth)
    for path in files:
        yield row(path.name, first_sentence(path), depth + 1)
    for path in inside:
        if path.is_dir() and any(path.rglob("*.*")):
            yield from entries(path, depth + 1)


def row(name: str, says: str, depth: int) -> str:
    return f"{'  ' * depth}{name}".ljust(26) + f"  {says}".rstrip() + "\n"


def test_tree_names_every_file_as_it_names_itself() -> None:
    found = TREE.search(ARCHITECTURE.read_text(encoding="utf-8"))
    assert found is not None
    assert found[0] == tree(), "python tests/test_docs.py writes it anew"


if __name__ == "__main__":
    page = ARCHITECTURE.read_text(encoding="utf-8")
    ARCHITECTURE.write_text(TREE.sub(lambda _: tree(), page), encoding="utf-8")
