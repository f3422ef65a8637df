"""The size check finds what is too long or undocumented, and this project passes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="module")
def check(script: Callable[[str], ModuleType]) -> ModuleType:
    return script("check_sizes")


def run(check: ModuleType, folder: Path, text: str) -> int:
    (folder / "a.py").write_text('"""A module."""\n' + text)
    return check.main([str(folder)])


def test_this_project_passes(check: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    assert check.main([]) == 0, capsys.readouterr().out


@pytest.mark.parametrize(("lines", "code"), [(58, 0), (59, 1)])
def test_a_function_of_more_than_60_lines_fails(
    tmp_path: Path, check: ModuleType, lines: int, code: int
) -> None:
    body = "        x = 1\n" * lines
    assert run(check, tmp_path, f"class _A:\n    @staticmethod\n    def f():\n{body}") == code


@pytest.mark.parametrize(("lines", "code"), [(349, 0), (350, 1)])
def test_a_file_of_more_than_350_lines_fails(
    tmp_path: Path, check: ModuleType, lines: int, code: int
) -> None:
    assert run(check, tmp_path, "x = 1\n" * lines) == code


@pytest.mark.parametrize(
    ("parameters", "code"),
    [
        ("a, b, c, d, e, f, g, h", 0),
        ("a, b, c, d, e, f, g, h, i", 1),
        ("a, b, c, d, /, e, f, g, *, h, i", 1),
        ("self, a, b, c, d, *, e, f, g, h", 0),
        ("a, b, c, d, e, f, g, h, *args, **settings", 0),
    ],
)
def test_a_function_of_more_than_8_parameters_fails(
    tmp_path: Path, check: ModuleType, parameters: str, code: int
) -> None:
    assert run(check, tmp_path, f"def _f({parameters}):\n    pass\n") == code


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("def f():\n    pass\n", 1),
        ('def f():\n    """F."""\n', 0),
        ("def _f():\n    pass\n", 0),
        ("class A:\n    pass\n", 1),
        ('class A:\n    """A."""\n\n    def f(self):\n        pass\n', 1),
        ('class A:\n    """A."""\n\n    def __init__(self):\n        pass\n', 0),
        ("class _A:\n    def f(self):\n        pass\n", 0),
        ('def f():\n    """F."""\n\n    def g():\n        pass\n', 0),
    ],
)
def test_what_is_public_needs_a_docstring(
    tmp_path: Path, check: ModuleType, text: str, code: int
) -> None:
    assert run(check, tmp_path, text) == code


def test_a_module_needs_a_docstring(tmp_path: Path, check: ModuleType) -> None:
    (tmp_path / "a.py").write_text("x = 1\n")
    assert check.main([str(tmp_path)]) == 1


def test_a_missing_folder_fails(tmp_path: Path, check: ModuleType) -> None:
    assert check.main([str(tmp_path / "nowhere")]) == 1
