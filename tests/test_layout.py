"""Every module has a file of tests at the same place, under the same name."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE, TESTS = ROOT / "fednnunet", ROOT / "tests"


def has_code(source: str) -> bool:
    """Whether a module defines anything: names that are only imported or assigned are no code."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    return any(isinstance(node, kinds) for node in ast.parse(source).body)


def untested(package: Path, tests: Path) -> list[str]:
    """The missing test files, relative to `tests`, of all modules below `package`."""
    modules = [path.relative_to(package) for path in sorted(package.rglob("*.py"))]
    return [
        str(module.with_name(f"test_{module.name}"))
        for module in modules
        if module.name != "__init__.py"
        and has_code((package / module).read_text(encoding="utf-8"))
        and not (tests / module.with_name(f"test_{module.name}")).is_file()
    ]


def test_every_module_with_code_has_its_tests() -> None:
    missing = untested(PACKAGE, TESTS)
    listed = "\n".join(f"  tests/{name}" for name in missing)
    assert not missing, f"{len(missing)} modules have no tests of their own; add:\n{listed}"


def test_a_module_without_tests_is_named(tmp_path: Path) -> None:
    package, tests = tmp_path / "package", tmp_path / "tests"
    for folder in (package / "part", tests / "part"):
        folder.mkdir(parents=True)
    for name in ("one.py", "part/two.py", "part/__init__.py"):
        (package / name).write_text("def f(): ...\n")
    (package / "alias.py").write_text("import math\n\nNUMBER = math.pi\n")
    (tests / "test_two.py").write_text("")
    assert untested(package, tests) == ["test_one.py", "part/test_two.py"]
    (tests / "part" / "test_two.py").write_text("")
    assert untested(package, tests) == ["test_one.py"]


@pytest.mark.parametrize(
    ("source", "code"),
    [("import math\nX = 1\n", False), ('"""Only words."""', False), ("class A: ...", True)],
)
def test_what_counts_as_code(source: str, code: bool) -> None:
    assert has_code(source) is code
