"""What a site makes of an invite before it works on it: whole, and compared with the log."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from fednnunet.federation.site.agreement import RunInvite
from fednnunet.federation.site.answers import Answers
from fednnunet.federation.site.log_copy import LogCopy
from fednnunet.federation.site.policy import SitePolicy
from fednnunet.federation.site.received_weights import ReceivedWeights
from fednnunet.federation.spec import Federation
from fednnunet.federation.wire.content_digests import ContentDigests
from fednnunet.federation.wire.messages import TrainInvite
from fednnunet.federation.wire.round_log import SeenHead


@dataclass(frozen=True, slots=True, kw_only=True)
class Incoming:
    """The checks of what comes in at a site, beside its agreement."""

    copy: LogCopy
    received: ReceivedWeights

    @classmethod
    def at(
        cls,
        site: str,
        base: Path,
        federation: Federation,
        policy: SitePolicy,
        log: Callable[[str], None],
    ) -> Incoming:
        """What a site with the working folder `base` has seen."""
        required = policy.require_log
        return cls(
            copy=LogCopy(site=site, base=base, spec=federation.log, required=required, log=log),
            received=ReceivedWeights(base=base, filters=federation.training.down_chain),
        )

    def whole(self, invite: RunInvite) -> RunInvite:
        """The invite with weights in the place of codes; raises RefusalError."""
        return self.received.whole(invite) if isinstance(invite, TrainInvite) else invite

    def digest(self, invite: RunInvite, of_bytes: str) -> str:
        """What an invite is known by: to train, the digest of what it says, whole."""
        return ContentDigests().invite(invite) if isinstance(invite, TrainInvite) else of_bytes

    def check(self, invite: RunInvite, answers: Answers) -> None:
        """Raise RefusalError for a round that is not in the log as it is sent; else keep it."""
        if isinstance(invite, TrainInvite):
            self.copy.check(invite, answers)
            self.received.keep(invite)

    @property
    def head(self) -> SeenHead | None:
        """What the site signs of the log in its reply."""
        return self.copy.head
