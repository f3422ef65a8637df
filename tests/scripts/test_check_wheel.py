"""The built wheel, not the clone, predicts in an environment of its own."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from scripts import check_wheel

pytestmark = pytest.mark.slow


def test_the_wheel_predicts(capsys: pytest.CaptureFixture[str]) -> None:
    assert check_wheel.main([]) == 0
    assert "predicted a mask" in capsys.readouterr().out


def test_the_wheel_has_its_templates_and_types(tmp_path: Path) -> None:
    with zipfile.ZipFile(check_wheel.build(tmp_path / "wheel")) as wheel:
        names = wheel.namelist()
    assert "fednnunet/py.typed" in names
    assert "fednnunet/evaluation/report.html.j2" in names
    assert all(name.startswith("fednnunet") for name in names)
