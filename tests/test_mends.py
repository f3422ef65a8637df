"""Every error that the package makes says in at least three words how to mend it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from fednnunet import errors

PACKAGE = Path(errors.__file__).parent
MIN_WORDS = 3
ERRORS = {
    name
    for name, kind in vars(errors).items()
    if isinstance(kind, type) and issubclass(kind, errors.FedNNUNetError)
} - {"ManyFaults"}  # its faults have their own mends


def unhelpful(source: str, name: str = "") -> list[str]:
    """The calls in a module that make an error without a helpful mend."""
    tree = ast.parse(source)
    helpers = dict(_helpers(tree))
    found = []
    for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
        made = _name(call.func)
        if made in ERRORS:
            given = {keyword.arg: keyword.value for keyword in call.keywords}
            mend = given.get("mend") or given.get(None)
        elif made in helpers:
            mend = _argument(call, helpers[made])
        else:
            continue
        if not _is_helpful(mend):
            shown = ast.unparse(mend) if mend else "no mend"
            found.append(f"{name}:{call.lineno}: {made}: {shown}")
    return found


def _helpers(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Functions of the module that take a mend, and its place among their arguments."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            names = [a.arg for a in (*node.args.posonlyargs, *node.args.args)]
            names = names[1:] if names[:1] == ["self"] else names
            if "mend" in names:
                yield node.name, names.index("mend")


def _argument(call: ast.Call, place: int) -> ast.expr | None:
    named = [keyword.value for keyword in call.keywords if keyword.arg == "mend"]
    if named:
        return named[0]
    return call.args[place] if len(call.args) > place else None


def _name(function: ast.expr) -> str:
    return getattr(function, "id", None) or getattr(function, "attr", "")


def _is_helpful(mend: ast.expr | None) -> bool:
    """Whether a text has enough words; a value that is computed elsewhere is trusted."""
    if mend is None:
        return False
    if isinstance(mend, ast.Constant):
        return isinstance(mend.value, str) and len(mend.value.split()) >= MIN_WORDS
    if isinstance(mend, ast.JoinedStr):
        text = "".join(p.value if isinstance(p, ast.Constant) else "x" for p in mend.values)
        return len(text.split()) >= MIN_WORDS
    if isinstance(mend, ast.IfExp):
        return _is_helpful(mend.body) and _is_helpful(mend.orelse)
    return True


@pytest.mark.parametrize(
    ("call", "helpful"),
    [
        ("InputError('x')", False),
        ("InputError('x', mend='')", False),
        ("errors.DataError('x', mend='do so')", False),
        ("InputError('x', mend=f'above {x}')", False),
        ("InputError('x', mend='add the file')", True),
        ("InputError('x', mend=f'choose one of: {x}')", True),
        ("InputError('x', mend='add it' if y else 'take the file')", False),
        ("InputError('x', mend=mend)", True),
        ("def f(what, mend): pass\nf('x', 'no')", False),
        ("def f(what, mend): pass\nf('x', 'add the file')", True),
        ("class A:\n  def f(self, what, mend): pass\nA().f('x', mend='no')", False),
    ],
)
def test_what_is_unhelpful_is_found(call: str, helpful: bool) -> None:
    assert (unhelpful(call) == []) == helpful


def test_every_error_says_how_to_mend_it() -> None:
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        found += unhelpful(path.read_text(encoding="utf-8"), str(path.relative_to(PACKAGE)))
    assert found == []
