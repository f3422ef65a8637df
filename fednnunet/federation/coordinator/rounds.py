"""The coordinator's loop. It knows sites by name only, and no engine."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from torch import Tensor

from fednnunet.errors import FedNNUNetError, raise_all
from fednnunet.evaluation.contribution import RoundContribution
from fednnunet.evaluation.scores import SiteScores
from fednnunet.federation.coordinator.contribution import ask_leave_one_out, divergence
from fednnunet.federation.coordinator.counted_cases import counted_cases
from fednnunet.federation.coordinator.engine import Engine
from fednnunet.federation.coordinator.exchange import Failed, Received, Surplus, Waiting, receive
from fednnunet.federation.coordinator.history import (
    RoundRecord,
    SiteRound,
    load_last,
    save_round,
    write_history,
)
from fednnunet.federation.coordinator.invites import invite, sites_of_round
from fednnunet.federation.coordinator.reply_checks import ReplyChecks
from fednnunet.federation.coordinator.run import Run
from fednnunet.federation.coordinator.unlabelled_sites import BesideLabelled, added_strength
from fednnunet.federation.coordinator.update_bound import UpdateBound, check_state
from fednnunet.federation.membership import Member
from fednnunet.federation.methods.local import NothingAdded
from fednnunet.federation.methods.merge import Aggregation, Followed, Merge, Reply, State, Tensors
from fednnunet.federation.wire.extras import split
from fednnunet.federation.wire.messages import ProbeInvite, TrainReply
from fednnunet.federation.wire.phases import Phase, Phases
from fednnunet.federation.wire.tensors import update_norm
from fednnunet.training.counts import dice_of

Observer = Callable[[RoundRecord], None]
Faults = dict[str, str]  # what went wrong at a site, in words
Validate = Callable[[State, Sequence[RoundRecord]], tuple[dict[str, SiteScores], Faults]]
"""Asks sites for scores of the model after the last round of a history; see `validation`."""


def run_rounds(
    engine: Engine,
    run: Run,
    initial: Mapping[str, Tensor],
    members: Mapping[str, Member],
    observer: Observer,
    validate: Validate | None = None,
) -> State:
    """Train the `members` from the last checkpoint to the end and return the final state.

    `initial` holds all tensors of the network as every site would begin. Where the method keeps
    tensors private, the public phase trains a copy of them, so that the final state holds every
    tensor of the network (but for a method that shares nothing).
    """
    state, history = load_last(run.folder / "rounds", key=run.key)
    state = state or State(round=0, shared=run.method.shared(initial))
    for record in history:
        observer(record)
    if history:  # a stop between a round's record and its row
        write_history(history, run.plan.task.targets, run.folder / "history.csv")
    phases = run.phases(initial)
    state = replace(state, rounds=phases.joint_end)
    while state.round < phases.total:
        begin = time.perf_counter()
        if phases.of(state.round) == "public":
            state = replace(state, shared={**run.method.private(initial), **state.shared})
        extras = run.method.extras_like(initial) if phases.of(state.round) == "joint" else {}
        state, record = _one_round(engine, run, phases, state, history, members, extras)
        scores, faults = validate(state, (*history, record)) if validate else ({}, {})
        seconds = time.perf_counter() - begin
        faults = _joined(record.faults, faults)
        record = replace(record, scores=scores, faults=faults, seconds=seconds, of=phases.total)
        save_round(run.folder / "rounds", state, record)
        history = (*history, record)
        write_history(history, run.plan.task.targets, run.folder / "history.csv")
        observer(record)
    return state


def _one_round(
    engine: Engine,
    run: Run,
    phases: Phases,
    state: State,
    history: Sequence[RoundRecord],
    members: Mapping[str, Member],
    extras: Tensors,
) -> tuple[State, RoundRecord]:
    phase = phases.of(state.round)
    trained = run.method.outgoing(state.shared, phase)
    place, rounds = phases.schedule(state.round)
    done = place / max(rounds, 1)
    pseudo_labels = run.training.pseudo_labels if phase != "pretraining" else None
    merge = run.merge(phase)
    strength = added_strength(pseudo_labels, merge, done)
    aggregation = _start(phase, merge, state, trained, strength)
    contributing = run.training.contribution and phase == "joint" and bool(state.shared)
    kept: list[Reply] = []

    def add(site: str, message: TrainReply) -> None:
        """Add a reply that was checked; afterwards its tensors are not needed any more."""
        cases = counted_cases(message, pseudo_labels, done, added=strength is not None)
        reply = _as_method_sees(site, message, cases)
        aggregation.add(reply)
        if contributing:
            kept.append(reply)

    sites = sites_of_round(run, phases, state.round, history, members)
    checks = ReplyChecks(
        invites={s: invite(run, phases, state, history, s, members[s]) for s in sites},
        members=members,
        targets=len(run.plan.task.targets),
        trained=trained,
        extras=extras,
        filters=run.training.filter_chain,
        bound=UpdateBound.of(history, phase, run.training),
    )
    accepted, errors, faults = _gather(engine, run, checks, add)
    _check_quorum(len(accepted), errors, min(run.training.quorum or len(sites), len(sites)))
    new = aggregation.finish()
    check_state(new)
    contribution, unprobed = _contribution(engine, run, phases, state, kept)
    record = RoundRecord(
        key=run.key,
        round=new.round,
        phase=phase,
        shift=update_norm(new.shared, state.shared),
        sites=dict(sorted(accepted.items())),
        refused={site: error.what for site, error in sorted(errors.items())},
        contribution=contribution,
        faults=_joined(faults, unprobed),
    )
    return new, record


def _gather(
    engine: Engine, run: Run, checks: ReplyChecks, add: Callable[[str, TrainReply], None]
) -> tuple[dict[str, SiteRound], dict[str, FedNNUNetError], Faults]:
    """Ask the sites and add each reply that passes: who was accepted, who not, further faults."""
    waiting = Waiting(
        deadline_s=run.training.deadline_s,
        quorum=run.training.quorum,
        grace_s=run.training.grace_s,
    )
    accepted: dict[str, SiteRound] = {}
    errors: dict[str, FedNNUNetError] = {}
    faults: Faults = {}
    for outcome in receive(
        engine, checks.invites, TrainReply, decode=checks.accept, check=add, waiting=waiting
    ):
        if isinstance(outcome, Failed):
            errors[outcome.site] = outcome.error
        elif isinstance(outcome, Surplus):
            faults[outcome.site] = outcome.error.what
        else:
            accepted[outcome.site] = _site_round(outcome, checks.norms[outcome.site])
        del outcome  # it holds a reply's tensors
    return accepted, errors, faults


def _contribution(
    engine: Engine, run: Run, phases: Phases, state: State, replies: Sequence[Reply]
) -> tuple[dict[str, RoundContribution], Faults]:
    """What each site gave to the others in a joint round; the last one asks the sites, too."""
    if len(replies) < 2:
        return {}, {}
    dice_losses: dict[str, float] = {}
    faults: Faults = {}
    if state.round + 1 == phases.joint_end:
        probe = ProbeInvite(run=run.name, method=run.method_name, round=phases.joint_end)
        dice_losses, faults = ask_leave_one_out(engine, probe, replies)
    found = {
        site: RoundContribution(divergence=value, dice_loss=dice_losses.get(site))
        for site, value in divergence(state, replies).items()
    }
    return found, faults


def _start(
    phase: Phase, merge: Merge, state: State, trained: Tensors, strength: float | None
) -> Aggregation:
    """The aggregation of a round's replies; with a `strength` unlabelled sites are added by it."""
    if phase == "personal" or (phase == "pretraining" and not trained):
        return NothingAdded(state)
    begin = state if phase == "joint" else replace(state, shared=trained)
    aggregation = merge.start(begin)
    if strength is not None:
        aggregation = BesideLabelled(aggregation, begin, strength)
    if phase == "joint":
        return aggregation
    return Followed(aggregation, lambda mean: replace(mean, shared={**state.shared, **mean.shared}))


def _check_quorum(accepted: int, errors: Mapping[str, FedNNUNetError], quorum: int) -> None:
    if accepted < quorum:
        raise_all("too few sites answered", [error for _, error in sorted(errors.items())])
        raise FedNNUNetError(
            f"{accepted} sites answered, {quorum} are needed",
            mend="lower training.quorum, or bring the sites back",
        )


def _joined(first: Faults, second: Faults) -> Faults:
    """The faults of both, by site."""
    sites = sorted({*first, *second})
    return {s: "; ".join(f[s] for f in (first, second) if s in f) for s in sites}


def _as_method_sees(site: str, reply: TrainReply, cases: int) -> Reply:
    tensors, extras = split(reply.tensors)
    return Reply(
        site=site,
        tensors=tensors,
        extras=extras,
        cases=cases,
        loss=reply.loss,
        iterations=reply.iterations,
        labelled=reply.unlabelled < reply.cases,
    )


def _site_round(received: Received[TrainReply], norms: tuple[float, float]) -> SiteRound:
    reply = received.reply
    return SiteRound(
        cases=reply.cases,
        unlabelled=reply.unlabelled,
        loss=reply.loss,
        dice=tuple(dice_of(*counts) for counts in reply.overlap),
        seconds=reply.seconds,
        wait_share=reply.wait_share,
        bytes_to_site=received.bytes_to_site,
        bytes_from_site=received.bytes_from_site,
        held_out=tuple(dice_of(*counts) for counts in reply.held_out),
        notes=tuple(note.text for note in reply.notes),
        update_norm=norms[0],
        extras_norm=norms[1],
    )
