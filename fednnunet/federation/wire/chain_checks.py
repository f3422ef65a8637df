"""Whether a ledger is as it was written: no line changed, moved, added, or removed from its middle.

Lines that were cut off the end together with the head, by someone who rewrites both, show only
against a copy of the head that is kept elsewhere.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from fednnunet.federation.wire import signing
from fednnunet.federation.wire.chain import FIRST, HEAD, canonical, digest, lines


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """What a check found: the number of entries, those without a signature, and all faults.

    `unchained` entries at the beginning are of an earlier version, which had no chain.
    """

    entries: int
    unchained: int
    unsigned: int
    faults: tuple[str, ...]


def verify(ledger: Path, *, public: bytes | None = None, all_signed: bool = False) -> Verified:
    """Check every line of a ledger against the one before, its signature, and the head.

    `public` is the site's public key (PEM); without it signatures are not checked. With it every
    line from the first signed one on must be signed, with `all_signed` every line. Raises what
    `signing.is_signed` raises.
    """
    found = lines(ledger)
    unchained = _unchained(found)
    checked = verify_lines(found, unchained=unchained, public=public, all_signed=all_signed)
    return replace(checked, faults=(*checked.faults, *_head_faults(ledger, found)))


def verify_lines(
    found: Sequence[bytes],
    *,
    before: str = FIRST,
    first: int = 1,
    unchained: int = 0,
    public: bytes | None = None,
    all_signed: bool = False,
) -> Verified:
    """As `verify`, of lines of which the first has the number `first` and follows `before`."""
    faults = list(_chain_faults(found, unchained, before, first))
    unsigned, signing_began = 0, all_signed
    for place, line in enumerate(found, start=first):
        entry = as_entry(line)
        signature = str(entry.pop("signature", ""))
        if not signature:
            unsigned += 1
            if signing_began and public is not None:
                faults.append(f"line {place} has no signature")
            continue
        signing_began = True
        if public is not None and not signing.is_signed(public, canonical(entry), signature):
            faults.append(f"line {place} is not signed by this key")
    return Verified(
        entries=len(found), unchained=unchained, unsigned=unsigned, faults=tuple(faults)
    )


def _unchained(found: Sequence[bytes]) -> int:
    """The number of lines at the beginning that are of an earlier version."""
    entries = (as_entry(line) for line in found)
    old = (bool(entry) and not entry.keys() & {"number", "before"} for entry in entries)
    return next((place for place, is_old in enumerate(old) if not is_old), len(found))


def _chain_faults(found: Sequence[bytes], unchained: int, before: str, first: int) -> Iterator[str]:
    for place, line in enumerate(found, start=first):
        entry = as_entry(line)
        if not entry:
            yield f"line {place} is no entry"
        elif place <= unchained:
            pass
        elif canonical(entry) != line:
            yield f"line {place} was written by another program"
        elif entry.get("number") != place:
            yield f"line {place} has the number {entry.get('number')}: lines are missing or moved"
        elif entry.get("before") != before:
            yield f"line {place} does not follow the line before it, one of them was changed"
        before = digest(line)


def _head_faults(ledger: Path, found: tuple[bytes, ...]) -> Iterator[str]:
    """The last lines may have been cut off. After a crash the head may be one line behind."""
    try:
        head = as_entry(ledger.with_name(HEAD).read_bytes())
    except FileNotFoundError:
        if found:
            yield f"{HEAD} is missing, so lines may be missing at the end"
        return
    number, sha256 = head.get("number"), head.get("sha256")
    if not isinstance(number, int) or number < 1:
        yield f"{HEAD} cannot be read"
    elif number > len(found):
        yield f"{number} lines were written, {len(found)} are there"
    elif digest(found[number - 1]) != sha256:
        yield f"line {number} is not the one that was written last"
    elif number < len(found) - 1:
        yield f"lines were added after line {number}"


def as_entry(line: bytes) -> dict[str, object]:
    """A line as an object; empty for what is none."""
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return entry if isinstance(entry, dict) else {}


def public_key(folder: Path) -> bytes | None:
    """The public key beside a ledger, if there is one."""
    path = folder / signing.PUBLIC
    return path.read_bytes() if path.is_file() else None
