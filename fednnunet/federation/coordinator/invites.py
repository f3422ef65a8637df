"""Whom a round asks, and what each site is sent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from fednnunet.federation.coordinator.alternation import sites_in_turn
from fednnunet.federation.coordinator.history import RoundRecord, rounds_of
from fednnunet.federation.coordinator.participation import choose
from fednnunet.federation.coordinator.run import Run
from fednnunet.federation.membership import Member, present
from fednnunet.federation.methods.merge import State, Tensors
from fednnunet.federation.wire.extras import join
from fednnunet.federation.wire.messages import TrainInvite
from fednnunet.federation.wire.phases import Phase, Phases


def sites_of_round(
    run: Run,
    phases: Phases,
    number: int,
    history: Sequence[RoundRecord],
    members: Mapping[str, Member],
) -> tuple[str, ...]:
    """The sites of round `number` (from 0): a part of the members in a joint one, else all."""
    if phases.of(number) != "joint":
        return present(members, number)
    chosen = choose(
        members,
        number,
        history,
        count=run.training.sites_per_round,
        selection=run.training.selection,
        seed=run.training.seed,
    )
    joint = number - phases.joint_end + phases.joint
    return sites_in_turn(chosen, joint, phases.joint, history, run.training.pseudo_labels)


def invite(
    run: Run,
    phases: Phases,
    state: State,
    history: Sequence[RoundRecord],
    site: str,
    member: Member,
) -> TrainInvite:
    """What one site is sent: in the personal phase only its first round needs what is shared."""
    iterations = member.iterations or run.training.iterations_per_round
    phase = phases.of(state.round)
    schedule_start, schedule_length = phases.iterations(state.round, iterations)
    resume_round = rounds_of(history, site, public=phase == "public")
    alone = phase == "personal" and resume_round > phases.joint_end
    return TrainInvite(
        tensors={} if alone else _sent(state, phase, site),
        run=run.name,
        method=run.method_name,
        round=state.round,
        phase=phase,
        resume_round=resume_round,
        iterations=iterations,
        schedule_start=schedule_start,
        schedule_length=schedule_length,
    )


def _sent(state: State, phase: Phase, site: str) -> Tensors:
    """What goes to a site that begins a round from it."""
    if phase == "public":
        return state.shared
    return join(state.received(site), state.extras if phase == "joint" else {})
