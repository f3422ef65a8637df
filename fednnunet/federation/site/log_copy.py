"""A site's copy of the coordinator's log of rounds, and what it must say before a round is trained.

The copy and the keys that were seen first lie in the site's working folder. Lines that hold
together are kept before anything else is checked: they are the evidence of what was said.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from fednnunet import records
from fednnunet.errors import FedNNUNetError, RefusalError
from fednnunet.federation.log_spec import LogSpec
from fednnunet.federation.site.answers import Answers
from fednnunet.federation.wire import chain, signing
from fednnunet.federation.wire.chain_checks import as_entry, verify_lines
from fednnunet.federation.wire.content_digests import ContentDigests
from fednnunet.federation.wire.extras import split
from fednnunet.federation.wire.log_lines import LogLines
from fednnunet.federation.wire.messages import TrainInvite
from fednnunet.federation.wire.round_log import Invited, LogExtract, Merged, SeenHead

FILE, KEYS = "ledger_coordinator.jsonl", "ledger_coordinator.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenKeys:
    """`ledger_coordinator.json`: the site's name, and the public keys that it saw first."""

    site: str
    coordinator: str = ""
    sites: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class LogCopy:
    """The copy in the working folder `base` of `site`; `spec` is of its federation file.

    With `required` an invite without a log is refused. `log` is told of what is no fault.
    """

    site: str
    base: Path
    spec: LogSpec
    required: bool
    log: Callable[[str], None]

    @property
    def path(self) -> Path:
        """The lines that the site has seen."""
        return self.base / FILE

    @property
    def head(self) -> SeenHead | None:
        """The last line, signed by the site; None without any."""
        lines = chain.lines(self.path)
        if not lines:
            return None
        number = int(str(as_entry(lines[-1]).get("number")))
        head = SeenHead(
            number=number, sha256=chain.digest(lines[-1]), key=signing.public_hex(self.base)
        )
        return replace(head, signature=signing.sign(self.base, head.signed(self.site)))

    def check(self, invite: TrainInvite, answers: Answers) -> None:
        """Take up the lines of an invite and compare it with them; raises RefusalError."""
        if invite.log is None:
            if self.required or self.spec.coordinator_key or self.path.is_file():
                raise _refusal("the invite does not show the coordinator's log of rounds")
            return
        self._take_up(invite.log)
        seen = LogLines(chain.lines(self.path))
        self._check_invite(invite, seen)
        if merged := self._merge_before(invite, seen):
            self._check_weights(invite, merged)
            self._check_own_reply(merged, answers)
            self._check_heads(invite.log.heads, merged, seen)
        else:
            self._check_heads(invite.log.heads, None, seen)

    def _take_up(self, extract: LogExtract) -> None:
        """Append the lines that are new, if they continue those that the site has."""
        have, given = chain.lines(self.path), [line.encode() for line in extract.lines]
        public = self._coordinator_key(extract.key)
        try:
            number = int(str(as_entry(given[0]).get("number"))) if given else 0
        except ValueError:
            number = 0
        if number < 1:
            raise _refusal("the invite shows no lines of the coordinator's log")
        first = int(str(as_entry(have[0]).get("number"))) if have else number
        known = have[max(number - first, 0) :]
        if number < first or number > first + len(have) or list(known) != given[: len(known)]:
            raise _refusal("the coordinator's log is not the one that it showed the site before")
        new = given[len(known) :]
        before = chain.digest(have[-1]) if have else _before(given[0])
        begin = first + len(have)
        faults = verify_lines(
            new, before=before, first=begin, public=public, all_signed=True
        ).faults
        if faults:
            raise _refusal(f"the coordinator's log does not hold together: {faults[0]}")
        if new:
            chain.extend(self.path, new)

    def _coordinator_key(self, given: str) -> bytes | None:
        """The key that lines must be signed with: the file's, or the one that was seen first."""
        if not signing.can_sign():
            return signing.pem_of(given) if self.spec.coordinator_key else None  # tells what lacks
        seen = self._keys
        wanted = self.spec.coordinator_key or seen.coordinator
        if wanted and wanted != given:
            raise _refusal("the coordinator's log is signed with another key than before")
        if given and not seen.coordinator:
            self._keep(replace(seen, coordinator=given))
        return _pem(given) if given else None

    def _check_invite(self, invite: TrainInvite, seen: LogLines) -> None:
        """The last line must be of this invite, content and all."""
        last = seen.last
        if (
            not isinstance(last, Invited)
            or (last.run, last.round) != (invite.run, invite.round)
            or last.invites.get(self.site) != ContentDigests().invite(invite)
        ):
            raise _refusal("the invite is not the one that the coordinator logged for the site")

    def _merge_before(self, invite: TrainInvite, seen: LogLines) -> Merged | None:
        """What came of the round before, where the site has seen that round begin."""
        before = (invite.run, invite.round - 1)
        merged = seen.merged.get(before)
        if merged is None and before in seen.invited:
            raise _refusal(f"the log does not say what came of round {invite.round}")
        return merged

    def _check_weights(self, invite: TrainInvite, merged: Merged) -> None:
        """What is sent must be what was merged; the public phase begins with more tensors."""
        weights = split(invite.tensors)[0]
        public = invite.phase == "public"
        if not weights or (public and merged.phase != "public"):
            return
        logged = merged.shared if public else merged.received(self.site)
        if ContentDigests().tensors(weights) != logged:
            raise _refusal("the weights are not those that the coordinator logged as merged")

    def _check_own_reply(self, merged: Merged, answers: Answers) -> None:
        """The reply that was merged for the site must be the one that it sent."""
        sent, counted = answers.rounds.get(merged.round), merged.replies.get(self.site)
        if counted and (sent is None or sent.reply != counted):
            raise _refusal(f"the log has another reply of the site in round {merged.round + 1}")
        if counted is None and sent is not None and merged.replies:
            self.log(f"the site's reply in round {merged.round + 1} was not merged")

    def _check_heads(
        self, heads: Mapping[str, SeenHead], merged: Merged | None, seen: LogLines
    ) -> None:
        """Every site that was merged must have signed a line of this very log."""
        replied = set(merged.replies) if merged else set()
        for site in sorted(replied | set(heads)):
            if site == self.site:
                continue
            head = heads.get(site)
            if head is None:
                raise _refusal(f"the invite lacks what site {site} has seen of the log")
            self._check_signature(site, head)
            line = seen.line(head.number)
            ahead = head.number > seen.last_number
            if ahead or (line is not None and chain.digest(line) != head.sha256):
                raise _refusal(f"site {site} was shown another log of the coordinator")
            begun = seen.invited.get((merged.run, merged.round), 0) if merged else 0
            if site in replied and head.number < begun:
                raise _refusal(f"site {site} has not seen the round in which it was merged")

    def _check_signature(self, site: str, head: SeenHead) -> None:
        if not signing.can_sign():
            return
        seen = self._keys
        wanted = self.spec.site_keys.get(site) or seen.sites.get(site, "")
        if wanted and wanted != head.key:
            raise _refusal(f"site {site} signs with another key than before")
        if head.key and not signing.is_signed(_pem(head.key), head.signed(site), head.signature):
            raise _refusal(f"what site {site} has seen of the log is not signed by it")
        if head.key and not wanted:
            self._keep(replace(seen, sites={**seen.sites, site: head.key}))

    @property
    def _keys(self) -> SeenKeys:
        path = self.base / KEYS
        return records.read(SeenKeys, path) if path.is_file() else SeenKeys(site=self.site)

    def _keep(self, keys: SeenKeys) -> None:
        records.write(keys, self.base / KEYS)


def _before(line: bytes) -> str:
    return str(as_entry(line).get("before"))


def _pem(key: str) -> bytes:
    try:
        return signing.pem_of(key)
    except FedNNUNetError:
        raise _refusal("a key in the invite is no public key") from None


def _refusal(what: str) -> RefusalError:
    return RefusalError(
        what,
        mend=f"keep {FILE} of the site's working folder as evidence, and compare it with the "
        "coordinator's log and with the other sites' copies",
        advice="compare_logs",
    )
