"""What a site's ledger says of a reply beyond its kind: auxiliary tensors, filters, and epsilon."""

from __future__ import annotations

from fednnunet.federation.site.score_reply import score_words
from fednnunet.federation.training_spec import Training
from fednnunet.federation.wire.messages import (
    EvaluateInvite,
    Message,
    TrainInvite,
    TrainReply,
    unpack,
)


def reply_words(invite: Message, data: bytes, training: Training, *, site: str) -> str:
    """What the reply `data` holds beyond weights or sums of scores, and what filtered it."""
    if isinstance(invite, EvaluateInvite):
        return score_words(unpack(data, sender=site))
    if not isinstance(invite, TrainInvite):
        return ""
    method = training.method_labelled(invite.method)
    extras = method.extras_words if invite.phase == "joint" else ""
    figures = training.figure_words(invite.phase)
    filters = (one.words for one in training.filter_chain)
    return "; ".join(filter(None, (extras, *figures, *filters, *_privacy(data, training, site))))


def _privacy(data: bytes, training: Training, site: str) -> tuple[str, ...]:
    """What was done by patient, and the epsilon so far."""
    privacy = training.privacy
    reply = unpack(data, sender=site) if privacy else None
    if privacy is None or not isinstance(reply, TrainReply) or reply.spent is None:
        return ()
    done = (privacy.words,) if privacy.unit == "patient" else ()
    return (*done, reply.spent.words)
