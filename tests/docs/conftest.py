"""A folder in which the pages' commands are run."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.end_to_end.tiny import make_federation


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with tiny hospitals in data/berlin and data/oslo, in which the commands are run."""
    make_federation(tmp_path / "made")
    for made, name in (("north", "berlin"), ("south", "oslo")):
        shutil.move(tmp_path / "made" / made, tmp_path / "data" / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path
