"""The gallery shows every pack as it is."""

from __future__ import annotations

import pytest

from tasks.check import gallery
from tasks.check.gallery import PAGE, main
from tasks.registry import load_pack, own_packs


def test_the_page_is_current(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--check"]) == 0
    assert "current" in capsys.readouterr().out


def test_it_shows_every_kind_of_every_pack() -> None:
    page = PAGE.read_text(encoding="utf-8")
    for name in own_packs():
        part = page.partition(f"\n## `{name}`\n")[2].partition("\n## ")[0]
        assert [line[4:] for line in part.splitlines() if line.startswith("### ")] == [
            spec.name for spec in load_pack(name).kinds
        ]


def test_an_old_page_is_told(
    tmp_path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(gallery, "PAGE", tmp_path / "gallery.md")
    monkeypatch.setattr(gallery, "render", lambda: "the packs of today")
    assert main(["--check"]) == 1
    assert "run `python -m tasks.check.gallery`" in capsys.readouterr().out
    assert main([]) == 0
    assert main(["--check"]) == 0
