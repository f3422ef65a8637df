"""Which sites end a training with a model of their own, and how each is asked for it."""

from __future__ import annotations

from collections.abc import Mapping

from fednnunet.federation.coordinator.history import load_records, rounds_of
from fednnunet.federation.coordinator.run import Run
from fednnunet.federation.coordinator.validation import personal_invite
from fednnunet.federation.membership import Member
from fednnunet.federation.methods.merge import State, Tensors
from fednnunet.federation.wire.messages import EvaluateInvite


def own_models(
    run: Run, initial: Tensors, state: State, members: Mapping[str, Member]
) -> dict[str, EvaluateInvite]:
    """What asks each site for its own model; empty where the sites end with none.

    `initial` has all tensors of the network, `state` is that after the last round.
    """
    personal = run.method.personal_model or run.method.private(initial) or state.for_site
    if not (personal or run.training.personal_rounds):
        return {}
    history = load_records(run.folder / "rounds")
    return {
        site: _invite(run, initial, state, site, rounds_of(history, site), member)
        for site, member in members.items()
        if rounds_of(history, site)
    }


def _invite(
    run: Run, initial: Tensors, state: State, site: str, after: int, member: Member
) -> EvaluateInvite:
    """Asks a site for its own model; one that trained alone, or has left, needs nothing of ours."""
    end = run.training.joint_end
    alone = after > end or member.has_left(end - 1)
    # A method that shares all tensors has its merged model judged on the way (`Validation`).
    judged = run.training.personal_rounds > 0 or bool(run.method.private(initial))
    best = run.training.keep == "best" and judged
    return personal_invite(run, state, site, after, alone=alone, best=best)
