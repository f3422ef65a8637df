"""The size check finds long files and functions, and this project has none."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="module")
def check(script: Callable[[str], ModuleType]) -> ModuleType:
    return script("check_sizes")


def test_this_project_passes(check: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    assert check.main([]) == 0, capsys.readouterr().out


@pytest.mark.parametrize(("lines", "code"), [(58, 0), (59, 1)])
def test_a_function_of_more_than_60_lines_fails(
    tmp_path: Path, check: ModuleType, lines: int, code: int
) -> None:
    body = "        x = 1\n" * lines
    text = f"class A:\n    @staticmethod\n    def f():\n{body}"
    (tmp_path / "a.py").write_text(text)
    assert check.main([str(tmp_path)]) == code


@pytest.mark.parametrize(("lines", "code"), [(400, 0), (401, 1)])
def test_a_file_of_more_than_400_lines_fails(
    tmp_path: Path, check: ModuleType, lines: int, code: int
) -> None:
    (tmp_path / "a.py").write_text("x = 1\n" * lines)
    assert check.main([str(tmp_path)]) == code


def test_a_missing_folder_fails(tmp_path: Path, check: ModuleType) -> None:
    assert check.main([str(tmp_path / "nowhere")]) == 1
