"""The one way out of a site: a reply, or a fault as codes, written to the ledger before it is sent.

Whatever goes wrong inside becomes a `FaultReply`. The details (texts, paths, names of cases,
tracebacks) go to the site's log and to whoever watches the site's own terminal.
"""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from fednnunet.errors import FedNNUNetError, name_site
from fednnunet.federation.site import ledger
from fednnunet.federation.site.ledger import About
from fednnunet.federation.site.outgoing_limits import OutgoingCheck
from fednnunet.federation.site.policy import OutgoingLimits
from fednnunet.federation.wire import chain
from fednnunet.federation.wire.chain import digest
from fednnunet.federation.wire.faults import describe
from fednnunet.federation.wire.messages import (
    KINDS,
    EvaluateInvite,
    FaultReply,
    Message,
    ModelInvite,
    ProbeInvite,
    TrainInvite,
    pack,
    unpack,
)
from fednnunet.federation.wire.secure_messages import SecureInvite

LEDGER = chain.FILE
LOG = "site.log"


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteFault:
    """A fault as the site's own staff see it: `text` has every detail but a traceback.

    `log` is the file that has the traceback, too. A value of this kind never leaves the site.
    """

    site: str
    faults: int
    text: str
    log: Path


OnFault = Callable[[SiteFault], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outgoing:
    """A reply as the bytes that leave, the kind of message, and what the ledger says of it."""

    message: str
    data: bytes
    about: About = field(default_factory=About)

    @classmethod
    def of(cls, reply: Message) -> Outgoing:
        """A reply that was just made."""
        return cls(message=type(reply).__name__, data=pack(reply))


class Wall:
    """Answers invites by the `work` of a site, and lets only messages through.

    `base` is the site's own working folder, with its ledger and log; `data` is the folder of its
    cases, which error messages name paths in. `on_fault` is told of every fault, and `limits`
    says how much may leave in all.
    """

    def __init__(
        self,
        site: str,
        base: Path,
        data: Path,
        *,
        on_fault: OnFault | None = None,
        limits: OutgoingLimits | None = None,
    ) -> None:
        self.site = site
        self._data = data
        self._ledger = base / LEDGER
        self._log = base / LOG
        self._on_fault = on_fault
        self._limits = OutgoingCheck(ledger=self._ledger, limits=limits, log=self.log)

    def answer(self, data: bytes, work: Callable[[Message], Outgoing]) -> bytes:
        """The reply to an invite, both as bytes; no fault of the site is raised.

        `work` gives the reply. Should the ledger itself fail, the reply stays inside, and a
        `FaultReply` leaves in its place.
        """
        invite: Message | None = None
        about = About(asked_sha256=digest(data))
        try:
            invite = unpack(data, sender="the coordinator")
            about = about_invite(invite, about)
            reply = work(invite)
            return self._record(replace(reply, about=replace(about, detail=reply.about.detail)))
        except Exception as error:  # noqa: BLE001 - the wall: no exception leaves a site
            fault = self._fault(error, invite)
        about = replace(about, fault=fault.kind, advice=fault.advice)
        try:
            return self._record(replace(Outgoing.of(fault), about=about))
        except Exception as error:  # noqa: BLE001 - e.g. a full disk
            self._fault(error, invite)
            return pack(fault)

    def log(self, text: str) -> None:
        """Append to the site's log, readable by its owner alone; a full disk loses the entry."""
        time = datetime.now(UTC).isoformat(timespec="seconds")
        with suppress(OSError):
            self._log.parent.mkdir(parents=True, exist_ok=True)
            handle = os.open(self._log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            with os.fdopen(handle, "a", encoding="utf-8", errors="replace") as file:
                file.write(f"{time} {text}\n")

    def _record(self, reply: Outgoing) -> bytes:
        self._limits.check(reply.message, reply.data)
        ledger.record(
            self._ledger,
            kind=reply.message,
            words=KINDS[reply.message].words,
            data=reply.data,
            about=reply.about,
        )
        return reply.data

    def _fault(self, error: Exception, invite: Message | None) -> FaultReply:
        """Log a fault, tell it here, and return what may leave of it."""
        kind, faults, advice = describe(error)
        if isinstance(error, FedNNUNetError):
            name_site(error, self.site, self._data)
            text = details = str(error)
        else:
            text = f"{type(error).__name__}: {error}\n  where: site {self.site}"
            text += f"\n  mend:  report it to the developers with the traceback in {self._log}"
            details = "".join(traceback.format_exception(error)).rstrip()
        request = type(invite).__name__ if invite else "a message that cannot be read"
        self.log(f"fault ({kind}) at {request}: {details}")
        if self._on_fault:
            site_fault = SiteFault(site=self.site, faults=faults, text=text, log=self._log)
            with suppress(Exception):  # the site's terminal may be gone; the log has it all
                self._on_fault(site_fault)
        return FaultReply(kind=kind, faults=faults, advice=advice)


def about_invite(invite: Message, about: About) -> About:
    """What the ledger says of the invite that a message answers."""
    about = replace(about, asked=type(invite).__name__)
    if isinstance(invite, (TrainInvite, ProbeInvite, EvaluateInvite, ModelInvite, SecureInvite)):
        about = replace(about, run=invite.run, round=invite.round)
    if isinstance(invite, TrainInvite):
        about = replace(about, phase=invite.phase, iterations=invite.iterations)
    return about
