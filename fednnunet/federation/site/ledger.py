"""A list of every message that left a site, in words, written at the site before it is sent."""

from __future__ import annotations

import hashlib
import json
import os
from datetime import UTC, datetime
from pathlib import Path


def record(ledger: Path, *, kind: str, words: str, data: bytes, detail: str = "") -> None:
    """Append one line of JSON: time, kind of message, what it holds in words, size, SHA-256.

    Raises OSError where it cannot be written; then the message must not be sent.
    """
    entry = {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "message": kind,
        "what": words,
        "detail": detail,
        "bytes": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
    }
    ledger.parent.mkdir(parents=True, exist_ok=True)
    with ledger.open("a", encoding="utf-8") as file:
        file.write(json.dumps(entry) + "\n")
        file.flush()
        os.fsync(file.fileno())


def read(ledger: Path) -> tuple[dict[str, object], ...]:
    """All entries, oldest first; an unfinished last line (a crash) is left out."""
    if not ledger.exists():
        return ()
    lines = ledger.read_text(encoding="utf-8").split("\n")[:-1]
    return tuple(json.loads(line) for line in lines)
