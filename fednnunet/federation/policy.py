"""A site's own limits on what it shares, from a file that the coordinator cannot change."""

from __future__ import annotations

import tomllib
from pathlib import Path

from fednnunet import records
from fednnunet.errors import InputError
from fednnunet.planning.cleanse import SitePolicy

FILE_NAME = "site.toml"


def read_policy(path: Path | None, folder: Path) -> SitePolicy:
    """The policy in `path`, else in `site.toml` of the site's folder, else the default limits."""
    path = path or folder / FILE_NAME
    if not path.is_file():
        return SitePolicy()
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise InputError(
            f"the site's policy is not readable TOML: {error}",
            where=str(path),
            mend="correct that line",
        ) from None
    return records.decode(SitePolicy, data, source=str(path))
