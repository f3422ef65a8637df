"""The coordinator's loop. It knows sites by name only, and no engine."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from functools import partial

from torch import Tensor

from fednnunet.errors import FedNNUNetError, raise_all
from fednnunet.evaluation.contribution import RoundContribution
from fednnunet.evaluation.scores import SiteScores
from fednnunet.federation.coordinator.added_replies import AddedReplies
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
from fednnunet.federation.coordinator.masked_round import gather_masked, is_masked
from fednnunet.federation.coordinator.reply_checks import ReplyChecks
from fednnunet.federation.coordinator.round_log import OpenRound, RoundLog
from fednnunet.federation.coordinator.run import Run
from fednnunet.federation.coordinator.sent_weights import SentWeights, as_sent
from fednnunet.federation.coordinator.unlabelled_sites import BesideLabelled, added_strength
from fednnunet.federation.coordinator.update_bound import UpdateBound, check_state
from fednnunet.federation.membership import Member
from fednnunet.federation.methods.local import NothingAdded
from fednnunet.federation.methods.merge import Aggregation, Followed, Merge, Reply, State, Tensors
from fednnunet.federation.wire.messages import ProbeInvite, TrainInvite, TrainReply
from fednnunet.federation.wire.phases import Phase, Phases
from fednnunet.federation.wire.tensors import update_norm
from fednnunet.training.counts import dice_of

Observer = Callable[[RoundRecord], None]
Faults = dict[str, str]  # what went wrong at a site, in words
Row = Callable[[Received[TrainReply], tuple[float, float]], SiteRound]
Validate = Callable[[State, Sequence[RoundRecord]], tuple[dict[str, SiteScores], Faults]]
"""Asks sites for scores of the model after the last round of a history; see `validation`."""


def run_rounds(
    engine: Engine,
    run: Run,
    initial: Mapping[str, Tensor],
    members: Mapping[str, Member],
    observer: Observer,
    validate: Validate | None = None,
    log: RoundLog | None = None,
) -> State:
    """Train the `members` from the last checkpoint to the end and return the final state.

    Every round is entered in the `log`, where there is one.

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
        state, record = _one_round(engine, run, phases, state, history, members, extras, log)
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
    log: RoundLog | None,
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
    cases = partial(counted_cases, settings=pseudo_labels, done=done, added=strength is not None)
    may_leave = phase == "joint" and not run.name and run.training.has_trial
    add = AddedReplies(aggregation, cases, keep=contributing, may_leave=may_leave)
    sites = sites_of_round(run, phases, state.round, history, members)
    invites = {s: invite(run, phases, state, history, s, members[s]) for s in sites}
    opened = log.begin(invites) if log else None
    checks = ReplyChecks(
        invites=invites,
        members=members,
        targets=len(run.plan.task.targets),
        trained=trained,
        extras=extras,
        filters=run.training.filter_chain,
        bound=UpdateBound.of(history, phase, run.training),
        log=opened,
    )
    sent = as_sent(run.training.down_chain, state, invites)
    sent = opened.shown(sent) if opened else sent
    if is_masked(run, checks):
        whole = replace(checks, invites=opened.shown(invites) if opened else invites)
        accepted, errors, faults = gather_masked(engine, run, whole, add, _row(opened))
    else:
        accepted, errors, faults = _gather(engine, run, checks, sent, add, _row(opened))
    _check_quorum(len(accepted), errors, min(run.training.quorum or len(sites), len(sites)))
    new = _as_sites_will_have_it(run, phases, checks, accepted, add.finish(state))
    if opened:
        opened.end(new, tuple(sorted(errors)))
    contribution, unprobed = _contribution(engine, run, phases, state, add.kept)
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
    engine: Engine,
    run: Run,
    checks: ReplyChecks,
    sent: Mapping[str, TrainInvite],
    add: Callable[[str, TrainReply], None],
    row: Row,
) -> tuple[dict[str, SiteRound], dict[str, FedNNUNetError], Faults]:
    """Ask the sites and add each reply that passes: who was accepted, who not, further faults."""

    def accept(site: str, reply: TrainReply) -> TrainReply:
        accepted = checks.accept(site, reply)
        if checks.log:
            checks.log.keep(site, reply)
        return accepted

    waiting = Waiting(
        deadline_s=run.training.deadline_s,
        quorum=run.training.quorum,
        grace_s=run.training.grace_s,
    )
    accepted: dict[str, SiteRound] = {}
    errors: dict[str, FedNNUNetError] = {}
    faults: Faults = {}
    for outcome in receive(engine, sent, TrainReply, decode=accept, check=add, waiting=waiting):
        if isinstance(outcome, Failed):
            errors[outcome.site] = outcome.error
        elif isinstance(outcome, Surplus):
            faults[outcome.site] = outcome.error.what
        else:
            accepted[outcome.site] = row(outcome, checks.norms[outcome.site])
        del outcome  # it holds a reply's tensors
    return accepted, errors, faults


def _as_sites_will_have_it(
    run: Run, phases: Phases, checks: ReplyChecks, accepted: Collection[str], merged: State
) -> State:
    """The merged state, checked, with what the sites will decode where they are sent codes."""
    check_state(merged)
    number = merged.round
    more = number < phases.total and phases.of(number) == phases.of(number - 1)
    filters, invites = run.training.down_chain, checks.invites
    sent = SentWeights(filters=filters, invites=invites, accepted=accepted, more=more)
    return sent.coded(merged)


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
    begin = state if phase == "joint" else replace(state, shared=trained, for_site={})
    aggregation = merge.start(begin)
    if strength is not None:
        aggregation = BesideLabelled(aggregation, begin, strength)
    if phase == "joint":
        return aggregation
    return Followed(aggregation, partial(_with_public, state))


def _with_public(state: State, mean: State) -> State:
    """The state after a public round: all sites were sent what is shared, and keep their own."""
    shared = {**state.shared, **mean.shared}
    return replace(mean, shared=shared, for_site=state.for_site)


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


def _row(opened: OpenRound | None) -> Row:
    """What the history says of a reply; the log keeps its digest."""

    def row(received: Received[TrainReply], norms: tuple[float, float]) -> SiteRound:
        if opened:
            opened.replies[received.site] = received.sha256
        return _site_round(received, norms)

    return row


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
        spent=reply.spent,
    )
