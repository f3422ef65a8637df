"""The replies of one round as they are added to its aggregation, one by one."""

from __future__ import annotations

from collections.abc import Callable

from fednnunet.federation.methods.local import NothingAdded
from fednnunet.federation.methods.merge import Aggregation, Reply, State
from fednnunet.federation.wire.extras import split
from fednnunet.federation.wire.messages import TrainReply


class AddedReplies:
    """Adds checked replies to an aggregation; afterwards their tensors are not needed any more.

    `cases` says how many training cases a reply counts. Replies of sites that train alone are left
    out, where sites `may_leave`. With `keep` the replies are kept as well.
    """

    def __init__(
        self,
        aggregation: Aggregation,
        cases: Callable[[TrainReply], int],
        *,
        keep: bool,
        may_leave: bool = True,
    ) -> None:
        self._aggregation, self._cases, self._keep = aggregation, cases, keep
        self._may_leave = may_leave
        self._count = 0
        self.kept: list[Reply] = []

    def __call__(self, site: str, message: TrainReply) -> None:
        """Add a reply; raises ReplyError, with nothing added, where it cannot be used."""
        if message.alone and self._may_leave:
            return
        reply = as_method_sees(site, message, self._cases(message))
        self._aggregation.add(reply)
        self._count += 1
        if self._keep:
            self.kept.append(reply)

    def finish(self, state: State) -> State:
        """The state after the round; `state`, of the next round, where every site trains alone."""
        return (self._aggregation if self._count else NothingAdded(state)).finish()


def as_method_sees(site: str, reply: TrainReply, cases: int) -> Reply:
    """A reply that counts so many cases, as a method's merge sees it."""
    tensors, extras = split(reply.tensors)
    return Reply(
        site=site,
        tensors=tensors,
        extras=extras,
        cases=cases,
        loss=reply.loss,
        iterations=reply.iterations,
        labelled=reply.unlabelled < reply.cases,
        overlap=reply.overlap,
        held_out=reply.held_out,
        figures=reply.figures,
    )
