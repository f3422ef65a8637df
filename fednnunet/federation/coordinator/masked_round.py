"""A round of training under masks: the coordinator sees the sum of the sites' changes only.

The method's own aggregation is given the mean of the replies in the place of each of them, with the
figures that the site states openly. For a method whose next state follows from the mean and these
figures (`methods.public_weights`) that is the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from fednnunet.errors import FedNNUNetError
from fednnunet.federation.coordinator.engine import Engine
from fednnunet.federation.coordinator.exchange import Received, Waiting
from fednnunet.federation.coordinator.history import SiteRound
from fednnunet.federation.coordinator.masked import MaskedQuestion, masked_sum
from fednnunet.federation.coordinator.reply_checks import ReplyChecks
from fednnunet.federation.coordinator.run import Run
from fednnunet.federation.filters.chain import context_of, filter_at_coordinator
from fednnunet.federation.masked_payload import MaskedPayload
from fednnunet.federation.methods.merge import Reply
from fednnunet.federation.methods.public_weights import public_weight
from fednnunet.federation.wire.extras import join, split
from fednnunet.federation.wire.messages import Message, TrainInvite, TrainReply
from fednnunet.federation.wire.secure_messages import MaskedTrainInvite, MaskedTrainReply

Row = Callable[[Received[TrainReply], tuple[float, float]], SiteRound]
"""What the history keeps of a reply; see `rounds`."""
Gathered = tuple[dict[str, SiteRound], dict[str, FedNNUNetError], dict[str, str]]


def is_masked(run: Run, checks: ReplyChecks) -> bool:
    """Whether the replies of a round are summed under masks: those that have any tensors."""
    masked = run.training.secure is not None and run.kind == "federated"
    return masked and bool(checks.trained)


def gather_masked(
    engine: Engine,
    run: Run,
    checks: ReplyChecks,
    add: Callable[[str, TrainReply], None],
    row: Row,
) -> Gathered:
    """As `rounds` gathers plain replies: who was accepted, who was not, and further faults."""
    settings, weights = run.training.secure, _weights(run, checks)
    assert settings is not None
    first = next(iter(checks.invites.values()))
    like = join(checks.trained, checks.extras)
    question = _question(run, checks, weights, sum(tensor.numel() for tensor in like.values()))
    waiting = Waiting(
        deadline_s=run.training.deadline_s,
        quorum=run.training.quorum,
        grace_s=run.training.grace_s,
    )
    found = masked_sum(engine, tuple(checks.invites), question, waiting=waiting)
    payload = MaskedPayload(
        settings=settings,
        received=split(first.tensors)[0],
        like=like,
        sites=len(found.partners),
    )
    factor = sum(weights[s] for s in found.partners) / sum(weights[s] for s in found.replies)
    mean = payload.decode(found.total, factor)
    mean = dict(filter_at_coordinator(checks.filters, mean, context_of(first, "all sites")))
    accepted = {}
    for site, received in found.replies.items():
        reply = received.reply.plain
        add(site, replace(reply, tensors=mean))
        plain = Received(
            site=site,
            reply=reply,
            bytes_to_site=received.bytes_to_site,
            bytes_from_site=received.bytes_from_site,
            sha256=received.sha256,
        )
        accepted[site] = row(plain, (0.0, 0.0))
    return accepted, dict(found.errors), dict(found.faults)


def _question(
    run: Run, checks: ReplyChecks, weights: Mapping[str, float], size: int
) -> MaskedQuestion[MaskedTrainReply]:
    """What the sites are asked in the round."""
    settings, invites = run.training.secure, checks.invites
    assert settings is not None

    def masked(session: str, partners: tuple[str, ...]) -> Mapping[str, Message]:
        total = sum(weights[site] for site in partners)
        return {
            site: MaskedTrainInvite.of(
                invites[site], session=session, partners=partners, total=total
            )
            for site in partners
        }

    return MaskedQuestion(
        topic="training",
        run=run.name,
        round=next(iter(invites.values())).round,
        expect=MaskedTrainReply,
        invites=masked,
        check=checks.check_figures,
        threshold=settings.threshold,
        needed=max(run.training.quorum or len(invites), settings.threshold),
        size=size,
        bits=settings.bits,
        what="too few sites answered",
    )


def _weights(run: Run, checks: ReplyChecks) -> dict[str, float]:
    """By what each site counts in the mean, from figures that were known before the round."""
    weight = public_weight(run.merge(next(iter(checks.invites.values())).phase))
    assert weight is not None  # checked with the settings

    def of(site: str, invite: TrainInvite) -> float:
        cases = checks.members[site].cases
        return weight(
            Reply(site=site, tensors={}, cases=cases, loss=None, iterations=invite.iterations)
        )

    return {site: of(site, invite) for site, invite in checks.invites.items()}
