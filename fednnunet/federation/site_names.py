"""Names of sites: letters and digits of any language, usable as names of folders."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from typing import TypeVar

from fednnunet.errors import InputError

T = TypeVar("T")

_LONGEST = 64  # characters
_LONGEST_BYTES = 200  # in UTF-8: file systems take 255 for a name
_RESERVED = {"con", "prn", "aux", "nul", *(f"{p}{n}" for p in ("com", "lpt") for n in range(1, 10))}
_ALIKE = ("LATIN", "CYRILLIC", "GREEK")  # scripts with letters that look the same


def checked_sites(sites: Mapping[str, T]) -> dict[str, T]:
    """The sites with their names in Unicode's composed form (NFC), which file systems agree on.

    Raises InputError for a name that cannot be a folder's, that mixes scripts whose letters look
    alike, or that differs from another only in case or form, as some file systems hold these equal.
    """
    found: dict[str, T] = {}
    folders: dict[str, str] = {}
    for given, site in sites.items():
        name = unicodedata.normalize("NFC", given)
        if fault := _fault(name):
            raise InputError(
                f"{given!r} cannot be a site's name: {fault}",
                where=f"sites.{given}",
                mend="use letters, digits, - and _, beginning with a letter or digit",
            )
        folder = unicodedata.normalize("NFKC", name).casefold()
        if folder in folders:
            raise InputError(
                f"the sites {folders[folder]!r} and {name!r} would share a folder",
                where=f"sites.{name}",
                mend="give one of them another name, not only other capital letters",
            )
        folders[folder] = name
        found[name] = site
    return found


def _fault(name: str) -> str:
    """Why `name`, in composed form, cannot be a site's; empty if it can."""
    kinds = [unicodedata.category(character)[0] for character in name]
    if not kinds or kinds[0] not in "LN":
        return "it does not begin with a letter or digit"
    wrong = [c for c, kind in zip(name, kinds, strict=True) if kind not in "LNM" and c not in "-_"]
    if wrong:
        return f"it has the character {wrong[0]!r}"
    if len(name) > _LONGEST or len(name.encode("utf-8", "replace")) > _LONGEST_BYTES:
        return "it is too long"
    if name.casefold() in _RESERVED:
        return "Windows keeps it for a device"
    scripts = {unicodedata.name(c, "").split(" ")[0] for c in name}
    mixed = [script for script in _ALIKE if script in scripts]
    return f"it mixes {' and '.join(mixed).title()} letters" if len(mixed) > 1 else ""
