"""A list of every message that left a site, in words, written at the site before it is sent.

Each line is canonical JSON (sorted keys, no spaces) with its `number`, counted from 1, and in
`before` the SHA-256 of the line before it; its `signature`, where there is one, is of the line
without it (see `signing`). `HEAD` holds the number and the digest of the last line. What
that finds, `ledger_checks` says.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from fednnunet.federation.site import signing
from fednnunet.federation.site.answers import digest
from fednnunet.files import locked, write_text

FILE, HEAD = "ledger.jsonl", "ledger_head.json"
FIRST = "0" * 64
"""What the first line has in `before`."""

_TAIL = 1 << 16  # bytes that are read at once to find the last line


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """What a message answers: the run, its phase, round (from 0) and iterations, where it has any.

    `detail` says in words what goes with the weights. `asked` is the kind of the invite, and
    `asked_sha256` the digest of its bytes. A refusal or another fault has the codes of
    `wire.faults` in `fault` and `advice`.
    """

    detail: str = ""
    asked: str = ""
    asked_sha256: str = ""
    run: str | None = None
    phase: str | None = None
    round: int | None = None
    iterations: int | None = None
    fault: str | None = None
    advice: str | None = None


def record(ledger: Path, *, kind: str, words: str, data: bytes, about: About | None = None) -> None:
    """Append one line of JSON: time, kind of message, what it holds in words, size, SHA-256.

    What `about` knows follows. Raises OSError or StorageError where the line cannot be written;
    then the message must not be sent. What a crash left of an unfinished line, whose message was
    never sent, is removed.
    """
    known = {key: value for key, value in asdict(about or About()).items() if value is not None}
    entry: dict[str, object] = {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "message": kind,
        "what": words,
        "bytes": len(data),
        "sha256": digest(data),
        **known,
    }
    ledger.parent.mkdir(parents=True, exist_ok=True)
    with locked(ledger), ledger.open("ab+") as file:
        last = _last_line(file)
        entry |= {"number": _number(last, ledger) + 1, "before": digest(last) if last else FIRST}
        if signature := signing.sign(ledger.parent, canonical(entry)):
            entry["signature"] = signature
        line = canonical(entry)
        file.write(line + b"\n")
        file.flush()
        os.fsync(file.fileno())
        head = {"number": entry["number"], "sha256": digest(line)}
        write_text(ledger.with_name(HEAD), json.dumps(head))


def read(ledger: Path) -> tuple[dict[str, object], ...]:
    """All entries, oldest first; an unfinished last line (a crash) is left out."""
    return tuple(json.loads(line) for line in lines(ledger))


def lines(ledger: Path) -> tuple[bytes, ...]:
    """All finished lines as they are, oldest first."""
    return tuple(ledger.read_bytes().split(b"\n")[:-1]) if ledger.exists() else ()


def canonical(entry: Mapping[str, object]) -> bytes:
    """The bytes of an entry, the same wherever it is written."""
    return json.dumps(entry, sort_keys=True, separators=(",", ":")).encode("ascii")


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


def _number(line: bytes, ledger: Path) -> int:
    """The number of the last line; 0 before the first. In earlier versions lines had none."""
    try:
        number = json.loads(line).get("number") if line else 0
    except (ValueError, AttributeError):
        number = None
    return number if isinstance(number, int) else len(lines(ledger))
