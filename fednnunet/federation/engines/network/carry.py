"""How messages travel: in pieces, asked for by the site, so that either side may vanish and return.

The site asks what is wanted of it, fetches each invite from where it stopped, and hands the reply
over piece by piece. The coordinator never calls a site. Neither side holds a message in memory, and
a message that is larger than announced, or whose SHA-256 differs, is dropped.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fednnunet.federation.engines.network.exchange import Desk, Tray, Wanted, complete, is_digest
from fednnunet.files import sha256_of

PIECE = 2**20 - 2**14  # bytes; with its fields a piece stays below 1 MiB
MAX_INVITE = 2**35  # bytes: more than any model, and less than a disk
_SPARE = 2**28  # bytes that stay free on the disk of either side

Fields = Mapping[str, Any]
Call = Callable[[str, Fields], Fields | None]
"""Sends a request of a kind to the coordinator; None where no answer came."""


def answer(desk: Desk, site: str, version: str, kind: str, request: Fields) -> Fields:
    """The coordinator's answer to a request of `site`, whose name is known from its certificate."""
    if request.get("version") != version:
        return {"other_version": version}
    if site in desk.revoked():
        return {"revoked": True}
    desk.touch(site)
    match kind:
        case "next":
            finished = desk.finished.exists()
            if finished:
                desk.inform(site)
            return {
                "wanted": [[w.question, w.size, w.limit] for w in desk.wanted(site)],
                "finished": finished,
                "closing": finished or desk.closing.exists(),
            }
        case "invite":
            return _give(desk, site, str(request["question"]), int(request["offset"]))
        case "reply":
            return _take(desk, site, request)
    return {"unknown": kind[:20]}


def _give(desk: Desk, site: str, question: str, offset: int) -> Fields:
    wanted = _wanted(desk, site, question)
    if wanted is None:
        return {"gone": True}
    with desk.invite(site, wanted).open("rb") as file:
        file.seek(max(offset, 0))
        return {"data": file.read(PIECE)}


def _take(desk: Desk, site: str, request: Fields) -> Fields:
    """Take one piece of a reply; the answer says how much of it is here."""
    question, size, offset = str(request["question"]), int(request["size"]), int(request["offset"])
    wanted = _wanted(desk, site, question)
    if wanted is None or not 0 < size <= wanted.limit:
        return {"gone": True}
    part, data = desk.part(site, question), bytes(request["data"])
    part.parent.mkdir(parents=True, exist_ok=True)
    have = part.stat().st_size if part.exists() else 0
    if offset != have or len(data) > PIECE or have + len(data) > size:
        return {"have": have if have <= size else _start_again(part)}
    if shutil.disk_usage(part.parent).free < size - have + _SPARE:
        desk.report(
            f"there is no room for a reply of {size:,} bytes in {part.parent}",
            mend="free some space there, and run the same command again: it goes on",
        )
        return {"gone": True}
    with part.open("ab") as file:
        file.write(data)
    have += len(data)
    if have == size:
        if sha256_of(part).hex() != request["sha256"]:
            return {"have": _start_again(part)}
        complete(part, desk.reply(site, question))
    return {"have": have}


def _wanted(desk: Desk, site: str, question: str) -> Wanted | None:
    return next((w for w in desk.wanted(site) if w.question == question), None)


def _start_again(part: Path) -> int:
    part.unlink(missing_ok=True)
    return 0


@dataclass(frozen=True, slots=True)
class Carrier:
    """The site's side: `call` reaches the coordinator, `version` is that of this program."""

    tray: Tray
    call: Call
    version: str

    def step(self) -> bool:
        """Do what can be done now; False where the job is to end."""
        found = self._ask("next", {})
        if found is None:
            return True
        wanted = [Wanted(question=q, size=size, limit=limit) for q, size, limit in found["wanted"]]
        wanted = [w for w in wanted if is_digest(w.question) and 0 < w.size <= MAX_INVITE]
        for question in self.tray.questions() - {w.question for w in wanted}:
            self.tray.discard(question)  # taken back, or answered
        for one in wanted:
            if self.tray.reply(one.question).exists():
                self._hand_over(one)
            elif not self.tray.invite(one.question).exists():
                self._fetch(one)
        if found["finished"]:
            self.tray.finished.touch()
        return not found["closing"]

    def _ask(self, kind: str, request: Fields) -> Fields | None:
        found = self.call(kind, {**request, "version": self.version})
        if found is None:
            return None
        self.tray.root.mkdir(parents=True, exist_ok=True)
        self.tray.contact.touch()
        if "other_version" in found:
            self.tray.report(
                f"the coordinator runs version {str(found['other_version'])[:40]} of the program, "
                f"this site version {self.version}",
                mend="install the same version at both, and start the same command again",
            )
            return None
        if "revoked" in found:
            self.tray.report(
                "the coordinator admits this site no more",
                mend="ask the coordinator's staff why; it needs a kit of another name to return",
            )
            return None
        return found

    def _fetch(self, wanted: Wanted) -> None:
        part = self.tray.part(wanted.question)
        part.parent.mkdir(parents=True, exist_ok=True)
        have = part.stat().st_size if part.exists() else 0
        if shutil.disk_usage(part.parent).free < wanted.size - have + _SPARE:
            self.tray.report(
                f"there is no room for a message of {wanted.size:,} bytes in {part.parent}",
                mend="free some space there, and start the same command again: it goes on",
            )
            return
        while have < wanted.size:
            request = {"question": wanted.question, "offset": have}
            found = self._ask("invite", request)
            if not found or not found.get("data"):
                return
            with part.open("ab") as file:
                file.write(found["data"])
            have += len(found["data"])
        if sha256_of(part).hex() == wanted.question:
            complete(part, self.tray.invite(wanted.question))
        else:
            _start_again(part)

    def _hand_over(self, wanted: Wanted) -> None:
        path = self.tray.reply(wanted.question)
        size, sha256, have = path.stat().st_size, sha256_of(path).hex(), 0
        with path.open("rb") as file:
            while have < size:
                file.seek(have)
                request = {
                    "question": wanted.question,
                    "size": size,
                    "sha256": sha256,
                    "offset": have,
                    "data": file.read(PIECE),
                }
                found = self._ask("reply", request)
                if not found or "have" not in found:
                    return
                have = int(found["have"])
