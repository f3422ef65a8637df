"""A list of every message that left a site, in words, written at the site before it is sent."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

FILE = "ledger.jsonl"


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

    What `about` knows follows. Raises OSError where the line cannot be written; then the message
    must not be sent.
    """
    known = {key: value for key, value in asdict(about or About()).items() if value is not None}
    entry = {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "message": kind,
        "what": words,
        "bytes": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
        **known,
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
