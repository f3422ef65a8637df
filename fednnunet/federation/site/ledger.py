"""A list of every message that left a site, in words, written at the site before it is sent.

It is a chain of lines, signed by the site's key; see `wire.chain`.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from fednnunet.federation.wire.chain import append, digest


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
    append(ledger, entry)
