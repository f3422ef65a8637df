"""What a reply counts in the mean: its site's training cases, those without labels by a ramp.

At first a site without labels learns nothing, and its reply is about the model that it received. To
count it by all its cases would hold the mean back: with one labelled site of 13 cases among 103 the
model would move by an eighth of what that site learns. So while pseudo-labels are on, cases without
any label count by the ramp of the pseudo-labels' weight, and fully where that is whole.
"""

from __future__ import annotations

from fednnunet.federation.wire.messages import TrainReply
from fednnunet.labels.ramp import ramp
from fednnunet.labels.settings import PseudoLabels


def counted_cases(
    reply: TrainReply, settings: PseudoLabels | None, done: float, *, added: bool = False
) -> int:
    """The cases by which a reply counts, at least 1.

    `done` is the share of the schedule's rounds before this one. Without pseudo-labels, or where
    the settings count by cases or give each kind of sites rounds of its own, these are all; so they
    are at a site without any label whose change is `added` (see `unlabelled_sites`).
    """
    if settings is None or settings.unlabelled_sites in ("cases", "alternate"):
        return reply.cases
    if added and reply.unlabelled >= reply.cases:
        return reply.cases
    without = min(reply.unlabelled, reply.cases)
    return max(1, round(reply.cases - without + without * ramp(settings, done)))
