"""The documentation of dataclass fields: the string literal under each field.

    @dataclass(frozen=True, slots=True, kw_only=True)
    class Budget:
        workers: int = 1
        \"\"\"Cases that a site processes at the same time.\"\"\"

Python discards these strings, so they are read from the source with `ast`. The command line shows
them as help, and JSON schemas as descriptions.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from functools import cache
from itertools import pairwise


def field_docs(kind: type) -> dict[str, str]:
    """The documentation of each documented field of a class and its bases, on one line each.

    Empty if the source is not available (a class typed at a prompt, a frozen program).
    """
    docs: dict[str, str] = {}
    for base in reversed(kind.__mro__):
        docs |= _own_docs(base)
    return docs


@cache
def _own_docs(kind: type) -> dict[str, str]:
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(kind)))
    except (OSError, TypeError, SyntaxError):
        return {}
    body = tree.body[0].body if tree.body and isinstance(tree.body[0], ast.ClassDef) else []
    docs = {}
    for field, literal in pairwise(body):
        if not (isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)):
            continue
        value = literal.value if isinstance(literal, ast.Expr) else None
        if isinstance(value, ast.Constant) and isinstance(value.value, str):
            docs[field.target.id] = " ".join(value.value.split())
    return docs
