"""What must hold of a training reply before it is merged: nothing of it is believed unchecked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from fednnunet.errors import ReplyError
from fednnunet.federation.coordinator.round_log import OpenRound
from fednnunet.federation.coordinator.update_bound import UpdateBound
from fednnunet.federation.filters.chain import context_of, filter_at_coordinator
from fednnunet.federation.filters.filter import Filter
from fednnunet.federation.membership import Member
from fednnunet.federation.methods.merge import Tensors
from fednnunet.federation.wire.exact_sum import check_terms
from fednnunet.federation.wire.extras import is_extra, join, split
from fednnunet.federation.wire.messages import TrainInvite, TrainReply
from fednnunet.federation.wire.tensors import check_like, is_in_range

_SAME_VERSION = "give coordinator and site the same version of the program"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplyChecks:
    """The checks of one round's replies.

    `invites` are what the sites were asked, `members` what is known of them, `targets` the number
    of the task's targets. A reply must have the tensors `trained`, of the network, and `extras`, of
    the method. The `log` has what the reply's site was shown. `norms` fills with the norms of each
    accepted reply: of its update, of its extras.
    """

    invites: Mapping[str, TrainInvite]
    members: Mapping[str, Member]
    targets: int
    trained: Tensors
    extras: Tensors
    filters: tuple[Filter, ...]
    bound: UpdateBound
    log: OpenRound | None = None
    norms: dict[str, tuple[float, float]] = field(default_factory=dict)

    def accept(self, site: str, reply: TrainReply) -> TrainReply:
        """The reply with its tensors as training gave them; raises ReplyError to refuse it."""
        invite = self.invites[site]
        self.check_figures(site, reply)
        context = context_of(invite, site)
        tensors = filter_at_coordinator(self.filters, reply.tensors, context)
        check_like(tensors, join(self.trained, self.extras), site=site)
        check_terms(site, tensors)
        _check_counts(site, tensors)
        weights, extras = split(tensors)
        received = {name: invite.tensors[name] for name in self.trained}
        self.norms[site] = (
            self.bound.check(weights, received, site=site, iterations=invite.iterations),
            self.bound.check_extras(extras, received, site=site),
        )
        return replace(reply, tensors=tensors)

    def check_figures(self, site: str, reply: TrainReply) -> None:
        """Compare the figures of a reply with what is known of the site, its task and its invite.

        Raises ReplyError to refuse the reply.
        """
        invite = self.invites[site]
        _check_question(site, reply, invite)
        if self.log:
            self.log.check(site, reply)
        prepared = self.members[site].cases
        if reply.cases != prepared:
            raise ReplyError(
                f"the reply counts {reply.cases} training cases, where {prepared} were prepared",
                where=f"reply of site {site}",
                mend="start the training again, so that the site prepares its cases anew",
            )
        if reply.unlabelled > reply.cases:
            raise ReplyError(
                f"{reply.unlabelled} of {reply.cases} training cases are without labels",
                where=f"reply of site {site}",
                mend=_SAME_VERSION,
            )
        if reply.iterations != invite.iterations:
            raise ReplyError(
                f"the reply is of {reply.iterations} iterations, not of {invite.iterations}",
                where=f"reply of site {site}",
                mend=_SAME_VERSION,
            )
        annotated = reply.figures.annotated_cases
        lists = {"overlap": reply.overlap, "held_out": reply.held_out, "figures": annotated}
        for name, counts in lists.items():
            if len(counts) not in (0, self.targets):
                raise ReplyError(
                    f"{name} is of {len(counts)} targets, not of the task's {self.targets}",
                    where=f"reply of site {site}",
                    mend="give coordinator and site the same plan",
                )


def _check_counts(site: str, tensors: Tensors) -> None:
    """Refuse counts that no site would accept: integer tensors have no norm, and are not averaged.

    The others are bounded by the norm of the update.
    """
    for name, tensor in tensors.items():
        if not tensor.is_floating_point() and not is_in_range(tensor, extra=is_extra(name)):
            raise ReplyError(
                f"tensor {name} holds a count that is too large or too far below zero",
                where=f"reply of site {site}",
                mend=_SAME_VERSION,
            )


def _check_question(site: str, reply: TrainReply, invite: TrainInvite) -> None:
    """Refuse a reply to another invite: a late one, or one that is sent again."""
    if reply.round != invite.round:
        raise ReplyError(
            f"late: the reply is of round {reply.round + 1}, not of round {invite.round + 1}",
            where=f"reply of site {site}",
            mend="raise training.deadline_s, or give the site less to do",
        )
    if (reply.run, reply.phase) != (invite.run, invite.phase):
        raise ReplyError(
            f"the reply is of run {reply.run!r} and phase {reply.phase}, "
            f"not of run {invite.run!r} and phase {invite.phase}",
            where=f"reply of site {site}",
            mend=_SAME_VERSION,
        )
