"""Measures what each site contributes: from its replies, and from a model made without it.

It needs all replies of a round, so it is done only where `training.contribution` asks for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from torch import Tensor

from fednnunet import records
from fednnunet.evaluation.contribution import CONTRIBUTION, estimate
from fednnunet.federation.coordinator.engine import Engine
from fednnunet.federation.coordinator.exchange import ask
from fednnunet.federation.coordinator.history import RoundRecord
from fednnunet.federation.methods.merge import Reply, State
from fednnunet.federation.methods.updates import UpdateProducts
from fednnunet.federation.wire.exact_sum import weighted_mean
from fednnunet.federation.wire.messages import ProbeInvite, ProbeReply


def divergence(state: State, replies: Sequence[Reply]) -> dict[str, float]:
    """For each site 1 - cosine between its update and the mean update of the others, by cases."""
    products = UpdateProducts.of(state, replies)
    cases = {reply.site: float(reply.cases) for reply in replies}
    found = {}
    for site in products.sites:
        others = {name: count for name, count in cases.items() if name != site}
        found[site] = 1 - products.cosine({site: 1.0}, others)
    return found


def without(replies: Sequence[Reply], site: str) -> dict[str, Tensor]:
    """The mean of all replies but a site's own, by cases."""
    return weighted_mean((r.site, r.tensors, float(r.cases)) for r in replies if r.site != site)


def ask_leave_one_out(
    engine: Engine, invite: ProbeInvite, replies: Sequence[Reply]
) -> dict[str, float]:
    """The Dice loss at each site of the model made without it, of the sites that answer.

    Each is sent `invite` with the tensors of that model.
    """
    invites = {
        reply.site: replace(invite, tensors=without(replies, reply.site)) for reply in replies
    }
    answers = ask(engine, invites, ProbeReply).replies
    return {
        site: answer.reply.dice_loss
        for site, answer in answers.items()
        if isinstance(answer.reply, ProbeReply)
    }


def write_contribution(history: Sequence[RoundRecord], folder: Path) -> None:
    """Write `contribution.json` into `folder`, if anything was measured."""
    found = estimate(record.contribution for record in history)
    if found.sites:
        records.write(found, folder / CONTRIBUTION)
