"""Fail where a file has more than 400 lines or a function more than 60.

python scripts/check_sizes.py [FOLDER ...]
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

FILE_LINES = 400
FUNCTION_LINES = 60


def excesses(path: Path) -> Iterator[str]:
    """What is too long in one Python file, in words."""
    text = path.read_text(encoding="utf-8")
    lines = len(text.splitlines())
    if lines > FILE_LINES:
        yield f"{path}: {lines} lines, at most {FILE_LINES}: split it by concept"
    for node in ast.walk(ast.parse(text, filename=str(path))):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            first = min([node.lineno, *(d.lineno for d in node.decorator_list)])
            length = (node.end_lineno or first) - first + 1
            if length > FUNCTION_LINES:
                yield (
                    f"{path}:{node.lineno}: {node.name} has {length} lines, "
                    f"at most {FUNCTION_LINES}: take a step out of it"
                )


def main(argv: Sequence[str] | None = None) -> int:
    """Check every Python file under the folders; by default package, scripts and tests."""
    named = list(sys.argv[1:] if argv is None else argv)
    root = Path(__file__).resolve().parents[1]
    usual = [root / name for name in ("fednnunet", "preprocessing", "scripts", "tests")]
    folders = [Path(name) for name in named] or [folder for folder in usual if folder.is_dir()]
    missing = [str(folder) for folder in folders if not folder.is_dir()]
    found = [f"{folder}: there is no such folder" for folder in missing]
    for folder in folders:
        for path in sorted(folder.rglob("*.py")):
            found += excesses(path)
    for line in found:
        print(line)
    return 1 if found else 0


if __name__ == "__main__":
    raise SystemExit(main())
