"""A site's loss as fair methods weight it: shifted, so that it is never negative."""

from __future__ import annotations

import math

from fednnunet.errors import ReplyError
from fednnunet.federation.methods.merge import Reply

MIN_LOSS = -1.0
"""What no loss is below: the package's loss is cross-entropy minus Dice."""


def shifted_loss(reply: Reply) -> float:
    """The site's mean loss of the round minus `MIN_LOSS`: cross-entropy + (1 - Dice), at least 0.

    Raises ReplyError where it is not finite, or where the site does not state it.
    """
    if reply.loss is None:
        raise ReplyError(
            "the site states no loss, since too few of its cases entered the round, and this "
            "method weights sites by it",
            where=f"reply of site {reply.site}",
            mend="train more iterations a round, so that more of its cases take part; or the site "
            "lowers min_scored_cases in its site.toml; or choose qfedavg_dice, which needs no "
            "training loss",
        )
    if not math.isfinite(reply.loss):
        raise ReplyError(
            f"the loss is {reply.loss}, and this method weights sites by it",
            where=f"reply of site {reply.site}",
            mend="the site's training diverged: lower its learning rate or leave it out",
        )
    return max(reply.loss - MIN_LOSS, 0.0)


def stated_loss(reply: Reply) -> float | None:
    """As `shifted_loss`, but None where a site has no labels or states no finite loss.

    The loss of a site without labels is 0 whatever its model does.
    """
    if reply.loss is None or not reply.labelled or not math.isfinite(reply.loss):
        return None
    return max(reply.loss - MIN_LOSS, 0.0)
