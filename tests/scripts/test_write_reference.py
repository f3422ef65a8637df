"""The pages of keys are those of the code, and the pictures those of the script."""

from __future__ import annotations

from pathlib import Path

from scripts import make_pictures, write_reference

ROOT = Path(__file__).resolve().parents[2]


def test_the_pages_are_up_to_date(tmp_path: Path) -> None:
    write_reference.main([str(tmp_path)])
    for name in ("federation.md", "site.md"):
        written = (ROOT / "docs" / "reference" / name).read_text(encoding="utf-8")
        assert written == (tmp_path / name).read_text(encoding="utf-8"), (
            "run python scripts/write_reference.py"
        )


def test_every_key_has_a_meaning(tmp_path: Path) -> None:
    rows = [
        line
        for page in (write_reference.federation_page(), write_reference.site_page())
        for line in page.splitlines()
        if line.startswith("| `")
    ]
    assert len(rows) > 60
    assert all(len(row.rsplit("|", 2)[1].strip()) > 10 for row in rows)


def test_the_pictures_are_drawn(tmp_path: Path) -> None:
    make_pictures.main([str(tmp_path)])
    assert (tmp_path / "case.png").read_bytes().startswith(b"\x89PNG")
    assert "<svg" in (tmp_path / "way.svg").read_text(encoding="utf-8")
