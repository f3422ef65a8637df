"""Fail for files, functions and signatures that are too long, and public names without docstring.

    python scripts/check_sizes.py [FOLDER ...]

By default the package, scripts and preprocessing are checked, and the lengths in tests.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

FILE_LINES = 350
FUNCTION_LINES = 60
PARAMETERS = 8  # without self and cls

Function = ast.FunctionDef | ast.AsyncFunctionDef


def too_long(path: Path) -> Iterator[str]:
    """A line for a file that is too long, and for each of its functions that is."""
    text = path.read_text(encoding="utf-8")
    lines = len(text.splitlines())
    if lines > FILE_LINES:
        yield f"{path}: {lines} lines, at most {FILE_LINES}: split it by concept"
    for node in _functions(ast.parse(text, filename=str(path))):
        first = min([node.lineno, *(d.lineno for d in node.decorator_list)])
        length = (node.end_lineno or first) - first + 1
        if length > FUNCTION_LINES:
            yield (
                f"{path}:{node.lineno}: {node.name} has {length} lines, at most {FUNCTION_LINES}: "
                "move a step into a function"
            )


def unclear(path: Path) -> Iterator[str]:
    """A line for each function with too many parameters, and each public name without docstring."""
    tree = ast.parse(path.read_text(encoding="utf-8"), filename=str(path))
    for node in _functions(tree):
        given = (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)
        count = sum(parameter.arg not in ("self", "cls") for parameter in given)
        if count > PARAMETERS and not _is_kernel(node):
            yield (
                f"{path}:{node.lineno}: {node.name} has {count} parameters, at most {PARAMETERS}: "
                "group them in a dataclass"
            )
    for public in (tree, *_public(tree)):
        if ast.get_docstring(public) is None:
            name = "the module" if isinstance(public, ast.Module) else public.name
            yield f"{path}:{getattr(public, 'lineno', 1)}: {name} has no docstring"


def _is_kernel(node: Function) -> bool:
    """Whether it is a GPU kernel, whose pointers and sizes nothing can group."""
    return any(ast.unparse(decorator) == "triton.jit" for decorator in node.decorator_list)


def _functions(tree: ast.Module) -> Iterator[Function]:
    return (node for node in ast.walk(tree) if isinstance(node, Function))


def _public(node: ast.Module | ast.ClassDef) -> Iterator[ast.ClassDef | Function]:
    """Public classes and functions of a module or a class, and those of its public classes."""
    for child in node.body:
        if isinstance(child, ast.ClassDef | Function) and child.name[0] != "_":
            yield child
            if isinstance(child, ast.ClassDef):
                yield from _public(child)


def main(argv: Sequence[str] | None = None) -> int:
    """Check every Python file in the folders; the exit code is 1 if any fails."""
    named = [Path(name) for name in (sys.argv[1:] if argv is None else argv)]
    root = Path(__file__).resolve().parents[1]
    usual = [root / name for name in ("fednnunet", "preprocessing", "scripts", "tests")]
    found = []
    for folder in named or usual:
        if not folder.is_dir():
            found.append(f"{folder}: there is no such folder")
        for path in sorted(folder.rglob("*.py")):
            found += too_long(path)
            found += unclear(path) if folder != root / "tests" else ()
    for line in found:
        print(line)
    return 1 if found else 0


if __name__ == "__main__":
    raise SystemExit(main())
