"""Folders that a site makes, writes or removes: by names that match a pattern, inside its own."""

from __future__ import annotations

import re
from pathlib import Path

from fednnunet.errors import RefusalError

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.=+-]{0,199}")


def inside(root: Path, *names: str) -> Path:
    """The path of `names` under `root`, which may name several folders each (`baselines/fedbn`).

    Raises RefusalError where a name could lead elsewhere, or where the path, with links resolved,
    does not lie in `root`.
    """
    parts = [part for name in names if name for part in name.split("/")]
    path = root.joinpath(*parts)
    odd = [part for part in parts if not _NAME.fullmatch(part)]
    if odd or not path.resolve().is_relative_to(root.resolve()):
        raise RefusalError(
            f"{(odd or [path.name])[0][:80]!r} does not name a folder inside the site's own",
            where=str(root),
            mend="name it with letters, digits, and any of . _ = + - after the first of them",
            advice="as_agreed",
        )
    return path
