"""The folders through which messages pass between our processes and those of NVIDIA FLARE.

At the coordinator the engine writes invites to `to/SITE/` and reads replies in `from/SITE/`; a job
process of NVFlare carries them. At a site, the job process writes invites to `in/`, the site's own
program writes the replies to `out/`. A file has its name when it is whole. The name of an invite is
the SHA-256 of its bytes, which is also the name of the reply to it. So a job may end at any time
and another may carry on: what was received is there, and no training is lost with a connection.
"""

from __future__ import annotations

import os
import re
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

from fednnunet.files import sha256_of, storing, write_text

FOLDER = "exchange"
_DIGEST = re.compile(r"[0-9a-f]{64}")
_ALIVE_S = 15.0  # a site that asked this recently takes part in the job


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """An invite that waits for its reply: its digest, its size, and the largest reply, in bytes."""

    question: str
    size: int
    limit: int


@dataclass(frozen=True, slots=True)
class Desk:
    """The coordinator's side, in the folder `root`."""

    root: Path

    def clear(self) -> None:
        """Forget all messages of an earlier process."""
        shutil.rmtree(self.root, ignore_errors=True)
        self.root.mkdir(parents=True)

    def put(self, site: str, question: str, data: bytes, limit: int, same: Path | None) -> Path:
        """Lay an invite out for a site; `same` is a file that holds the same bytes already."""
        path = self._to(site) / f"{question}.{limit}"
        path.parent.mkdir(parents=True, exist_ok=True)
        if same is not None and same.exists():
            path.unlink(missing_ok=True)
            os.link(same, path)
        else:
            _put(path, data)
        return path

    def withdraw(self, site: str, question: str) -> None:
        """Take an invite back, with all that came of it."""
        for path in self._to(site).glob(f"{question}.*"):
            path.unlink(missing_ok=True)
        self.reply(site, question).unlink(missing_ok=True)
        self.part(site, question).unlink(missing_ok=True)

    def wanted(self, site: str) -> tuple[Wanted, ...]:
        """The invites that wait for a reply of `site`, in the order of their digests."""
        found = []
        for path in sorted(self._to(site).glob("[0-9a-f]*.*")):
            question, _, limit = path.name.partition(".")
            if is_digest(question) and not self.reply(site, question).exists():
                size = path.stat().st_size
                found.append(Wanted(question=question, size=size, limit=int(limit)))
        return tuple(found)

    def invite(self, site: str, wanted: Wanted) -> Path:
        """The file with the invite's bytes."""
        return self._to(site) / f"{wanted.question}.{wanted.limit}"

    def reply(self, site: str, question: str) -> Path:
        """Where the reply of a site is, once it is whole."""
        return self.root / "from" / site / question

    def part(self, site: str, question: str) -> Path:
        """Where a reply is collected."""
        return self.root / "from" / site / f".{question}.part"

    def touch(self, site: str) -> None:
        """Note that the site asks for invites now."""
        _mark(self.root / "alive" / site)

    def alive(self) -> frozenset[str]:
        """The sites that take part in the running job."""
        now = time.time()
        return frozenset(
            path.name
            for path in (self.root / "alive").glob("*")
            if now - path.stat().st_mtime < _ALIVE_S
        )

    def inform(self, site: str) -> None:
        """Note that the site was told that the federation has ended."""
        _mark(self.root / "informed" / site)

    def informed(self) -> frozenset[str]:
        """The sites that know that the federation has ended."""
        return frozenset(path.name for path in (self.root / "informed").glob("*"))

    def want(self, sites: frozenset[str]) -> None:
        """Name the sites whose replies are awaited, for who keeps the job going."""
        _put(self.root / "awaited", "\n".join(sorted(sites)).encode())

    def awaited(self) -> frozenset[str]:
        """The sites whose replies are awaited."""
        return _names(self.root / "awaited")

    @property
    def revoked_list(self) -> Path:
        """The file with the names of sites that are admitted no more; it outlasts `clear`."""
        return self.root.parent / "revoked"

    def revoked(self) -> frozenset[str]:
        """The sites that are admitted no more."""
        return _names(self.revoked_list)

    @property
    def closing(self) -> Path:
        """Exists while the running job is to end, since another one is to follow."""
        return self.root / "closing"

    @property
    def finished(self) -> Path:
        """Exists once the federation has ended."""
        return self.root / "finished"

    @property
    def problem(self) -> Path:
        """What the coordinator's staff must mend, in the first line, and how, in the second."""
        return self.root / "problem"

    def report(self, what: str, *, mend: str = "") -> None:
        """Write down what the coordinator's staff must mend."""
        write_text(self.problem, f"{what}\n{mend}")

    def _to(self, site: str) -> Path:
        return self.root / "to" / site


@dataclass(frozen=True, slots=True)
class Tray:
    """A site's side, in the folder `root`."""

    root: Path

    def invite(self, question: str) -> Path:
        """Where an invite is, once it is whole."""
        return self.root / "in" / question

    def part(self, question: str) -> Path:
        """Where an invite is collected."""
        return self.root / "in" / f".{question}.part"

    def reply(self, question: str) -> Path:
        """Where the reply is, once it is whole."""
        return self.root / "out" / question

    def waiting(self) -> tuple[str, ...]:
        """The invites without a reply, in the order in which they came."""
        paths = [path for path in (self.root / "in").glob("[0-9a-f]*") if is_digest(path.name)]
        found = {path.name: path.stat().st_mtime_ns for path in paths if path.exists()}
        open_ = [name for name in found if not self.reply(name).exists()]
        return tuple(sorted(open_, key=lambda name: (found[name], name)))

    def questions(self) -> frozenset[str]:
        """All invites that are here, whole or in part, or whose reply is here."""
        names = [
            path.name.strip(".").removesuffix(".part")
            for folder in ("in", "out")
            for path in (self.root / folder).glob("*")
        ]
        names += [p.name.strip(".").removesuffix(".part") for p in (self.root / "in").glob(".*")]
        return frozenset(name for name in names if is_digest(name))

    def discard(self, question: str) -> None:
        """Remove an invite and its reply."""
        for path in (self.invite(question), self.part(question), self.reply(question)):
            path.unlink(missing_ok=True)

    def put_reply(self, question: str, data: bytes) -> None:
        """Lay the reply to an invite out."""
        _put(self.reply(question), data)

    def restart(self) -> None:
        """Drop what a machine that lost its power may have left: files with a name and other bytes.

        Replies are given again by the site, from its record of what it has answered.
        """
        for path in (self.root / "in").glob("[0-9a-f]*"):
            if is_digest(path.name) and sha256_of(path).hex() != path.name:
                path.unlink(missing_ok=True)
        for path in (self.root / "out").glob("*"):
            path.unlink(missing_ok=True)

    @property
    def finished(self) -> Path:
        """Exists once the coordinator has said that the federation has ended."""
        return self.root / "finished"

    @property
    def problem(self) -> Path:
        """What the site's staff must mend, in the first line, and how, in the second."""
        return self.root / "problem"

    def report(self, what: str, *, mend: str) -> None:
        """Write down what the site's staff must mend."""
        write_text(self.problem, f"{what}\n{mend}")

    @property
    def contact(self) -> Path:
        """Changed whenever the coordinator has answered."""
        return self.root / "contact"


def is_digest(text: str) -> bool:
    """Whether a text is a SHA-256 in hexadecimal, which is safe as a file's name."""
    return _DIGEST.fullmatch(text) is not None


def complete(part: Path, path: Path) -> None:
    """Give a collected file its name.

    It need not be on the disk yet: whoever starts again begins with an empty desk, or looks at what
    is in the tray.
    """
    os.replace(part, path)


def _put(path: Path, data: bytes) -> None:
    """Write a file that has its name when it is whole, without waiting for the disk."""
    temporary = path.with_name(f".tmp-{os.getpid()}-{path.name}")
    with storing(path, temporary):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(data)
        os.replace(temporary, path)


def _names(path: Path) -> frozenset[str]:
    """The names of sites in a file; none where it does not exist."""
    return frozenset(path.read_text(encoding="utf-8").split() if path.exists() else ())


def _mark(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
