"""A file of lines of which each holds the hash of the one before: the ledgers of both sides.

Each line is canonical JSON (sorted keys, no spaces) with its `number`, counted from 1, and in
`before` the SHA-256 of the line before it; its `signature`, where there is one, is of the line
without it (see `signing`). The file `HEAD` beside it holds the number and the digest of the last
line. What that finds, `chain_checks` says.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

from fednnunet.federation.wire import signing
from fednnunet.files import locked, write_text

FILE, HEAD = "ledger.jsonl", "ledger_head.json"
FIRST = "0" * 64
"""What the first line has in `before`."""

_TAIL = 1 << 16  # bytes that are read at once to find the last line


def append(path: Path, entry: Mapping[str, object]) -> bytes:
    """Append an entry with its number, the hash of the line before, and the signature of the key in
    the folder of `path`; returns the line.

    Raises OSError or StorageError where it cannot be written. What a crash left of an unfinished
    line is removed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with locked(path), path.open("ab+") as file:
        last = _last_line(file)
        number = _number(last, path) + 1
        whole = {**entry, "number": number, "before": digest(last) if last else FIRST}
        if signature := signing.sign(path.parent, canonical(whole)):
            whole["signature"] = signature
        line = canonical(whole)
        _write(file, line + b"\n")
        head = {"number": number, "sha256": digest(line)}
        write_text(path.with_name(HEAD), json.dumps(head))
    return line


def extend(path: Path, new: Sequence[bytes]) -> None:
    """Append whole lines as they are, of a file that somebody else has written."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with locked(path), path.open("ab+") as file:
        _last_line(file)
        _write(file, b"".join(line + b"\n" for line in new))


def read(path: Path) -> tuple[dict[str, object], ...]:
    """All entries, oldest first; an unfinished last line (a crash) is left out."""
    return tuple(json.loads(line) for line in lines(path))


def lines(path: Path) -> tuple[bytes, ...]:
    """All finished lines as they are, oldest first."""
    return tuple(path.read_bytes().split(b"\n")[:-1]) if path.exists() else ()


def canonical(entry: Mapping[str, object]) -> bytes:
    """The bytes of an entry, the same wherever it is written."""
    return json.dumps(entry, sort_keys=True, separators=(",", ":")).encode("ascii")


def digest(data: bytes) -> str:
    """SHA-256 in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def _write(file: BinaryIO, data: bytes) -> None:
    file.write(data)
    file.flush()
    os.fsync(file.fileno())


def _last_line(file: BinaryIO) -> bytes:
    """The last finished line, without its end; what follows it is cut off."""
    size = file.seek(0, os.SEEK_END)
    tail, begin = b"", size
    while begin and tail.count(b"\n") < 2:
        step = min(_TAIL, begin)
        begin -= step
        file.seek(begin)
        tail = file.read(step) + tail
    whole, end, unfinished = tail.rpartition(b"\n")
    if unfinished:
        file.truncate(size - len(unfinished))
    return whole.rpartition(b"\n")[2] if end else b""


def _number(line: bytes, path: Path) -> int:
    """The number of the last line; 0 before the first. In earlier versions lines had none."""
    try:
        number = json.loads(line).get("number") if line else 0
    except (ValueError, AttributeError):
        number = None
    return number if isinstance(number, int) else len(lines(path))
