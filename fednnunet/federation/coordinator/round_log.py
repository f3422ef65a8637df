"""The coordinator's signed log of rounds: what each site was sent, and what came of the replies.

`ledger.jsonl` in the run folder is a chain of lines (`wire.chain`), of all trainings of the folder,
with two entries a round (`wire.round_log`). Every invite brings the lines that its site lacks, and
what the other sites have signed of the log. So a site need not believe that all are sent the same,
and an auditor who has the replies can do every merge again (`workflows.recompute`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from fednnunet import records
from fednnunet.errors import DataError, ReplyError, raise_all
from fednnunet.federation.log_spec import LogSpec
from fednnunet.federation.methods.merge import State
from fednnunet.federation.wire import chain, signing
from fednnunet.federation.wire.chain_checks import public_key, verify
from fednnunet.federation.wire.content_digests import ContentDigests
from fednnunet.federation.wire.messages import TrainInvite, TrainReply, pack
from fednnunet.federation.wire.round_log import (
    INVITED,
    MAX_TEXT,
    MERGED,
    Invited,
    LogExtract,
    Merged,
    SeenHead,
)
from fednnunet.files import replacing

HEADS = "ledger_heads.json"
REPLIES = "replies"


@dataclass(frozen=True, slots=True, kw_only=True)
class Heads:
    """`ledger_heads.json`: the last line that each site has signed, as of the last whole round."""

    heads: dict[str, SeenHead] = field(default_factory=dict)


class RoundLog:
    """The log in a run folder; raises its faults together where it is not as it was written.

    Without `with_sites` replies need not name a line of it: an auditor writes one of their own.
    """

    def __init__(self, folder: Path, spec: LogSpec, *, with_sites: bool = True) -> None:
        self.folder, self.spec, self.with_sites = folder, spec, with_sites
        self.path = folder / chain.FILE
        public = public_key(folder) if signing.can_sign() else None
        mend = "restore the file from a copy, or train in a new run folder"
        raise_all(
            "the log of rounds is not as it was written",
            [
                DataError(fault, where=str(self.path), mend=mend)
                for fault in verify(self.path, public=public).faults
            ],
        )

    def begin(self, invites: Mapping[str, TrainInvite]) -> OpenRound:
        """Enter what the sites are to be sent in a round, whole as they are to train from it."""
        first = next(iter(invites.values()))
        digests = ContentDigests()
        entry = Invited(
            run=first.run,
            round=first.round,
            phase=first.phase,
            invites={site: digests.invite(invite) for site, invite in sorted(invites.items())},
        )
        self._append(INVITED, entry)
        return OpenRound(log=self, about=entry, lines=chain.lines(self.path), heads=self._heads())

    def end(self, entry: Merged, heads: Mapping[str, SeenHead]) -> None:
        """Enter what came of a round, and keep what sites have signed."""
        self._append(MERGED, entry)
        records.write(Heads(heads={**self._heads(), **heads}), self.folder / HEADS)

    def _append(self, kind: str, entry: Invited | Merged) -> None:
        time = datetime.now(UTC).isoformat(timespec="seconds")
        chain.append(self.path, {"kind": kind, "time": time, "about": records.encode(entry)})

    def _heads(self) -> dict[str, SeenHead]:
        path = self.folder / HEADS
        return records.read(Heads, path).heads if path.is_file() else {}


@dataclass(slots=True, kw_only=True)
class OpenRound:
    """A round that was entered as begun; `replies` and `seen` fill with those of its sites."""

    log: RoundLog
    about: Invited
    lines: tuple[bytes, ...]
    heads: Mapping[str, SeenHead]
    replies: dict[str, str] = field(default_factory=dict)
    seen: dict[str, SeenHead] = field(default_factory=dict)

    def shown(self, invites: Mapping[str, TrainInvite]) -> dict[str, TrainInvite]:
        """The invites with what each site lacks of the log; equal ones are one value."""
        extracts: dict[int, LogExtract] = {}
        made: dict[tuple[int, int], TrainInvite] = {}
        result = {}
        for site, invite in sorted(invites.items()):
            seen = self.heads[site].number if site in self.heads else 0
            if seen not in extracts:
                extracts[seen] = self._extract(seen)
            key = (seen, id(invite))
            if key not in made:
                made[key] = replace(invite, log=extracts[seen])
            result[site] = made[key]
        return result

    def check(self, site: str, reply: TrainReply) -> None:
        """Raise ReplyError unless the site has signed the line that it was shown last."""
        head = reply.head
        if not self.log.with_sites:
            return
        if head is None or chain.digest(self._line(head.number)) != head.sha256:
            raise _not_signed(site, "does not name a line of the log that it was shown")
        before = self.heads.get(site)
        wanted = self.log.spec.site_keys.get(site) or (before.key if before else "")
        if wanted and head.key != wanted:
            raise _not_signed(site, "is signed with another key than before")
        if head.key and signing.can_sign():
            public = signing.pem_of(head.key)
            if not signing.is_signed(public, head.signed(site), head.signature):
                raise _not_signed(site, "is not signed by the site's key")
        self.seen[site] = head

    def keep(self, site: str, reply: TrainReply) -> None:
        """Keep the reply for an auditor where the federation file wants it."""
        if self.log.spec.keep_replies:
            path = self.log.folder / REPLIES / self.about.run / f"{self.about.round:04d}"
            with replacing(path / f"{site}.bin") as temporary:
                temporary.write_bytes(pack(reply))

    def end(self, state: State, refused: tuple[str, ...]) -> None:
        """Enter the `state` that the merge gave."""
        digests = ContentDigests()
        self.log.end(
            Merged(
                run=self.about.run,
                round=self.about.round,
                phase=self.about.phase,
                replies=dict(sorted(self.replies.items())),
                refused=refused,
                shared=digests.tensors(state.shared),
                extras=digests.tensors(state.extras),
                for_site={s: digests.tensors(t) for s, t in sorted(state.for_site.items())},
            ),
            {site: head for site, head in self.seen.items() if site in self.replies},
        )

    def _line(self, number: int) -> bytes:
        return self.lines[number - 1] if number <= len(self.lines) else b""

    def _extract(self, seen: int) -> LogExtract:
        """The lines after number `seen`, or as many of the last ones as fit into a message."""
        begin, size = len(self.lines), 0
        while begin > seen and size + len(self.lines[begin - 1]) <= MAX_TEXT:
            begin -= 1
            size += len(self.lines[begin])
        return LogExtract(
            lines=tuple(line.decode() for line in self.lines[begin:]),
            heads=dict(sorted(self.heads.items())),
            key=signing.public_hex(self.log.folder),
        )


def _not_signed(site: str, what: str) -> ReplyError:
    return ReplyError(
        f"what site {site} has seen of the log of rounds {what}",
        where=f"reply of site {site}",
        mend="compare the site's copy of the log with that in the run folder (fednnunet_ledger); "
        "a site with a new working folder has a new key",
    )
