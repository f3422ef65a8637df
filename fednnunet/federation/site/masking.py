"""A site's part in sums under masks: its sessions, and its replies as vectors of masked words.

A session's private keys and seed lie in `secure/` of the site's (or the run's) working folder,
readable by their owner alone, so that a site which is started again goes on. What a site has
answered in a session it answers again alike, and nothing else. For one round, or one answer to the
planner, it reveals shares for one set of sites only, whatever the number of sessions: the
difference of two sums over nearly the same sites would be the reply of a single one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from fednnunet import records
from fednnunet.errors import RefusalError
from fednnunet.federation.masked_payload import MaskedPayload
from fednnunet.federation.methods.merge import Reply
from fednnunet.federation.methods.public_weights import public_weight
from fednnunet.federation.secure import keys
from fednnunet.federation.secure.fixed_point import encode_sums
from fednnunet.federation.secure.protocol import PublicKeys, SiteSession, usual_threshold
from fednnunet.federation.site.measurements import FOLDER_NAME as MEASUREMENTS
from fednnunet.federation.site.partners import Partners
from fednnunet.federation.site.places import inside
from fednnunet.federation.site.policy import SitePolicy
from fednnunet.federation.spec import Federation
from fednnunet.federation.wire.extras import split
from fednnunet.federation.wire.messages import FingerprintReply, Message, ShapesReply, TrainReply
from fednnunet.federation.wire.planning_messages import MeasureInvite, ShapesInvite
from fednnunet.federation.wire.secure_messages import (
    KeysInvite,
    KeysReply,
    MaskedFingerprintReply,
    MaskedInvite,
    MaskedMeasureInvite,
    MaskedShapesInvite,
    MaskedShapesReply,
    MaskedTrainInvite,
    MaskedTrainReply,
    SecureInvite,
    SharesInvite,
    SharesReply,
    Topic,
    UnmaskInvite,
    UnmaskReply,
    masked_tensors,
)
from fednnunet.federation.wire.training_messages import TrainInvite
from fednnunet.files import private_files

FOLDER = "secure"
TOGETHER = "summed_with.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptSession:
    """The site's last session of one topic, of `round`; it stays at the site.

    `revealed` are the sites for whose sum it has revealed shares in this round, in any session;
    `masked` says whether the site has made its vector in this session.
    """

    session: SiteSession
    round: int
    masked: bool = False
    revealed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Together:
    """`summed_with.json`: the sites with whom the statistics of this site are summed."""

    sites: tuple[str, ...]


class SiteMasking:
    """The sessions of one site; `base` is its working folder."""

    def __init__(self, name: str, base: Path, federation: Federation, policy: SitePolicy) -> None:
        self._name, self._base, self._federation = name, base, federation
        self._policy = policy
        self._partners = Partners(name=name, base=base, federation=federation)
        if federation.planning.secure or federation.training.secure:
            keys.check_installed()

    def respond(self, invite: SecureInvite) -> Message:
        """The reply to an invite of the protocol; raises RefusalError against the agreement."""
        self._check_agreed(invite.topic)
        match invite:
            case KeysInvite():
                return KeysReply(keys=self._begin(invite))
            case SharesInvite():
                return SharesReply(sealed=self._share(invite))
            case UnmaskInvite():
                return self._reveal(invite)

    def check(self, invite: Message) -> None:
        """Raise RefusalError for a request without masks where they are agreed or required, and for
        one under masks where they are not."""
        topic = _topic(invite)
        if topic is None or (isinstance(invite, TrainInvite) and not self._sends(invite)):
            return
        if isinstance(invite, MaskedInvite):
            self._check_agreed(topic)
        elif self._is_agreed(topic):
            raise _refusal("the federation file agrees on sums under masks, and none is asked for")
        elif self._policy.require_secure_aggregation:
            raise RefusalError(
                "the site's policy lets this leave only under masks",
                where="require_secure_aggregation",
                mend="add [training.secure] or [planning] secure = true to the federation file, or "
                "ask the site's staff to change the policy",
                advice="respect_policy",
            )

    def is_done(self, invite: Message) -> bool:
        """Whether the site's kept answer to an invite is of its session; True without masks."""
        if not isinstance(invite, MaskedTrainInvite):
            return True
        kept = self._read("training", invite.run)
        return kept is not None and kept.masked and kept.session.session == invite.session

    def keep_done(self, invite: Message) -> None:
        """Remember that the answer to an invite is kept, so that it is given again as it is."""
        if isinstance(invite, MaskedTrainInvite):
            kept = self._of("training", invite.run, invite.session)
            self._write("training", invite.run, replace(kept, masked=True))

    def reply(self, invite: Message, reply: Message) -> Message:
        """What leaves in place of a reply: to an invite without masks, the reply itself."""
        match invite, reply:
            case MaskedMeasureInvite(), FingerprintReply():
                vector = self._masked_sums("fingerprint", invite, reply.tensors["sums"].numpy())
                return MaskedFingerprintReply(tensors=masked_tensors(vector))
            case MaskedShapesInvite(), ShapesReply():
                vector = self._masked_sums("shapes", invite, reply.tensors["sums"].numpy())
                return MaskedShapesReply(tensors=masked_tensors(vector))
            case MaskedTrainInvite(), TrainReply():
                return self._masked_round(invite, reply)
        return reply

    def _masked_sums(
        self, topic: Topic, invite: MaskedMeasureInvite | MaskedShapesInvite, sums: np.ndarray
    ) -> np.ndarray:
        path = self._base / MEASUREMENTS / TOGETHER
        together = Together(sites=tuple(sorted(invite.partners)))
        if path.is_file() and records.read(Together, path) != together:
            raise RefusalError(
                "the site's statistics were summed with those of other sites before; the "
                "difference of both sums could be those of a single site",
                where=str(path),
                mend=f"a person at the site deletes the folder {MEASUREMENTS} in the site's "
                "working folder if the site shall answer anew",
                advice="answered_once",
            )
        vector = encode_sums(sums, len(together.sites))
        kept = self._with_partners(topic, "", invite)
        records.write(together, path)
        kept.session.mask_vector(vector)
        return vector

    def _masked_round(self, invite: MaskedTrainInvite, reply: TrainReply) -> MaskedTrainReply:
        training = self._federation.training
        assert training.secure is not None
        merge = training.mean
        if invite.phase == "joint":
            merge = training.merge(training.runs[invite.run])
        figures = Reply(
            site=self._name, tensors={}, cases=reply.cases, loss=None, iterations=reply.iterations
        )
        weight = public_weight(merge)
        payload = MaskedPayload(
            settings=training.secure,
            received=split(invite.tensors)[0],
            like=reply.tensors,
            sites=len(invite.partners),
        )
        vector = payload.encode(reply.tensors, weight(figures) / invite.total if weight else 0.0)
        self._with_partners("training", invite.run, invite).session.mask_vector(vector)
        return MaskedTrainReply(
            tensors=masked_tensors(vector),
            run=reply.run,
            round=reply.round,
            phase=reply.phase,
            cases=reply.cases,
            loss=None,
            seconds=reply.seconds,
            wait_share=reply.wait_share,
            iterations=reply.iterations,
            unlabelled=reply.unlabelled,
            notes=reply.notes,
            spent=reply.spent,
            head=reply.head,
        )

    def _with_partners(self, topic: Topic, run: str, invite: MaskedInvite) -> KeptSession:
        """The session with its partners, kept before anything is masked with it."""
        kept = self._of(topic, run, invite.session)
        if isinstance(invite, MaskedTrainInvite) and kept.round != invite.round:
            raise _refusal("the session is of another round")
        kept = replace(kept, session=kept.session.masked_with(invite.partners))
        self._write(topic, run, kept)
        return kept

    def _begin(self, invite: KeysInvite) -> PublicKeys:
        if invite.topic == "training" and invite.run not in self._federation.training.runs:
            raise _refusal("the federation file has no such run")
        kept = self._read(invite.topic, invite.run)
        if kept is None or kept.session.session != invite.session:
            if kept is not None and invite.round < kept.round:
                raise _refusal(f"keys were made for round {kept.round + 1}, which comes later")
            revealed = kept.revealed if kept and kept.round == invite.round else ()
            session = SiteSession.begin(invite.session, self._name)
            kept = KeptSession(session=session, round=invite.round, revealed=revealed)
            self._write(invite.topic, invite.run, kept)
        return self._partners.signed(_about(invite), kept.session.public)

    def _share(self, invite: SharesInvite) -> dict[str, str]:
        kept = self._of(invite.topic, invite.run, invite.session)
        agreed = self._threshold(invite.topic)
        if invite.threshold != agreed:
            raise _refusal(
                f"{invite.threshold} shares would remove a mask, {agreed} were agreed on"
            )
        sites = self._federation.sites
        allowed = self._federation.members if invite.topic == "training" else sites
        self._partners.check(_about(invite), invite.roster, allowed)
        kept = replace(kept, session=kept.session.share(invite.roster, agreed))
        self._write(invite.topic, invite.run, kept)
        return kept.session.sealed

    def _reveal(self, invite: UnmaskInvite) -> UnmaskReply:
        kept = self._of(invite.topic, invite.run, invite.session)
        survivors = tuple(sorted(invite.survivors))
        if invite.topic != "training" and set(survivors) != set(kept.session.partners):
            raise _refusal("the statistics of all sites are summed for the plan, or of none")
        if invite.topic == "training" and kept.revealed not in ((), survivors):
            raise RefusalError(
                "the site has removed masks from a sum over other sites in this round; the "
                "difference of both sums could be the reply of a single site",
                mend="ask the same sites again, or train in a new run folder",
                advice="rounds_in_order",
            )
        session, revealed = kept.session.reveal(survivors, invite.sealed)
        self._write(invite.topic, invite.run, replace(kept, session=session, revealed=survivors))
        return UnmaskReply(revealed=revealed)

    def _threshold(self, topic: Topic) -> int:
        settings = self._federation.training.secure
        if topic == "training" and settings is not None:
            return settings.threshold_of(self._federation.invited)
        return usual_threshold(len(self._federation.sites))

    def _is_agreed(self, topic: Topic) -> bool:
        if topic == "training":
            return self._federation.training.secure is not None
        return self._federation.planning.secure

    def _check_agreed(self, topic: Topic) -> None:
        if not self._is_agreed(topic):
            raise _refusal("the federation file agrees on no sum under masks for this")

    def _sends(self, invite: TrainInvite) -> bool:
        """Whether tensors leave after the round that an invite asks for."""
        method = self._federation.training.method_labelled(invite.method)
        return bool(method.outgoing(split(invite.tensors)[0], invite.phase))

    def _of(self, topic: Topic, run: str, session: str) -> KeptSession:
        kept = self._read(topic, run)
        if kept is None or kept.session.session != session:
            raise RefusalError(
                "the site knows nothing of this session",
                mend="begin the round again, with a new session",
                advice="rounds_in_order",
            )
        return kept

    def _read(self, topic: Topic, run: str) -> KeptSession | None:
        path = self._path(topic, run)
        return records.read(KeptSession, path) if path.is_file() else None

    def _write(self, topic: Topic, run: str, kept: KeptSession) -> None:
        with private_files():
            records.write(kept, self._path(topic, run))

    def _path(self, topic: Topic, run: str) -> Path:
        return inside(self._base, run, FOLDER) / f"{topic}.json"


def _about(invite: SecureInvite) -> str:
    return f"{invite.session}/{invite.topic}/{invite.run}/{invite.round}"


def _topic(invite: Message) -> Topic | None:
    match invite:
        case TrainInvite():
            return "training"
        case MeasureInvite():
            return "fingerprint"
        case ShapesInvite():
            return "shapes"
    return None


def _refusal(what: str) -> RefusalError:
    return RefusalError(
        what,
        mend="give coordinator and sites the same federation file",
        advice="same_federation_file",
    )
